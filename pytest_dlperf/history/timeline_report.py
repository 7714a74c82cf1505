"""The timeline of a measurement as sparklines and as JSON: its runs and changes of level."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from dataclasses import asdict
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_dlperf.history.timeline import FALSE_ALARMS
from pytest_dlperf.judge.error_rates import SLOTTED
from pytest_dlperf.metrics import metric_named
from pytest_dlperf.report.hints import judge_alone, judge_in_turn
from pytest_dlperf.report.tables import Column, table, wrap, wrap_message
from pytest_dlperf.results.baseline import short
from pytest_dlperf.statistics.change_points import SHORTEST
from pytest_dlperf.units import change_unit, format_change, format_quantity, signed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from pytest_dlperf.history.timeline import Curve, LevelChange, Timeline
    from pytest_dlperf.metrics import Metric


SCHEMA: Final = 1
"""Version of the JSON."""

_BLOCKS: Final = "▁▂▃▄▅▆▇█"
_VALUE: Final = 10  # columns of a value
_NAME: Final = 11

IN_TURN: Final = SLOTTED | {"accuracy"}
"""Metrics that a duel can judge; users' shares too."""
_UNITS: Final = {"s": "s", "1/s": "/s", "bytes": "B", "share": "", "1": ""}
_DIGITS: Final = 12  # of a commit, so that it is unique
_LEAST_DETECT: Final = 1e-4
_MOST_DETECT: Final = 0.5
_RUN: Final = """'pytest "$@"; s=$?; [ $s -gt 1 ] && s=125; exit $s'"""
"""git takes 0 for good, 125 for skip, and all else up to 127 for bad. pytest exits with 1 if a test
fails, and with more if it could not run, which says nothing about the commit."""
LEGEND: Final = (
    "A commit whose test cannot run is skipped; one that stays INCONCLUSIVE counts as good."
)


def history_lines(
    timeline: Timeline,
    width: int,
    commits_between: Callable[[str, str], int | None],
    *,
    colour: bool,
) -> Iterator[str]:
    """The runs, a line for each metric, and each change of level with its command.

    Args:
        timeline: of one measurement.
        width: columns.
        commits_between: number of commits from one to another; None if it is not known.
        colour: whether to emit ANSI colours.
    """
    entries = timeline.entries
    yield from wrap_message(entries[0].key.title)
    for line in _heading(timeline):
        yield from wrap(line)
    yield ""
    yield from _table(timeline, width, colour=colour)
    bisections = False
    for curve in timeline.curves:
        for change in curve.changes:
            yield ""
            yield from _change_lines(timeline, curve, change, commits_between)
            bisections |= bool(_can_bisect(change))
    yield ""
    if bisections:
        yield from wrap_message(LEGEND)
    for line in _conclusion(timeline):
        yield from wrap_message(line)


def history_json(timeline: Timeline) -> dict[str, object]:
    """Plain values: finite numbers, text, lists and dictionaries.

    Values are in the metric's base unit; runs are counted from 0, the oldest; changes are ratios
    minus one, or of shares differences, above 0 where the value is larger since.
    """
    newest = timeline.entries[-1]
    return {
        "test": newest.test,
        "name": newest.name,
        "machine": newest.run.machine.slug,
        "scenario": newest.result.scenario,
        "serving": newest.result.serving,
        "left_out": list(timeline.left_out),
        "alpha": timeline.alpha,
        "runs": [
            {
                "key": entry.run.key,
                "began": entry.run.began,
                "commit": entry.run.revision.commit,
                "branch": entry.run.revision.branch,
                "verdict": entry.verdict.value,
            }
            for entry in timeline.entries
        ],
        "metrics": [_curve_json(newest.test, curve) for curve in timeline.curves],
    }


