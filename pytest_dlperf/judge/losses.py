"""The loss of one metric: what two sides show of it, what a budget allows, and what that proves.

A loss is above 0 when the candidate is worse. Of a share it is in shares of one; of any other
metric it is the logarithm of the ratio of costs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal, Protocol

import numpy as np

from pytest_dlperf.judge.conditions import scaled_metrics_of
from pytest_dlperf.results.row_evidence import loss_of_pairs
from pytest_dlperf.results.verdict import Verdict
from pytest_dlperf.statistics.estimate import NORMAL_REACH, Estimate, counted
from pytest_dlperf.statistics.prediction import Prediction, Session, contrast
from pytest_dlperf.statistics.proportions import accuracy_decision, are_bits, mcnemar, paired_seeds

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from pytest_dlperf.config.budgets import Budget
    from pytest_dlperf.metrics import Metric
    from pytest_dlperf.results.baseline import BaselineEntry
    from pytest_dlperf.results.row_evidence import Rows, RowScores
    from pytest_dlperf.statistics.estimate import Decision


VERDICTS: Final = MappingProxyType[Literal["FAIL", "PASS"] | None, Verdict](
    {"FAIL": Verdict.FAIL, "PASS": Verdict.PASS, None: Verdict.INCONCLUSIVE}
)
"""The verdict of what is proven."""

FEWEST_SEEDS: Final = 3
"""Trainings from fewer seeds do not show whether accuracy was lost."""

_LEAST_VALUE: Final = 1e-12  # a value of 0 has no logarithm
_FARTHEST: Final = 100.0  # a logarithm, beyond anything that is measured
_MANY: Final = 1_000_000  # degrees of freedom of what is as good as normal


def log_cost(metric: Metric, value: float) -> float:
    """The logarithm of a value, with the sign with which more is worse."""
    return oriented(metric, math.log(max(value, _LEAST_VALUE)))


def cost(metric: Metric, value: float) -> float:
    """What losses of a metric are differences of: a share as it is, of other metrics `log_cost`."""
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
        line: PASS when this much is excluded; at least `allowed`.
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
        """Whether it takes a part of the error rate."""
        ...

    def decision(self, limits: LossLimits, alpha: float, beta: float) -> Decision | None:
        """What is proven of a budget, both errors below a half; None if neither is.

        Args:
            limits: of the budget.
            alpha: how often a loss of `limits.allowed` may FAIL.
            beta: how often a loss of `limits.line` may PASS.
        """
        ...

    def improved(self, alpha: float) -> bool:
        """Whether a gain is proven."""
        ...

    def visible(self, alpha: float) -> float | None:
        """The loss beyond what is allowed that would have been a FAIL; None if not known."""
        ...


@dataclass(frozen=True, slots=True)
class MeasuredLoss:
    """A loss that was measured with an error.

    Attributes:
        measured: the loss as a t-distribution.
        errs: it takes a part of the error rate.
    """

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


@dataclass(frozen=True, slots=True)
class IntervalLoss:
    """A loss of which only the 95 % interval is known, which decides whatever the error rates.

    Attributes:
        loss: with its interval.
        errs: it takes a part of the error rate.
    """

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
    """Right answers to the same rows.

    Attributes:
        only_base: rows that the base alone has right.
        only_candidate: rows that the candidate alone has right.
        rows: rows that both answered, at least one.
        errs: it takes a part of the error rate.
    """

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
    """A difference of counted shares whose noise is not known: only a large one decides.

    Attributes:
        change: what the candidate has more of.
        least: the least change that counts.
        errs: it takes no part of the error rate.
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


class Answered(Protocol):
    """What has answered rows: a measurement, or what is stored of one."""

    @property
    def rows(self) -> Rows | None:
        """The evidence for accuracy."""

    @property
    def scores(self) -> RowScores | None:
        """The evidence for users' metrics."""

    @property
    def seeds(self) -> tuple[float, ...]:
        """The accuracy from each seed, of trainings from several."""


def loss_on_rows(
    metric: Metric, candidate: Answered, base: Answered
) -> PairedLoss | MeasuredLoss | None:
    """What is known of the loss of a share from the rows that both sides answered.

    Rows that are right or wrong are counted. The mean loss of other scores has Student's t for
    pairs (Student 1908): with `d` the n losses of rows, `mean(d)` and its standard error
    `sd(d) / sqrt(n)`, n - 1 degrees of freedom. Where no score differs, nothing was lost on these
    rows, and there is no error.

    Returns:
        None where the rows are not the same, or a single one leaves its noise unknown.
    """
    if metric.name == "accuracy":
        if candidate.rows is None or base.rows is None or not candidate.rows.pairable(base.rows):
            return None
        pairs = candidate.rows.pairs(base.rows)
        return PairedLoss(*pairs) if pairs[-1] else None
    both = _scores(metric, candidate, base)
    return _loss_in_scores(metric, *both) if both is not None else None


