"""Bout: one measurement of a candidate against its base, from opening to judgements."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from builders import ENVIRONMENT, REVISION, estimate, make_measurement, make_rows
from fakes import FakeClock, FakeProgress

from pytest_dlperf.config.budgets import parse_budget
from pytest_dlperf.duel.questions import NOTHING, DuelSettings
from pytest_dlperf.duel.scheduler import Pair, SlotScheduler
from pytest_dlperf.duel.verdicts import Base, compare
from pytest_dlperf.judge.error_rates import ErrorRates
from pytest_dlperf.measure.slots import Slot
from pytest_dlperf.metrics import METRICS
from pytest_dlperf.results.verdict import Verdict
from pytest_dlperf.statistics.estimate import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_dlperf.duel.verdicts import Result
    from pytest_dlperf.results.measurement import Measurement
    from pytest_dlperf.results.verdict import Judgement

THROUGHPUT = "throughput >= baseline"
ACCURACY = "accuracy >= baseline"


@dataclass
class Runner:
    """One side: answers on a clock of the test, at a known cost."""

    clock: FakeClock
    cost: float
    bad: int = 0
    random: np.random.Generator = field(default_factory=lambda: np.random.default_rng(1))
    slots: int = 0

    def slot(self, seconds: float, number: int) -> Slot:
        """Answer as long as requests come."""
        del number
        self.slots += 1
        each = 1e-4 * self.cost * math.exp(0.01 * self.random.standard_normal())
        calls = math.ceil(seconds / each)
        self.clock.now += round(calls * each * 1e9)
        good = calls - self.bad
        return Slot(good, good, self.bad, calls * each, np.full(good, each))


@dataclass
class Ring:
    """Where a base and a candidate meet.

    Attributes:
        cost: of the candidate's requests, as a multiple of the base's.
        lost: rows that fresh candidates do not have right, of 1000.
        bad: requests of each slot of the candidate that end badly.
    """

    cost: float = 1.0
    lost: int = 0
    bad: int = 0
    clock: FakeClock = field(default_factory=FakeClock)
    fresh_pairs: int = 0
    runners: list[Runner] = field(default_factory=list)

    def pair(self) -> Pair:
        """A pair that is measured."""
        base, candidate = Runner(self.clock, 1.0), Runner(self.clock, self.cost, self.bad)
        self.runners += [base, candidate]
        return Pair(base, candidate, lambda: (opening(0), opening(self.lost)))

    @contextlib.contextmanager
    def fresh(self) -> Iterator[Pair]:
        """A further one."""
        self.fresh_pairs += 1
        yield self.pair()

    @property
    def slots(self) -> int:
        """How many slots were measured."""
        return sum(runner.slots for runner in self.runners)

    def compare(
        self,
        found: Measurement,
        base: Measurement,
        *texts: str,
        pairs: int = 1,
    ) -> Result:
        """Judge a candidate."""
        terms = DuelSettings(0.005, METRICS["throughput"], 20.0, ErrorRates(1))
        return compare(
            found,
            Base(base, ENVIRONMENT, REVISION),
            [parse_budget(text) for text in texts],
            SlotScheduler(self.clock, np.random.default_rng(0), FakeProgress(), terms),
            [self.pair() for _ in range(pairs)],
            fresh=self.fresh,
        )


def opening(lost: int = 0, **fields: Any) -> Measurement:  # noqa: ANN401 - any field
    """What an opening load found: the same speed always, and so many rows lost of 1000."""
    metrics = {
        "throughput": estimate(10_000.0),
        "p99": estimate(0.02),
        "errors": counted(0.0),
        "accuracy": estimate(1 - lost / 1000),
    }
    rows = make_rows([0] * lost + [1] * (1000 - lost))
    return make_measurement(metrics, rows=rows, **fields)


def verdicts(result: Result) -> list[Verdict]:
    """Of each budget."""
    return [judgement.verdict for judgement in result.judgements]


def only(result: Result) -> Judgement:
    """The only judgement."""
    (judgement,) = result.judgements
    return judgement


@pytest.mark.parametrize(("cost", "verdict"), [(1.0, Verdict.PASS), (1.1, Verdict.FAIL)])
def test_slots_tell_the_speed(cost: float, verdict: Verdict) -> None:
    """The openings are equal here: what slots say is the verdict, the change, and in a note."""
    result = Ring(cost=cost).compare(opening(), opening(), THROUGHPUT)

    judgement = only(result)
    assert judgement.verdict is verdict
    assert judgement.change is not None
    assert judgement.change.value == pytest.approx(1 / cost, abs=0.02)
    assert judgement.revision == str(REVISION)
    assert result.course.blocks > 0
    assert any("measured in turn with the base" in note for note in result.measurement.notes)


@pytest.mark.parametrize(("lost", "verdict"), [(0, Verdict.PASS), (50, Verdict.FAIL)])
def test_rows_tell_the_accuracy(lost: int, verdict: Verdict) -> None:
    """A loss of accuracy is confirmed on fresh pairs; none needs no pair and no slot."""
    ring = Ring(lost=lost)

    result = ring.compare(opening(lost), opening(), ACCURACY)

    assert only(result).verdict is verdict
    assert ring.fresh_pairs == (2 if lost else 0)
    assert ring.slots == 0


def test_a_loss_of_accuracy_that_is_not_confirmed() -> None:
    """Fresh pairs do not have it: the rows of the first one are not the last word."""
    ring = Ring(lost=0)

    result = ring.compare(opening(50), opening(), ACCURACY)

    assert only(result).verdict is not Verdict.FAIL
    assert ring.fresh_pairs >= 2


def test_speed_and_accuracy_are_judged_apart() -> None:
    """A candidate that is slower and answers as well, and one that is fast and answers worse."""
    slower = Ring(cost=1.1).compare(opening(), opening(), THROUGHPUT, ACCURACY)
    worse = Ring(lost=50).compare(opening(50), opening(), THROUGHPUT, ACCURACY)

    assert verdicts(slower) == [Verdict.FAIL, Verdict.PASS]
    assert verdicts(worse) == [Verdict.PASS, Verdict.FAIL]


def test_absolute_budgets_are_the_candidates_own() -> None:
    """Judged by its load, without a slot."""
    ring = Ring(cost=2.0)

    result = ring.compare(opening(), opening(), "p99 <= 10ms", "throughput >= 9000/s")

    assert verdicts(result) == [Verdict.FAIL, Verdict.PASS]
    assert ring.slots == 0


def test_another_scenario_is_not_measured() -> None:
    """INCONCLUSIVE with the reason: two loads tell nothing of one another; not a slot is lost."""
    ring = Ring(cost=2.0)
    found = opening(scenario="Offline()")

    result = ring.compare(found, opening(), THROUGHPUT, "p99 <= 10ms")

    assert verdicts(result) == [Verdict.INCONCLUSIVE, Verdict.FAIL]
    assert "scenario" in result.judgements[0].reason
    assert (result.course, result.measurement) == (NOTHING, found)
    assert ring.slots == 0


def test_a_load_that_hung_is_not_measured_further() -> None:
    """INVALID, and not a slot: it would hang again."""
    ring = Ring()

    result = ring.compare(opening(hung="a call had not returned"), opening(), THROUGHPUT, ACCURACY)

    assert verdicts(result) == [Verdict.INVALID, Verdict.INVALID]
    assert result.course == NOTHING
    assert ring.slots == 0


def test_without_pairs_the_openings_are_compared() -> None:
    """A load that has no slots: judged as against a stored baseline, with the noise of runs."""
    ring = Ring()
    slow = make_measurement({"throughput": estimate(5_000.0)})

    result = ring.compare(slow, opening(), "throughput >= 0.9 * baseline", pairs=0)

    assert only(result).verdict is Verdict.FAIL
    assert only(result).change is None
    assert ring.slots == 0


def test_another_serving_is_compared_and_noted() -> None:
    """What a commit changes may be its batching."""
    found = opening(serving="Serving(max_batch_size=1)")

    result = Ring(cost=1.2).compare(found, opening(), THROUGHPUT)

    assert only(result).verdict is Verdict.FAIL
    assert "the base was served by Serving()" in result.measurement.notes


def test_errors_in_slots_fail_the_test() -> None:
    """A candidate that answers badly only in slots: its errors are counted, and judged."""
    well = Ring().compare(opening(), opening(), "throughput >= 0.5 * baseline", "errors == 0")
    badly = Ring(bad=1).compare(opening(), opening(), "throughput >= 0.5 * baseline", "errors == 0")

    assert verdicts(well) == [Verdict.PASS, Verdict.PASS]
    assert verdicts(badly) == [Verdict.PASS, Verdict.FAIL]
    assert badly.measurement.errors[-1].requests == badly.course.bad > 0
