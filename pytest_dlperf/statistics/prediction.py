"""Sessions: what is known of unchanged code on one machine, and what to expect of it today.

A session's log cost is `y = mean + b r + u + e`: `r` is the log cost of the yardstick, the
reference model, which says how fast the machine was that day; `u` is what sessions differ by all
the same; and `e` is the session's own error. `u` is what no longer measuring takes away, and what
a few sessions say little about. So a prior stands beside them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_dlperf.statistics.estimate import CONFIDENCE, Estimate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

PRIOR_FREEDOM: Final = 4
"""The prior for the noise between sessions counts as much as so many degrees of freedom."""

ENOUGH_SESSIONS: Final = 15
"""From here on the sessions say how much of the yardstick's changes the metric shares."""

_LEAST_NOISE: Final = 0.005  # sessions that agree better than this do so by chance


@dataclass(frozen=True, slots=True)
class Session:
    """One metric in one session.

    Attributes:
        cost: its log cost, so that more is worse.
        error: the standard error of `cost` within the session, not negative.
        yardstick: log cost of the reference model in the same session, if it was measured.
    """

    cost: float
    error: float
    yardstick: float | None = None

    def __post_init__(self) -> None:
        for name, value in (("cost", self.cost), ("yardstick", self.yardstick)):
            if value is not None and not math.isfinite(value):
                raise ValueError(f"a session's {name} is {value}: expected a finite logarithm")
        if not 0 <= self.error < math.inf:
            raise ValueError(f"a session's error is {self.error}: expected 0 or more")


@dataclass(frozen=True, slots=True)
class Prediction:
    """The loss of a session against those before it, as a t-distribution.

    Attributes:
        loss: log cost now less the mean of the history, above 0 when it is worse.
        spread: standard deviation that this would have for unchanged code.
        freedom: degrees of freedom that `spread` is known with.
    """

    loss: float
    spread: float
    freedom: int

    def low(self, alpha: float) -> float:
        """The one-sided lower end: unchanged code has it above 0 with a probability of `alpha`."""
        return self.loss - self._quantile(alpha) * self.spread

    def high(self, beta: float) -> float:
        """The one-sided upper end: a loss lies above it with a probability of `beta`."""
        return self.loss + self._quantile(beta) * self.spread

    def estimate(self) -> Estimate:
        """The loss with its two-sided interval."""
        tail = (1 - CONFIDENCE) / 2
        return Estimate(self.loss, self.low(tail), self.high(tail))

    def _quantile(self, error: float) -> float:
        from scipy.special import stdtrit

        return float(stdtrit(self.freedom, 1 - error))


def predict(history: Sequence[Session], now: Session, prior: float) -> Prediction:
    """Compare a session with those before it, by the predictive t-distribution of a further one.

    It is `contrast` with one session on the right.

    Args:
        history: sessions of unchanged code on the same machine, at least one.
        now: the session to compare.
        prior: standard deviation, as a log ratio, between sessions of unchanged code beyond their
            own errors, and with the yardstick's; 0 or more.

    Raises:
        ValueError: without a history, or for a prior that is negative or not finite.
    """
    return contrast(history, [now], prior)


