"""The judge: budgets against a measurement and, where they ask for one, a baseline.

Every decision compares an interval with a line. FAIL: the whole interval is beyond the line.
PASS: the whole interval is within it (a relative budget passes when a loss of its limit or of
the metric's `detect`, whichever is larger, is excluded). Neither: INCONCLUSIVE.

The interval of a loss since the baseline is the prediction that its sessions make for another one
of the same code (`statistics/prediction.py`); shares are compared with the newest session alone.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_dlperf.judge.conditions import UNKNOWN_CONDITIONS
from pytest_dlperf.judge.losses import (
    _FLOOR,
    FEWEST_SEEDS,
    _worse,
    allowed_loss,
    log_cost,
    loss_to_find,
    lost_share,
    metric_after,
    same_rows,
    session_of,
    share_lost,
)
from pytest_dlperf.results.verdict import Judgement, Verdict
from pytest_dlperf.statistics.estimate import Estimate, counted
from pytest_dlperf.statistics.prediction import Prediction, predict

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_dlperf.config.budgets import Budget
    from pytest_dlperf.judge.conditions import MachineConditions
    from pytest_dlperf.metrics import Metric
    from pytest_dlperf.results.baseline import BaselineEntry
    from pytest_dlperf.results.environment import Environment
    from pytest_dlperf.results.measurement import Measurement


_STORED: Final = 1e-5  # relative: baselines are stored with six digits


def judge(  # noqa: PLR0913, PLR0917 - what is compared with what, and on what day
    measurement: Measurement,
    budgets: Iterable[Budget],
    baseline: BaselineEntry | None,
    environment: Environment,
    missing: str,
    day: MachineConditions = UNKNOWN_CONDITIONS,
) -> tuple[Judgement, ...]:
    """Judge each budget.

    Args:
        measurement: what was found.
        budgets: what was asked; each one's metric is measured or refused.
        baseline: what was accepted before, if anything was.
        environment: the software that the measurement ran with.
        missing: why there is no baseline, for people.
        day: what is known of the machine, and how often a relative budget may be misjudged.
    """
    obstacle, remark = _comparability(measurement, baseline, environment)
    judgements = []
    for budget in budgets:
        judgement = _refusal(budget, measurement)
        if judgement is None and not budget.relative:
            judgement = _absolute(budget, measurement.metrics[budget.metric.name])
        if judgement is None:
            judgement = _against(budget, measurement, baseline, day, (obstacle, missing))
            if remark:
                reason = "; ".join(filter(None, (judgement.reason, remark)))
                judgement = dataclasses.replace(judgement, reason=reason)
        judgements.append(judgement)
    return tuple(judgements)


def _refusal(budget: Budget, measurement: Measurement) -> Judgement | None:
    """INVALID, where the measuring itself failed; FAIL, where a goal was never reached."""
    name = budget.metric.name
    measured = measurement.metrics.get(name)
    if measurement.hung:
        reason = f"the load was cut short: {measurement.hung}"
        return Judgement(budget.text, name, Verdict.INVALID, measured, reason=reason, lasting=True)
    if name in measurement.missed:
        limit = None if budget.relative else budget.limit(0.0)
        reason = measurement.missed[name]
        return Judgement(budget.text, name, Verdict.FAIL, limit=limit, reason=reason, lasting=True)
    if measured is None:
        reason = measurement.refused[name]
        return Judgement(budget.text, name, Verdict.INVALID, reason=reason, lasting=True)
    about_speed = not budget.metric.of_answers and name != "errors"
    if measurement.invalid and about_speed:
        return Judgement(budget.text, name, Verdict.INVALID, measured, reason=measurement.invalid)
    return None


def _comparability(
    measurement: Measurement, baseline: BaselineEntry | None, environment: Environment
) -> tuple[str, str]:
    """Why the baseline cannot be compared with, and what to know when it can."""
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


def _absolute(budget: Budget, measured: Estimate) -> Judgement:
    limit, metric = budget.limit(0.0), budget.metric
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
    reach = (measured.high - measured.low) / 2
    return dataclasses.replace(
        base,
        verdict=Verdict.INCONCLUSIVE,
        fails_at=limit + _worse(metric, max(abs(measured.value - best), reach)),
        reason="the interval holds the limit",
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
            return math.isclose(value, limit, rel_tol=_STORED, abs_tol=_FLOOR)


def _against(
    budget: Budget,
    measurement: Measurement,
    baseline: BaselineEntry | None,
    day: MachineConditions,
    reasons: tuple[str, str],
) -> Judgement:
    obstacle, missing = reasons
    name = budget.metric.name
    measured = measurement.metrics[name]
    if baseline is None or not any(name in session.metrics for session in baseline.sessions):
        reason = missing if baseline is None else f"the baseline has no {name}"
        return Judgement(budget.text, name, Verdict.NEW, measured, reason=reason)
    loss = _since(budget.metric, measurement, baseline, day)
    limit = budget.limit(loss.base)
    about = Judgement(
        budget=budget.text,
        metric=name,
        verdict=Verdict.INCONCLUSIVE,
        measured=measured,
        limit=limit,
        baseline=loss.base,
        revision=str(baseline.revision),
    )
    if name == "goodput" and measurement.slo != baseline.slo:
        obstacle = "the baseline's goodput was for another slo"
    if name == "accuracy" and 0 < len(measurement.seeds) < FEWEST_SEEDS:
        few = f"{len(measurement.seeds)} seeds do not tell what seeds differ by"
        obstacle = obstacle or f"{few}: train from at least {FEWEST_SEEDS}, or from one"
    if obstacle:
        return dataclasses.replace(about, reason=obstacle, lasting=True)
    if budget.operator == "==" or name == "errors":
        held = _within(budget, measured.value, limit)
        return dataclasses.replace(about, verdict=Verdict.PASS if held else Verdict.FAIL)
    if budget.metric.is_speed and (day.unquiet or day.unlike):
        return dataclasses.replace(about, reason=day.unquiet or day.unlike)
    return _decided(about, budget, loss)


@dataclass(frozen=True, slots=True)
class _Loss:
    """What was lost since the baseline, in shares of one or as a logarithm of the cost.

    Attributes:
        base: the baseline's value, as it would be today.
        value: the loss.
        low: its end that is held against what is allowed.
        high: its end that is held against what must be found.
        best: its end that tells whether anything was won.
    """

    base: float
    value: float
    low: float
    high: float
    best: float


def _decided(about: Judgement, budget: Budget, loss: _Loss) -> Judgement:
    """The three-way decision on a loss; beyond what the limit allows is too much."""
    metric, allowed = budget.metric, allowed_loss(budget, loss.base)
    if loss.low > allowed:
        return dataclasses.replace(about, verdict=Verdict.FAIL)
    if loss.high < loss_to_find(metric, allowed):
        return dataclasses.replace(about, verdict=Verdict.PASS, improved=loss.best < 0)
    return dataclasses.replace(
        about,
        fails_at=metric_after(metric, loss.base, allowed + (loss.value - loss.low)),
        reason="the noise hides a loss of this size",
    )


def _since(
    metric: Metric, measurement: Measurement, baseline: BaselineEntry, day: MachineConditions
) -> _Loss:
    if metric.unit == "share":
        newest = next(s for s in reversed(baseline.sessions) if metric.name in s.metrics)
        base = newest.metrics[metric.name]
        share = _loss_in_share(metric, measurement, baseline, base)
        return _Loss(base.value, share.value, share.low, share.high, share.high)
    found = prediction_of(metric, measurement, baseline, day)
    now = log_cost(metric, measurement.metrics[metric.name].value)
    expected = math.exp(_worse(metric, now - found.loss))
    values = [s.metrics[metric.name].value for s in baseline.sessions if metric.name in s.metrics]
    if len(values) == 1 and math.isclose(expected, values[0], rel_tol=_STORED, abs_tol=_FLOOR):
        expected = values[0]  # as people see it in the file
    ends = found.low(day.alpha), found.high(day.beta), found.high(day.alpha)
    return _Loss(expected, found.loss, *ends)


def prediction_of(
    metric: Metric, measurement: Measurement, baseline: BaselineEntry, day: MachineConditions
) -> Prediction:
    """What was lost of a speed or a size since the baseline, as a logarithm of its cost.

    Args:
        metric: one that a session of the baseline has; no share.
        measurement: that has it too.
        baseline: the sessions before.
        day: what is known of the machine.
    """
    scaled = metric.name in day.scaled
    measured = [s for s in baseline.sessions if metric.name in s.metrics]
    then = [session.metrics[metric.name] for session in measured]
    now = measurement.metrics[metric.name]
    if same_rows(metric, measurement, baseline):
        # Its interval is about other rows than these, and these were the same.
        then, now = [counted(one.value) for one in then], counted(now.value)
    history = [
        session_of(metric, one, session.yardstick if scaled else None)
        for one, session in zip(then, measured, strict=True)
    ]
    today = session_of(metric, now, day.yardstick if scaled else None)
    return predict(history, today, math.log1p(metric.run_noise))


def _loss_in_share(
    metric: Metric, measurement: Measurement, baseline: BaselineEntry, base: Estimate
) -> Estimate:
    """What was lost of a share, in shares of one; paired where rows or seeds are the same."""
    paired = lost_share(metric, measurement, baseline)
    if paired is not None:
        return paired
    value, reach = share_lost(metric, base, measurement.metrics[metric.name])
    return Estimate(value, value - reach, value + reach)
