"""Losses of a metric, and what a budget allows of them.

A loss is above 0 when the candidate is worse. Of a share it is in shares of one; of any other
metric it is the logarithm of the ratio of costs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal

from pytest_dlperf.results.verdict import Verdict
from pytest_dlperf.statistics.estimate import Estimate

if TYPE_CHECKING:
    from pytest_dlperf.config.budgets import Budget
    from pytest_dlperf.metrics import Metric
    from pytest_dlperf.results.verdict import Judgement


VERDICTS: Final = MappingProxyType[Literal["FAIL", "PASS"] | None, Verdict](
    {"FAIL": Verdict.FAIL, "PASS": Verdict.PASS, None: Verdict.INCONCLUSIVE}
)
"""The verdict of what is proven."""

_LEAST_VALUE: Final = 1e-12  # a value of 0 has no logarithm
_FARTHEST: Final = 100.0  # a logarithm, beyond anything that is measured; exp must not overflow


def log_cost(metric: Metric, value: float) -> float:
    """The logarithm of a value, with the sign with which more is worse."""
    return oriented(metric, math.log(max(value, _LEAST_VALUE)))


def cost(metric: Metric, value: float) -> float:
    """The scale on which losses are differences: a share itself, of other metrics `log_cost`."""
    return oriented(metric, value) if metric.unit == "share" else log_cost(metric, value)


def oriented(metric: Metric, value: float) -> float:
    """A value with the sign with which more is worse."""
    return value if metric.better == "lower" else -value


def metric_after(metric: Metric, base: float, loss: float) -> float:
    """The value of a metric that was `base`, after a loss."""
    signed = oriented(metric, loss)
    return base + signed if metric.unit == "share" else base * math.exp(signed)


def changed_by(metric: Metric, loss: float) -> float:
    """A loss as the change of the metric's own value: a ratio minus one, or a difference."""
    # From 0, so that nothing is shown as -0.
    signed = loss if metric.better == "lower" else 0.0 - loss
    if metric.unit == "share":
        return min(1.0, max(-1.0, signed))
    return math.expm1(min(_FARTHEST, signed))


def change_by(metric: Metric, loss: Estimate) -> Estimate:
    """`changed_by`, with the interval."""
    low, high = sorted((changed_by(metric, loss.low), changed_by(metric, loss.high)))
    return Estimate(changed_by(metric, loss.value), low, high)


def lost(metric: Metric, loss: float) -> float:
    """A loss as a share of the metric's own value, or a difference of shares; below 0 a gain."""
    return oriented(metric, changed_by(metric, loss)) + 0.0


def with_bounds(
    judgement: Judgement, metric: Metric, interval: Estimate, limits: LossLimits
) -> Judgement:
    """A judgement with what decided it: the change, and the loss that is proven or excluded.

    The ends of the evidence's `interval` belong to the tests that decide. Where an end and its test
    round differently, the verdict counts, so that the two never contradict each other.

    Args:
        judgement: PASS, FAIL or INCONCLUSIVE.
        metric: of the budget.
        interval: of the loss; `low` at the error rate of a FAIL, `high` at that of a PASS.
        limits: of the budget.
    """
    failed, passed = judgement.verdict is Verdict.FAIL, judgement.verdict is Verdict.PASS
    low = max(interval.low, limits.allowed) if failed else min(interval.low, limits.allowed)
    high = min(interval.high, limits.line) if passed else interval.high
    if not (failed or passed):
        high = max(high, limits.line)
    low, high = (low, max(low, high)) if failed else (min(low, high), high)
    change = change_by(metric, Estimate(min(max(interval.value, low), high), low, high))
    if metric.unit != "share":
        change = Estimate(1 + change.value, 1 + change.low, 1 + change.high)
    return replace(
        judgement,
        change=change,
        proven=lost(metric, low) if failed else None,
        excluded=lost(metric, high) if passed else None,
    )


@dataclass(frozen=True, slots=True)
class LossLimits:
    """The two losses that decide a relative budget.

    Attributes:
        allowed: FAIL when more is proven; below 0 where a gain is demanded.
        line: the loss that a PASS excludes; at least `allowed`.
    """

    allowed: float
    line: float

    @classmethod
    def of(cls, budget: Budget, base: float) -> LossLimits:
        """Those of a relative budget, for the baseline's value."""
        metric = budget.metric
        return cls.allowing(metric, cost(metric, budget.limit(base)) - cost(metric, base))

    @classmethod
    def allowing(cls, metric: Metric, allowed: float) -> LossLimits:
        """Those of a loss that is allowed: the line is that loss, or `detect` if it is more.

        A budget that demands a gain passes only when the gain is proven: `detect` is about losses.
        """
        if allowed < 0:
            return cls(allowed, allowed)
        detect = metric.detect if metric.unit == "share" else math.log1p(metric.detect)
        return cls(allowed, max(allowed, detect))
