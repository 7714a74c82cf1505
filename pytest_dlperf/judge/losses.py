"""Losses of a metric, what a budget allows of them, and what the evidence for one proves.

A loss is above 0 when the candidate is worse. Of a share it is in shares of one; of any other
metric it is the logarithm of the ratio of costs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal, Protocol

from pytest_dlperf.results.row_evidence import loss_of_pairs
from pytest_dlperf.results.verdict import Verdict
from pytest_dlperf.statistics.estimate import Estimate, counted
from pytest_dlperf.statistics.proportions import accuracy_decision, accuracy_interval, mcnemar

if TYPE_CHECKING:
    from pytest_dlperf.config.budgets import Budget
    from pytest_dlperf.metrics import Metric
    from pytest_dlperf.results.verdict import Judgement
    from pytest_dlperf.statistics.estimate import Decision
    from pytest_dlperf.statistics.prediction import Prediction


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


class LossEvidence(Protocol):
    """What is known of a loss."""

    @property
    def loss(self) -> Estimate:
        """The loss with its 95 % interval."""
        ...

    @property
    def errs(self) -> bool:
        """Whether its decision can be wrong by chance, so that it uses up error rate."""
        ...

    def decision(self, limits: LossLimits, alpha: float, beta: float) -> Decision | None:
        """What is proven of a budget; None if neither FAIL nor PASS is.

        `alpha` is how often a loss of `limits.allowed` may FAIL, `beta` how often one of
        `limits.line` may PASS; both are below a half.
        """
        ...

    def interval(self, alpha: float, beta: float) -> Estimate:
        """The loss, with the ends that decide.

        `low` is the largest loss that is proven at `alpha`: beyond the allowed loss, where that is
        a FAIL. `high` is the smallest that is excluded at `beta`: within the line of a PASS.
        """
        ...

    def improved(self, alpha: float) -> bool:
        """Whether a gain is proven."""
        ...

    def visible(self, alpha: float) -> float | None:
        """By how much a loss must exceed the allowed one to FAIL; None if that is not known."""
        ...


@dataclass(frozen=True, slots=True)
class MeasuredLoss:
    """A loss that was measured with an error, as a t-distribution."""

    measured: Prediction
    errs: bool = True

    @property
    def loss(self) -> Estimate:
        """The loss with its 95 % interval."""
        return self.measured.estimate()

    def decision(self, limits: LossLimits, alpha: float, beta: float) -> Decision | None:
        """By the one-sided ends of the interval at either rate."""
        if self.measured.low(alpha) > limits.allowed:
            return "FAIL"
        return "PASS" if self.measured.high(beta) < limits.line else None

    def interval(self, alpha: float, beta: float) -> Estimate:
        """The one-sided ends at either rate."""
        return Estimate(self.measured.loss, self.measured.low(alpha), self.measured.high(beta))

    def improved(self, alpha: float) -> bool:
        """Whether the upper end is below 0."""
        return self.measured.high(alpha) < 0

    def visible(self, alpha: float) -> float:
        """The distance from the loss to the lower end."""
        return self.measured.loss - self.measured.low(alpha)


@dataclass(frozen=True, slots=True)
class IntervalLoss:
    """A loss of which only the 95 % interval is known, which decides whatever the error rates."""

    loss: Estimate
    errs: bool = True

    def decision(self, limits: LossLimits, alpha: float, beta: float) -> Decision | None:
        """By the ends of the interval."""
        del alpha, beta
        if self.loss.low > limits.allowed:
            return "FAIL"
        return "PASS" if self.loss.high < limits.line else None

    def interval(self, alpha: float, beta: float) -> Estimate:
        """The 95 % interval itself."""
        del alpha, beta
        return self.loss

    def improved(self, alpha: float) -> bool:
        """Whether the upper end is below 0."""
        del alpha
        return self.loss.high < 0

    def visible(self, alpha: float) -> float:
        """The distance from the loss to the lower end."""
        del alpha
        return self.loss.value - self.loss.low


@dataclass(frozen=True, slots=True)
class PairedLoss:
    """Right answers to the same rows: by the base alone, by the candidate alone, and all rows."""

    only_base: int
    only_candidate: int
    rows: int
    errs: bool = True

    @property
    def loss(self) -> Estimate:
        """The share of rows that was lost, with its 95 % interval."""
        return loss_of_pairs(self.only_base, self.only_candidate, self.rows)

    def decision(self, limits: LossLimits, alpha: float, beta: float) -> Decision | None:
        """By exact tests; see `accuracy_decision`."""
        return accuracy_decision(
            *(self.only_base, self.only_candidate, self.rows),
            allowed=limits.allowed,
            line=limits.line,
            alpha=alpha,
            beta=beta,
        )

    def interval(self, alpha: float, beta: float) -> Estimate:
        """The losses between those that the exact tests prove and exclude."""
        counts = self.only_base, self.only_candidate, self.rows
        return accuracy_interval(*counts, alpha=alpha, beta=beta)

    def improved(self, alpha: float) -> bool:
        """Whether McNemar's test proves a gain."""
        return mcnemar(self.only_candidate, self.only_base) < alpha

    def visible(self, alpha: float) -> float | None:
        """Not known: it depends on which rows would be lost."""
        del alpha
        return None


@dataclass(frozen=True, slots=True)
class CountedLoss:
    """A loss of counted shares whose noise is unknown: a FAIL only if it exceeds `least`.

    The budget's limits do not count: without a loss it is a PASS, in between nothing is proven.
    """

    change: float
    least: float
    errs: bool = False

    @property
    def loss(self) -> Estimate:
        """The change, without an interval."""
        return counted(self.change)

    def decision(self, limits: LossLimits, alpha: float, beta: float) -> Decision | None:
        """FAIL beyond the least change that counts, PASS without a loss."""
        del limits, alpha, beta
        if self.change > self.least:
            return "FAIL"
        return "PASS" if self.change <= 0 else None

    def interval(self, alpha: float, beta: float) -> Estimate:
        """The change, as its noise is not known."""
        del alpha, beta
        return self.loss

    def improved(self, alpha: float) -> bool:
        """Whether there is a gain that counts."""
        del alpha
        return self.change < -self.least

    def visible(self, alpha: float) -> float | None:
        """The least change that counts."""
        del alpha
        return self.least
