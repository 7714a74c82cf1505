"""The timeline of a measurement as sparklines and as JSON: its runs and changes of level."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from dataclasses import asdict
from itertools import pairwise
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_dlperf.history.bisection import LEGEND, bisection, can_bisect
from pytest_dlperf.history.timeline import FALSE_ALARMS
from pytest_dlperf.metrics import metric_named
from pytest_dlperf.report.tables import Column, table, wrap, wrap_message
from pytest_dlperf.results.baseline_session import short
from pytest_dlperf.statistics.change_points import SHORTEST
from pytest_dlperf.statistics.common_level import FEWEST_OTHERS
from pytest_dlperf.units import format_change, format_quantity, signed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

    from pytest_dlperf.history.company import Kind
    from pytest_dlperf.history.timeline import CommonChange, Curve, LevelChange, Timeline


SCHEMA: Final = 1
"""Version of the JSON."""

_BLOCKS: Final = "▁▂▃▄▅▆▇█"
_VALUE: Final = 10  # columns of a value
_NAME: Final = 11

_TOLD: Final = 3  # common changes, the newest
_EFFECTS: Final[Mapping[Kind, tuple[str, str]]] = MappingProxyType(
    {
        "speed": ("became {} faster", "became {} slower"),
        "memory": ("take {} less memory", "take {} more memory"),
    }
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
    for line in _newest_without_bounds(timeline):
        yield from wrap_message(line)
    for number, common in enumerate(timeline.common[-_TOLD:]):
        yield from () if number else ("",)
        yield from _common_lines(timeline, common, commits_between)
    if len(timeline.common) > _TOLD:
        yield from wrap_message(f"and {len(timeline.common) - _TOLD} before these")
    bisections = False
    for curve in timeline.curves:
        for change in curve.changes:
            yield ""
            yield from _change_lines(timeline, curve, change, commits_between)
            bisections |= bool(can_bisect(change))
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
        "common": [
            {**asdict(change), "software": list(change.software)} for change in timeline.common
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
    runs = _runs(len(entries))
    days = f"{first.date} to {last.date}" if first.date != last.date else first.date
    yield f"{runs}, {days}, on {entries[-1].run.machine.slug}"
    branches = Counter(entry.run.revision.branch or "no branch" for entry in entries)
    yield "branches: " + ", ".join(f"{name} ({runs})" for name, runs in branches.most_common(5))
    yield f"{entries[-1].result.scenario}, {entries[-1].result.serving}"
    for left_out in timeline.left_out:
        yield f"left out: {left_out}"


def _newest_without_bounds(timeline: Timeline) -> Iterator[str]:
    """What the newest run has measured, and its curve is without."""
    for name, estimate in timeline.entries[-1].unbounded.items():
        value = format_quantity(estimate.value, metric_named(name).unit)
        yield (
            f"{name} of the newest run is left out of its curve: {value}, and the run was too "
            "short to bound it from above"
        )


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
    if can_bisect(change):
        first, *more = bisection(timeline.entries[0].test, curve.metric, change)
        yield "  find it:"
        parts = [f"    {first}", *(f"      {part}" for part in more)]
        yield from (f"{part} \\" for part in parts[:-1])
        yield parts[-1]


def _common_lines(
    timeline: Timeline,
    change: CommonChange,
    commits_between: Callable[[str, str], int | None],
) -> Iterator[str]:
    """What most tests share, the code that can have caused it, and what else changed."""
    low, high = (signed(end, "s") for end in (change.change.low, change.change.high))
    effect = _EFFECTS[change.kind][change.change.value > 0]
    size = format_change(abs(change.change.value), "s").removeprefix("+")
    yield from wrap_message(
        f"{change.tests} of {change.of} tests {effect.format(size)} (95 %: {low} to {high}), "
        f"{_when(timeline, change)}: the machine, its software or code that they share, not a "
        "change of this test alone"
    )
    for line in _range(change, commits_between):
        yield from (f"  {part}" for part in wrap_message(line))


def _range(
    change: CommonChange, commits_between: Callable[[str, str], int | None]
) -> Iterator[str]:
    good, bad = change.good, change.bad
    if good and good == bad:
        yield f"{short(good)} was measured before and after it: not the code"
    elif good and bad:
        number = commits_between(good, bad)
        several = f" ({number} commit{'s' if number > 1 else ''})" if number else ""
        yield f"commits between: {short(good)}..{short(bad)}{several}"
    if change.software:
        yield f"what else changed there: {', '.join(change.software)}"


def _size(curve: Curve, change: LevelChange) -> str:
    """The size of a change with its interval, its direction, and both levels."""
    unit = metric_named(curve.metric).unit
    low, high = (signed(end, unit) for end in (change.change.low, change.change.high))
    interval = f"; 95 %: {low} to {high}" if low != high else ""
    levels = f"{format_quantity(change.before, unit)} to {format_quantity(change.after, unit)}"
    direction = "worse" if change.worse else "better"
    return f"{format_change(change.change.value, unit)} ({direction}{interval}), {levels}"


def _when(timeline: Timeline, change: LevelChange | CommonChange) -> str:
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
    yield from _on_others(timeline)
    yield (
        f"A level is {SHORTEST} runs or more. Of histories in which nothing changed, "
        f"{FALSE_ALARMS * 100:g} % show a change."
    )


def _on_others(timeline: Timeline) -> Iterator[str]:
    """How the machine's part was told from the test's own, and where it could not be."""
    beside: dict[tuple[int, int], list[str]] = {}
    for curve in timeline.curves:
        if curve.others:
            beside.setdefault((curve.others, curve.alone), []).append(curve.metric)
    for (others, alone), metrics in beside.items():
        left = f"; {_runs(alone)} without {FEWEST_OTHERS} of them not searched" if alone else ""
        yield (
            f"changes were sought beside {others} other tests of the machine class{left}: "
            f"{', '.join(metrics)}"
        )
    lone = [c.metric for c in timeline.curves if c.kind and not c.others and c.changes]
    if lone:
        yield (
            f"a change of {', '.join(lone)} may be the machine's: too few other tests "
            f"({FEWEST_OTHERS}) were measured in the same runs to tell"
        )


def _runs(number: int) -> str:
    return f"{number} run{'s' if number > 1 else ''}"


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
        "other_tests": curve.others,
        "not_searched": curve.alone,
        "changes": [
            {
                **asdict(change),
                "software": list(change.software),
                "bisect": " ".join(bisection(test, curve.metric, change))
                if can_bisect(change)
                else "",
            }
            for change in curve.changes
        ],
    }
