"""History: a measurement over all its runs as sparklines, and where its level changed."""

from __future__ import annotations

import math
import textwrap
from bisect import bisect_right
from collections import Counter
from dataclasses import asdict
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_dlperf.history.compare_report import signed, sized
from pytest_dlperf.history.timeline import FALSE_ALARMS
from pytest_dlperf.judge.error_rates import SLOTTED
from pytest_dlperf.metrics import metric_named
from pytest_dlperf.report.budget_table import wrapped
from pytest_dlperf.report.hints import judge_alone, judge_in_turn
from pytest_dlperf.report.tables import render
from pytest_dlperf.results.baseline import short
from pytest_dlperf.results.measurement import title_of
from pytest_dlperf.statistics.change_points import SHORTEST
from pytest_dlperf.units import format_quantity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from pytest_dlperf.history.timeline import Curve, LevelChange, Timeline
    from pytest_dlperf.metrics import Metric


SCHEMA: Final = 1
"""Version of the JSON."""

_BLOCKS: Final = "▁▂▃▄▅▆▇█"
_LINE: Final = 79
_VALUE: Final = 10  # columns of a figure
_NAME: Final = 11


IN_TURN: Final = SLOTTED | {"accuracy"}
"""Metrics that two commits measured in turn can tell apart; and users' shares."""
_UNITS: Final = {"s": "s", "1/s": "/s", "bytes": "B", "share": "", "1": ""}
_DIGITS: Final = 12  # of a commit, so that it means no other one
_LEAST_DETECT: Final = 1e-4
_MOST_DETECT: Final = 0.5
_RUN: Final = """'pytest "$@"; s=$?; [ $s -gt 1 ] && s=125; exit $s'"""
"""For git 0 is good, 125 is to be skipped, and anything else up to 127 is bad. pytest ends with 1
where a test fails, and with more where it did not run: then nothing is known of the commit."""
LEGEND: Final = (
    "A commit whose test cannot run is skipped; one that stays INCONCLUSIVE counts as good."
)


def history_lines(
    chronicle: Timeline,
    width: int,
    commits_between: Callable[[str, str], int | None],
    *,
    colour: bool,
) -> Iterator[str]:
    """What was measured when, a line for each metric, and each change of its level.

    Args:
        chronicle: of one measurement.
        width: columns.
        commits_between: asks how many commits a commit is ahead of another; None if not known.
        colour: whether to emit ANSI colours.
    """
    entries = chronicle.entries
    yield from wrapped(title_of(entries[0].test, entries[0].name))
    for line in _heading(chronicle):
        yield from textwrap.wrap(line, _LINE, subsequent_indent="  ", break_on_hyphens=False)
    yield ""
    yield from _table(chronicle, width, colour=colour)
    bisections = False
    for curve in chronicle.curves:
        for change in curve.changes:
            yield ""
            yield from _change_lines(chronicle, curve, change, commits_between)
            bisections |= bool(_can_bisect(change))
    yield ""
    if bisections:
        yield from wrapped(LEGEND)
    for line in _conclusion(chronicle):
        yield from wrapped(line)


def history_json(chronicle: Timeline) -> dict[str, object]:
    """Plain values: finite numbers, text, lists and dictionaries.

    Values are in the metric's base unit; runs are counted from 0, the oldest; changes are ratios
    minus one, or of shares differences, above 0 where the value is larger since.
    """
    newest = chronicle.entries[-1]
    return {
        "test": newest.test,
        "name": newest.name,
        "machine": newest.run.machine.slug,
        "scenario": newest.found.scenario,
        "serving": newest.found.serving,
        "left_out": list(chronicle.left_out),
        "alpha": chronicle.alpha,
        "runs": [
            {
                "key": entry.run.key,
                "began": entry.run.began,
                "commit": entry.run.revision.commit,
                "branch": entry.run.revision.branch,
                "verdict": entry.verdict.value,
            }
            for entry in chronicle.entries
        ],
        "metrics": [_curve_json(newest.test, curve) for curve in chronicle.curves],
    }


