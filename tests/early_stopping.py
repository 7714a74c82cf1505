"""MLPerf LoadGen's early-stopping estimate of a percentile, for comparisons with LoadGen."""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

from pytest_dlperf.statistics.percentiles import required_requests

CONFIDENCE: Final = 0.99


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
        return bool(betainc(requests - above, above + 1, share) >= 1 - CONFIDENCE)

    return bisect_left(range(requests), True, key=too_many) - 1  # noqa: FBT003 - what is searched
