"""Percentiles that may be believed: how many requests they need, and an upper bound."""

from __future__ import annotations

import math
from bisect import bisect_left
from functools import cache
from typing import Final

_CONFIDENCE: Final = 0.99


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


def early_stopping_bound(requests: int, percent: float) -> int:
    """Which of the highest latencies bounds a percentile at 99 % confidence: LoadGen's estimate.

    The largest t with `P[Bin(n, 1 - p) <= t] = I_p(n - t, t + 1) < 1 - 0.99`; so the t-th highest
    of n independent latencies, `sorted[n - t]`, is below the true percentile in fewer than 1 % of
    runs (mlcommons/inference, loadgen/early_stopping.cc and results.cc).

    Args:
        requests: n, at least `required_requests(percent)`.
        percent: of the percentile, between 0 and 100.

    Raises:
        ValueError: if there are too few requests.

    >>> [early_stopping_bound(10_000, p) for p in (90, 95, 99)]
    [930, 449, 77]
    """
    from scipy.special import betainc

    if requests < required_requests(percent):
        raise ValueError(
            f"{requests} requests are too few to bound p{percent:g}: "
            f"expected at least {required_requests(percent)}"
        )
    share = percent / 100

    def too_many(above: int) -> bool:
        return bool(betainc(requests - above, above + 1, share) >= 1 - _CONFIDENCE)

    return bisect_left(range(requests), True, key=too_many) - 1  # noqa: FBT003 - what is searched
