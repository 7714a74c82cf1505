"""A measurement over all its runs, and where the level of its metrics changed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_dlperf.history.company import ALONE, Company, Course, course_of
from pytest_dlperf.history.entries import condition_changes
from pytest_dlperf.history.sources import committed
from pytest_dlperf.judge.losses import change_by
from pytest_dlperf.results.verdict import Verdict
from pytest_dlperf.statistics.change_points import find_steps
from pytest_dlperf.statistics.common_level import (
    FEWEST_OTHERS,
    common_level,
    own_steps,
    shared_by,
)
from pytest_dlperf.statistics.estimate import Estimate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from pytest_dlperf.history.company import Kind
    from pytest_dlperf.history.entries import Entry
    from pytest_dlperf.statistics.change_points import Step
    from pytest_dlperf.statistics.common_level import CommonLevel


FALSE_ALARMS: Final = 0.002
"""Share of histories without a change that are reported to have one."""


@dataclass(frozen=True, slots=True)
class LevelChange:
    """A change of the level of a metric.

    Attributes:
        run: index of the most likely first run of the new level.
        low: lower end of its 95 % confidence interval.
        high: upper end.
        change: of the metric's value with its interval, above 0 if it is larger now: a ratio minus
            one, or of shares the difference.
        worse: whether the new level is worse.
        before: level before, in the metric's base unit.
        after: level since.
        good: commit of the last run that is certainly before the change; empty if no run before it
            was of committed code.
        bad: commit of the first run that is certainly after it; empty likewise.
        software: what else changed between these two runs.
    """

    run: int
    low: int
    high: int
    change: Estimate
    worse: bool
    before: float
    after: float
    good: str
    bad: str
    software: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CommonChange:
    """A change of level that at least half of the tests of the machine class share.

    It is the machine's, its software's, or that of code which all of them run.

    Attributes:
        kind: of speeds, or of memory.
        run: index of the most likely first run of the new level.
        low: lower end of its 95 % confidence interval.
        high: upper end.
        change: of the median test's cost with its interval, a ratio minus one: above 0 if it is
            slower, or takes more memory.
        tests: how many tests have changed by at least half of that, this one among them.
        of: of how many.
        good: commit of the last run that is certainly before the change; empty if no run before it
            was of committed code.
        bad: commit of the first run that is certainly after it; empty likewise.
        software: what else changed between these two runs.
    """

    kind: Kind
    run: int
    low: int
    high: int
    change: Estimate
    tests: int
    of: int
    good: str
    bad: str
    software: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Curve:
    """One metric over all runs that have it.

    Attributes:
        metric: name.
        runs: indices of the runs, oldest first.
        values: in the metric's base unit, shape `(runs,)`.
        changes: of its level.
        adjusted: whether changes were sought in values adjusted by the machine's speed.
        kind: what of the machine it shows; None if nothing.
        others: less the level of how many other tests changes were sought; 0 if there were too few.
        alone: how many runs were not searched, since too few others were measured in them.
    """

    metric: str
    runs: tuple[int, ...]
    values: NDArray[np.float64]
    changes: tuple[LevelChange, ...]
    adjusted: bool
    kind: Kind | None = None
    others: int = 0
    alone: int = 0


@dataclass(frozen=True, slots=True)
class Timeline:
    """One measurement over all its runs on one machine class, under the newest one's conditions.

    Attributes:
        entries: one for each run, oldest first.
        curves: one for each metric.
        left_out: messages on runs that were left out.
        alpha: false alarm rate of each curve.
        common: what at least half of all tests share, of speeds and of memory.
    """

    entries: tuple[Entry, ...]
    curves: tuple[Curve, ...]
    left_out: tuple[str, ...]
    alpha: float
    common: tuple[CommonChange, ...] = ()


def comparable_entries(
    newest_first: Sequence[Entry],
) -> tuple[tuple[Entry, ...], tuple[str, ...]]:
    """The entries that can be compared with the newest, oldest first; and messages on the others.

    Entries are comparable on the same machine class, with the same scenario, serving, slo, thread
    settings and precision. INVALID ones are not, and neither are those under a debugger, unless
    there are no others.

    Args:
        newest_first: entries of one measurement, at least one.
    """
    reasons: dict[str, int] = {}
    kept: list[Entry] = []
    valid = [entry for entry in newest_first if entry.verdict is not Verdict.INVALID]
    if len(valid) < len(newest_first):
        reasons["whose measuring failed (INVALID)"] = len(newest_first) - len(valid)
    undistorted = [entry for entry in valid if not entry.result.environment.distortion]
    for entry in valid:
        reason = _difference(entry, (undistorted or valid)[0])
        if undistorted:
            reason = entry.result.environment.distortion or reason
        if reason:
            reasons[reason] = reasons.get(reason, 0) + 1
        else:
            kept.append(entry)
    left_out = tuple(
        f"{number} run{'s' if number > 1 else ''} {reason}" for reason, number in reasons.items()
    )
    return tuple(reversed(kept)), left_out


def timeline_of(  # noqa: PLR0913 - what is shown, and what it is compared with
    entries: tuple[Entry, ...],
    left_out: tuple[str, ...],
    metrics: Iterable[str],
    alpha: float,
    rng: np.random.Generator,
    *,
    company: Company = ALONE,
) -> Timeline:
    """Find the changes of level of each metric, and those that most tests share.

    Args:
        entries: of one measurement under the same conditions, oldest first.
        left_out: messages on runs that were left out.
        metrics: names; those that no run has are ignored.
        alpha: false alarm rate of each curve.
        rng: for the permutations of the search.
        company: the other tests.
    """
    names = [name for name in metrics if any(name in entry.result.metrics for entry in entries)]
    curves: list[Curve] = []
    common: dict[Kind, tuple[CommonChange, ...]] = {}
    for name in names:
        course = course_of(name, entries)
        level = _level_of_others(course, entries, company, rng)
        curves.append(_curve(course, entries, level, alpha, rng))
        if level is not None and course.kind is not None and course.kind not in common:
            common[course.kind] = tuple(_common_changes(course, entries, level))
    changes = (change for found in common.values() for change in found)
    return Timeline(
        entries, tuple(curves), left_out, alpha, tuple(sorted(changes, key=lambda it: it.run))
    )


def _difference(entry: Entry, newest: Entry) -> str:
    """Why an entry cannot be compared with the newest; empty if it can."""
    if entry.run.machine != newest.run.machine:
        return f"on {entry.run.machine.slug}"
    for condition, before, _ in condition_changes(entry.result, newest.result):
        return f"with {condition} {before}"
    blocking = newest.result.environment.changes(entry.result.environment)["blocking"]
    return f"before {', '.join(blocking)}" if blocking else ""


def _level_of_others(
    course: Course,
    entries: Sequence[Entry],
    company: Company,
    rng: np.random.Generator,
) -> CommonLevel | None:
    """What the other tests share in the runs of a course; None if they are too few."""
    if course.kind is None:
        return None
    curves = company.curves(course.kind, [entries[at] for at in course.runs], course.yardsticks)
    if len(curves) < FEWEST_OTHERS:
        return None
    level = common_level(curves, FALSE_ALARMS, rng)
    return level if level.enough else None


def _curve(
    course: Course,
    entries: tuple[Entry, ...],
    level: CommonLevel | None,
    alpha: float,
    rng: np.random.Generator,
) -> Curve:
    metric, runs, costs = course.metric, course.runs, course.costs
    steps = find_steps(costs, alpha, rng) if level is None else own_steps(costs, level, alpha, rng)
    values = np.array([entries[at].result.metrics[metric.name].value for at in runs])
    edges = [0, *(step.at for step in steps), len(runs)]
    changes = []
    for step, start, end in zip(steps, edges[:-2], edges[2:], strict=True):
        good, bad, software = _between(entries, runs, step)
        changes.append(
            LevelChange(
                run=runs[step.at],
                low=runs[step.low],
                high=runs[step.high],
                change=change_by(metric, step.change),
                worse=step.change.value > 0,
                before=float(np.median(values[start : step.at])),
                after=float(np.median(values[step.at : end])),
                good=good,
                bad=bad,
                software=software,
            )
        )
    return Curve(
        metric=metric.name,
        runs=runs,
        values=values,
        changes=tuple(changes),
        adjusted=course.yardsticks[-1] is not None,
        kind=course.kind,
        others=0 if level is None else len(level.residuals),
        alone=0 if level is None else int((~level.known).sum()),
    )


def _common_changes(
    course: Course, entries: tuple[Entry, ...], level: CommonLevel
) -> Iterator[CommonChange]:
    """The steps of the others that at least half of all tests share."""
    for step in level.steps:
        sharing, known = shared_by(step, course.costs, level)
        if 2 * sharing < known:
            continue
        runs = course.runs
        good, bad, software = _between(entries, runs, step)
        ratio = Estimate(
            *(math.expm1(end) for end in (step.change.value, step.change.low, step.change.high))
        )
        yield CommonChange(
            kind=course.kind or "speed",
            run=runs[step.at],
            low=runs[step.low],
            high=runs[step.high],
            change=ratio,
            tests=sharing,
            of=known,
            good=good,
            bad=bad,
            software=software,
        )


def _between(
    entries: tuple[Entry, ...], runs: tuple[int, ...], step: Step
) -> tuple[str, str, tuple[str, ...]]:
    """The commits of committed code nearest to a step, before and after, and changed software."""
    before = (entries[at] for at in reversed(runs[: step.low]))
    after = (entries[at] for at in runs[step.high :])
    good, bad = (
        next((entry for entry in side if committed(entry.run)), None) for side in (before, after)
    )
    software: tuple[str, ...] = ()
    if good and bad:
        software = bad.result.environment.changes(good.result.environment)["warning"]
    return (
        good.run.revision.commit if good else "",
        bad.run.revision.commit if bad else "",
        software,
    )
