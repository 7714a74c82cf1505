"""Blocks, and pairs of simulated sides that make them."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from builders import make_measurement, make_rows
from fakes import FakeClock

from pytest_dlperf.duel.scheduler import Pair
from pytest_dlperf.measure.slots import Block, Slot

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_dlperf.results.measurement import Measurement

SECONDS_EACH = 0.0001


def make_block(ratio: float, pair: int = 0, length: float = 1.0) -> Block:
    """A block of four slots whose candidate is dearer by a log ratio."""
    base, candidate = (
        Slot(100, 100, 0, 2 * length * cost, np.full(100, 0.001 * cost))
        for cost in (1.0, math.exp(ratio))
    )
    return Block(base, candidate, pair, 4 * length)


def swapped(block: Block) -> Block:
    """The same with the other labels."""
    return Block(block.candidate, block.base, block.pair, block.seconds)


@dataclass(frozen=True)
class Turn:
    """One slot."""

    pair: int
    side: str
    number: int
    length: float
    start_ns: int
    end_ns: int


@dataclass
class SimulatedPairs:
    """Pairs on a fake clock; records their slots.

    Attributes:
        loss: log ratio of what candidates cost.
        first: effect of the first pair, as a log ratio.
        later: effects of the further pairs, in turn.
        noise: standard deviation of a slot's log cost.
        bad: one of this number of the candidate's requests fails; 0 if none does.
        lost: rows of 600 that the further candidates do not have right, in turn.
        paired: whether further pairs answer the same rows.
        tail_every: one of this number of requests has a latency.
        starting: seconds that a further pair takes to start.
        gain: by how much faster sides are on several processors.
        kept: the processors that each side was kept on, in turn.
    """

    loss: float = 0.0
    first: float = 0.0
    later: tuple[float, ...] = (0.002, -0.003, 0.004, -0.002)
    noise: float = 0.01
    bad: int = 0
    lost: tuple[int, ...] = (0,)
    clock: FakeClock = field(default_factory=FakeClock)
    turns: list[Turn] = field(default_factory=list)
    random: np.random.Generator = field(default_factory=lambda: np.random.default_rng(5))
    paired: bool = True
    tail_every: int = 1
    open: int = 0
    most_open: int = 0
    opened: int = 0
    loads: int = 0
    starting: float = 0.5
    gain: float = 1.0
    kept: list[tuple[str, frozenset[int]]] = field(default_factory=list)

    def first_pair(self) -> Pair:
        """The first one."""
        return self.pair(0, self.first)

    def pair(self, number: int, effect: float, lost: int = 0) -> Pair:
        """A pair whose candidate is dearer by the loss and by the pair's own effect."""

        def measured() -> tuple[Measurement, Measurement]:
            self.loads += 1
            base, candidate = [1] * 600, [0] * lost + [1] * (600 - lost)
            if not self.paired:
                base = [1] * 99
            return make_measurement(rows=make_rows(base)), make_measurement(
                rows=make_rows(candidate)
            )

        base = SimulatedSide(self, number, "A", SECONDS_EACH)
        candidate = SimulatedSide(self, number, "B", SECONDS_EACH * math.exp(self.loss + effect))
        return Pair(base, candidate, measured)

    @contextlib.contextmanager
    def fresh(self) -> Iterator[Pair]:
        """A further pair."""
        number = self.opened
        self.opened += 1
        self.open += 1
        self.most_open = max(self.open, self.most_open)
        self.clock.now += round(self.starting * 1e9)
        try:
            effect = self.later[number % len(self.later)]
            yield self.pair(100 + number, effect, self.lost[number % len(self.lost)])
        finally:
            self.open -= 1


@dataclass
class SimulatedSide:
    """One side of a pair."""

    pairs: SimulatedPairs
    pair: int
    side: str
    seconds_each: float
    faster: float = 1.0

    def keep_on(self, processors: frozenset[int]) -> None:
        """Be faster on several processors, if the pairs are."""
        self.pairs.kept.append((self.side, processors))
        self.faster = self.pairs.gain if len(processors) > 1 else 1.0

    def slot(self, seconds: float, number: int) -> Slot:
        """Answer one request after the other, as long as requests come."""
        pairs = self.pairs
        start_ns = pairs.clock.now
        each = (
            self.seconds_each / self.faster * math.exp(pairs.noise * pairs.random.standard_normal())
        )
        calls = math.ceil(seconds / each)
        pairs.clock.now += round(calls * each * 1e9)
        pairs.turns.append(Turn(self.pair, self.side, number, seconds, start_ns, pairs.clock.now))
        bad = calls // pairs.bad if pairs.bad and self.side == "B" else 0
        good = calls - bad
        return Slot(good, good, bad, calls * each, np.full(-(-good // pairs.tail_every), each))
