"""Contrasts: what two sides' sessions say of a loss of one metric, whatever kind it is of."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Protocol

import numpy as np

from pytest_dlperf.judge.conditions import scaled_metrics_of
from pytest_dlperf.results.row_evidence import loss_of_pairs
from pytest_dlperf.results.verdict import Verdict
from pytest_dlperf.statistics.estimate import NORMAL_REACH, Estimate, counted
from pytest_dlperf.statistics.prediction import Prediction, Session, contrast
from pytest_dlperf.statistics.proportions import accuracy_decision, are_bits, mcnemar, paired_seeds

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_dlperf.config.budgets import Budget
    from pytest_dlperf.metrics import Metric
    from pytest_dlperf.results.baseline import BaselineEntry
    from pytest_dlperf.results.row_evidence import Rows, RowScores


_FARTHEST: Final = 100.0  # a logarithm, beyond anything that is measured
_MANY: Final = 1_000_000  # degrees of freedom of what is as good as normal
_VERDICTS: Final = {"FAIL": Verdict.FAIL, "PASS": Verdict.PASS, None: Verdict.INCONCLUSIVE}


FEWEST_SEEDS: Final = 3
"""Trainings from fewer seeds do not tell whether accuracy was lost."""
_FLOOR: Final = 1e-12


class LossEvidence(Protocol):
    """What is known of a loss: in shares of one, or as a logarithm of the cost."""

    @property
    def loss(self) -> Estimate:
        """The loss with its 95 % interval, above 0 when it is worse."""
        ...

    @property
    def errs(self) -> bool:
        """Whether it has a part in the error rate."""
        ...

    def verdict(self, alpha: float, beta: float) -> Verdict:
        """FAIL, where a loss is proven; PASS, where one of `detect` is excluded."""
        ...

    def improved(self, alpha: float) -> bool:
        """Whether a gain is proven."""
        ...

    def visible(self, alpha: float) -> float | None:
        """The loss at which it would have been a FAIL; None if that is not known."""
        ...


@dataclass(frozen=True, slots=True)
class MeasuredLoss:
    """What was measured with an error.

    Attributes:
        found: the loss as a t-distribution.
        line: the loss that has to be excluded for a PASS.
        errs: it has a part in the error rate.
    """

    found: Prediction
    line: float
    errs: bool = True

    @property
    def loss(self) -> Estimate:
        """The loss with its interval."""
        return self.found.estimate()

    def verdict(self, alpha: float, beta: float) -> Verdict:
        """By the two one-sided ends of the interval."""
        if self.found.low(alpha) > 0:
            return Verdict.FAIL
        return Verdict.PASS if self.found.high(beta) < self.line else Verdict.INCONCLUSIVE

    def improved(self, alpha: float) -> bool:
        """Whether the upper end is below 0."""
        return self.found.high(alpha) < 0

    def visible(self, alpha: float) -> float | None:
        """The distance from the loss to the lower end."""
        return self.found.loss - self.found.low(alpha)


@dataclass(frozen=True, slots=True)
class PairedLoss:
    """Right answers to the same rows.

    Attributes:
        only_base: rows that the base alone has right.
        only_candidate: rows that the candidate alone has right.
        rows: rows that both answered, at least one.
        line: the loss that has to be excluded for a PASS.
        errs: it has a part in the error rate.
    """

    only_base: int
    only_candidate: int
    rows: int
    line: float
    errs: bool = True

    @property
    def loss(self) -> Estimate:
        """The share of rows that was lost, with its interval."""
        return loss_of_pairs(self.only_base, self.only_candidate, self.rows)

    def verdict(self, alpha: float, beta: float) -> Verdict:
        """By exact tests; see `accuracy_decision`."""
        decision = accuracy_decision(
            *(self.only_base, self.only_candidate, self.rows),
            allowed=0.0,
            line=self.line,
            alpha=alpha,
            beta=beta,
        )
        return _VERDICTS[decision]

    def improved(self, alpha: float) -> bool:
        """Whether McNemar's test proves a gain."""
        return mcnemar(self.only_candidate, self.only_base) < alpha

    def visible(self, alpha: float) -> float | None:
        """Not known: it depends on which rows would be lost."""
        del alpha
        return None


