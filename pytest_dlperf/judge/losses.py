"""Contrasts: what two sides' sessions say of a loss of one metric, whatever kind it is of."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from pytest_dlperf.judge.conditions import scaled_metrics_of
from pytest_dlperf.judge.judge import session_of, share_lost
from pytest_dlperf.judge.pairing import same_rows
from pytest_dlperf.results.rows import loss_of_pairs
from pytest_dlperf.results.verdict import Verdict
from pytest_dlperf.statistics.estimate import NORMAL_REACH, Estimate, counted
from pytest_dlperf.statistics.prediction import Prediction, contrast
from pytest_dlperf.statistics.proportions import accuracy_decision, mcnemar

if TYPE_CHECKING:
    from pytest_dlperf.metrics import Metric
    from pytest_dlperf.results.baseline import Accepted

_FARTHEST: Final = 100.0  # a logarithm, beyond anything that is measured
_MANY: Final = 1_000_000  # degrees of freedom of what is as good as normal
_VERDICTS: Final = {"FAIL": Verdict.FAIL, "PASS": Verdict.PASS, None: Verdict.INCONCLUSIVE}


class Evidence(Protocol):
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
class Measured:
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
class Paired:
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
class Counted:
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


def contrast_of(metric: Metric, base: Accepted, candidate: Accepted) -> Prediction:
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


def unpaired(metric: Metric, base: Accepted, candidate: Accepted) -> Prediction:
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
