"""How many blocks a pair is measured for."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_dlperf.statistics.estimate import SD_OF_HODGES_LEHMANN, deviation
from pytest_dlperf.statistics.pair_effects import PAIR_NOISE

if TYPE_CHECKING:
    from numpy.typing import NDArray

PAIRS_IN_TIME: Final = 10
"""As many pairs as this should fit into the time of a duel."""

FEWEST_BLOCKS: Final = 3
_USUAL: Final = 20
_MOST: Final = 200
_WITHIN: Final = 0.5  # error of a pair's effect, as a share of the spread between pairs


def blocks_of_pair(ratios: NDArray[np.float64], seconds: float, most_seconds: float) -> int:
    """Blocks after which the error of a pair's effect is small beside what pairs differ by.

    More blocks of the same pair would only describe that pair (Kalibera and Jones 2013: repeat
    where the variance is): 20 of them, and more where blocks are noisy. Depends on the sizes of
    differences from their median only, so that it favours neither side.

    Args:
        ratios: log ratio of each block so far, shape `(n,)`.
        seconds: that these took.
        most_seconds: that a pair may take; where blocks are long, it has at least three.
    """
    blocks = len(ratios)
    if blocks < FEWEST_BLOCKS:
        return FEWEST_BLOCKS
    room = max(FEWEST_BLOCKS, int(most_seconds / (seconds / blocks)))
    if blocks < _USUAL:
        return min(_USUAL, room)
    noise = SD_OF_HODGES_LEHMANN * deviation(np.abs(ratios - np.median(ratios)))
    wanted = math.ceil((noise / (_WITHIN * PAIR_NOISE)) ** 2)
    return min(max(wanted, _USUAL), _MOST, room)
