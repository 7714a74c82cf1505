"""How far a metric follows the speed of the machine, which the yardstick shows.

The yardstick has two parts, one bound by computing and one by memory, and a target lies between
them. With `r` half the sum and `d` half the difference of the two log changes, a log cost that
follows them with the weights `b w` and `b (1 - w)` changes by `b r + b (2 w - 1) d`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_dlperf.statistics.pace import Pace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

FOLLOWS: Final = 0.75
"""Prior mean of `b`: not every cost of a target is one that a slower machine raises."""

_PRIOR_MEAN: Final = np.array([FOLLOWS, 0.0])
# Of `b`; and of `b (2 w - 1)`, as if `w` were 1/2 with a standard deviation of 1/3.
_PRIOR_SD: Final = np.array([0.5, 0.5])
_ROUNDS: Final = 4  # of estimating the noise and the weights in turn


def logs_of(paces: Sequence[Pace]) -> NDArray[np.float64]:
    """`Pace.logs` of each, shape `(sessions, 2)`."""
    return np.array([pace.logs for pace in paces]).reshape(-1, 2)


def mean_pace(logs: NDArray[np.float64]) -> Pace:
    """The geometric mean of paces, from their `logs_of`, at least one."""
    middle, apart = logs.mean(axis=0).tolist()
    return Pace(math.exp(middle + apart), math.exp(middle - apart))


@dataclass(frozen=True, slots=True)
class Following:
    """Weights by which a log cost follows `Pace.logs`, as a normal distribution.

    Attributes:
        weights: expected, shape `(2,)`.
        covariance: their uncertainty.
        pull: squares that the sessions are away from the line in that it was held near the prior:
            with those of the residuals, an estimate of the noise that spends no degree of freedom.
    """

    weights: NDArray[np.float64]
    covariance: NDArray[np.float64]
    pull: float = 0.0

    def expected(self, logs: NDArray[np.float64]) -> NDArray[np.float64]:
        """The part of log costs that the machine explains; `logs` has shape `(..., 2)`."""
        return np.asarray(logs @ self.weights)

    def variance(self, change: NDArray[np.float64]) -> float:
        """Of what is expected of a change in `logs`: zero if the machine's speed is what it was."""
        return float(change @ self.covariance @ change)


UNKNOWN_FOLLOWING: Final = Following(_PRIOR_MEAN, np.diag(_PRIOR_SD**2))
"""Before any session has shown how far the metric follows."""


def follow(
    costs: Sequence[NDArray[np.float64]],
    logs: Sequence[NDArray[np.float64]],
    *,
    noise: float,
    worth: float,
) -> Following:
    """How far a metric follows the yardstick, from sessions that differ within either side.

    A linear regression about the mean of each side, with a normal prior for the weights (Gelman et
    al.: Bayesian Data Analysis, 3rd ed., 14.8): `b` is 0.75 +- 0.5, as a metric may follow the
    yardstick not at all, or one that saw only half of what came and went. Sessions outvote it once
    the machine has changed more between them than they differ otherwise.

    Args:
        costs: log costs of the sessions of each side.
        logs: `Pace.logs` of the same sessions, shape `(sessions, 2)`.
        noise: expected standard deviation of the sessions of a machine that is always alike.
        worth: degrees of freedom that this expectation is worth.
    """
    moved = np.concatenate([side - side.mean(axis=0) for side in logs])
    varied = np.concatenate([side - side.mean() for side in costs])
    freedom = len(varied) - len(costs)
    if not freedom:
        return UNKNOWN_FOLLOWING
    precision = np.diag(_PRIOR_SD**-2.0)
    beyond = varied - moved @ _PRIOR_MEAN
    variance, least = noise**2, 1e-12
    following = UNKNOWN_FOLLOWING
    for _ in range(_ROUNDS):
        variance = max(variance, least)
        covariance = np.linalg.inv(precision + moved.T @ moved / variance)
        away = covariance @ (moved.T @ beyond) / variance
        pull = variance * float(away @ precision @ away)
        following = Following(_PRIOR_MEAN + away, covariance, pull)
        left = float(((beyond - moved @ away) ** 2).sum()) + pull
        variance = (worth * noise**2 + left) / (worth + freedom)
    return following