@dataclass(frozen=True, slots=True)
class CountedLoss:
    """Shares that were counted, whose noise nobody knows: only a large change says something.

    Attributes:
        change: what the candidate has more of.
        line: the least change that counts.
        errs: it has no part in the error rate.
    """

    change: float
    line: float
    errs: bool = False

    @property
    def loss(self) -> Estimate:
        """The change, without an interval."""
        return counted(self.change)

    def verdict(self, alpha: float, beta: float) -> Verdict:
        """FAIL beyond the line, PASS without a loss."""
        del alpha, beta
        if self.change > self.line:
            return Verdict.FAIL
        return Verdict.PASS if self.change <= 0 else Verdict.INCONCLUSIVE

    def improved(self, alpha: float) -> bool:
        """Whether there is a gain beyond the line."""
        del alpha
        return self.change < -self.line

    def visible(self, alpha: float) -> float | None:
        """The line."""
        del alpha
        return self.line


def contrast_of(metric: Metric, base: BaselineEntry, candidate: BaselineEntry) -> Prediction:
    """What was lost of a speed or a size, as a logarithm of its cost.

    Args:
        metric: one that a session of both sides has; no share.
        base: sessions of the code to compare with.
        candidate: sessions of the code that is compared, under the same conditions.
    """
    scaled = metric.name in scaled_metrics_of(candidate.scenario)
    # The interval of a loss is about other rows than these; and these were the same.
    same = same_rows(metric, candidate, base)
    then, now = (
        [
            session_of(
                metric,
                counted(found.value) if same else found,
                session.yardstick if scaled else None,
            )
            for session in side.sessions
            if (found := session.metrics.get(metric.name)) is not None
        ]
        for side in (base, candidate)
    )
    return contrast(then, now, math.log1p(metric.run_noise))


def unpaired(metric: Metric, base: BaselineEntry, candidate: BaselineEntry) -> Prediction:
    """What the newest sessions say was lost of a share, in shares of one, by their intervals."""
    old, new = (
        next(s.metrics[metric.name] for s in reversed(side.sessions) if metric.name in s.metrics)
        for side in (base, candidate)
    )
    lost, reach = share_lost(metric, old, new)
    return Prediction(lost, reach / NORMAL_REACH, _MANY)


def change_by(metric: Metric, loss: Estimate) -> Estimate:
    """A loss as the change of the metric's own value, with its interval."""
    low, high = sorted((changed_by(metric, loss.low), changed_by(metric, loss.high)))
    return Estimate(changed_by(metric, loss.value), low, high)


def changed_by(metric: Metric, loss: float) -> float:
    """A ratio minus one, or the difference of shares."""
    # From 0, so that nothing is shown as -0.
    signed = loss if metric.better == "lower" else 0.0 - loss
    if metric.unit == "share":
        return min(1.0, max(-1.0, signed))
    return math.expm1(min(_FARTHEST, signed))


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


def lost_rows(metric: Metric, found: Answered, base: Answered) -> tuple[int, int, int] | None:
    """Rows that were lost, rows that were won, and rows that both answered, at least one.

    Args:
        metric: a share.
        found: what is judged.
        base: what it is held against.

    Returns:
        None where rows are not right or wrong, or not the same.
    """
    if metric.name == "accuracy":
        if found.rows is None or base.rows is None or not found.rows.pairable(base.rows):
            return None
        pairs = found.rows.pairs(base.rows)
        return pairs if pairs[-1] else None
    both = _scores(metric, found, base)
    if both is None or not are_bits(np.concatenate(both)):
        return None
    lost, won = (int((a > b).sum()) for a, b in ((both[1], both[0]), both))
    return (lost, won, len(both[0])) if metric.better == "higher" else (won, lost, len(both[0]))


def lost_scores(metric: Metric, found: Answered, base: Answered) -> Prediction | None:
    """The mean loss of scores on the same rows, with Student's t for pairs (Student 1908).

    With `d` the n losses of rows, `mean(d)` and its standard error `sd(d) / sqrt(n)`, n - 1 degrees
    of freedom. Where no score differs, nothing was lost on these rows, and there is no error.

    Args:
        metric: a user's share.
        found: what is judged.
        base: what it is held against.

    Returns:
        None where the rows are not the same, or one alone differs: its noise is not known.
    """
    both = _scores(metric, found, base)
    if both is None:
        return None
    losses = both[1] - both[0] if metric.better == "higher" else both[0] - both[1]
    rows = len(losses)
    if not losses.any():
        return Prediction(0.0, 0.0, max(1, rows - 1))
    if rows == 1:
        return None
    error = float(np.std(losses, ddof=1)) / math.sqrt(rows)
    return Prediction(float(losses.mean()), error, rows - 1)


