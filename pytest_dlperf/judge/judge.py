"""Verdicts on budgets, from a measurement and, for relative budgets, a baseline.

Every decision compares an interval with a limit. FAIL: the whole interval is beyond the limit.
PASS: the whole interval is within it (a relative budget passes when a loss of its limit or of
the metric's `detect`, whichever is larger, is excluded). Neither: INCONCLUSIVE. On a machine that
was not quiet, or is not as fast as it was, no speed is a FAIL.

The interval of a loss since the baseline is that of a prediction for another session of the same
code (`statistics/prediction.py`). Shares are compared row by row with the newest session, and where
models may be trained anew in each session, with all of them (`lost_share`); errors by their counts
(`judge/failures.py`).
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Final

from pytest_dlperf.judge.conditions import UNKNOWN_CONDITIONS
from pytest_dlperf.judge.contrasts import (
    FEWEST_SEEDS,
    SessionValue,
    loss_of_sessions,
    same_rows,
    values_of,
)
from pytest_dlperf.judge.failures import ErrorComparison
from pytest_dlperf.judge.loss_evidence import MeasuredLoss, SessionLoss, decided_interval, equality
from pytest_dlperf.judge.losses import (
    VERDICTS,
    LossLimits,
    log_cost,
    metric_after,
    oriented,
    with_bounds,
)
from pytest_dlperf.judge.shares import lost_share, open_reason
from pytest_dlperf.results.usage import noise_note
from pytest_dlperf.results.verdict import Judgement, Verdict
from pytest_dlperf.units import format_quantity

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_dlperf.config.budgets import Budget
    from pytest_dlperf.judge.conditions import MachineConditions
    from pytest_dlperf.judge.loss_evidence import LossEvidence
    from pytest_dlperf.metrics import Metric
    from pytest_dlperf.results.baseline import BaselineEntry
    from pytest_dlperf.results.environment import Environment
    from pytest_dlperf.results.measurement import Measurement
    from pytest_dlperf.statistics.prediction import Prediction


_STORED: Final = 1e-5  # relative: baselines are stored with six digits
_LEAST_DIFFERENCE: Final = 1e-12


def judge(  # noqa: PLR0913, PLR0917 - two sides, and what is known of both
    measurement: Measurement,
    budgets: Iterable[Budget],
    baseline: BaselineEntry | None,
    environment: Environment,
    missing: str,
    conditions: MachineConditions = UNKNOWN_CONDITIONS,
) -> tuple[Judgement, ...]:
    """Judge each budget of a measurement.

    The measurement has the metric of each budget, or the reason why it has none; `missing` is the
    reason to report without a baseline. The error rates of relative budgets are those of the
    conditions.
    """
    obstacle, remark = _comparability(measurement, baseline, environment)
    judgements = []
    for budget in budgets:
        judgement = _refusal(budget, measurement)
        if judgement is None and not budget.relative:
            judgement = _absolute(budget, measurement)
        if judgement is not None and budget.metric.name not in measurement.missed:
            judgement = _undistorted(judgement, budget.metric, environment.distortion)
            judgement = _undisturbed(judgement, budget.metric, measurement, conditions)
        known = baseline is not None and _has(baseline, budget.metric.name)
        if judgement is None and known and budget.metric.name in measurement.unbounded:
            judgement = _unbounded(budget, measurement)
        if judgement is None:
            judgement = _against(budget, measurement, baseline, conditions, (obstacle, missing))
            if remark:
                reason = "; ".join(filter(None, (judgement.reason, remark)))
                judgement = dataclasses.replace(judgement, reason=reason)
        judgements.append(judgement)
    return tuple(judgements)


def _refusal(budget: Budget, measurement: Measurement) -> Judgement | None:
    """INVALID if measuring itself failed; FAIL if a goal was never reached; else None.

    Of a metric that exceeds something for certain: FAIL if that is the limit, else INCONCLUSIVE.
    """
    name = budget.metric.name
    measured = measurement.metrics.get(name)
    if measurement.hung:
        reason = f"the load was cut short: {measurement.hung}"
        return Judgement(budget.text, name, Verdict.INVALID, measured, reason=reason, lasting=True)
    if name in measurement.missed:
        limit = None if budget.relative else budget.limit(0.0)
        reason = measurement.missed[name]
        return Judgement(budget.text, name, Verdict.FAIL, limit=limit, reason=reason, lasting=True)
    of_the_machine = not budget.metric.of_answers and name != "errors"
    if measured is None and name not in measurement.at_least:
        reason = measurement.refused[name]
        return Judgement(budget.text, name, Verdict.INVALID, reason=reason, lasting=True)
    if measurement.invalid and of_the_machine:
        return Judgement(budget.text, name, Verdict.INVALID, measured, reason=measurement.invalid)
    return _exceeding(budget, measurement) if measured is None else None


def _exceeding(budget: Budget, measurement: Measurement) -> Judgement:
    name = budget.metric.name
    least = measurement.at_least[name]
    reason = f"> {format_quantity(least, budget.metric.unit)}: {measurement.refused[name]}"
    limit = None if budget.relative else budget.limit(0.0)
    broken = limit is not None and least > limit and budget.operator not in {">", ">="}
    verdict = Verdict.FAIL if broken else Verdict.INCONCLUSIVE
    return Judgement(budget.text, name, verdict, limit=limit, reason=reason, lasting=True)


def _comparability(
    measurement: Measurement, baseline: BaselineEntry | None, environment: Environment
) -> tuple[str, str]:
    """Why the baseline cannot be compared with, and a remark for the report if it can."""
    if baseline is None:
        return "", ""
    for what, now, then in (
        ("scenario", measurement.scenario, baseline.scenario),
        ("serving", measurement.serving, baseline.serving),
    ):
        if now != then:
            return f"the baseline's {what} was {then}, this is {now}", ""
    changes = environment.changes(baseline.environment)
    if changes["blocking"]:
        return f"since the baseline: {', '.join(changes['blocking'])}", ""
    return "", f"since the baseline: {', '.join(changes['warning'])}" if changes["warning"] else ""


def _absolute(budget: Budget, measurement: Measurement) -> Judgement:
    limit, metric = budget.limit(0.0), budget.metric
    measured = measurement.metrics[metric.name]
    base = Judgement(budget.text, metric.name, Verdict.PASS, measured, limit)
    if budget.operator == "==":
        held = _within(budget, measured.value, limit)
        return dataclasses.replace(base, verdict=Verdict.PASS if held else Verdict.FAIL)
    best, worst = (
        (measured.low, measured.high) if metric.better == "lower" else (measured.high, measured.low)
    )
    if not _within(budget, best, limit):
        return dataclasses.replace(base, verdict=Verdict.FAIL)
    if _within(budget, worst, limit):
        return base
    if metric.name in measurement.unbounded:
        return dataclasses.replace(_unbounded(budget, measurement), limit=limit)
    reach = (measured.high - measured.low) / 2
    return dataclasses.replace(
        base,
        verdict=Verdict.INCONCLUSIVE,
        fails_at=limit + oriented(metric, max(abs(measured.value - best), reach)),
        reason="the interval holds the limit",
    )


def _unbounded(budget: Budget, measurement: Measurement) -> Judgement:
    name = budget.metric.name
    return Judgement(
        budget=budget.text,
        metric=name,
        verdict=Verdict.INCONCLUSIVE,
        measured=measurement.metrics[name],
        reason=measurement.unbounded[name],
        lasting=True,
    )


def _undistorted(judgement: Judgement, metric: Metric, distortion: str) -> Judgement:
    """A FAIL is left open where the interpreter may be its cause; a PASS holds all the more."""
    affected = metric.is_speed or metric.name.endswith("peak_memory")
    if not distortion or not affected or judgement.verdict is not Verdict.FAIL:
        return judgement
    return dataclasses.replace(
        judgement, verdict=Verdict.INCONCLUSIVE, reason=distortion, lasting=True
    )


def _undisturbed(
    judgement: Judgement, metric: Metric, measurement: Measurement, conditions: MachineConditions
) -> Judgement:
    """A FAIL on speed is left open where the machine may be its cause; a PASS holds all the more.

    Other load is seen in the measurement itself, so that this holds for a duel's load too.
    """
    if judgement.verdict is not Verdict.FAIL or not metric.is_speed:
        return judgement
    noisy = noise_note(measurement.usage) if measurement.usage else ""
    cause = noisy or conditions.speed_changed
    if not cause:
        return judgement
    reason = "; ".join(filter(None, (cause, judgement.reason)))
    return dataclasses.replace(
        judgement, verdict=Verdict.INCONCLUSIVE, reason=reason, lasting=False
    )


def _within(budget: Budget, value: float, limit: float) -> bool:
    match budget.operator:
        case "<":
            return value < limit
        case "<=":
            return value <= limit
        case ">":
            return value > limit
        case ">=":
            return value >= limit
        case "==":
            return math.isclose(value, limit, rel_tol=_STORED, abs_tol=_LEAST_DIFFERENCE)


def _has(baseline: BaselineEntry, name: str) -> bool:
    return any(name in session.metrics for session in baseline.sessions)


def _against(
    budget: Budget,
    measurement: Measurement,
    baseline: BaselineEntry | None,
    conditions: MachineConditions,
    reasons: tuple[str, str],
) -> Judgement:
    obstacle, missing = reasons
    name = budget.metric.name
    measured = measurement.metrics[name]
    if baseline is None or not _has(baseline, name):
        lacking = f"the baseline has no {name}"
        unbounded = measurement.unbounded.get(name, "")
        reason = missing if baseline is None else "; ".join(filter(None, (lacking, unbounded)))
        return Judgement(budget.text, name, Verdict.NEW, measured, reason=reason)
    base, evidence = _since(budget.metric, measurement, baseline, conditions)
    limit = budget.limit(base)
    undecided = Judgement(
        budget=budget.text,
        metric=name,
        verdict=Verdict.INCONCLUSIVE,
        measured=measured,
        limit=limit,
        baseline=base,
        revision=str(baseline.revision),
    )
    if name == "goodput" and measurement.slo != baseline.slo:
        obstacle = "the baseline's goodput was for another slo"
    if name == "accuracy" and 0 < len(measurement.seeds) < FEWEST_SEEDS:
        few = f"{len(measurement.seeds)} seeds do not show how much seeds differ"
        obstacle = obstacle or f"{few}: train from at least {FEWEST_SEEDS}, or from one"
    if obstacle:
        return dataclasses.replace(undecided, reason=obstacle, lasting=True)
    if name == "errors":
        return _by_counts(undecided, budget, measurement, baseline, conditions)
    if isinstance(evidence, SessionLoss) and evidence.suspected(LossLimits.of(budget, base)):
        undecided = dataclasses.replace(undecided, suspected=True)
    if budget.metric.is_speed and (conditions.noisy or conditions.speed_changed):
        return dataclasses.replace(undecided, reason=conditions.noisy or conditions.speed_changed)
    return _by_evidence(undecided, budget, base, evidence, conditions, len(baseline.sessions))


def _by_evidence(  # noqa: PLR0913, PLR0917 - a budget, and what is known of its loss
    undecided: Judgement,
    budget: Budget,
    base: float,
    evidence: LossEvidence,
    conditions: MachineConditions,
    sessions: int,
) -> Judgement:
    """Judge a relative budget by the evidence of a loss since so many sessions."""
    limits = LossLimits.of(budget, base)
    rates = conditions.alpha, conditions.beta
    if budget.operator == "==" and undecided.measured is not None:
        same = _within(budget, undecided.measured.value, budget.limit(base))
        detect = budget.metric.detect
        decision = "PASS" if same else equality(evidence, limits.allowed, detect, *rates)
        reason = "" if decision else "the noise hides whether they are equal"
        return dataclasses.replace(undecided, verdict=VERDICTS[decision], reason=reason)
    decision = evidence.decision(limits, *rates)
    judged = with_bounds(
        dataclasses.replace(undecided, verdict=VERDICTS[decision]),
        budget.metric,
        decided_interval(evidence, *rates),
        limits,
    )
    if decision is not None:
        improved = decision == "PASS" and evidence.improved(conditions.alpha)
        return dataclasses.replace(judged, improved=improved)
    visible = evidence.visible(conditions.alpha)
    fails_at = (
        metric_after(budget.metric, base, limits.allowed + visible) if visible is not None else None
    )
    reason = open_reason(evidence, limits, conditions, sessions)
    return dataclasses.replace(judged, fails_at=fails_at, reason=reason)


def _by_counts(
    undecided: Judgement,
    budget: Budget,
    measurement: Measurement,
    baseline: BaselineEntry,
    conditions: MachineConditions,
) -> Judgement:
    """Judge a budget on errors; see `judge/failures.py`."""
    session = next(one for one in reversed(baseline.sessions) if "errors" in one.metrics)
    now, then = measurement.metrics["errors"].value, session.metrics["errors"].value
    errors = ErrorComparison.of(now, then, measurement.counts, session.counts)
    decide = errors.equality if budget.operator == "==" else errors.decision
    decision = decide(budget, conditions.alpha, conditions.beta)
    if decision is not None:
        return dataclasses.replace(undecided, verdict=VERDICTS[decision])
    excluded = format_quantity(errors.excluded(conditions.beta), "share")
    reason = f"{errors.now.calls} calls exclude a rise of {excluded} or more, not a smaller one"
    held = _within(budget, now, budget.limit(then))
    verdict = Verdict.PASS if held else Verdict.INCONCLUSIVE
    return dataclasses.replace(undecided, verdict=verdict, reason=reason)


def _since(
    metric: Metric, measurement: Measurement, baseline: BaselineEntry, conditions: MachineConditions
) -> tuple[float, LossEvidence]:
    """The baseline's value, as it would be today, and what is known of the loss since."""
    now = measurement.metrics[metric.name]
    values = [one.measured for one in values_of(metric, baseline)]
    if metric.unit == "share":
        return values[-1].value, lost_share(metric, measurement, baseline)
    prediction = prediction_of(metric, measurement, baseline, conditions)
    expected = math.exp(oriented(metric, log_cost(metric, now.value) - prediction.loss))
    if len(values) == 1 and math.isclose(
        expected, values[0].value, rel_tol=_STORED, abs_tol=_LEAST_DIFFERENCE
    ):
        expected = values[0].value  # as people see it in the file
    if metric.is_speed:
        return expected, SessionLoss(prediction, conditions.noise_of(metric).excursions)
    return expected, MeasuredLoss(prediction)


def prediction_of(
    metric: Metric, measurement: Measurement, baseline: BaselineEntry, conditions: MachineConditions
) -> Prediction:
    """The loss of a speed or a size since the baseline, as a logarithm of its cost.

    The measurement and a session of the baseline must have the metric.
    """
    return loss_of_sessions(
        metric,
        values_of(metric, baseline),
        [SessionValue(measurement.metrics[metric.name], conditions.yardstick)],
        scaled=metric.name in conditions.scaled,
        paired=same_rows(metric, measurement, baseline),
        noise=conditions.noise_of(metric),
    )
