"""Trends in a series of values."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SIGNIFICANT: Final = 2.576  # two-sided 1 %
_FEWEST: Final = 3


def trend(values: NDArray[np.float64]) -> float:
    """The change from the first value to the last along a straight line; 0 without a trend.

    Mann and Kendall's test for a trend (Mann 1945) at 1 %, then Sen's slope (Sen 1968), the median
    of the slopes between all pairs, times the number of steps. Values are at equal distances of
    time.
    """
    n = len(values)
    if n < _FEWEST:
        return 0.0
    later, earlier = np.tril_indices(n, -1)
    steps = values[later] - values[earlier]
    score = float(np.sign(steps).sum())
    spread = math.sqrt(n * (n - 1) * (2 * n + 5) / 18)
    # Less 1: the continuity correction, as the score changes in steps of 2.
    if abs(score) - 1 < _SIGNIFICANT * spread:
        return 0.0
    return float(np.median(steps / (later - earlier))) * (n - 1)


def relative_trend(values: NDArray[np.float64]) -> float:
    """The trend as a share of the median; 0 without values, or where the median is 0."""
    middle = float(np.median(values)) if len(values) else 0.0
    return trend(values) / middle if middle else 0.0