def lost_on_rows(metric: Metric, found: Answered, base: Answered) -> Estimate | None:
    """What was lost of a share on the rows that both answered, with its 95 % interval.

    None if there are no such rows.
    """
    pairs = lost_rows(metric, found, base)
    if pairs is not None:
        return loss_of_pairs(*pairs)
    paired = lost_scores(metric, found, base)
    return paired.estimate() if paired is not None else None


def lost_share(metric: Metric, found: Answered, base: Answered) -> Estimate | None:
    """What was lost of a share, row by row or seed by seed, with its 95 % interval.

    None if neither the rows nor the seeds are the same.
    """
    on_rows = lost_on_rows(metric, found, base)
    if on_rows is not None:
        return on_rows
    if metric.name == "accuracy" and len(found.seeds) == len(base.seeds) >= FEWEST_SEEDS:
        return paired_seeds(np.array(base.seeds), np.array(found.seeds)).loss
    return None


def share_decision(  # noqa: PLR0913 - two sides, and two lines with an error each
    metric: Metric,
    found: Answered,
    base: Answered,
    *,
    allowed: float,
    line: float,
    alpha: float,
    beta: float,
) -> Literal["FAIL", "PASS"] | None:
    """What the rows that both answered prove of a budget on a share.

    Args:
        metric: a share.
        found: what is judged.
        base: what it is held against.
        allowed: the share that may be lost; below 0 where a gain is demanded.
        line: the loss that has to be excluded for a PASS, at least `allowed`.
        alpha: how often a loss of `allowed` may FAIL, below a half.
        beta: how often a loss of `line` may PASS, below a half.

    Returns:
        None where neither is proven, or the rows are not the same.
    """
    pairs = lost_rows(metric, found, base)
    if pairs is not None:
        return accuracy_decision(*pairs, allowed=allowed, line=line, alpha=alpha, beta=beta)
    paired = lost_scores(metric, found, base)
    if paired is None:
        return None
    if paired.low(alpha) > allowed:
        return "FAIL"
    return "PASS" if paired.high(beta) < line else None


def same_rows(metric: Metric, found: Answered, base: Answered) -> bool:
    """Whether a metric of answers, no share, is the mean over the same rows on both sides."""
    if metric.by_user:
        return _scores(metric, found, base) is not None
    rows, before = found.rows, base.rows
    return metric.name == "loss" and bool(rows and before and rows.pairable(before))


def _scores(
    metric: Metric, found: Answered, base: Answered
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    if not metric.by_user or found.scores is None or base.scores is None:
        return None
    return found.scores.pairs(base.scores, metric.name)


def session_of(metric: Metric, measured: Estimate, yardstick: float | None) -> Session:
    """One metric in one session, as a logarithm of its cost.

    Args:
        metric: no share.
        measured: what the session found.
        yardstick: seconds a request of the reference model, if that is to be allowed for.
    """
    low, high = log_cost(metric, measured.low), log_cost(metric, measured.high)
    return Session(
        cost=log_cost(metric, measured.value),
        error=abs(high - low) / (2 * NORMAL_REACH),
        yardstick=math.log(yardstick) if yardstick is not None else None,
    )


def allowed_loss(budget: Budget, base: float) -> float:
    """The loss that a relative budget allows, in shares of one or as a logarithm of the cost.

    Args:
        budget: the condition.
        base: the baseline's value.
    """
    metric, limit = budget.metric, budget.limit(base)
    if metric.unit == "share":
        return _worse(metric, limit) - _worse(metric, base)
    return log_cost(metric, limit) - log_cost(metric, base)


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


def share_lost(metric: Metric, base: Estimate, now: Estimate) -> tuple[float, float]:
    """What was lost of a share by two intervals that know nothing of each other.

    Args:
        metric: a share.
        base: what it was.
        now: what it is.

    Returns:
        The loss in shares of one, and how far its interval reaches to either side.
    """
    reach = math.hypot(now.high - now.low, base.high - base.low) / 2
    return _worse(metric, now.value) - _worse(metric, base.value), reach
