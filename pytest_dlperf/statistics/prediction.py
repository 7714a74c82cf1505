"""Prediction intervals for a session of unchanged code, from earlier sessions on one machine.

A session's log cost is `y = mean + m + u + e`: `m` is the part that follows the machine's speed,
which the yardstick shows (`machine_speed`); `u` is the remaining effect of the session; and `e` is
the error within it. Measuring longer does not reduce `u`, and few sessions say little about its
variance, so a prior is combined with them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_dlperf.statistics.estimate import CONFIDENCE, Estimate
from pytest_dlperf.statistics.machine_speed import follow, logs_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pytest_dlperf.statistics.machine_speed import Pace

PRIOR_FREEDOM: Final = 4
"""Degrees of freedom that the prior for the noise between sessions is worth."""

_LEAST_NOISE: Final = 0.005  # sessions that agree better than this agree by chance


@dataclass(frozen=True, slots=True)
class Session:
    """One metric in one session: log cost, its standard error, and the machine's pace."""

    cost: float
    error: float
    yardstick: Pace | None = None

    def __post_init__(self) -> None:
        if not math.isfinite(self.cost):
            raise ValueError(f"a session's cost is {self.cost}: expected a finite logarithm")
        if not 0 <= self.error < math.inf:
            raise ValueError(f"a session's error is {self.error}: expected 0 or more")


@dataclass(frozen=True, slots=True)
class Prediction:
    """A loss between sessions, as a t-distribution.

    Attributes:
        loss: difference of log costs, above 0 when the later sessions are worse.
        spread: standard deviation of `loss` for unchanged code.
        freedom: degrees of freedom of `spread`.
    """

    loss: float
    spread: float
    freedom: int

    def low(self, alpha: float) -> float:
        """The one-sided lower end, above 0 for unchanged code with a probability of `alpha`."""
        return self.loss - self._quantile(alpha) * self.spread

    def high(self, beta: float) -> float:
        """The one-sided upper end, below the true loss with a probability of `beta`."""
        return self.loss + self._quantile(beta) * self.spread

    def estimate(self) -> Estimate:
        """The loss with its two-sided interval."""
        tail = (1 - CONFIDENCE) / 2
        return Estimate(self.loss, self.low(tail), self.high(tail))

    def _quantile(self, error: float) -> float:
        from scipy.special import stdtrit

        return float(stdtrit(self.freedom, 1 - error))


def contrast(history: Sequence[Session], present: Sequence[Session], prior: float) -> Prediction:
    """Compare sessions of some code with sessions of other code, on the same machine.

    `theta = mean(z of the n present ones) - mean(z of the m of the history)`, where `z = y - m` is
    what the machine's speed does not explain, and its t-distribution. The variance between
    sessions, `s^2`, combines what those of either side show beyond their own errors with the prior
    as a scaled inverse chi-square (Gelman et al.: Bayesian Data Analysis, 3rd ed., 2.6):

    `s^2 = (nu0 prior^2 + max(0, k var(z) - k mean(e^2))) / (nu0 + k)`, at least 0.5 %;
    `h^2 = s^2 (1/m + 1/n) + v + sum(e^2) / m^2 + sum(e^2) / n^2`.

    `k` is m + n - 2, and the variance is pooled about the mean of either side. `v` is how unsure it
    is that the metric followed the change of the machine's speed between both sides, none if it is
    the same: the further the yardstick has moved, the less is proven.

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
    freedom, unsure = len(history) + len(present) - len(sides), 0.0
    own = sum((len(side) - 1) * float(np.mean(side**2)) for side in errors)
    paces = _paces(sides)
    if paces is not None:
        noise = math.sqrt(prior**2 + float(np.mean(np.concatenate(errors) ** 2)))
        following = follow(costs, paces, noise=noise, worth=PRIOR_FREEDOM)
        costs = [cost - following.expected(p) for cost, p in zip(costs, paces, strict=True)]
        unsure = following.variance(paces[1].mean(axis=0) - paces[0].mean(axis=0))
        own -= following.pull
    shown = sum(map(_squares, costs)) - own
    variance = (PRIOR_FREEDOM * prior**2 + max(0.0, shown)) / (PRIOR_FREEDOM + freedom)
    means = 1 / len(history) + 1 / len(present)
    between = max(variance, _LEAST_NOISE**2) * means
    within = sum(float((side**2).sum()) / len(side) ** 2 for side in errors)
    return Prediction(
        loss=float(costs[1].mean()) - float(costs[0].mean()),
        spread=math.sqrt(between + unsure + within),
        freedom=PRIOR_FREEDOM + freedom,
    )


def _squares(values: NDArray[np.float64]) -> float:
    """Sum of squares about the mean."""
    return float(((values - values.mean()) ** 2).sum())


def reference_change(history: Sequence[Session], *present: Session) -> float | None:
    """The yardstick's geometric mean now, of both parts, as a multiple of that in the history.

    Above 1 the machine is slower than it was.

    Returns:
        None if the yardstick was not measured in each of the sessions, or there are none.
    """
    if not history or not present:
        return None
    paces = _paces([history, present])
    if paces is None:
        return None
    return math.exp(float(paces[1][:, 0].mean()) - float(paces[0][:, 0].mean()))


def _paces(sides: Sequence[Sequence[Session]]) -> list[NDArray[np.float64]] | None:
    """The `Pace.logs` of each side, shape `(sessions, 2)`; None if any session has no yardstick."""
    measured = [
        [session.yardstick for session in side if session.yardstick is not None] for side in sides
    ]
    if any(len(known) < len(side) for known, side in zip(measured, sides, strict=True)):
        return None
    return [logs_of(known) for known in measured]
