"""The judge: budgets against a measurement and, where they ask for one, a baseline.

Every decision compares an interval with a line. FAIL: the whole interval is beyond the line.
PASS: the whole interval is within it (a relative budget passes when a loss of its limit or of
the metric's `detect`, whichever is larger, is excluded). Neither: INCONCLUSIVE.
"""

from __future__ import annotations

import dataclasses
import math
from statistics import NormalDist
from typing import TYPE_CHECKING, Final

from pytest_dlperf.core.metrics import ANSWER_METRICS
from pytest_dlperf.core.statistics.accuracy import paired_loss
from pytest_dlperf.core.statistics.estimate import CONFIDENCE, Estimate, counted
from pytest_dlperf.core.verdict import Judgement, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_dlperf.core.baseline import Accepted
    from pytest_dlperf.core.budgets import Budget
    from pytest_dlperf.core.environment import Environment
    from pytest_dlperf.core.measurement import Measurement
    from pytest_dlperf.core.metrics import Metric

_Z: Final = NormalDist().inv_cdf(1 - (1 - CONFIDENCE) / 2)
_SESSIONS: Final = 2**0.5  # the noise of this session and of the baseline's
_STORED: Final = 1e-5  # relative: baselines are stored with six digits
_FLOOR: Final = 1e-12


def judge(
    measurement: Measurement,
    budgets: Iterable[Budget],
    baseline: Accepted | None,
    environment: Environment,
    missing: str,
) -> tuple[Judgement, ...]:
    """Judge each budget.

    Args:
        measurement: what was found.
        budgets: what was asked; each one's metric is measured or refused.
        baseline: what was accepted before, if anything was.
        environment: the software that the measurement ran with.
        missing: why there is no baseline, for people.
    """
    obstacle, remark = _comparability(measurement, baseline, environment)
    judgements = []
    for budget in budgets:
        judgement = _refusal(budget, measurement)
        if judgement is None and not budget.relative:
            judgement = _absolute(budget, measurement.metrics[budget.metric.name])
        if judgement is None:
            judgement = _against(budget, measurement, baseline, obstacle, missing)
            if remark:
                reason = "; ".join(filter(None, (judgement.reason, remark)))
                judgement = dataclasses.replace(judgement, reason=reason)
        judgements.append(judgement)
    return tuple(judgements)


def _refusal(budget: Budget, measurement: Measurement) -> Judgement | None:
    """INVALID, where the measuring itself failed."""
    name = budget.metric.name
    measured = measurement.metrics.get(name)
    if measurement.hung:
        reason = f"the load was cut short: {measurement.hung}"
        return Judgement(budget.text, name, Verdict.INVALID, measured, reason=reason, lasting=True)
    if measured is None:
        reason = measurement.refused[name]
        return Judgement(budget.text, name, Verdict.INVALID, reason=reason, lasting=True)
    about_speed = name not in ANSWER_METRICS and name != "errors"
    if measurement.invalid and about_speed:
        return Judgement(budget.text, name, Verdict.INVALID, measured, reason=measurement.invalid)
    return None


def _comparability(
    measurement: Measurement, baseline: Accepted | None, environment: Environment
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
    baseline: Accepted | None,
    obstacle: str,
    missing: str,
) -> Judgement:
    name = budget.metric.name
    measured = measurement.metrics[name]
    base = baseline.metrics.get(name) if baseline else None
    if baseline is None or base is None:
        reason = missing if baseline is None else f"the baseline has no {name}"
        return Judgement(budget.text, name, Verdict.NEW, measured, reason=reason)
    limit = budget.limit(base.value)
    about = Judgement(
        budget=budget.text,
        metric=name,
        verdict=Verdict.INCONCLUSIVE,
        measured=measured,
        limit=limit,
        baseline=base.value,
        revision=str(baseline.revision),
    )
    if name == "goodput" and measurement.slo != baseline.slo:
        obstacle = "the baseline's goodput was for another slo"
    if obstacle:
        return dataclasses.replace(about, reason=obstacle)
    if budget.operator == "==" or name == "errors":
        held = _within(budget, measured.value, limit)
        return dataclasses.replace(about, verdict=Verdict.PASS if held else Verdict.FAIL)
    if budget.metric.unit == "share":
        loss = _loss_in_share(budget.metric, measurement, baseline)
        allowed = _worse(budget.metric, limit) - _worse(budget.metric, base.value)
    else:
        loss = _log_loss(budget.metric, measured, base)
        allowed = log_cost(budget.metric, limit) - log_cost(budget.metric, base.value)
    line = loss_to_find(budget.metric, allowed)
    return _decided(about, budget, loss, allowed=allowed, line=line)


