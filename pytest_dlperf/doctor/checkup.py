"""What a machine's noise means for duels on it, computed from pairs with identical code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_dlperf.doctor.advice import advice
from pytest_dlperf.doctor.detectable_loss import (
    LOSSES,
    SECONDS,
    DetectableLoss,
    PairSeconds,
    TimeToFind,
    detectable_loss,
    time_to_find,
)
from pytest_dlperf.doctor.pair_noise import pair_noise

if TYPE_CHECKING:
    from pytest_dlperf.doctor.noise_measurement import Host, NoiseMeasurement, Timer
    from pytest_dlperf.doctor.pair_noise import PairNoise

_PAIRS_NEEDED: Final = 8


@dataclass(frozen=True, slots=True)
class Checkup:
    """The diagnosis of a machine.

    Attributes:
        host: the machine.
        timer: resolution of the clock and lateness of sleeps.
        stolen: share of all processors that the host of a virtual machine took; None if too
            little was measured to tell.
        others: share that other processes took; None likewise.
        spawned: why the sides were started as new programs; empty if they were forked.
        gains: whether the model gains from more processors than one; None where there is no choice.
        pair_seconds: what pairs take: medians.
        noise: of pairs.
        detectable: the smallest losses for each of `SECONDS`.
        times: the time for each of `LOSSES`.
        advice: what to change, in sentences.
        seconds: of the whole measurement.
    """

    host: Host
    timer: Timer
    stolen: float | None
    others: float | None
    spawned: str
    gains: bool | None
    pair_seconds: PairSeconds
    noise: PairNoise
    detectable: tuple[DetectableLoss, ...]
    times: tuple[TimeToFind, ...]
    advice: tuple[str, ...]
    seconds: float


def wants_pair(pairs: int, left: float, each: float) -> bool:
    """Whether to start another pair: eight at least, since fewer say too little of their deviation.

    Args:
        pairs: that were measured.
        left: seconds left.
        each: seconds that a pair takes.
    """
    return pairs < _PAIRS_NEEDED or each <= left


def check_up(measurement: NoiseMeasurement) -> Checkup:
    """Diagnose a machine.

    Raises:
        ValueError: if fewer than two pairs were measured.
    """
    noise = pair_noise(measurement)
    first, *further = measurement.starting
    each = PairSeconds(
        first=first,
        further=float(np.median(further)),
        measuring=float(
            np.median([sum(block.seconds for block in pair) for pair in measurement.pairs])
        ),
    )
    times = tuple(time_to_find(loss, each, noise.deviation) for loss in LOSSES)
    return Checkup(
        host=measurement.host,
        timer=measurement.timer,
        stolen=measurement.used.stolen_share,
        others=measurement.used.others_share,
        spawned=measurement.spawned,
        gains=measurement.gains,
        pair_seconds=each,
        noise=noise,
        detectable=tuple(
            detectable_loss(seconds, each, noise.deviation, noise.deviation_high)
            for seconds in SECONDS
        ),
        times=times,
        advice=tuple(advice(measurement, noise, times[0])),
        seconds=measurement.seconds,
    )
