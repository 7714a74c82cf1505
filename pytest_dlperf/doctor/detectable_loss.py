"""The smallest losses of speed that duels on a machine detect."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

from pytest_dlperf.judge.error_rates import ALPHA
from pytest_dlperf.statistics.e_process import smallest_loss

POWER: Final = 0.95
"""Probability with which these losses are detected."""

SECONDS: Final = (10.0, 30.0, 60.0)
"""Lengths of measuring that are reported."""

PAIRS: Final = (1, 2, 4)
"""Numbers of pairs that are reported."""


@dataclass(frozen=True, slots=True)
class DetectableLoss:
    """The smallest detectable losses for a length of measuring, as log ratios.

    Attributes:
        seconds: of measuring, in total over all pairs.
        blocks: by the noise of blocks alone.
        by_pairs: by the noise of blocks and of pairs, for each of `PAIRS`.
    """

    seconds: float
    blocks: float
    by_pairs: tuple[float, ...]


def detectable_loss(seconds: float, noise_figure: float, spread: float) -> DetectableLoss:
    """The smallest detectable losses: the noise of blocks and of pairs, added in quadrature.

    Args:
        seconds: of measuring.
        noise_figure: S of the blocks, in seconds.
        spread: standard deviation of the effects of pairs, as a log ratio.
    """
    blocks = smallest_loss(seconds, noise_figure, ALPHA, POWER)
    both = (math.hypot(blocks, loss_by_pair_effects(spread, count)) for count in PAIRS)
    return DetectableLoss(seconds, blocks, tuple(both))


def loss_by_pair_effects(spread: float, pairs: int) -> float:
    """The smallest detectable loss if blocks had no noise, as a log ratio.

    `(z(1 - alpha) + z(power)) spread / sqrt(pairs)`, z being normal quantiles.

    Args:
        spread: standard deviation of the effects of pairs, as a log ratio.
        pairs: number of pairs.
    """
    normal = NormalDist()
    return (normal.inv_cdf(1 - ALPHA) + normal.inv_cdf(POWER)) * spread / math.sqrt(pairs)
