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

from pytest_dlperf.core.statistics.estimate import CONFIDENCE, Estimate

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

    def visible(self, alpha: float, beta: float) -> float:
        """The smallest loss, on top of what is allowed, that such a session tells from none.

        `(t(1 - alpha) + t(1 - beta)) h`: a loss of this size is proven at `alpha` in about
        `1 - beta` of sessions.
        """
        return (self._quantile(alpha) + self._quantile(beta)) * self.spread

    def _quantile(self, error: float) -> float:
        from scipy.special import stdtrit

        return float(stdtrit(self.freedom, 1 - error))


def predict(history: Sequence[Session], now: Session, prior: float) -> Prediction:
    """Compare a session with those before it.

    `theta = z_now - mean(z)` with `z = y - b r`, and the predictive t-distribution of a further
    session. The variance between sessions, `s^2`, combines what m sessions show beyond their own
    errors with the prior as a scaled inverse chi-square (Gelman et al.: Bayesian Data Analysis,
    3rd ed., 2.6):

    `s^2 = (nu0 prior^2 + k max(0, var(z) - mean(e^2))) / (nu0 + k)`, at least 0.5 %;
    `h^2 = s^2 (1 + 1/m + leverage) + e_now^2 + sum(e^2) / m^2`.

    `k` is m - 1, and the leverage is nothing. Where `b` was estimated, it costs one degree of
    freedom more, and the leverage is `(r_now - mean(r))^2 / sum((r - mean(r))^2)`, as for the
    prediction of a linear regression: on a day unlike all others the yardstick says less.

    Args:
        history: sessions of unchanged code on the same machine, at least one.
        now: the session to compare.
        prior: standard deviation, as a log ratio, between sessions of unchanged code beyond their
            own errors, and with the yardstick's; 0 or more.

    Raises:
        ValueError: without a history, or for a prior that is negative or not finite.
    """
    if not history:
        raise ValueError("there is no session to compare with: expected at least one")
    if not 0 <= prior < math.inf:
        raise ValueError(f"the noise between sessions is {prior}: expected 0 or more")
    sessions = len(history)
    costs = np.array([session.cost for session in history])
    errors = np.array([session.error for session in history])
    cost, freedom, leverage = now.cost, sessions - 1, 0.0
    yardsticks = _yardsticks(history)
    if yardsticks is not None and now.yardstick is not None:
        shrunk = shrinkage(history)
        costs, cost = costs - shrunk * yardsticks, cost - shrunk * now.yardstick
        around = float(((yardsticks - yardsticks.mean()) ** 2).sum())
        if sessions >= ENOUGH_SESSIONS and around > 0:
            leverage = (now.yardstick - float(yardsticks.mean())) ** 2 / around
            freedom -= 1
    shown = float(((costs - costs.mean()) ** 2).sum()) - freedom * float(np.mean(errors**2))
    variance = (PRIOR_FREEDOM * prior**2 + max(0.0, shown)) / (PRIOR_FREEDOM + freedom)
    between = max(variance, _LEAST_NOISE**2) * (1 + 1 / sessions + leverage)
    within = now.error**2 + float((errors**2).sum()) / sessions**2
    return Prediction(
        cost - float(costs.mean()), math.sqrt(between + within), PRIOR_FREEDOM + freedom
    )


def shrinkage(history: Sequence[Session]) -> float:
    """How much of the yardstick's changes the metric shares: `b` of `z = y - b r`.

    1 while there are fewer than 15 sessions; from there on `cov(y, r) / var(r)`, between 0 and
    1, and 1 if the yardstick never changed. 0 if any session is without a yardstick, so that like
    is compared with like.
    """
    yardsticks = _yardsticks(history)
    if yardsticks is None:
        return 0.0
    if len(history) < ENOUGH_SESSIONS:
        return 1.0
    around = yardsticks - yardsticks.mean()
    spread = float((around**2).sum())
    if not spread:
        return 1.0
    costs = np.array([session.cost for session in history])
    return min(1.0, max(0.0, float((around * costs).sum()) / spread))


def reference_change(history: Sequence[Session], now: Session) -> float | None:
    """The yardstick's cost now, as a multiple of its geometric mean in the history.

    Above 1 the machine is slower than it was.

    Returns:
        None if the yardstick was not measured in each of the sessions.
    """
    yardsticks = _yardsticks(history)
    if yardsticks is None or now.yardstick is None or not history:
        return None
    return math.exp(now.yardstick - float(yardsticks.mean()))


def _yardsticks(history: Sequence[Session]) -> NDArray[np.float64] | None:
    """Those of all sessions, shape `(sessions,)`; None if any is missing."""
    measured = [session.yardstick for session in history if session.yardstick is not None]
    return np.array(measured) if len(measured) == len(history) else None
