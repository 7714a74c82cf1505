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
from pytest_dlperf.statistics.proportions import (
    accuracy_decision,
    excluded_loss,
    mcnemar,
    proven_loss,
)

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

    @property
    def differs(self) -> bool:
        """Whether the two sides differ at all."""
        ...

    def decision(self, limits: LossLimits, alpha: float, beta: float) -> Decision | None:
        """What is proven of a budget; None if neither FAIL nor PASS is.

        `alpha` is how often a loss of `limits.allowed` may FAIL, `beta` how often one of
        `limits.line` may PASS; both are below a half.
        """
        ...

    def improved(self, alpha: float) -> bool:
        """Whether a gain is proven."""
        ...

    def proven(self, alpha: float) -> float:
        """The largest loss that is proven: any smaller one that is allowed FAILs."""
        ...

    def excluded(self, beta: float) -> float:
        """The smallest loss that is excluded: any larger line passes."""
        ...

    def visible(self, alpha: float) -> float | None:
        """By how much a loss must exceed the allowed one to FAIL; None if that is not known."""
        ...


def decided_interval(evidence: LossEvidence, alpha: float, beta: float) -> Estimate:
    """The loss, with the ends that decide.

    `low` is the largest loss that is proven at `alpha`: beyond the allowed loss, where that is a
    FAIL. `high` is the smallest that is excluded at `beta`: within the line of a PASS. Where a loss
    is not known to have noise, an end is the loss itself.
    """
    loss, low, high = evidence.loss, evidence.proven(alpha), evidence.excluded(beta)
    return Estimate(
        loss.value,
        min(loss.value, low) if math.isfinite(low) else loss.low,
        max(loss.value, high) if math.isfinite(high) else loss.high,
    )


@dataclass(frozen=True, slots=True)
class MeasuredLoss:
    """A loss that was measured with an error, as a t-distribution."""

    measured: Prediction
    errs: bool = True

    @property
    def loss(self) -> Estimate:
        """The loss with its 95 % interval."""
        return self.measured.estimate()

    @property
    def differs(self) -> bool:
        """Whether there is a loss, a gain, or noise."""
        return bool(self.measured.loss or self.measured.spread)

    def decision(self, limits: LossLimits, alpha: float, beta: float) -> Decision | None:
        """By the one-sided ends of the interval at either rate."""
        if self.measured.low(alpha) > limits.allowed:
            return "FAIL"
        return "PASS" if self.measured.high(beta) < limits.line else None

    def improved(self, alpha: float) -> bool:
        """Whether the upper end is below 0."""
        return self.measured.high(alpha) < 0

    def proven(self, alpha: float) -> float:
        """The lower end."""
        return self.measured.low(alpha)

    def excluded(self, beta: float) -> float:
        """The upper end."""
        return self.measured.high(beta)

    def visible(self, alpha: float) -> float:
        """The distance from the loss to the lower end."""
        return self.measured.loss - self.measured.low(alpha)


@dataclass(frozen=True, slots=True)
class AgreedLoss:
    """A loss that several kinds of evidence are about: proven is what each of them proves.

    Attributes:
        parts: at least one; the first one's loss is shown.
    """

    parts: tuple[LossEvidence, ...]
    errs: bool = True

    @property
    def loss(self) -> Estimate:
        """The first part's loss, with an interval that holds those of all parts."""
        losses = [part.loss for part in self.parts]
        low, high = min(loss.low for loss in losses), max(loss.high for loss in losses)
        return Estimate(losses[0].value, low, high)

    @property
    def differs(self) -> bool:
        """Whether any part says so."""
        return any(part.differs for part in self.parts)

    def decision(self, limits: LossLimits, alpha: float, beta: float) -> Decision | None:
        """The decision of all parts; None where they differ."""
        first, *others = (part.decision(limits, alpha, beta) for part in self.parts)
        return first if all(other == first for other in others) else None

    def improved(self, alpha: float) -> bool:
        """Whether each part proves a gain."""
        return all(part.improved(alpha) for part in self.parts)

    def proven(self, alpha: float) -> float:
        """The loss that each part proves."""
        return min(part.proven(alpha) for part in self.parts)

    def excluded(self, beta: float) -> float:
        """The loss that each part excludes."""
        return max(part.excluded(beta) for part in self.parts)

    def visible(self, alpha: float) -> float | None:
        """The distance from the shown loss to what the last part to do so proves."""
        shown = self.parts[0].loss.value
        distances = [part.visible(alpha) for part in self.parts]
        return max(
            (
                distance + shown - part.loss.value
                for part, distance in zip(self.parts, distances, strict=True)
                if distance is not None
            ),
            default=None,
        )


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

    @property
    def differs(self) -> bool:
        """Whether any row is right on one side only."""
        return bool(self.only_base or self.only_candidate)

    def decision(self, limits: LossLimits, alpha: float, beta: float) -> Decision | None:
        """By exact tests; see `accuracy_decision`."""
        return accuracy_decision(
            *(self.only_base, self.only_candidate, self.rows),
            allowed=limits.allowed,
            line=limits.line,
            alpha=alpha,
            beta=beta,
        )

    def improved(self, alpha: float) -> bool:
        """Whether McNemar's test proves a gain."""
        return mcnemar(self.only_candidate, self.only_base) < alpha

    def proven(self, alpha: float) -> float:
        """By the tests of the decision; see `proven_loss`."""
        return proven_loss(self.only_base, self.only_candidate, self.rows, alpha)

    def excluded(self, beta: float) -> float:
        """By the tests of the decision; see `excluded_loss`."""
        return excluded_loss(self.only_base, self.only_candidate, self.rows, beta)

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

    @property
    def differs(self) -> bool:
        """Whether there is a change."""
        return bool(self.change)

    def decision(self, limits: LossLimits, alpha: float, beta: float) -> Decision | None:
        """FAIL beyond the least change that counts, PASS without a loss."""
        del limits, alpha, beta
        if self.change > self.least:
            return "FAIL"
        return "PASS" if self.change <= 0 else None

    def improved(self, alpha: float) -> bool:
        """Whether there is a gain that counts."""
        del alpha
        return self.change < -self.least

    def proven(self, alpha: float) -> float:
        """The change, if it counts."""
        del alpha
        return self.change if self.change > self.least else -math.inf

    def excluded(self, beta: float) -> float:
        """The least change that counts, without a loss."""
        del beta
        return self.least if self.change <= 0 else math.inf

    def visible(self, alpha: float) -> float | None:
        """The least change that counts."""
        del alpha
        return self.least


def equality(
    evidence: LossEvidence, loss: float, detect: float, alpha: float, beta: float
) -> Decision | None:
    """What is proven of a loss that is to be `loss`, not more and not less.

    FAIL where it is another one, at half of `alpha` a side; PASS where it is within `detect` of it,
    at `beta` a side.
    """
    half = alpha / 2
    if evidence.proven(half) > loss or evidence.excluded(half) < loss:
        return "FAIL"
    near = evidence.proven(beta) > loss - detect and evidence.excluded(beta) < loss + detect
    return "PASS" if near else None
