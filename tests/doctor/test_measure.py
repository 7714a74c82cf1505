"""Measuring pairs: on fake processes and a fake clock."""

from __future__ import annotations

import contextlib
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pytest
from fakes import FakeClock, FakeProgress

from pytest_dlperf.doctor import measure as doctor
from pytest_dlperf.doctor.measure import PairSampler, measure_noise
from pytest_dlperf.doctor.sides import IdenticalPair
from pytest_dlperf.duel.questions import DuelSettings
from pytest_dlperf.duel.worker_process import WorkerLost
from pytest_dlperf.errors import UsageError
from pytest_dlperf.measure.slots import Slot
from pytest_dlperf.metrics import METRICS
from pytest_dlperf.results.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Iterator

NS = 1_000_000_000
LENGTH = 0.005


@dataclass
class FakeSides:
    """Starts fake pairs, and records their slots.

    Attributes:
        first_takes: seconds that the first pair takes to start.
        further_take: seconds that a further one takes.
        gain: by how much faster a side is on several processors.
        slots: pair, side, number and processors of each slot.
        kept: processors of each side, in turn.
    """

    first_takes: float = 5.0
    further_take: float = 0.5
    processors: frozenset[int] = frozenset({0, 1, 2})
    gain: float = 1.0
    fails_at: int | None = None
    clock: FakeClock = field(default_factory=FakeClock)
    slots: list[tuple[int, str, int, frozenset[int]]] = field(default_factory=list)
    started: int = 0
    ended: int = 0

    @contextlib.contextmanager
    def first(self) -> Iterator[tuple[IdenticalPair, DuelSettings]]:
        """The first pair."""
        self.clock.now += int(self.first_takes * NS)
        yield (
            self._pair(),
            DuelSettings(LENGTH, METRICS["throughput"], 60.0, self.processors),
        )
        self.ended += 1

    @contextlib.contextmanager
    def further(self) -> Iterator[IdenticalPair]:
        """A further pair."""
        self.clock.now += int(self.further_take * NS)
        yield self._pair()
        self.ended += 1

    def _pair(self) -> IdenticalPair:
        number, self.started = self.started, self.started + 1
        base, candidate = (FakeSide(self, number, name) for name in "AB")
        return IdenticalPair(base, candidate, FakeMeter(self.clock))

    def measure(self, seconds: float = 35.0) -> PairSampler:
        """Measure all pairs."""
        sampler = PairSampler(self, self.clock, np.random.default_rng(0), FakeProgress())
        sampler.measure(seconds, self.clock.now)
        return sampler


@dataclass
class FakeSide:
    """Measures all of a slot but 1 ms, and returns 2 ms after it."""

    sides: FakeSides
    pair: int
    name: str
    processors: frozenset[int] = frozenset()

    def slot(self, seconds: float, number: int) -> Slot:
        """Let the time pass."""
        slots = self.sides.slots
        if len(slots) == self.sides.fails_at:
            raise WorkerLost("the base side died", "")
        slots.append((self.pair, self.name, number, self.processors))
        self.sides.clock.now += round((seconds + 0.002) * NS)
        faster = self.sides.gain if len(self.processors) > 1 else 1.0
        good = round((1000 if self.name == "A" else 500) * faster)
        return Slot(good, good, 0, seconds - 0.001, np.zeros(0))

    def keep_on(self, processors: frozenset[int]) -> None:
        """Remember them."""
        self.processors = processors


@dataclass
class FakeMeter:
    """Two processors: one is used, and the host takes a tenth of the other."""

    clock: FakeClock

    def usage(self) -> Usage:
        """By the clock."""
        now = self.clock.now / NS
        return Usage(process=now, busy=now, stolen=0.1 * now, total=2 * now)

    def resident_bytes(self) -> int:
        """Nothing."""
        return 0


def measured(sides: FakeSides) -> list[list[tuple[int, str, int, frozenset[int]]]]:
    """The slots of each pair, without the look at processors of the first."""
    pairs = [[slot for slot in sides.slots if slot[0] == pair] for pair in range(sides.started)]
    return [pair[-80:] for pair in pairs]


