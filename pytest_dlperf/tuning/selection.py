"""Selection: the finalists of a study, the recommended one, and the Pareto front."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pytest_dlperf.metrics import Metric, metric_named
from pytest_dlperf.results.verdict import Verdict
from pytest_dlperf.tuning.configuration import setup_of
from pytest_dlperf.tuning.effects import worth_of
from pytest_dlperf.tuning.result import Tuned

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pytest_dlperf.statistics.estimate import Estimate
    from pytest_dlperf.tuning.configuration import Configuration, Knob, Setup
    from pytest_dlperf.tuning.goal import Goal, Measured
    from pytest_dlperf.tuning.result import Finalist, TrialResult


def finalists_of(
    trials: Sequence[TrialResult], goal: Goal, count: int
) -> tuple[Configuration, ...]:
    """The best configurations, to be compared with the setup without tuning.

    None breaks a constraint, or has a worse objective than without tuning, beyond the noise.
    Those that meet every constraint come first, and of them those that meet it beyond the noise:
    the comparison uses the same rows, so it cannot resolve an open accuracy. Within such a tier
    the objective counts; a configuration that another of its tier or an earlier one dominates
    in the metrics of the goal is left out.
    """
    base = trials[0].measured
    if base is None:
        return ()
    tiers: dict[tuple[bool, bool], list[tuple[TrialResult, Measured]]] = {}
    for trial in trials[1:]:
        measured = trial.measured
        if measured is not None and _may_win(measured, base, goal):
            tiers.setdefault(_tier(measured, base, goal), []).append((trial, measured))
    metrics = [metric_named(name) for name in goal.metrics]
    up_to_tier: list[Measured] = []
    ranked: list[TrialResult] = []
    for tier in sorted(tiers):
        up_to_tier += [measured for _, measured in tiers[tier]]
        best = [
            trial
            for trial, measured in tiers[tier]
            if not any(dominates(other.metrics, measured.metrics, metrics) for other in up_to_tier)
        ]
        ranked += sorted(best, key=lambda trial: goal.cost(trial.metrics))
    return tuple(trial.configuration for trial in ranked[:count])


def _may_win(measured: Measured, base: Measured, goal: Goal) -> bool:
    name = goal.objective.name
    if name not in measured.metrics or any(s.broken for s in goal.slacks(measured, base)):
        return False
    if name not in base.metrics:
        return True
    mine, its = measured.metrics[name], base.metrics[name]
    loss = its.value - mine.value if goal.objective.better == "higher" else mine.value - its.value
    return loss <= math.hypot(half_width(mine), half_width(its))


def _tier(measured: Measured, base: Measured, goal: Goal) -> tuple[bool, bool]:
    """Whether a constraint is not met, and whether one is not met beyond the noise."""
    slacks = goal.slacks(measured, base)
    return not all(slack.holds for slack in slacks), not all(slack.sure for slack in slacks)


def recommended(finalists: Iterable[Finalist], goal: Goal) -> Finalist | None:
    """The finalist with the largest gain of those that are proven better; None if none is."""
    sign = 1.0 if goal.objective.better == "higher" else -1.0
    proven = [(f, f.gain.value) for f in finalists if f.proven and f.gain is not None]
    best = max(proven, key=lambda pair: sign * pair[1], default=None)
    return best[0] if best else None


def concluded(  # noqa: PLR0913 - the fields of Tuned
    *,
    test: str,
    goal: Goal,
    knobs: Sequence[Knob],
    base: Setup,
    trials: Sequence[TrialResult],
    finalists: Sequence[Finalist],
    scenario: str,
    search: str,
    seconds: float,
    resumed: int = 0,
    notes: Sequence[str] = (),
    answers: Sequence[str] = (),
) -> Tuned:
    """The result of a study, with its recommendation; see `Tuned` for the fields."""
    best = recommended(finalists, goal)
    choice = best.configuration if best else trials[0].configuration
    return Tuned(
        test=test,
        goal=goal,
        knobs=tuple(knobs),
        base=base,
        trials=tuple(trials),
        finalists=tuple(finalists),
        recommended=choice,
        setup=setup_of(base, choice, knobs),
        reason=_reason(best, trials, finalists),
        effects=worth_of(trials, knobs, goal),
        scenario=scenario,
        search=search,
        seconds=seconds,
        resumed=resumed,
        notes=tuple(notes),
        answers=tuple(answers),
    )


def _reason(
    best: Finalist | None, trials: Sequence[TrialResult], finalists: Sequence[Finalist]
) -> str:
    if best is not None:
        others = sum(finalist.proven for finalist in finalists) - 1
        more = f"; so {'is' if others == 1 else 'are'} {others} more" if others else ""
        return f"proven better than the setup without tuning, within every constraint{more}"
    if trials[0].measured is None:
        return f"the setup without tuning failed: {trials[0].failed or trials[0].skipped}"
    if not finalists:
        return "no other configuration that was tried is as good within every constraint"
    worse = sum(finalist.verdict is Verdict.FAIL for finalist in finalists)
    failed = f", {worse} of them FAIL" if worse else ""
    return f"none of {len(finalists)} compared is proven better within every constraint{failed}"


def front(points: Sequence[Mapping[str, Estimate]], metrics: Iterable[str]) -> tuple[int, ...]:
    """The indices of the points that no other one dominates; a point that lacks a metric stays."""
    names = [metric_named(name) for name in metrics]
    return tuple(
        place
        for place, point in enumerate(points)
        if not any(dominates(other, point, names) for other in points if other is not point)
    )


def common_metrics(
    points: Sequence[Mapping[str, Estimate]], metrics: Iterable[str]
) -> tuple[str, ...]:
    """The metrics that every point has."""
    return tuple(name for name in metrics if all(name in point for point in points))


def dominates(
    point: Mapping[str, Estimate], other: Mapping[str, Estimate], metrics: Iterable[Metric]
) -> bool:
    """Whether a point is as good in every metric, and better in one by more than the noise.

    The noise of a difference is taken from both intervals, as of independent measurements; a
    figure that both share, such as the time of a common training, has none.
    """
    beyond = False
    for metric in metrics:
        if metric.name not in point or metric.name not in other:
            return False
        mine, its = point[metric.name], other[metric.name]
        gain = mine.value - its.value if metric.better == "higher" else its.value - mine.value
        if gain < 0:
            return False
        beyond = beyond or gain > math.hypot(*map(half_width, (mine, its)))
    return beyond


def half_width(estimate: Estimate) -> float:
    """The longer side of an interval."""
    return max(estimate.high - estimate.value, estimate.value - estimate.low)
