"""Chronicle: a measurement over all its runs, and where the level of its metrics changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_dlperf.history.sources import committed
from pytest_dlperf.judge.conditions import scaled_metrics_of
from pytest_dlperf.judge.contrasts import session_of
from pytest_dlperf.judge.losses import change_by, log_cost
from pytest_dlperf.metrics import metric_named
from pytest_dlperf.results.verdict import Verdict
from pytest_dlperf.statistics.change_points import find_steps
from pytest_dlperf.statistics.prediction import shrinkage

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from pytest_dlperf.history.entries import Entry
    from pytest_dlperf.statistics.change_points import Step
    from pytest_dlperf.statistics.estimate import Estimate


FALSE_ALARMS: Final = 0.002
"""Of histories in which nothing changed, the share that may be said to have a change."""


@dataclass(frozen=True, slots=True)
class LevelChange:
    """One change of the level of a metric.

    Attributes:
        run: index of the first run of the new level, as far as can be told.
        low: the first run that it may be, with 95 % confidence.
        high: the last one.
        change: of the metric's own value, above 0 where it is larger now: a ratio minus one, or
            of shares the difference; with its interval.
        worse: whether the new level is worse.
        before: the level before, in the metric's base unit.
        after: the level since.
        good: commit of the last run that was surely before it; empty if none was of committed code.
        bad: commit of the first run that surely was not; empty likewise.
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
class Curve:
    """One metric over all runs that have it.

    Attributes:
        metric: its name.
        runs: indices of the runs, in order of time.
        values: what they measured, in the metric's base unit, shape `(runs,)`.
        changes: where its level changed.
        adjusted: whether the machine's speed of the day was allowed for.
    """

    metric: str
    runs: tuple[int, ...]
    values: NDArray[np.float64]
    changes: tuple[LevelChange, ...]
    adjusted: bool


@dataclass(frozen=True, slots=True)
class Timeline:
    """One measurement over all its runs on one machine class, under the newest one's conditions.

    Attributes:
        entries: one of each run, the oldest first.
        curves: one of each metric.
        left_out: what does not count, for people.
        alpha: how often one curve without a change is said to have one.
    """

    entries: tuple[Entry, ...]
    curves: tuple[Curve, ...]
    left_out: tuple[str, ...]
    alpha: float


def alike(newest_first: Sequence[Entry]) -> tuple[tuple[Entry, ...], tuple[str, ...]]:
    """The entries that can be compared with the newest, the oldest first; and what is left out.

    Those are on its machine class, under its scenario, serving and slo, with its threads and
    precision, and of a run whose measuring did not fail.

    Args:
        newest_first: entries of one measurement, at least one.
    """
    reasons: dict[str, int] = {}
    kept: list[Entry] = []
    valid = [entry for entry in newest_first if entry.verdict is not Verdict.INVALID]
    if len(valid) < len(newest_first):
        reasons["whose measuring failed (INVALID)"] = len(newest_first) - len(valid)
    for entry in valid:
        reason = _unlike(entry, valid[0])
        if reason:
            reasons[reason] = reasons.get(reason, 0) + 1
        else:
            kept.append(entry)
    said = tuple(
        f"{number} run{'s' if number > 1 else ''} {reason}" for reason, number in reasons.items()
    )
    return tuple(reversed(kept)), said


def timeline_of(
    entries: tuple[Entry, ...],
    left_out: tuple[str, ...],
    metrics: Iterable[str],
    alpha: float,
    rng: np.random.Generator,
) -> Timeline:
    """Follow metrics over runs.

    Args:
        entries: of one measurement under the same conditions, the oldest first.
        left_out: what does not count, for people.
        metrics: names of those to follow; what no run has is left out.
        alpha: how often one curve without a change may be said to have one.
        rng: of the search for changes.
    """
    names = [name for name in metrics if any(name in entry.found.metrics for entry in entries)]
    curves = tuple(_curve(name, entries, alpha, rng) for name in names)
    return Timeline(entries, curves, left_out, alpha)


def _unlike(entry: Entry, newest: Entry) -> str:
    found, now = entry.found, newest.found
    if entry.run.machine != newest.run.machine:
        return f"on {entry.run.machine.slug}"
    for what, then, today in (
        ("scenario", found.scenario, now.scenario),
        ("serving", found.serving, now.serving),
        ("slo", found.slo, now.slo),
    ):
        if then != today:
            return f"with {what} {then}"
    blocking = now.environment.changes(found.environment)["blocking"]
    return f"before {', '.join(blocking)}" if blocking else ""


def _curve(name: str, entries: tuple[Entry, ...], alpha: float, rng: np.random.Generator) -> Curve:
    metric = metric_named(name)
    runs = tuple(at for at, entry in enumerate(entries) if name in entry.found.metrics)
    values = np.array([entries[at].found.metrics[name].value for at in runs])
    costs, adjusted = _costs(name, [entries[at] for at in runs])
    steps = find_steps(costs, alpha, rng)
    edges = [0, *(step.at for step in steps), len(runs)]
    changes = []
    for number, step in enumerate(steps):
        before, after = (values[edges[i] : edges[i + 1]] for i in (number, number + 1))
        ends = _ends(entries, runs, step)
        changes.append(
            LevelChange(
                run=runs[step.at],
                low=runs[step.low],
                high=runs[step.high],
                change=change_by(metric, step.change),
                worse=step.change.value > 0,
                before=float(np.median(before)),
                after=float(np.median(after)),
                good=ends[0].run.revision.commit if ends[0] else "",
                bad=ends[1].run.revision.commit if ends[1] else "",
                software=_software(ends),
            )
        )
    return Curve(name, runs, values, tuple(changes), adjusted)


def _costs(name: str, entries: Sequence[Entry]) -> tuple[NDArray[np.float64], bool]:
    """What each run cost, so that more is worse; and whether the machine was allowed for.

    Logarithms, less what the yardstick shows of the machine's speed that day where every run has
    one; of shares the values themselves.
    """
    metric = metric_named(name)
    values = [entry.found.metrics[name].value for entry in entries]
    if metric.unit == "share":
        return np.array(values) * (1.0 if metric.better == "lower" else -1.0), False
    costs = np.array([log_cost(metric, value) for value in values])
    scaled = name in scaled_metrics_of(entries[-1].found.scenario)
    if not scaled or any(entry.found.newest.yardstick is None for entry in entries):
        return costs, False
    sessions = [
        session_of(metric, entry.found.metrics[name], entry.found.newest.yardstick)
        for entry in entries
    ]
    machine = np.array([session.yardstick for session in sessions])
    return costs - shrinkage(sessions) * machine, True


def _ends(
    entries: tuple[Entry, ...], runs: tuple[int, ...], step: Step
) -> tuple[Entry | None, Entry | None]:
    """The nearest runs of committed code that are surely before and after a step."""
    before = (entries[at] for at in reversed(runs[: step.low]))
    after = (entries[at] for at in runs[step.high :])
    good, bad = (
        next((entry for entry in side if committed(entry.run)), None) for side in (before, after)
    )
    return good, bad


def _software(ends: tuple[Entry | None, Entry | None]) -> tuple[str, ...]:
    good, bad = ends
    if good is None or bad is None:
        return ()
    return bad.found.environment.changes(good.found.environment)["warning"]