def test_as_many_pairs_as_fit() -> None:
    """The first one takes longer to start, since frameworks are imported; none is left open."""
    sides = FakeSides()
    begun = sides.clock.now
    sampler = sides.measure()

    look = 8 * 4 * (LENGTH + 0.002)
    assert sampler.starting == pytest.approx([5.0 + look, *[0.5] * (len(sampler.pairs) - 1)])
    each = 0.5 + 20 * 4 * (LENGTH + 0.002)
    assert 35.0 - each < (sides.clock.now - begun) / NS <= 35.0
    assert sides.started == sides.ended == len(sampler.pairs)


def test_eight_pairs_where_starting_takes_long() -> None:
    """Fewer would say too little of what pairs differ by."""
    assert len(FakeSides(first_takes=30.0, further_take=30.0).measure().pairs) == 8


def test_blocks_are_those_of_a_duel() -> None:
    """20 of four slots a pair, ABBA or BAAB by a coin; the slots of a block have one number."""
    sides = FakeSides()
    sampler = sides.measure()

    assert {len(blocks) for blocks in sampler.pairs} == {20}
    assert [block.pair for blocks in sampler.pairs for block in blocks] == [
        pair for pair in range(len(sampler.pairs)) for _ in range(20)
    ]
    slots = [slot for pair in measured(sides) for slot in pair]
    blocks = [slots[start : start + 4] for start in range(0, len(slots), 4)]
    orders = Counter("".join(name for _, name, _, _ in block) for block in blocks)
    assert set(orders) == {"ABBA", "BAAB"}
    assert abs(orders["ABBA"] - orders["BAAB"]) < 4 * len(blocks) ** 0.5
    assert all(len({number for _, _, number, _ in block}) == 1 for block in blocks)
    assert len({block[0][2] for block in blocks}) == len(blocks)
    for block in (block for blocks in sampler.pairs for block in blocks):
        assert (block.base.good, block.candidate.good) == (2000, 1000)


def test_one_processor_by_a_coin() -> None:
    """Where the model does not gain from more: one for both sides of a pair, any of them."""
    sides = FakeSides()
    sampler = sides.measure()

    assert sampler.gains is False
    places = [{processors for _, _, _, processors in pair} for pair in measured(sides)]
    assert all(len(place) == 1 for place in places)
    assert {processor for place in places for processor in place} == {
        frozenset({number}) for number in sides.processors
    }


def test_all_processors_for_a_model_that_gains() -> None:
    """Both sides of each pair keep them, as an ordinary run has them."""
    sides = FakeSides(gain=1.5)
    sampler = sides.measure()

    assert sampler.gains is True
    assert {processors for _, _, _, processors in measured(sides)[0]} == {sides.processors}
    assert {processors for pair in measured(sides)[1:] for _, _, _, processors in pair} == {
        frozenset()
    }


@pytest.mark.parametrize("processors", [frozenset({3}), frozenset()])
def test_no_choice_of_processors(processors: frozenset[int]) -> None:
    """With one, or where processes cannot be kept on some, there is nothing to see or to draw."""
    sides = FakeSides(processors=processors)
    sampler = sides.measure()

    assert sampler.gains is None
    assert {slot[3] for slot in sides.slots} == {frozenset()}
    assert sampler.starting[0] == pytest.approx(5.0)


def test_usage_is_that_of_measuring() -> None:
    """Starting and the look at processors do not count."""
    sampler = FakeSides().measure()
    measuring = sum(block.seconds for blocks in sampler.pairs for block in blocks)

    assert sampler.used.process == pytest.approx(measuring)
    assert sampler.used.stolen_share == pytest.approx(0.05)


def test_a_lost_process() -> None:
    """It is an error, and no further pair is started."""
    sides = FakeSides(fails_at=10)
    with pytest.raises(WorkerLost, match="the base side died"):
        sides.measure()

    assert sides.started == 1


def test_without_tensorflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error at once, with the interpreter and what to do."""
    monkeypatch.setattr(doctor, "find_spec", lambda _: None)
    with pytest.raises(UsageError, match="TensorFlow is not installed") as caught:
        measure_noise(FakeProgress(), np.random.default_rng(0))

    assert caught.value.hint == "install it there: python -m pip install tensorflow"
