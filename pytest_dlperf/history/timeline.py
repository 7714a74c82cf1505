"""A measurement over all its runs, and where the level of its metrics changed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_dlperf.history.entries import condition_changes
from pytest_dlperf.history.sources import committed
from pytest_dlperf.judge.conditions import scaled_metrics_of
from pytest_dlperf.judge.contrasts import session_of
from pytest_dlperf.judge.losses import change_by, log_cost
from pytest_dlperf.metrics import metric_named
from pytest_dlperf.results.verdict import Verdict
from pytest_dlperf.statistics.change_points import find_steps
from pytest_dlperf.statistics.machine_speed import follow, logs_of
from pytest_dlperf.statistics.prediction import PRIOR_FREEDOM

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from pytest_dlperf.history.entries import Entry
    from pytest_dlperf.statistics.change_points import Step
    from pytest_dlperf.statistics.estimate import Estimate


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
class Curve:
    """One metric over all runs that have it.

    Attributes:
        metric: name.
        runs: indices of the runs, oldest first.
        values: in the metric's base unit, shape `(runs,)`.
        changes: of its level.
        adjusted: whether changes were sought in values adjusted by the machine's speed.
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
        entries: one for each run, oldest first.
        curves: one for each metric.
        left_out: messages on runs that were left out.
        alpha: false alarm rate of each curve.
    """

    entries: tuple[Entry, ...]
    curves: tuple[Curve, ...]
    left_out: tuple[str, ...]
    alpha: float


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


def timeline_of(
    entries: tuple[Entry, ...],
    left_out: tuple[str, ...],
    metrics: Iterable[str],
    alpha: float,
    rng: np.random.Generator,
) -> Timeline:
    """Find the changes of level of each metric.

    Args:
        entries: of one measurement under the same conditions, oldest first.
        left_out: messages on runs that were left out.
        metrics: names; those that no run has are ignored.
        alpha: false alarm rate of each curve.
        rng: for the permutations of the search.
    """
    names = [name for name in metrics if any(name in entry.result.metrics for entry in entries)]
    curves = tuple(_curve(name, entries, alpha, rng) for name in names)
    return Timeline(entries, curves, left_out, alpha)


def _difference(entry: Entry, newest: Entry) -> str:
    """Why an entry cannot be compared with the newest; empty if it can."""
    if entry.run.machine != newest.run.machine:
        return f"on {entry.run.machine.slug}"
    for condition, before, _ in condition_changes(entry.result, newest.result):
        return f"with {condition} {before}"
    blocking = newest.result.environment.changes(entry.result.environment)["blocking"]
    return f"before {', '.join(blocking)}" if blocking else ""


def _curve(name: str, entries: tuple[Entry, ...], alpha: float, rng: np.random.Generator) -> Curve:
    metric = metric_named(name)
    runs = tuple(at for at, entry in enumerate(entries) if name in entry.result.metrics)
    values = np.array([entries[at].result.metrics[name].value for at in runs])
    costs, adjusted = _costs(name, [entries[at] for at in runs])
    steps = find_steps(costs, alpha, rng)
    edges = [0, *(step.at for step in steps), len(runs)]
    changes = []
    for step, start, end in zip(steps, edges[:-2], edges[2:], strict=True):
        good, bad = _committed_neighbours(entries, runs, step)
        changes.append(
            LevelChange(
                run=runs[step.at],
                low=runs[step.low],
                high=runs[step.high],
                change=change_by(metric, step.change),
                worse=step.change.value > 0,
                before=float(np.median(values[start : step.at])),
                after=float(np.median(values[step.at : end])),
                good=good.run.revision.commit if good else "",
                bad=bad.run.revision.commit if bad else "",
                software=bad.result.environment.changes(good.result.environment)["warning"]
                if good and bad
                else (),
            )
        )
    return Curve(name, runs, values, tuple(changes), adjusted)


def _costs(name: str, entries: Sequence[Entry]) -> tuple[NDArray[np.float64], bool]:
    """The cost of each run, where more is worse, and whether the machine's speed was adjusted for.

    Logarithms, adjusted by the yardstick if every run has one; of shares the values themselves.
    """
    metric = metric_named(name)
    values = [entry.result.metrics[name].value for entry in entries]
    if metric.unit == "share":
        return np.array(values) * (1.0 if metric.better == "lower" else -1.0), False
    costs = np.array([log_cost(metric, value) for value in values])
    scaled = name in scaled_metrics_of(entries[-1].result.scenario)
    if not scaled or any(entry.result.newest.yardstick is None for entry in entries):
        return costs, False
    sessions = [
        session_of(metric, entry.result.metrics[name], entry.result.newest.yardstick)
        for entry in entries
    ]
    logs = logs_of([session.yardstick for session in sessions if session.yardstick is not None])
    noise = math.log1p(metric.run_noise)
    return costs - follow([costs], [logs], noise=noise, worth=PRIOR_FREEDOM).expected(logs), True


def _committed_neighbours(
    entries: tuple[Entry, ...], runs: tuple[int, ...], step: Step
) -> tuple[Entry | None, Entry | None]:
    """The nearest runs of committed code that are certainly before and after a step."""
    before = (entries[at] for at in reversed(runs[: step.low]))
    after = (entries[at] for at in runs[step.high :])
    good, bad = (
        next((entry for entry in side if committed(entry.run)), None) for side in (before, after)
    )
    return good, bad
