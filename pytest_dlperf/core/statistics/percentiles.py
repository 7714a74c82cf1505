"""How many requests a percentile needs before it may be believed."""

from __future__ import annotations

import math
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
