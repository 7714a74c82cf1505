"""Measurements of a machine whose noise is known."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from simulated_pairs import make_block

from pytest_dlperf.doctor.noise_measurement import Host, NoiseMeasurement, Timer
from pytest_dlperf.results.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

QUIET_HOST = Host(
    cpu="Test CPU",
    processors=4,
    cores=4,
    quota=None,
    load=0.1,
    governors=("performance",),
    turbo=False,
    accelerators="",
)
QUIET_TIMER = Timer(step=4e-8, late=5e-5, late_p99=2e-4)
QUIET = Usage(process=60.0, busy=61.0, stolen=0.0, total=120.0)
STARTING = (5.0, 0.5, 0.7, 0.6)
"""Seconds of the first pair, and of three further ones, which are repeated."""
SLOT_SECONDS = 0.005


def noise_of(ratios: Iterable[Sequence[float]], **fields: object) -> NoiseMeasurement:
    """The measurement of a quiet machine, except for these fields.

    Args:
        ratios: log ratio of each block of each pair.
        fields: of the measurement, by name.
    """
    pairs = [
        [make_block(float(ratio), number, SLOT_SECONDS) for ratio in pair]
        for number, pair in enumerate(ratios)
    ]
    first, *further = STARTING
    quiet = NoiseMeasurement(
        pairs=pairs,
        starting=[first, *(further[number % 3] for number in range(len(pairs) - 1))],
        slot_seconds=SLOT_SECONDS,
        gains=False,
        spawned="",
        used=QUIET,
        timer=QUIET_TIMER,
        host=QUIET_HOST,
        seconds=36.0,
    )
    return replace(quiet, **fields)  # type: ignore[arg-type]  # fields by name


def drawn(
    effects: Iterable[float], noise: float, blocks: int = 20, seed: int = 0
) -> list[list[float]]:
    """Normal blocks of pairs that differ by `effects`."""
    random = np.random.default_rng(seed)
    return [random.normal(effect, noise, blocks).tolist() for effect in effects]
