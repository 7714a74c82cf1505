"""Detectable loss: the smallest losses of speed that duels on a machine find."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

from pytest_dlperf.judge.error_rates import ALPHA
from pytest_dlperf.statistics.e_process import smallest_loss

POWER: Final = 0.95
"""How often the smallest losses are found."""


SECONDS: Final = (10.0, 30.0, 60.0)
"""Lengths of measuring that the smallest losses are told for."""


PAIRS: Final = (1, 2, 4)
"""Numbers of pairs that the smallest losses are told for."""


@dataclass(frozen=True, slots=True)
class DetectableLoss:
    """The smallest losses that are found in some seconds of measuring, as log ratios.

    Attributes:
        seconds: of measuring, however many pairs share them.
        blocks: by the noise of blocks alone.
        by_pairs: with what launches differ by, for each of `PAIRS`.
    """

    seconds: float
    blocks: float
    by_pairs: tuple[float, ...]


def loss_by_pair_effects(spread: float, pairs: int) -> float:
    """The loss at which the mean effect of pairs is told from none, were their blocks noiseless.

    `(z(1 - alpha) + z(power)) spread / sqrt(pairs)`, z being normal quantiles.

    Args:
        spread: standard deviation of what pairs differ by, as a log ratio.
        pairs: how many there are.
    """
    normal = NormalDist()
    return (normal.inv_cdf(1 - ALPHA) + normal.inv_cdf(POWER)) * spread / math.sqrt(pairs)


def detectable_loss(seconds: float, noise_figure: float, spread: float) -> DetectableLoss:
    """The smallest losses that are found; noise of blocks and of launches joined by squares.

    Args:
        seconds: of measuring.
        noise_figure: S of the blocks, in seconds.
        spread: standard deviation of what pairs differ by, as a log ratio.
    """
    blocks = smallest_loss(seconds, noise_figure, ALPHA, POWER)
    both = (math.hypot(blocks, loss_by_pair_effects(spread, count)) for count in PAIRS)
    return DetectableLoss(seconds, blocks, tuple(both))
