"""Prediction intervals for a session of unchanged code, from earlier sessions on one machine.

A session's log cost is `y = mean + m + u + e`: `m` is the part that follows the machine's speed,
which the yardstick shows (`machine_speed`); `u` is the remaining effect of the session; and `e` is
the error within it. Measuring longer does not reduce `u`, and few sessions say little about its
variance, so a prior is combined with them. Sessions of one day share the state of the machine on
that day, so they count as one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_dlperf.statistics.estimate import CONFIDENCE, Estimate
from pytest_dlperf.statistics.machine_speed import UNKNOWN_FOLLOWING, follow, logs_of, mean_pace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pytest_dlperf.statistics.pace import Pace

PRIOR_FREEDOM: Final = 4
"""Degrees of freedom that the prior for the noise between sessions is worth."""

LEAST_NOISE: Final = 0.005
"""Sessions that agree better than this agree by chance."""


@dataclass(frozen=True, slots=True)
class Session:
    """One metric in one session.

    Attributes:
        cost: its logarithm.
        error: its standard error.
        yardstick: the machine's pace, if it was measured.
        day: sessions of the same day count as one; empty for a day of its own.
    """

    cost: float
    error: float
    yardstick: Pace | None = None
    day: str = ""

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
    freedom: float

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


@dataclass(frozen=True, slots=True)
class _Days:
    """The sessions of one side by day.

    Attributes:
        means: the mean of each day.
        share: the mean of `1 / sessions` over the days: what a mean leaves of the differences
            within a day.
        within: the sum of squares within days beyond the sessions' own errors.
        freedom: its degrees of freedom.
    """

    means: list[Session]
    share: float
    within: float
    freedom: int


def days_of(sessions: Sequence[Session]) -> list[list[Session]]:
    """The sessions of each day, in the order of the days' first sessions."""
    days: dict[object, list[Session]] = {}
    for number, session in enumerate(sessions):
        days.setdefault(session.day or number, []).append(session)
    return list(days.values())


def mean_of_day(sessions: Sequence[Session]) -> Session:
    """One session that stands for those of a day."""
    if len(sessions) == 1:
        return sessions[0]
    count, paces = len(sessions), _paces([sessions])
    return Session(
        cost=sum(session.cost for session in sessions) / count,
        error=math.sqrt(sum(session.error**2 for session in sessions)) / count,
        yardstick=mean_pace(paces[0]) if paces is not None else None,
        day=sessions[0].day,
    )


def _by_day(sessions: Sequence[Session]) -> _Days:
    days, within = days_of(sessions), 0.0
    for day in days:
        if len(day) > 1:
            paces = _paces([day])
            costs = np.array([one.cost for one in day])
            own = float(np.mean([one.error**2 for one in day]))
            left = costs if paces is None else costs - UNKNOWN_FOLLOWING.expected(paces[0])
            within += _squares(left) - (len(day) - 1) * own
    share = sum(1 / len(day) for day in days) / len(days)
    return _Days(list(map(mean_of_day, days)), share, within, len(sessions) - len(days))


def contrast(
    history: Sequence[Session],
    present: Sequence[Session],
    prior: float,
    prior_freedom: float = PRIOR_FREEDOM,
) -> Prediction:
    """Compare sessions of some code with sessions of other code, on the same machine.

    Sessions of one day are replaced by their mean, so "session" stands for "day" from here on.
    `theta = mean(z of the n present ones) - mean(z of the m of the history)`, where `z = y - m` is
    what the machine's speed does not explain, and its t-distribution. The variance between
    sessions, `s^2`, combines what those of either side show beyond their own errors with the prior
    as a scaled inverse chi-square (Gelman et al.: Bayesian Data Analysis, 3rd ed., 2.6):

    `s^2 = (nu0 prior^2 + max(0, k var(z) - k mean(e^2))) / (nu0 + k)`, at least 0.5 %;
    `h^2 = s^2 (1/m + 1/n) + v + sum(e^2) / m^2 + sum(e^2) / n^2`.

    `k` is m + n - 2, and the variance is pooled about the mean of either side. `v` is how unsure it
    is that the metric followed the change of the machine's speed between both sides, none if it is
    the same: the further the yardstick has moved, the less is proven.

    A side whose days have fewer sessions than those that showed `s^2` gets, in its `1/m`, the
    variance within a day that its means did not average out.

    Args:
        history: sessions of the code to compare with, at least one.
        present: sessions of the code that is compared, at least one.
        prior: standard deviation, as a log ratio, between sessions of unchanged code beyond their
            own errors, and with the yardstick's; 0 or more.
        prior_freedom: degrees of freedom that the prior is worth, `nu0`.

    Raises:
        ValueError: without a session on either side, or for a prior that is negative or not finite.
    """
    if not history or not present:
        raise ValueError("there is no session to compare with: expected at least one")
    if not 0 <= prior < math.inf:
        raise ValueError(f"the noise between sessions is {prior}: expected 0 or more")
    by_day = tuple(map(_by_day, (history, present)))
    sides = tuple(side.means for side in by_day)
    counts = np.array([len(side) for side in sides])
    costs = [np.array([session.cost for session in side]) for side in sides]
    errors = [np.array([session.error for session in side]) for side in sides]
    freedom, unsure = int(counts.sum()) - len(sides), 0.0
    own = sum((len(side) - 1) * float(np.mean(side**2)) for side in errors)
    paces = _paces(sides)
    if paces is not None:
        noise = math.sqrt(prior**2 + float(np.mean(np.concatenate(errors) ** 2)))
        following = follow(costs, paces, noise=noise, worth=PRIOR_FREEDOM)
        costs = [cost - following.expected(p) for cost, p in zip(costs, paces, strict=True)]
        unsure = following.variance(paces[1].mean(axis=0) - paces[0].mean(axis=0))
        own -= following.pull
    shown = sum(map(_squares, costs)) - own
    variance = (prior_freedom * prior**2 + max(0.0, shown)) / (prior_freedom + freedom)
    variance = max(variance, LEAST_NOISE**2)
    between = variance * float((1 / counts).sum())
    between += _beyond_means(by_day, prior_freedom)
    within = sum(float((side**2).sum()) / len(side) ** 2 for side in errors)
    return Prediction(
        loss=float(costs[1].mean()) - float(costs[0].mean()),
        spread=math.sqrt(between + unsure + within),
        freedom=prior_freedom + freedom,
    )


def _beyond_means(sides: Sequence[_Days], prior_freedom: float) -> float:
    """The variance of a contrast that days of few sessions add to that of days of many.

    The prior is about days of one session each.
    """
    freedom = sum(side.freedom for side in sides)
    if not freedom:
        return 0.0
    within = max(0.0, sum(side.within for side in sides)) / freedom
    known = prior_freedom + sum(len(side.means) - 1 for side in sides)
    shown = prior_freedom + sum((len(side.means) - 1) * side.share for side in sides)
    beyond = (max(0.0, side.share - shown / known) / len(side.means) for side in sides)
    return within * sum(beyond)


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