def sparkline(values: NDArray[np.float64], width: int) -> str:
    """Values as blocks from the lowest to the highest; of more than fit, medians of neighbours.

    Args:
        values: finite, in order of time, at least one.
        width: columns, at least one.
    """
    edges = _edges(len(values), width)
    shown = np.array([np.median(values[start:stop]) for start, stop in pairwise(edges)])
    low, high = float(shown.min()), float(shown.max())
    if low == high:
        return _BLOCKS[len(_BLOCKS) // 2] * len(shown)
    heights = np.rint((shown - low) / (high - low) * (len(_BLOCKS) - 1)).astype(int)
    return "".join(_BLOCKS[height] for height in heights)


def _heading(chronicle: Timeline) -> Iterator[str]:
    entries = chronicle.entries
    first, last = entries[0].run.revision, entries[-1].run.revision
    runs = f"{len(entries)} run{'s' if len(entries) > 1 else ''}"
    days = f"{first.date} to {last.date}" if first.date != last.date else first.date
    yield f"{runs}, {days}, on {entries[-1].run.machine.slug}"
    branches = Counter(entry.run.revision.branch or "no branch" for entry in entries)
    yield "branches: " + ", ".join(f"{name} ({runs})" for name, runs in branches.most_common(5))
    yield f"{entries[-1].found.scenario}, {entries[-1].found.serving}"
    for left_out in chronicle.left_out:
        yield f"left out: {left_out}"


def _table(chronicle: Timeline, width: int, *, colour: bool) -> list[str]:
    from rich.table import Table

    longest = max((len(curve.metric) for curve in chronicle.curves), default=0)
    room = max(1, width - max(_NAME, longest) - 3 * _VALUE - 4 * 2 - 1)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("metric", no_wrap=True, min_width=_NAME)
    table.add_column("oldest to newest", no_wrap=True, min_width=room)
    for column in ("first", "median", "last"):
        table.add_column(column, no_wrap=True, justify="right", min_width=_VALUE)
    for curve in chronicle.curves:
        unit, values = metric_named(curve.metric).unit, curve.values
        figures = (float(values[0]), float(np.median(values)), float(values[-1]))
        cells = [format_quantity(figure, unit) for figure in figures]
        table.add_row(curve.metric, sparkline(values, room), *cells)
        if curve.changes:
            table.add_row("", _marks(curve, room))
    return render(table, width, colour=colour)


def _marks(curve: Curve, room: int) -> str:
    """A mark below each change."""
    edges = _edges(len(curve.runs), room)
    line = [" "] * (len(edges) - 1)
    for change in curve.changes:
        line[bisect_right(edges, curve.runs.index(change.run)) - 1] = "^"
    return "".join(line)


def _edges(values: int, width: int) -> list[int]:
    """Where the values of each column begin, and where the last one's end."""
    columns = min(width, values)
    return [values * column // columns for column in range(columns + 1)]


def _change_lines(
    chronicle: Timeline,
    curve: Curve,
    change: LevelChange,
    commits_between: Callable[[str, str], int | None],
) -> Iterator[str]:
    yield from wrapped(f"{curve.metric} {_size(curve, change)}, {_when(chronicle, change)}")
    for line in _blame(change, commits_between):
        yield from (f"  {part}" for part in wrapped(line))
    if _can_bisect(change):
        first, *more = bisection(chronicle.entries[0].test, curve.metric, change)
        yield "  find it:"
        parts = [f"    {first}", *(f"      {part}" for part in more)]
        yield from (f"{part} \\" for part in parts[:-1])
        yield parts[-1]


def _size(curve: Curve, change: LevelChange) -> str:
    """How large a change is, and in which direction."""
    unit = metric_named(curve.metric).unit
    low, high = (signed(end, unit) for end in (change.change.low, change.change.high))
    sure = f"; 95 %: {low} to {high}" if low != high else ""
    levels = f"{format_quantity(change.before, unit)} to {format_quantity(change.after, unit)}"
    direction = "worse" if change.worse else "better"
    return f"{sized(change.change.value, unit)} ({direction}{sure}), {levels}"


def _when(chronicle: Timeline, change: LevelChange) -> str:
    runs = f"run {change.run + 1} of {len(chronicle.entries)}"
    sure = f" (95 %: {change.low + 1} to {change.high + 1})" if change.low < change.high else ""
    return f"from {runs}{sure}, {chronicle.entries[change.run].run.revision}"


def _blame(change: LevelChange, commits_between: Callable[[str, str], int | None]) -> Iterator[str]:
    """Which commits it can have come with."""
    good, bad = change.good, change.bad
    what = "the first bad commit" if change.worse else "the first better commit"
    if not good or not bad:
        side = "before" if not good else "after"
        yield f"{what} cannot be named: no run {side} it was of committed code"
    elif good == bad:
        yield (
            f"{short(good)} was measured before and after it: the code did not change, so it was "
            "the machine or its software"
        )
    else:
        number = commits_between(good, bad)
        if number == 1:
            yield f"{what} is {short(bad)}"
        else:
            several = f" ({number} commits)" if number else ""
            yield f"{what} is in {short(good)}..{short(bad)}{several}"
    if change.software:
        yield f"what else changed there: {', '.join(change.software)}"


def _can_bisect(change: LevelChange) -> bool:
    return bool(change.worse and change.good and change.bad and change.good != change.bad)


def _conclusion(chronicle: Timeline) -> Iterator[str]:
    steady = [curve.metric for curve in chronicle.curves if not curve.changes]
    if len(chronicle.entries) < 2 * SHORTEST:
        yield (
            f"{len(chronicle.entries)} of {2 * SHORTEST} runs: too few to tell a change of level "
            "from noise"
        )
        return
    if steady:
        yield f"no change of level beyond the noise: {', '.join(steady)}"
    adjusted = [curve.metric for curve in chronicle.curves if curve.adjusted]
    if adjusted:
        yield (
            f"what the reference model shows of the machine's speed was allowed for: "
            f"{', '.join(adjusted)}"
        )
    yield (
        f"A level is {SHORTEST} runs or more. Of histories in which nothing changed, "
        f"{FALSE_ALARMS * 100:g} % show a change."
    )


def _curve_json(test: str, curve: Curve) -> dict[str, object]:
    values = curve.values
    return {
        "metric": curve.metric,
        "unit": metric_named(curve.metric).unit,
        "better": metric_named(curve.metric).better,
        "runs": list(curve.runs),
        "values": values.tolist(),
        "first": float(values[0]),
        "last": float(values[-1]),
        "median": float(np.median(values)),
        "adjusted": curve.adjusted,
        "changes": [
            {
                **asdict(change),
                "software": list(change.software),
                "bisect": " ".join(bisection(test, curve.metric, change))
                if _can_bisect(change)
                else "",
            }
            for change in curve.changes
        ],
    }


def bisection(test: str, metric: str, change: LevelChange) -> Iterator[str]:
    r"""The command, in parts that stand on lines of their own (each but the last with a `\`).

    Args:
        test: pytest's node id.
        metric: that became worse.
        change: with a good and a bad commit.
    """
    good, bad = change.good[:_DIGITS], change.bad[:_DIGITS]
    yield f"git bisect start {bad} {good} && git bisect run sh -c"
    yield f"{_RUN} sh"
    of = metric_named(metric)
    if metric not in IN_TURN and not (of.by_user and of.unit == "share"):
        yield from judge_alone(test, budget_between(of, change))
        return
    sign = "<=" if of.better == "lower" else ">="
    loss, detect = _loss(of, change), ""
    if loss < of.detect:
        unit = "pt" if of.unit == "share" else "%"
        detect = f"{metric} {max(_LEAST_DETECT, loss) * 100:.2g}{unit}"
    yield from judge_in_turn(test, good, f"{metric} {sign} baseline", detect)


def budget_between(metric: Metric, change: LevelChange) -> str:
    """A budget that the level before holds and the level since breaks, halfway between both."""
    before, after = change.before, change.after
    if metric.unit == "share" or min(before, after) <= 0:
        between = (before + after) / 2
    else:
        between = math.sqrt(before * after)
    sign = "<=" if metric.better == "lower" else ">="
    return f"{metric.name} {sign} {between:.6g}{_UNITS[metric.unit]}"


def _loss(metric: Metric, change: LevelChange) -> float:
    """What was lost: a share, or how much more a request costs, as a ratio minus one."""
    value = change.change.value
    if metric.unit == "share":
        return abs(value)
    return min(_MOST_DETECT, (1 / (1 + value) if metric.better == "higher" else 1 + value) - 1)
