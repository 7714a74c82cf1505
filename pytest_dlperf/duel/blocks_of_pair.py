"""How many blocks a pair is measured for."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from pytest_dlperf.duel.pair_effect import noise_of_blocks
from pytest_dlperf.statistics.pair_effects import PAIR_NOISE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PAIRS_IN_TIME: Final = 10
"""As many pairs as this should fit into the time of a duel."""

FEWEST_BLOCKS: Final = 3
_USUAL: Final = 20
_MOST: Final = 200


def blocks_of_pair(
    ratios: NDArray[np.float64], seconds: float, most_seconds: float, starting: float
) -> int:
    """Blocks of a pair with which a duel takes the least time.

    The variance of a pair's effect is `p^2 + b^2 / n`, and n blocks of t seconds cost
    `starting + n t`: the product is least for `n = b / p sqrt(starting / t)` (Kalibera and Jones
    2013). At least 20 of them. Depends on the sizes of differences from their median only, so that
    it favours neither side.

    Args:
        ratios: log ratio of each block so far, shape `(n,)`.
        seconds: that these took.
        most_seconds: that a pair may take; where blocks are long, it has at least three.
        starting: seconds that a pair takes to start.
    """
    blocks = len(ratios)
    if blocks < FEWEST_BLOCKS:
        return FEWEST_BLOCKS
    room = max(FEWEST_BLOCKS, int(most_seconds / (seconds / blocks)))
    if blocks < _USUAL:
        return min(_USUAL, room)
    noise = noise_of_blocks(ratios)
    wanted = math.ceil(noise / PAIR_NOISE * math.sqrt(starting * blocks / seconds))
    return min(max(wanted, _USUAL), _MOST, room)
