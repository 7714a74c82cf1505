"""A duel of two targets in one process: each further pair lies elsewhere, made with all processors.

Targets work on a fake clock; `SEEN` has what they saw when they were first called.
"""

from __future__ import annotations

import os
import threading
import weakref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from fakes import FakeClock, fake_instruments

from pytest_dlperf._processes import keep_on, processors_restored, usable_processors
from pytest_dlperf.config.options import Options
from pytest_dlperf.config.plan import plan
from pytest_dlperf.data.dataset import as_data
from pytest_dlperf.duel.in_process import DuelCandidate, duel_candidates, same_sample
from pytest_dlperf.judge.error_rates import ErrorRates
from pytest_dlperf.load.scenarios import ClosedLoop
from pytest_dlperf.load.serving import Serving
from pytest_dlperf.results.verdict import Verdict

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_dlperf.results.record import Record

ROWS = np.random.default_rng(0).random((60, 4)).astype(np.float32)
MILLISECOND = 1_000_000
TABLE = np.ones(4000)


@dataclass(frozen=True)
class Call:
    """The first call of a target in one place."""

    side: str
    place: int
    processors: frozenset[int]


SEEN: list[Call] = []
COPIES: list[weakref.ref[Working]] = []
BEFORE: list[int] = []
"""How many copies lived when each copy was made."""


@dataclass
class Working:
    """Takes a known time, and notes where it is."""

    clock: FakeClock
    side: str
    work: float = 1.0
    table: NDArray[Any] = field(default_factory=lambda: np.ones(100_000))
    noise: np.random.Generator = field(default_factory=lambda: np.random.default_rng(7))
    noted: bool = False

    def __deepcopy__(self, memo: object) -> Working:
        """Elsewhere, and not yet called."""
        BEFORE.append(sum(copy() is not None for copy in COPIES))
        copy = Working(self.clock, self.side, self.work, self.table.copy())
        COPIES.append(weakref.ref(copy))
        return copy

    def infer(self, batch: NDArray[Any]) -> NDArray[Any]:
        """Note the place, and work."""
        if not self.noted:
            place = self.table.__array_interface__["data"][0]
            SEEN.append(Call(self.side, place, usable_processors()))
            self.noted = True
        factor = np.exp(0.01 * self.noise.standard_normal())
        self.clock.now += int(self.work * MILLISECOND * factor)
        return batch * self.table[0]


def judged(base: object, candidate: object, clock: FakeClock, *budgets: str) -> Record:
    """The record of a duel of two targets."""
    settled = plan(
        [
            Options(
                budgets=budgets or ("throughput >= baseline",),
                scenario=ClosedLoop(8),
                serving=Serving(8),
                duration=0.4,
                budget_time=20.0,
            )
        ]
    )
    data = as_data((ROWS, ROWS.argmax(axis=1)))
    for seen in (SEEN, COPIES, BEFORE):
        seen.clear()  # type: ignore[attr-defined]  # a list each
    return duel_candidates(
        *(DuelCandidate(base, data, settled), DuelCandidate(candidate, data, settled)),
        fake_instruments(clock),
        rates=ErrorRates(1),
        rng=np.random.default_rng(3),
        key=("test", ""),
    )


def verdict(record: Record, budget: str = "throughput >= baseline") -> Verdict:
    """Of one budget."""
    return next(one.verdict for one in record.judgements if one.budget == budget)


def test_each_pair_lies_elsewhere_and_is_made_in_random_order() -> None:
    """No copy lies where one of the pair before does, and neither side is always first."""
    clock = FakeClock()
    record = judged(Working(clock, "base", 1.0), Working(clock, "candidate", 1.02), clock)

    sides = [call.side for call in SEEN]
    pairs = [sides[at : at + 2] for at in range(0, len(sides), 2)]
    places = [call.place for call in SEEN]
    assert len(pairs) > 4
    assert all(sorted(pair) == ["base", "candidate"] for pair in pairs)
    assert {tuple(pair) for pair in pairs} == {("base", "candidate"), ("candidate", "base")}
    for at in range(2, len(places), 2):
        assert not set(places[at : at + 2]) & set(places[at - 2 : at])
        assert not set(places[at : at + 2]) & set(places[:2])
    assert verdict(record) is not Verdict.INVALID


def test_copies_live_until_the_next_ones_are_made() -> None:
    """So that no copy gets the place of one before; and no longer, as memory is finite."""
    clock = FakeClock()
    judged(Working(clock, "base"), Working(clock, "candidate", 1.02), clock)

    assert BEFORE[:2] == [0, 1]
    assert all(alive >= 2 for alive in BEFORE[2:])
    assert max(BEFORE) <= 3


