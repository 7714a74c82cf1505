"""What a machine's noise means for duels on it, computed from pairs with identical code."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_dlperf.doctor.advice import advice
from pytest_dlperf.doctor.detectable_loss import (
    PAIRS,
    SECONDS,
    DetectableLoss,
    detectable_loss,
    loss_by_pair_effects,
)
from pytest_dlperf.duel.sequential_test import log_ratio
from pytest_dlperf.metrics import METRICS
from pytest_dlperf.statistics.estimate import SD_OF_MEDIAN, deviation, noise_figure
from pytest_dlperf.statistics.pair_effects import PAIR_NOISE, between_pair_spread

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_dlperf.doctor.noise_measurement import Host, NoiseMeasurement, Timer
    from pytest_dlperf.measure.slots import Block


_SD_OF_MAD: Final = 1.166  # of the scaled MAD of n normal values over its value, times sqrt(n)
_Z: Final = 1.96
_CONFIDENCE: Final = 0.95
_TINY: Final = 1e-9
_SHORTEST_PART: Final = 4.0
_LONGEST_PART: Final = 12.0
_PAIRS_WANTED: Final = 4
_PAIRS_NEEDED: Final = 3


@dataclass(frozen=True, slots=True)
class LengthNoise:
    """The noise of blocks with slots of one length.

    Attributes:
        length: of a slot, in seconds.
        blocks: number of blocks.
        sigma: robust standard deviation of a block's log ratio.
        block_seconds: median duration of a block, hand-overs included.
        figure: the noise figure `S = sigma^2 block_seconds`, in seconds.
        low: lower end of its 95 % interval.
        high: upper end.
    """

    length: float
    blocks: int
    sigma: float
    block_seconds: float
    figure: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Checkup:
    """The diagnosis of a machine.

    Attributes:
        host: the machine.
        timer: resolution of the clock and lateness of sleeps.
        stolen: share of all processors that the host of a virtual machine took; None if too
            little was measured to tell.
        others: share that other processes took; None likewise.
        starting: median of the seconds that a pair took to start.
        handover: median of the seconds of a slot that are not measured: hand-over and guard time.
        lengths: the noise of each slot length, the shortest first.
        best: the length to use, in seconds.
        pairs: number of pairs.
        spread: standard deviation of the effects of pairs, as a log ratio.
        spread_high: its upper bound, with 95 % confidence.
        spread_counted: the spread that the smallest losses are computed with: the measured one; if
            it may be 0, the prior for pairs in general, but not above the upper bound.
        detectable: the smallest losses for each of `SECONDS`.
        pair_limits: the smallest losses by the effects of each of `PAIRS` alone, as log ratios.
        advice: what to change, in sentences.
        seconds: of the whole measurement.
    """

    host: Host
    timer: Timer
    stolen: float | None
    others: float | None
    starting: float
    handover: float
    lengths: tuple[LengthNoise, ...]
    best: float
    pairs: int
    spread: float
    spread_high: float
    spread_counted: float
    detectable: tuple[DetectableLoss, ...]
    pair_limits: tuple[float, ...]
    advice: tuple[str, ...]
    seconds: float


def pair_seconds(number: int, left: float, starting: float) -> float:
    """How long to measure a pair: its part of the time that is left, from 4 to 12 seconds.

    Args:
        number: of the pair, from 0.
        left: seconds left for this pair and all further ones.
        starting: seconds that a pair takes to start.
    """
    following = _PAIRS_WANTED - 1 - number
    if left < following * (starting + _SHORTEST_PART) + _SHORTEST_PART:
        following = max(0, _PAIRS_NEEDED - 1 - number)
    part = (left - following * starting) / (following + 1)
    return min(max(part, _SHORTEST_PART), _LONGEST_PART)


def wants_pair(number: int, left: float, starting: float) -> bool:
    """Whether to start another pair: always three, since fewer say too little of the spread.

    Args:
        number: of the pair, from 0.
        left: seconds left in total.
        starting: seconds that a pair takes to start.
    """
    if number < _PAIRS_NEEDED:
        return True
    return number < _PAIRS_WANTED and left >= starting + _SHORTEST_PART


def check_up(measurement: NoiseMeasurement) -> Checkup:
    """Diagnose a machine.

    The best slot length is the one whose noise figure is surely small, which has the least upper
    end: the least figure itself would often be that of a length with few blocks.

    Raises:
        ValueError: if fewer than two pairs were measured.
    """
    blocks = measurement.blocks
    ratios = np.array([log_ratio(METRICS["throughput"], each.block) for each in blocks])
    pair_of = np.array([each.block.pair for each in blocks])
    length_of = np.array([each.length for each in blocks])
    seconds_of = np.array([each.block.seconds for each in blocks])
    pairs = np.unique(pair_of)
    if len(pairs) < 2:  # noqa: PLR2004 - one value has no spread
        raise ValueError(f"{len(pairs)} pair has no spread: expected at least two")
    medians = np.array([np.median(ratios[pair_of == pair]) for pair in pairs])
    deviations = np.abs(ratios - medians[np.searchsorted(pairs, pair_of)])
    lengths = tuple(
        _length_noise(
            float(length), deviations[length_of == length], seconds_of[length_of == length]
        )
        for length in np.unique(length_of)
    )
    best = min(lengths, key=lambda noise: noise.high)
    sigmas = {noise.length: noise.sigma for noise in lengths}
    effects, errors = np.transpose(
        [_effect(ratios[pair_of == pair], length_of[pair_of == pair], sigmas) for pair in pairs]
    )
    spread = between_pair_spread(effects, errors)
    # A spread within the errors of the effects cannot be told from 0, whatever was drawn.
    error = math.sqrt(float(np.mean(errors**2)))
    spread_high = max(error, _spread_beyond(effects, errors, _CONFIDENCE))
    sure_spread = spread if _spread_beyond(effects, errors, 1 - _CONFIDENCE) else 0.0
    # With few pairs or noisy blocks, a spread of 0 does not mean that pairs do not differ.
    counted = sure_spread or max(spread, min(PAIR_NOISE, spread_high))
    return Checkup(
        host=measurement.host,
        timer=measurement.timer,
        stolen=measurement.used.stolen_share,
        others=measurement.used.others_share,
        starting=float(np.median(measurement.starting)),
        handover=float(np.median([_handover(each.block) for each in blocks])),
        lengths=lengths,
        best=best.length,
        pairs=len(pairs),
        spread=spread,
        spread_high=spread_high,
        spread_counted=counted,
        detectable=tuple(detectable_loss(seconds, best.figure, counted) for seconds in SECONDS),
        pair_limits=tuple(loss_by_pair_effects(counted, count) for count in PAIRS),
        advice=tuple(advice(measurement, best.figure, sure_spread)),
        seconds=measurement.seconds,
    )


def _handover(block: Block) -> float:
    """The mean over its four slots."""
    return max(0.0, block.seconds - block.base.seconds - block.candidate.seconds) / 4


def _length_noise(
    length: float, deviations: NDArray[np.float64], seconds: NDArray[np.float64]
) -> LengthNoise:
    """The interval is normal on the logarithm.

    A MAD of n normal values is 37 % efficient (Rousseeuw and Croux 1993), so that its scaled
    value varies by `1.17 / sqrt(n)`, and its square by twice that.
    """
    figure = noise_figure(deviations, seconds)
    factor = math.exp(_Z * 2 * _SD_OF_MAD / math.sqrt(len(deviations)))
    return LengthNoise(
        length=length,
        blocks=len(deviations),
        sigma=deviation(deviations),
        block_seconds=float(np.median(seconds)),
        figure=figure,
        low=figure / factor,
        high=figure * factor,
    )


def _effect(
    ratios: NDArray[np.float64], length_of: NDArray[np.float64], sigmas: dict[float, float]
) -> tuple[float, float]:
    """A pair's effect and its error: the medians of each length, weighted by their precision."""
    total, weights = 0.0, 0.0
    for length in np.unique(length_of):
        sample = ratios[length_of == length]
        error = max(_TINY, SD_OF_MEDIAN * sigmas[float(length)] / math.sqrt(len(sample)))
        weights += error**-2
        total += error**-2 * float(np.median(sample))
    return total / weights, weights**-0.5


def _spread_beyond(
    effects: NDArray[np.float64], errors: NDArray[np.float64], confidence: float
) -> float:
    """Upper bound of the spread: chi-square's of the variance, less that of the errors.

    With `1 - confidence` it is a lower bound.
    """
    from scipy.special import chdtri

    degrees = len(effects) - 1
    variance = degrees * float(np.var(effects, ddof=1)) / float(chdtri(degrees, confidence))
    return math.sqrt(max(0.0, variance - float(np.mean(errors**2))))
