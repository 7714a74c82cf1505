"""Percentiles of independent values: the requests that they need, and exact intervals."""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_dlperf.statistics.estimate import CONFIDENCE, Estimate

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CONFIDENCE: Final = 0.99
_TAIL: Final = (1 - CONFIDENCE) / 2
_CLUSTERED: Final = -2.326  # one-sided 1 %


@cache
def required_requests(percent: float) -> int:
    """The least number of requests for a percentile: MLPerf LoadGen's early-stopping floor.

    The smallest n with `P[Bin(n, 1 - p) <= 1] < 1 - 0.99`: with one request above the
    percentile's estimate, the estimate is still an upper bound at 99 % confidence
    (mlcommons/inference, loadgen/early_stopping.cc).

    >>> [required_requests(p) for p in (50, 90, 95, 99, 99.9)]
    [11, 64, 130, 662, 6636]
    """
    share = percent / 100
    log_share = math.log(share)

    def enough(n: int) -> bool:
        # p^n + n (1 - p) p^(n - 1), in logarithms because p^n underflows.
        return math.exp((n - 1) * log_share) * (share + n * (1 - share)) < 1 - _CONFIDENCE

    high = 2
    while not enough(high):
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def independent(values: NDArray[np.float64]) -> bool:
    """Whether consecutive values, in the order of time, show no clusters, as those of a queue do.

    Wald and Wolfowitz' runs test about the median (Wald, Wolfowitz 1940), one-sided at 1 %.
    """
    if not len(values):
        return True
    high = values > np.median(values)
    above, n = int(high.sum()), len(values)
    below = n - above
    if not above or not below:
        return True
    runs = 1 + int((high[1:] != high[:-1]).sum())
    # The moments of the number of runs, if every order of high and low is equally likely.
    expected = 2 * above * below / n + 1
    variance = (expected - 1) * (expected - 2) / max(1, n - 1)
    return variance <= 0 or (runs - expected) / variance**0.5 > _CLUSTERED


def percentile_interval(ordered: NDArray[np.float64], percent: float) -> Estimate:
    """A percentile with the exact interval of its order statistics.

    The number of values below the percentile is binomial; so the values whose ranks are the
    binomial's 2.5 % and 97.5 % points enclose it with at least 95 %, whatever the distribution
    (David, Nagaraja: Order Statistics, 2003, 7.1). `ordered` is ascending, and has at least as many
    values as `required_requests` says.
    """
    from scipy.special import bdtrik

    n, share = len(ordered), percent / 100
    low, high = np.ceil(bdtrik([_TAIL, 1 - _TAIL], n, share)).astype(int)
    value = float(ordered[min(n - 1, int(n * share))])
    return Estimate(
        value,
        min(value, float(ordered[max(0, low - 1)])),
        max(value, float(ordered[min(n - 1, high)])),
    )
