"""Robust spread: standard deviations that a few wild values do not move."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SCALE: Final = 1.4826
"""The median of |x| times this is the standard deviation of a normal x."""

SD_OF_MEDIAN: Final = math.sqrt(math.pi / 2)
"""The median of n normal values has this many standard errors of their mean."""


def deviation(sizes: NDArray[np.float64]) -> float:
    """The standard deviation of values that lie so far from their middle, shape `(n,)`, n >= 1."""
    return SCALE * float(np.median(sizes))


def noise_figure(sizes: NDArray[np.float64], seconds: NDArray[np.float64]) -> float:
    """The noise figure of blocks, `S = sigma_block^2 t_block`, in seconds.

    Args:
        sizes: how far each block's log ratio is from the middle, shape `(blocks,)`.
        seconds: that each took, shape `(blocks,)`.
    """
    sigma = deviation(sizes)
    return sigma * sigma * float(np.median(seconds))
