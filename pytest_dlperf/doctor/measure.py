"""Measuring how noisy this machine is, with pairs of processes that run identical code."""

from __future__ import annotations

import os
import sys
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from pytest_dlperf.clock import MonotonicClock
from pytest_dlperf.doctor.checkup import wants_pair
from pytest_dlperf.doctor.host import measure_timer, read_host
from pytest_dlperf.doctor.noise_measurement import NoiseMeasurement
from pytest_dlperf.doctor.sides import IdenticalSides
from pytest_dlperf.duel.blocks_of_pair import PAIRS_IN_TIME, blocks_of_pair
from pytest_dlperf.duel.cleanup_process import CleanupProcess
from pytest_dlperf.duel.pair_effect import log_ratio
from pytest_dlperf.duel.processors import drawn_processor, gains_from_more
from pytest_dlperf.duel.scheduler import measure_block
from pytest_dlperf.errors import UsageError
from pytest_dlperf.instrumentation import Instrumentation
from pytest_dlperf.results.usage import Usage

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from pytest_dlperf.clock import Clock
    from pytest_dlperf.doctor.sides import IdenticalPair
    from pytest_dlperf.duel.questions import DuelSettings
    from pytest_dlperf.measure.slots import Block
    from pytest_dlperf.measure.telemetry import Progress

SECONDS: Final = 35.0
"""Approximate duration of a checkup, unless eight pairs take longer."""

_NS: Final = 1e-9


class PairSource(Protocol):
    """Starts pairs, each for as long as its context lasts."""

    def first(self) -> AbstractContextManager[tuple[IdenticalPair, DuelSettings]]:
        """The first pair, and how slots are measured."""
        ...

    def further(self) -> AbstractContextManager[IdenticalPair]:
        """A further pair."""
        ...


class PairSampler:
    """Measures pairs, one after the other, as a duel does.

    Args:
        sides: starts them.
        clock: of this process.
        rng: chooses processors, and the order of each block.
        progress: progress display.

    Attributes:
        pairs: as in `NoiseMeasurement`, as are all others.
        starting: seconds until each pair could be measured.
        slot_seconds: length of a slot.
        gains: whether the model gains from more processors than one.
        used: processor time while blocks were measured.
    """

    def __init__(
        self, sides: PairSource, clock: Clock, rng: np.random.Generator, progress: Progress
    ) -> None:
        self._sides = sides
        self._clock = clock
        self._rng = rng
        self._progress = progress
        self._blocks = 0
        self.pairs: list[list[Block]] = []
        self.starting: list[float] = []
        self.slot_seconds = 0.0
        self.gains: bool | None = None
        self.used = Usage(0.0, 0.0, 0.0, 0.0)

    def measure(self, seconds: float, begun_ns: int) -> None:
        """Measure as many pairs as fit, and eight at least.

        Args:
            seconds: in total.
            begun_ns: when the first pair began to start.

        Raises:
            DlperfError: if a process is lost.
        """
        end_ns = begun_ns + int(seconds / _NS)
        self._progress.show("starting pair 1", seconds)
        with self._sides.first() as (pair, settings):
            self.slot_seconds = settings.slot_seconds
            self._choose_processors(pair, settings)
            self.starting.append((self._clock.now_ns() - begun_ns) * _NS)
            self._measure(pair, settings, end_ns)
        each = 0.0
        while wants_pair(number := len(self.pairs), self._left(end_ns), each):
            self._progress.show(f"starting pair {number + 1}", self._left(end_ns))
            before_ns = self._clock.now_ns()
            with self._sides.further() as pair:
                self._keep_on_one(pair, settings)
                self.starting.append((self._clock.now_ns() - before_ns) * _NS)
                self._measure(pair, settings, end_ns)
            each = max(each, (self._clock.now_ns() - before_ns) * _NS)

    def _choose_processors(self, pair: IdenticalPair, settings: DuelSettings) -> None:
        """See whether the model gains from more processors than one, if there are more."""

        def block_on(processors: frozenset[int]) -> Block:
            _keep_on(pair, processors)
            return self._block(pair, settings)

        every = settings.processors
        if len(every) > 1:
            self.gains = gains_from_more(settings.cost_metric, every, self._rng, block_on)
            _keep_on(pair, every)
        self._keep_on_one(pair, settings)

    def _keep_on_one(self, pair: IdenticalPair, settings: DuelSettings) -> None:
        """Keep both sides on one processor, if the model does not gain from more."""
        if self.gains is False:
            _keep_on(pair, drawn_processor(settings.processors, self._rng))

    def _measure(self, pair: IdenticalPair, settings: DuelSettings, end_ns: int) -> None:
        number = len(self.pairs) + 1
        before = pair.meter.usage()
        ratios: list[float] = []
        blocks: list[Block] = []
        most = settings.seconds / PAIRS_IN_TIME
        starting = float(np.median(self.starting[1:] or self.starting))
        while len(blocks) < blocks_of_pair(
            np.array(ratios), sum(block.seconds for block in blocks), most, starting
        ):
            self._progress.show(f"measuring pair {number}", self._left(end_ns))
            blocks.append(self._block(pair, settings))
            ratios.append(log_ratio(settings.cost_metric, blocks[-1]))
        self.pairs.append(blocks)
        self.used = self.used.plus(pair.meter.usage().since(before))

    def _block(self, pair: IdenticalPair, settings: DuelSettings) -> Block:
        self._blocks += 1
        return measure_block(
            *(pair.base, pair.candidate, self._clock, self._rng),
            pair=len(self.pairs),
            number=self._blocks - 1,
            length=settings.slot_seconds,
        )

    def _left(self, end_ns: int) -> float:
        return max(0.0, (end_ns - self._clock.now_ns()) * _NS)


def _keep_on(pair: IdenticalPair, processors: frozenset[int]) -> None:
    pair.base.keep_on(processors)
    pair.candidate.keep_on(processors)


def measure_noise(
    progress: Progress, rng: np.random.Generator, seconds: float = SECONDS
) -> NoiseMeasurement:
    """Measure this machine, on the reference architecture.

    Args:
        progress: progress display.
        rng: chooses orders and processors.
        seconds: approximate duration.

    Raises:
        UsageError: if TensorFlow is not installed.
        WorkerLost: if a process dies or hangs; with its last output.
        DuelError: if a process ends before its measurement.
    """
    if find_spec("tensorflow") is None:
        raise UsageError(
            "the doctor measures a TensorFlow model, and TensorFlow is not installed for "
            f"{sys.executable}",
            "install it there: python -m pip install tensorflow",
        )
    clock = MonotonicClock()
    begun_ns = clock.now_ns()
    host = read_host()
    progress.show("measuring the timer", None)
    with Instrumentation().suspended():
        timer = measure_timer(time.perf_counter_ns, time.sleep)
    with CleanupProcess() as cleanup:
        starting_ns = clock.now_ns()
        sides = IdenticalSides(os.environ, cleanup, rng)
        try:
            sampler = PairSampler(sides, clock, rng, progress)
            sampler.measure(seconds, starting_ns)
        finally:
            sides.close()
    return NoiseMeasurement(
        pairs=sampler.pairs,
        starting=sampler.starting,
        slot_seconds=sampler.slot_seconds,
        gains=sampler.gains,
        spawned=sides.spawned,
        used=sampler.used,
        timer=timer,
        host=host,
        seconds=(clock.now_ns() - begun_ns) * _NS,
    )