def contrast(history: Sequence[Session], present: Sequence[Session], prior: float) -> Prediction:
    """Compare sessions of some code with sessions of other code, on the same machine.

    `theta = mean(z of the n present ones) - mean(z of the m of the history)` with `z = y - b r`,
    and its t-distribution. The variance between sessions, `s^2`, combines what those of either
    side show beyond their own errors with the prior as a scaled inverse chi-square (Gelman et al.:
    Bayesian Data Analysis, 3rd ed., 2.6):

    `s^2 = (nu0 prior^2 + max(0, k var(z) - k mean(e^2))) / (nu0 + k)`, at least 0.5 %;
    `h^2 = s^2 (1/m + 1/n + leverage) + sum(e^2) / m^2 + sum(e^2) / n^2`.

    `k` is m + n - 2, the variance is pooled, of either side about its own mean, and the leverage
    is nothing. Where `b` was estimated, it costs one degree of freedom more, and the leverage is
    the square of the difference of both sides' mean `r` over the pooled sum of squares of `r`, as
    for the prediction of a linear regression: on a day unlike all others the yardstick says less.

    Args:
        history: sessions of the code to compare with, at least one.
        present: sessions of the code that is compared, at least one.
        prior: standard deviation, as a log ratio, between sessions of unchanged code beyond their
            own errors, and with the yardstick's; 0 or more.

    Raises:
        ValueError: without a session on either side, or for a prior that is negative or not finite.
    """
    if not history or not present:
        raise ValueError("there is no session to compare with: expected at least one")
    if not 0 <= prior < math.inf:
        raise ValueError(f"the noise between sessions is {prior}: expected 0 or more")
    sides = (history, present)
    costs = [np.array([session.cost for session in side]) for side in sides]
    errors = [np.array([session.error for session in side]) for side in sides]
    freedom, leverage = len(history) + len(present) - len(sides), 0.0
    own = sum((len(one) - 1) * float(np.mean(one**2)) for one in errors)
    yardsticks = _yardsticks(sides)
    if yardsticks is not None:
        shrunk = _weight(costs, yardsticks)
        costs = [cost - shrunk * one for cost, one in zip(costs, yardsticks, strict=True)]
        around = sum(_squares(one) for one in yardsticks)
        if freedom >= ENOUGH_SESSIONS - 1 and around > 0:
            leverage = float(yardsticks[1].mean() - yardsticks[0].mean()) ** 2 / around
            own *= (freedom - 1) / freedom
            freedom -= 1
    shown = sum(map(_squares, costs)) - own
    variance = (PRIOR_FREEDOM * prior**2 + max(0.0, shown)) / (PRIOR_FREEDOM + freedom)
    means = 1 / len(history) + 1 / len(present)
    between = max(variance, _LEAST_NOISE**2) * (means + leverage)
    within = sum(float((one**2).sum()) / len(one) ** 2 for one in errors)
    return Prediction(
        loss=float(costs[1].mean()) - float(costs[0].mean()),
        spread=math.sqrt(between + within),
        freedom=PRIOR_FREEDOM + freedom,
    )


def shrinkage(history: Sequence[Session]) -> float:
    """How much of the yardstick's changes the metric shares: `b` of `z = y - b r`.

    1 while there are fewer than 15 sessions; from there on `cov(y, r) / var(r)`, between 0 and
    1, and 1 if the yardstick never changed. 0 if any session is without a yardstick, so that like
    is compared with like.
    """
    yardsticks = _yardsticks([history])
    if yardsticks is None:
        return 0.0
    return _weight([np.array([session.cost for session in history])], yardsticks)


def _weight(
    costs: Sequence[NDArray[np.float64]], yardsticks: Sequence[NDArray[np.float64]]
) -> float:
    """`b`, from what sessions of the same code differ by; see `shrinkage`.

    As many degrees of freedom are asked for as 15 sessions of one code have.
    """
    if sum(len(one) - 1 for one in costs) < ENOUGH_SESSIONS - 1:
        return 1.0
    spread = sum(map(_squares, yardsticks))
    if not spread:
        return 1.0
    pairs = zip(costs, yardsticks, strict=True)
    shared = sum(float(((one - one.mean()) * cost).sum()) for cost, one in pairs)
    return min(1.0, max(0.0, shared / spread))


def _squares(values: NDArray[np.float64]) -> float:
    """Sum of squares about the mean."""
    return float(((values - values.mean()) ** 2).sum())


def reference_change(history: Sequence[Session], *present: Session) -> float | None:
    """The yardstick's geometric mean now, as a multiple of that in the history.

    Above 1 the machine is slower than it was.

    Returns:
        None if the yardstick was not measured in each of the sessions, or there are none.
    """
    if not history or not present:
        return None
    yardsticks = _yardsticks([history, present])
    if yardsticks is None:
        return None
    return math.exp(float(yardsticks[1].mean()) - float(yardsticks[0].mean()))


def _yardsticks(sides: Sequence[Sequence[Session]]) -> list[NDArray[np.float64]] | None:
    """Those of all sessions, by side, shape `(sessions,)` each; None if any is missing."""
    measured = [
        [session.yardstick for session in side if session.yardstick is not None] for side in sides
    ]
    if any(len(found) < len(side) for found, side in zip(measured, sides, strict=True)):
        return None
    return [np.array(found) for found in measured]
