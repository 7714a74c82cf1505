"""Losses of a metric, what a budget allows of them, and what the evidence for one proves.

A loss is above 0 when the candidate is worse. Of a share it is in shares of one; of any other
metric it is the logarithm of the ratio of costs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal, Protocol

from pytest_dlperf.results.row_evidence import loss_of_pairs
from pytest_dlperf.results.verdict import Verdict
from pytest_dlperf.statistics.estimate import Estimate, counted
from pytest_dlperf.statistics.prediction import Prediction
from pytest_dlperf.statistics.proportions import accuracy_decision, mcnemar

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_dlperf.config.budgets import Budget
    from pytest_dlperf.metrics import Metric
    from pytest_dlperf.statistics.estimate import Decision
    from pytest_dlperf.statistics.session_noise import SessionNoise


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

    def improved(self, alpha: float) -> bool:
        """Whether the upper end is below 0."""
        return self.measured.high(alpha) < 0

    def visible(self, alpha: float) -> float:
        """The distance from the loss to the lower end."""
        return self.measured.loss - self.measured.low(alpha)


SUSPECT: Final = 0.25
"""Of sessions on unchanged code, the share that may be suspected of a loss, and looked at again."""


def excursions_of_mean(
    excursions: Iterable[tuple[float, float]], days: int
) -> tuple[tuple[float, float], ...]:
    """What the mean of some days is off by, where one of them is off."""
    return tuple((size / days, min(1.0, share * days)) for size, share in excursions)


@dataclass(frozen=True, slots=True)
class SessionLoss:
    """The loss of a speed since stored sessions.

    Single sessions are off by more than the noise between sessions explains: beside a neighbour,
    for example. A FAIL takes that into account: with a share `p` of sessions that are off by `size`
    or more, a loss is proven at `alpha` if its lower end at `alpha` exceeds the allowed loss, and
    that at `alpha / p` exceeds it by `size`.

    Attributes:
        measured: the loss, with the noise between sessions.
        excursions: sizes, each with its share of sessions; see `excursions_of_mean`.
    """

    measured: Prediction
    excursions: tuple[tuple[float, float], ...] = ()
    errs: bool = True

    @property
    def loss(self) -> Estimate:
        """The loss with its 95 % interval."""
        return self.measured.estimate()

    def decision(self, limits: LossLimits, alpha: float, beta: float) -> Decision | None:
        """By the one-sided ends, the lower one less what single sessions are off by."""
        if self.low(alpha) > limits.allowed:
            return "FAIL"
        return "PASS" if self.measured.high(beta) < limits.line else None

    def suspected(self, limits: LossLimits) -> bool:
        """Whether it is worth another look: more was lost than `limits.line`, and not by chance."""
        return self.measured.loss > limits.line and self.measured.low(SUSPECT) > limits.allowed

    def low(self, alpha: float) -> float:
        """The loss that is proven at `alpha`."""
        ends = [self.measured.low(alpha)]
        ends += [
            self.measured.low(alpha / share) - size
            for size, share in self.excursions
            if share > alpha
        ]
        return min(ends)

    def improved(self, alpha: float) -> bool:
        """Whether the upper end is below 0."""
        return self.measured.high(alpha) < 0

    def visible(self, alpha: float) -> float:
        """The distance from the loss to the lower end."""
        return self.measured.loss - self.low(alpha)


def provable_losses(noise: SessionNoise, days: int, alpha: float) -> tuple[float, float]:
    """The losses from which a session is suspected and proves one by itself, as log ratios.

    Args:
        noise: between sessions.
        days: of the baseline, which differ by that noise.
        alpha: the rate of a FAIL.
    """
    spread = noise.spread * math.sqrt(1 + 1 / days)
    loss = SessionLoss(Prediction(0.0, spread, noise.freedom + days - 1), noise.excursions)
    return loss.measured.loss - loss.measured.low(SUSPECT), loss.visible(alpha)


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

    def improved(self, alpha: float) -> bool:
        """Whether there is a gain that counts."""
        del alpha
        return self.change < -self.least

    def visible(self, alpha: float) -> float | None:
        """The least change that counts."""
        del alpha
        return self.least
