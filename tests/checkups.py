"""Measurements of a machine whose noise is known."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from pytest_dlperf.doctor.noise_measurement import Host, IdenticalBlock, NoiseMeasurement, Timer
from pytest_dlperf.measure.slots import Block, Slot
from pytest_dlperf.results.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

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
SIGMAS = {0.005: 0.02, 0.01: 0.01, 0.02: 0.012}
"""Of blocks, by the length of their slots."""


def block_of(
    length: float, ratio: float, pair: int, seconds: float | None = None
) -> IdenticalBlock:
    """A block in which the candidate takes `exp(ratio)` times as long as the base."""

    def slot(length: float) -> Slot:
        return Slot(good=1000, within=1000, bad=0, seconds=length, latencies=np.zeros(0))

    block = Block(slot(length), slot(length * math.exp(ratio)), pair, seconds or 4 * length)
    return IdenticalBlock(length, block)


def noise_of(blocks: Iterable[IdenticalBlock], **fields: object) -> NoiseMeasurement:
    """The measurement of a quiet machine, except for these fields."""
    quiet = NoiseMeasurement(
        blocks=list(blocks),
        used=QUIET,
        starting=[5.0, 6.0, 9.0],
        timer=QUIET_TIMER,
        host=QUIET_HOST,
        seconds=60.0,
    )
    return replace(quiet, **fields)  # type: ignore[arg-type]  # fields by name


def drawn(
    effects: Sequence[float], sigmas: Mapping[float, float], blocks: int, seed: int = 0
) -> Iterator[IdenticalBlock]:
    """Normal blocks of pairs that differ by `effects`."""
    random = np.random.default_rng(seed)
    for pair, effect in enumerate(effects):
        for length, sigma in sigmas.items():
            for ratio in random.normal(effect, sigma, blocks):
                yield block_of(length, ratio, pair)