def sparkline(values: NDArray[np.float64], width: int) -> str:
    """Values as blocks from the lowest to the highest; neighbours share a median if too many.

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


def _heading(timeline: Timeline) -> Iterator[str]:
    entries = timeline.entries
    first, last = entries[0].run.revision, entries[-1].run.revision
    runs = f"{len(entries)} run{'s' if len(entries) > 1 else ''}"
    days = f"{first.date} to {last.date}" if first.date != last.date else first.date
    yield f"{runs}, {days}, on {entries[-1].run.machine.slug}"
    branches = Counter(entry.run.revision.branch or "no branch" for entry in entries)
    yield "branches: " + ", ".join(f"{name} ({runs})" for name, runs in branches.most_common(5))
    yield f"{entries[-1].result.scenario}, {entries[-1].result.serving}"
    for left_out in timeline.left_out:
        yield f"left out: {left_out}"


def _table(timeline: Timeline, width: int, *, colour: bool) -> list[str]:
    longest = max((len(curve.metric) for curve in timeline.curves), default=0)
    room = max(1, width - max(_NAME, longest) - 3 * _VALUE - 4 * 2 - 1)
    columns = (
        Column("metric", min_width=_NAME),
        Column("oldest to newest", min_width=room),
        *(Column(name, right=True, min_width=_VALUE) for name in ("first", "median", "last")),
    )
    rows = []
    for curve in timeline.curves:
        unit, values = metric_named(curve.metric).unit, curve.values
        shown = (float(values[0]), float(np.median(values)), float(values[-1]))
        cells = (format_quantity(value, unit) for value in shown)
        rows.append((curve.metric, sparkline(values, room), *cells))
        if curve.changes:
            rows.append(("", _marks(curve, room)))
    return table(columns, rows, width, colour=colour)


def _marks(curve: Curve, room: int) -> str:
    """A mark below each change."""
    edges = _edges(len(curve.runs), room)
    line = [" "] * (len(edges) - 1)
    for change in curve.changes:
        line[bisect_right(edges, curve.runs.index(change.run)) - 1] = "^"
    return "".join(line)


def _edges(values: int, width: int) -> list[int]:
    """Index of the first value of each column, and the number of values."""
    columns = min(width, values)
    return [values * column // columns for column in range(columns + 1)]


def _change_lines(
    timeline: Timeline,
    curve: Curve,
    change: LevelChange,
    commits_between: Callable[[str, str], int | None],
) -> Iterator[str]:
    yield from wrap_message(f"{curve.metric} {_size(curve, change)}, {_when(timeline, change)}")
    for line in _blame(change, commits_between):
        yield from (f"  {part}" for part in wrap_message(line))
    if _can_bisect(change):
        first, *more = bisection(timeline.entries[0].test, curve.metric, change)
        yield "  find it:"
        parts = [f"    {first}", *(f"      {part}" for part in more)]
        yield from (f"{part} \\" for part in parts[:-1])
        yield parts[-1]


def _size(curve: Curve, change: LevelChange) -> str:
    """The size of a change with its interval, its direction, and both levels."""
    unit = metric_named(curve.metric).unit
    low, high = (signed(end, unit) for end in (change.change.low, change.change.high))
    interval = f"; 95 %: {low} to {high}" if low != high else ""
    levels = f"{format_quantity(change.before, unit)} to {format_quantity(change.after, unit)}"
    direction = "worse" if change.worse else "better"
    return f"{format_change(change.change.value, unit)} ({direction}{interval}), {levels}"


def _when(timeline: Timeline, change: LevelChange) -> str:
    runs = f"run {change.run + 1} of {len(timeline.entries)}"
    interval = ""
    if change.low < change.high:
        interval = f" (95 %: {change.low + 1} to {change.high + 1})"
    return f"from {runs}{interval}, {timeline.entries[change.run].run.revision}"


def _blame(change: LevelChange, commits_between: Callable[[str, str], int | None]) -> Iterator[str]:
    """The commits that can have caused it, and the software that changed with them."""
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


def _conclusion(timeline: Timeline) -> Iterator[str]:
    steady = [curve.metric for curve in timeline.curves if not curve.changes]
    if len(timeline.entries) < 2 * SHORTEST:
        yield (
            f"{len(timeline.entries)} of {2 * SHORTEST} runs: too few to tell a change of level "
            "from noise"
        )
        return
    if steady:
        yield f"no change of level beyond the noise: {', '.join(steady)}"
    adjusted = [curve.metric for curve in timeline.curves if curve.adjusted]
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
        metric: the metric that became worse.
        change: of its level, with a good and a bad commit.
    """
    good, bad = change.good[:_DIGITS], change.bad[:_DIGITS]
    yield f"git bisect start {bad} {good} && git bisect run sh -c"
    yield f"{_RUN} sh"
    worse = metric_named(metric)
    if metric not in IN_TURN and not (worse.by_user and worse.unit == "share"):
        yield from judge_alone(test, budget_between(worse, change))
        return
    sign = "<=" if worse.better == "lower" else ">="
    loss, detect = max(_LEAST_DETECT, _loss(worse, change)), ""
    if loss < worse.detect:
        detect = f"{metric} {loss * 100:.2g}{change_unit(worse.unit)}"
    yield from judge_in_turn(test, good, f"{metric} {sign} baseline", detect)


def budget_between(metric: Metric, change: LevelChange) -> str:
    """A budget halfway between both levels: kept by the one before, broken by the one since."""
    before, after = change.before, change.after
    if metric.unit == "share" or min(before, after) <= 0:
        between = (before + after) / 2
    else:
        between = math.sqrt(before * after)
    sign = "<=" if metric.better == "lower" else ">="
    return f"{metric.name} {sign} {between:.6g}{_UNITS[metric.unit]}"


def _loss(metric: Metric, change: LevelChange) -> float:
    """The loss as a difference of shares, or of costs as a ratio minus one."""
    value = change.change.value
    if metric.unit == "share":
        return abs(value)
    return min(_MOST_DETECT, (1 / (1 + value) if metric.better == "higher" else 1 + value) - 1)