@pytest.mark.parametrize(
    ("work", "expected"), [(1.0, Verdict.PASS), (1.1, Verdict.FAIL), (0.9, Verdict.PASS)]
)
def test_copies_decide(work: float, expected: Verdict) -> None:
    """A tenth more work fails, and the same or less passes; by more pairs than one."""
    clock = FakeClock()
    record = judged(Working(clock, "base"), Working(clock, "candidate", work), clock)

    assert verdict(record) is expected
    assert record.duel["pairs"] > 1  # type: ignore[operator]  # a count


def reading(clock: FakeClock, work: float) -> Any:  # noqa: ANN401 - a target
    """A target that reads a global table."""

    def infer(batch: NDArray[Any]) -> NDArray[Any]:
        clock.now += int(work * MILLISECOND)
        return batch * TABLE[0]

    return infer


@pytest.mark.parametrize(
    ("work", "expected"),
    [(1.0, Verdict.INCONCLUSIVE), (1.2, Verdict.INCONCLUSIVE), (3.0, Verdict.FAIL)],
)
@pytest.mark.parametrize("side", ["base", "candidate"])
def test_a_global_table_has_one_layout(work: float, expected: Verdict, side: str) -> None:
    """On either side: the reason says what stays where it is, and what to do."""
    clock = FakeClock()
    if side == "base":
        base, candidate = reading(clock, 1.0), Working(clock, "candidate", work)
    else:
        base, candidate = Working(clock, "base"), reading(clock, work)
    record = judged(base, candidate, clock)

    (judgement, *_) = record.judgements
    assert judgement.verdict is expected
    assert f"one layout: the {side}, callable " in judgement.reason
    assert "reads the global TABLE" in judgement.reason
    assert "compare commits with --dlperf-against" in judgement.reason
    assert record.duel["pairs"] == 1


def test_a_copy_that_answers_in_another_way_is_none() -> None:
    """Its pair is not measured: what it lost in copying may be what it is slow by."""

    class Forgets(Working):
        def __deepcopy__(self, memo: object) -> Working:
            return Working(self.clock, self.side, self.work, 2 * self.table)

    clock = FakeClock()
    record = judged(Working(clock, "base"), Forgets(clock, "candidate"), clock)

    assert verdict(record) is Verdict.INCONCLUSIVE
    assert "its copy answers the same rows in another way" in record.judgements[0].reason


def test_accuracy_is_judged_in_one_layout_too() -> None:
    """Rows lie nowhere: their loss is proven as ever."""
    clock = FakeClock()
    wrong = reading(clock, 1.0)

    record = judged(
        Working(clock, "base"), lambda batch: -wrong(batch), clock, "accuracy >= baseline"
    )

    assert verdict(record, "accuracy >= baseline") is Verdict.FAIL


@pytest.mark.parametrize(
    ("answers", "same"),
    [
        ([[1.0, 2.0], [3.0, 4.0]], True),
        ([[1.0, 2.0 + 1e-7], [3.0, 4.0]], True),
        ([[1.0, 2.1], [3.0, 4.0]], False),
        ([[1.0, 2.0]], False),
        ([[np.nan, 2.0], [3.0, 4.0]], False),
    ],
)
def test_answers_are_the_same_but_for_rounding(answers: list[list[float]], same: bool) -> None:  # noqa: FBT001 - a parameter
    """Another shape, value or a lacking one is another answer."""
    assert same_sample(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array(answers)) is same


def test_lacking_answers_are_the_same() -> None:
    """Rows that neither answers."""
    answers = np.array([[np.nan, 1.0], [2.0, 3.0]])

    assert same_sample(answers, answers.copy())


many = pytest.mark.skipif(
    len(usable_processors()) < 2, reason="there is one processor, or none can be chosen"
)


@many
def test_each_copy_is_first_called_with_all_processors() -> None:
    """While slots are kept on one; afterwards, too, every thread has them again."""
    every = usable_processors()
    clock = FakeClock()
    judged(Working(clock, "base"), Working(clock, "candidate", 1.02), clock)

    assert len(SEEN) > 4
    assert {call.processors for call in SEEN} == {every}
    assert usable_processors() == every
    assert os.sched_getaffinity(threading.main_thread().native_id or 0) == every


@many
def test_processors_are_given_back_after_an_error() -> None:
    """To threads that were there and to those that started meanwhile, whatever happened."""
    every = usable_processors()
    one = frozenset({min(every)})
    leave, seen = threading.Event(), []

    def wait() -> None:
        leave.wait(60)
        seen.append(usable_processors())

    def in_the_middle() -> None:
        with processors_restored() as restore:
            keep_on(os.getpid(), one)
            threads.append(threading.Thread(target=wait))
            threads[-1].start()
            assert usable_processors() == one
            restore()
            assert usable_processors() == every
            keep_on(os.getpid(), one)
            raise RuntimeError("a slot failed")

    threads = [threading.Thread(target=wait)]
    threads[0].start()
    with pytest.raises(RuntimeError, match="a slot failed"):
        in_the_middle()
    leave.set()
    for thread in threads:
        thread.join()

    assert usable_processors() == every
    assert seen == [every, every]
