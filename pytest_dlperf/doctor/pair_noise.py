"""What pairs of identical code differ by."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_dlperf.duel.pair_effect import log_ratio, pair_effects, pair_error
from pytest_dlperf.metrics import METRICS
from pytest_dlperf.statistics.estimate import deviation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_dlperf.doctor.noise_measurement import NoiseMeasurement

_CONFIDENCE: Final = 0.95
_SURELY: Final = 0.99
_ROUNDING: Final = 1e-9


@dataclass(frozen=True, slots=True)
class PairNoise:
    """What pairs of identical code differ by, as log ratios.

    Attributes:
        pairs: number of them.
        blocks: of all pairs.
        slot_seconds: length of a slot.
        block_noise: robust standard deviation of a block within its pair.
        block_error: the standard error that it leaves in the effect of a pair.
        deviation: standard deviation between the effects of pairs.
        deviation_high: its upper bound, with 95 % confidence.
        mean: of the effects, which should be 0.
        mean_error: its standard error.
        mean_reach: half of the width of its interval, with 99 % confidence.
    """

    pairs: int
    blocks: int
    slot_seconds: float
    block_noise: float
    block_error: float
    deviation: float
    deviation_high: float
    mean: float
    mean_error: float
    mean_reach: float

    @property
    def holds_zero(self) -> bool:
        """Whether the interval of the mean holds 0, as it should."""
        return abs(self.mean) <= self.mean_reach + _ROUNDING


def pair_noise(measurement: NoiseMeasurement) -> PairNoise:
    """Of the effects of pairs on throughput, as a duel computes them.

    Raises:
        ValueError: if fewer than two pairs were measured.
    """
    pairs, metric = measurement.pairs, METRICS["throughput"]
    if len(pairs) < 2:  # noqa: PLR2004 - one value has no deviation
        raise ValueError(f"{len(pairs)} pair has no deviation: expected at least two")
    ratios = [np.array([log_ratio(metric, block) for block in blocks]) for blocks in pairs]
    distances = np.concatenate([np.abs(pair - np.median(pair)) for pair in ratios])
    errors = np.array([pair_error(pair) for pair in ratios])
    effects = pair_effects(metric, pairs)
    between = float(np.std(effects, ddof=1))
    mean, error = float(effects.mean()), between / math.sqrt(len(effects))
    return PairNoise(
        pairs=len(pairs),
        blocks=len(distances),
        slot_seconds=measurement.slot_seconds,
        block_noise=deviation(distances),
        block_error=math.sqrt(float(np.mean(errors**2))),
        deviation=between,
        deviation_high=_upper_bound(effects),
        mean=mean,
        mean_error=error,
        mean_reach=_reach(len(effects)) * error,
    )


def _upper_bound(effects: NDArray[np.float64]) -> float:
    """Of the standard deviation, by the chi-square distribution of normal effects' variance."""
    from scipy.special import chdtri

    freedom = len(effects) - 1
    return math.sqrt(freedom * float(np.var(effects, ddof=1)) / float(chdtri(freedom, _CONFIDENCE)))


def _reach(pairs: int) -> float:
    """How many standard errors the mean of so many normal effects may be from its expectation."""
    from scipy.special import stdtrit

    return float(stdtrit(pairs - 1, (1 + _SURELY) / 2))