def _loss_in_scores(
    metric: Metric, now: NDArray[np.float64], then: NDArray[np.float64]
) -> PairedLoss | MeasuredLoss | None:
    losses = then - now if metric.better == "higher" else now - then
    rows = len(losses)
    if are_bits(now) and are_bits(then):
        return PairedLoss(int((losses > 0).sum()), int((losses < 0).sum()), rows)
    if not losses.any():
        return MeasuredLoss(Prediction(0.0, 0.0, max(1, rows - 1)))
    if rows == 1:
        return None
    error = float(np.std(losses, ddof=1)) / math.sqrt(rows)
    return MeasuredLoss(Prediction(float(losses.mean()), error, rows - 1))


def lost_on_rows(metric: Metric, candidate: Answered, base: Answered) -> Estimate | None:
    """The loss of a share on the rows that both sides answered; None if there are no such rows."""
    evidence = loss_on_rows(metric, candidate, base)
    return evidence.loss if evidence is not None else None


def lost_share(metric: Metric, candidate: Answered, base: Answered) -> Estimate | None:
    """The loss of a share, row by row or seed by seed; None if neither are the same."""
    on_rows = lost_on_rows(metric, candidate, base)
    if on_rows is not None:
        return on_rows
    if metric.name == "accuracy" and len(candidate.seeds) == len(base.seeds) >= FEWEST_SEEDS:
        return paired_seeds(np.array(base.seeds), np.array(candidate.seeds)).loss
    return None


def unpaired_loss(metric: Metric, base: Estimate, now: Estimate) -> tuple[float, float]:
    """The loss between two independent intervals.

    Returns:
        The loss, and how far its interval reaches to either side.
    """
    then, present = (abs(cost(metric, one.high) - cost(metric, one.low)) / 2 for one in (base, now))
    return cost(metric, now.value) - cost(metric, base.value), math.hypot(present, then)


def unpaired(metric: Metric, base: BaselineEntry, candidate: BaselineEntry) -> Prediction:
    """The loss of a share between the newest sessions of both sides, by their intervals."""
    old, new = (
        next(s.metrics[metric.name] for s in reversed(side.sessions) if metric.name in s.metrics)
        for side in (base, candidate)
    )
    lost, reach = unpaired_loss(metric, old, new)
    return Prediction(lost, reach / NORMAL_REACH, _MANY)


def contrast_of(metric: Metric, base: BaselineEntry, candidate: BaselineEntry) -> Prediction:
    """The loss of a speed or a size between the sessions of two sides.

    Args:
        metric: one that a session of both sides has; no share.
        base: sessions of the code to compare with.
        candidate: sessions of the code that is compared, under the same conditions.
    """
    then, now = (
        [
            (session.metrics[metric.name], session.yardstick)
            for session in side.sessions
            if metric.name in session.metrics
        ]
        for side in (base, candidate)
    )
    return loss_of_sessions(
        metric,
        then,
        now,
        scaled=metric.name in scaled_metrics_of(candidate.scenario),
        paired=same_rows(metric, candidate, base),
    )


def loss_of_sessions(
    metric: Metric,
    then: Iterable[tuple[Estimate, float | None]],
    now: Iterable[tuple[Estimate, float | None]],
    *,
    scaled: bool,
    paired: bool,
) -> Prediction:
    """The loss of a speed or a size, see `contrast`.

    Args:
        metric: no share.
        then: by session of the base: the value, and the yardstick's seconds if it was measured.
        now: the same of the candidate.
        scaled: whether the machine's speed is allowed for.
        paired: whether both sides answered the same rows.
    """
    base, candidate = (
        [
            session_of(
                metric,
                # The interval of a mean over rows is about other rows than these.
                counted(measured.value) if paired else measured,
                yardstick if scaled else None,
            )
            for measured, yardstick in side
        ]
        for side in (then, now)
    )
    return contrast(base, candidate, math.log1p(metric.run_noise))


def session_of(metric: Metric, measured: Estimate, yardstick: float | None) -> Session:
    """One metric in one session, as a logarithm of its cost.

    Args:
        metric: no share.
        measured: in the session.
        yardstick: seconds a request of the reference model, if that is to be allowed for.
    """
    low, high = log_cost(metric, measured.low), log_cost(metric, measured.high)
    return Session(
        cost=log_cost(metric, measured.value),
        error=abs(high - low) / (2 * NORMAL_REACH),
        yardstick=math.log(yardstick) if yardstick is not None else None,
    )


def same_rows(metric: Metric, candidate: Answered, base: Answered) -> bool:
    """Whether a metric of answers, no share, is the mean over the same rows on both sides."""
    if metric.by_user:
        return _scores(metric, candidate, base) is not None
    rows, before = candidate.rows, base.rows
    return metric.name == "loss" and bool(rows and before and rows.pairable(before))


def _scores(
    metric: Metric, candidate: Answered, base: Answered
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    if not metric.by_user or candidate.scores is None or base.scores is None:
        return None
    return candidate.scores.pairs(base.scores, metric.name)