def _decided(
    about: Judgement, budget: Budget, loss: Estimate, *, allowed: float, line: float
) -> Judgement:
    """The three-way decision on a loss with its interval; `> allowed` is too much."""
    if loss.low > allowed:
        return dataclasses.replace(about, verdict=Verdict.FAIL)
    if loss.high < line:
        return dataclasses.replace(about, verdict=Verdict.PASS, improved=loss.high < 0)
    visible = allowed + (loss.value - loss.low)
    return dataclasses.replace(
        about,
        fails_at=metric_after(budget.metric, about.baseline or 0.0, visible),
        reason="the noise hides a loss of this size",
    )


def loss_to_find(metric: Metric, allowed: float) -> float:
    """The loss that must be excluded for a PASS: what is allowed, or `detect` if that is more.

    Args:
        metric: what is judged.
        allowed: loss that its budget allows, in shares of one or as a logarithm.

    Returns:
        In the same unit as `allowed`.
    """
    if allowed < 0:
        # A budget that demands a gain passes only when it is proven; detect is about losses.
        return allowed
    return max(allowed, metric.detect if metric.unit == "share" else math.log1p(metric.detect))


def _worse(metric: Metric, value: float) -> float:
    return value if metric.better == "lower" else -value


def log_cost(metric: Metric, value: float) -> float:
    """The logarithm of a metric, with the sign with which more is worse."""
    return _worse(metric, math.log(max(value, _FLOOR)))


def metric_after(metric: Metric, base: float, loss: float) -> float:
    """The value of the metric after a loss, in points or as a logarithm."""
    signed = _worse(metric, loss)
    return base + signed if metric.unit == "share" else base * math.exp(signed)


def _log_loss(metric: Metric, measured: Estimate, base: Estimate) -> Estimate:
    """`log(cost now / cost then)` with an interval.

    The two intervals and the prior for the noise between sessions are joined by squares, each
    side by itself (MOVER: Zou and Donner 2008), so that skewed intervals stay skewed.
    """
    ends = sorted((log_cost(metric, measured.low), log_cost(metric, measured.high)))
    base_ends = sorted((log_cost(metric, base.low), log_cost(metric, base.high)))
    now, then = log_cost(metric, measured.value), log_cost(metric, base.value)
    prior = _Z * _SESSIONS * math.log1p(metric.run_noise)
    down = math.hypot(now - ends[0], base_ends[1] - then, prior)
    up = math.hypot(ends[1] - now, then - base_ends[0], prior)
    return Estimate(now - then, now - then - down, now - then + up)


def _loss_in_share(metric: Metric, measurement: Measurement, baseline: Accepted) -> Estimate:
    """What was lost of a share, in shares of one; paired where the rows are the same."""
    measured, base = measurement.metrics[metric.name], baseline.metrics[metric.name]
    rows, base_rows = measurement.rows, baseline.rows
    if metric.name == "accuracy" and rows and base_rows and rows.pairable(base_rows):
        only_base, only_now, both = rows.pairs(base_rows)
        if both and not only_base and not only_now:
            # Every row is right or wrong as before: there is no loss whose size to wonder about.
            return counted(0.0)
        if both:
            return paired_loss(only_base, only_now, both)
    value = _worse(metric, measured.value) - _worse(metric, base.value)
    reach = math.hypot(measured.high - measured.low, base.high - base.low) / 2
    return Estimate(value, value - reach, value + reach)
