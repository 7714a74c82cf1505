"""Checkup: what a machine's noise means for duels on it, and what to do about it.

All comes from pairs of processes that run identical code, so that every difference is noise.
"""

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


_SD_OF_MAD: Final = 1.166  # of the scaled MAD of n normal values over its value, times sqrt(n)
_Z: Final = 1.96
_SURE: Final = 0.95
_TINY: Final = 1e-9
_SHORTEST_PART: Final = 4.0
_LONGEST_PART: Final = 12.0
_PAIRS_WANTED: Final = 4
_PAIRS_NEEDED: Final = 3


@dataclass(frozen=True, slots=True)
class LengthNoise:
    """How noisy blocks with slots of one length are.

    Attributes:
        length: of a slot, in seconds.
        blocks: how many there were.
        sigma: standard deviation of a block's log ratio, robust.
        block_seconds: that a block takes, hand-overs included; the median.
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
    """What was found out about a machine.

    Attributes:
        host: the machine.
        timer: how finely time can be told.
        stolen: share of all processors that the host of a virtual machine took; None if too
            little was measured to tell.
        others: share that other processes took; None as above.
        starting: seconds that a pair took to start; the median.
        handover: seconds of a slot that are not measured; the median.
        lengths: the noise of each slot length, the shortest first.
        best: the length to use, in seconds.
        pairs: how many pairs were measured.
        spread: standard deviation of what pairs differ by, as a log ratio.
        spread_high: upper bound of it, with 95 % confidence.
        spread_counted: what the smallest losses are told for: the spread, or where it may be
            none, what is assumed of launches in general, as far as the upper bound allows it.
        findable: the smallest losses for each of `SECONDS`.
        launches: what launches alone let be found with each of `PAIRS`, as log ratios.
        advice: what to change, a sentence each.
        seconds: that all of it took.
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
    findable: tuple[DetectableLoss, ...]
    launches: tuple[float, ...]
    advice: tuple[str, ...]
    seconds: float


def pair_seconds(number: int, left: float, starting: float) -> float:
    """How long to measure a pair: the time that is left, shared with those that follow it.

    Args:
        number: of the pair, from 0.
        left: seconds that are left for all.
        starting: seconds that a pair takes to start.

    Returns:
        From 4 to 12 seconds.
    """
    following = _PAIRS_WANTED - 1 - number
    if left < following * (starting + _SHORTEST_PART) + _SHORTEST_PART:
        following = max(0, _PAIRS_NEEDED - 1 - number)
    part = (left - following * starting) / (following + 1)
    return min(max(part, _SHORTEST_PART), _LONGEST_PART)


def wants_pair(number: int, left: float, starting: float) -> bool:
    """Whether to start one more pair: three in any case, since fewer say nothing of launches.

    Args:
        number: of the pair, from 0.
        left: seconds that are left for all.
        starting: seconds that a pair takes to start.
    """
    if number < _PAIRS_NEEDED:
        return True
    return number < _PAIRS_WANTED and left >= starting + _SHORTEST_PART


def check_up(figures: NoiseMeasurement) -> Checkup:
    """What the figures of a machine mean.

    The best slot length is the one whose noise figure is surely small: the one with the least
    upper end. The least figure itself would often be that of a length with few blocks.

    Raises:
        ValueError: if fewer than two pairs were measured.
    """
    ratios = np.array([log_ratio(METRICS["throughput"], one.block) for one in figures.probes])
    pair_of = np.array([one.block.pair for one in figures.probes])
    length_of = np.array([one.length for one in figures.probes])
    seconds_of = np.array([one.block.seconds for one in figures.probes])
    pairs = np.unique(pair_of)
    if len(pairs) < 2:  # noqa: PLR2004 - one value has no spread
        raise ValueError(f"{len(pairs)} pair says nothing of launches: expected at least two")
    middles = np.array([np.median(ratios[pair_of == pair]) for pair in pairs])
    sizes = np.abs(ratios - middles[np.searchsorted(pairs, pair_of)])
    lengths = tuple(
        _length_noise(float(length), sizes[length_of == length], seconds_of[length_of == length])
        for length in np.unique(length_of)
    )
    best = min(lengths, key=lambda one: one.high)
    sigmas = {one.length: one.sigma for one in lengths}
    effects, errors = np.transpose(
        [_effect(ratios[pair_of == pair], length_of[pair_of == pair], sigmas) for pair in pairs]
    )
    spread = between_pair_spread(effects, errors)
    # A spread within the errors of the effects cannot be told from none, whatever was drawn.
    error = math.sqrt(float(np.mean(errors**2)))
    spread_high = max(error, _spread_beyond(effects, errors, _SURE))
    surely = spread if _spread_beyond(effects, errors, 1 - _SURE) else 0.0
    # That nothing was seen, with few pairs or loud blocks, does not mean that there is nothing.
    counted = surely or max(spread, min(PAIR_NOISE, spread_high))
    return Checkup(
        host=figures.host,
        timer=figures.timer,
        stolen=figures.used.stolen_share,
        others=figures.used.others_share,
        starting=float(np.median(figures.starting)),
        handover=float(np.median(figures.handovers)),
        lengths=lengths,
        best=best.length,
        pairs=len(pairs),
        spread=spread,
        spread_high=spread_high,
        spread_counted=counted,
        findable=tuple(detectable_loss(seconds, best.figure, counted) for seconds in SECONDS),
        launches=tuple(loss_by_pair_effects(counted, count) for count in PAIRS),
        advice=tuple(advice(figures, best.figure, surely)),
        seconds=figures.seconds,
    )


def _length_noise(
    length: float, sizes: NDArray[np.float64], seconds: NDArray[np.float64]
) -> LengthNoise:
    """The interval is normal on the logarithm.

    A MAD of n normal values is 37 % efficient (Rousseeuw and Croux 1993), so that its scaled
    value varies by `1.17 / sqrt(n)`, and its square by twice that.
    """
    sigma, figure = deviation(sizes), noise_figure(sizes, seconds)
    factor = math.exp(_Z * 2 * _SD_OF_MAD / math.sqrt(len(sizes)))
    return LengthNoise(
        length,
        len(sizes),
        sigma,
        float(np.median(seconds)),
        figure,
        figure / factor,
        figure * factor,
    )


def _effect(
    ratios: NDArray[np.float64], length_of: NDArray[np.float64], sigmas: dict[float, float]
) -> tuple[float, float]:
    """What a pair differs by, and the error: its medians of each length, by their precision."""
    weighed, weights = 0.0, 0.0
    for length in np.unique(length_of):
        some = ratios[length_of == length]
        error = max(_TINY, SD_OF_MEDIAN * sigmas[float(length)] / math.sqrt(len(some)))
        weights += error**-2
        weighed += error**-2 * float(np.median(some))
    return weighed / weights, weights**-0.5


def _spread_beyond(
    effects: NDArray[np.float64], errors: NDArray[np.float64], confidence: float
) -> float:
    """An upper bound of what launches differ by, from chi-square's of the variance less the errors.

    With `1 - confidence` it is a lower bound.
    """
    from scipy.special import chdtri

    free = len(effects) - 1
    total = free * float(np.var(effects, ddof=1)) / float(chdtri(free, confidence))
    return math.sqrt(max(0.0, total - float(np.mean(errors**2))))
