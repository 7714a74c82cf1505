"""Intervals from blocks: parts of one run, long enough to be nearly independent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_dlperf.statistics.estimate import CONFIDENCE, Estimate

if TYPE_CHECKING:
    from numpy.typing import NDArray

MIN_BLOCKS: Final = 10
"""Fewer blocks say too little about how the run varied."""

_TAIL: Final = (1 - CONFIDENCE) / 2


def ratio_of_sums(numerators: NDArray[np.float64], denominators: NDArray[np.float64]) -> Estimate:
    """Sum over sum, such as requests over seconds, with a Student interval over the blocks.

    The standard error is the linearised one of a ratio estimator (Cochran, Sampling Techniques,
    1977, 6.4): `sd(n_i - R d_i) / (sqrt(k) mean(d))`, here with k - 1 degrees of freedom.

    Args:
        numerators: shape `(k,)`, k >= 2.
        denominators: shape `(k,)`, positive sum.
    """
    from scipy.special import stdtrit

    k = len(numerators)
    value = float(numerators.sum() / denominators.sum())
    spread = float(np.std(numerators - value * denominators, ddof=1))
    error = spread / (k**0.5 * float(denominators.mean()))
    reach = float(stdtrit(k - 1, 1 - _TAIL)) * error
    return Estimate(value, max(0.0, value - reach), value + reach)
