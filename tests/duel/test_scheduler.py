"""Which slots are measured when, and with which outcome; on a fake clock."""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pytest
from builders import make_measurement, make_rows
from fakes import FakeClock, FakeProgress

from pytest_dlperf.config.budgets import parse_budget
from pytest_dlperf.duel.questions import DuelSettings, SuspectedLoss, budget_tests
from pytest_dlperf.duel.scheduler import Pair, SlotScheduler
from pytest_dlperf.errors import TargetError
from pytest_dlperf.judge.error_rates import ErrorRates
from pytest_dlperf.judge.losses import LossLimits
from pytest_dlperf.measure.slots import Slot
from pytest_dlperf.metrics import METRICS
from pytest_dlperf.statistics.estimate import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_dlperf.duel.questions import BudgetTest, DuelStatistics
    from pytest_dlperf.results.measurement import Measurement

THROUGHPUT = "throughput >= baseline"
MEAN = "mean <= baseline"
SECONDS_EACH = 0.0001


@dataclass(frozen=True)
class Turn:
    """One slot, as the hall saw it."""

    pair: int
    side: str
    number: int
    length: float
    start_ns: int
    end_ns: int


@dataclass
class Hall:
    """Where pairs play; writes down whose turn it was.

    Attributes:
        loss: log ratio of what candidates cost.
        first: what the first pairs have beside it, by where their memory lies.
        later: the same of the fresh pairs, in turn.
        noise: standard deviation of a slot's log cost.
        bad: of the candidate's requests, one in so many ends badly; 0 if none does.
        lost: rows that each fresh candidate does not have right, of 100.
        paired: whether fresh pairs outcome the same rows.
        tail_every: of so many requests the latency of one is told.
    """

    loss: float = 0.0
    first: tuple[float, ...] = (0.0,)
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

    def pairs(self) -> list[Pair]:
        """Those that are measured first."""
        return [self.pair(number, effect) for number, effect in enumerate(self.first)]

    def pair(self, number: int, effect: float, lost: int = 0) -> Pair:
        """A pair of which the candidate is dearer by the loss and by an effect of its own."""

        def measured() -> tuple[Measurement, Measurement]:
            self.loads += 1
            base, candidate = [1] * 100, [0] * lost + [1] * (100 - lost)
            if not self.paired:
                base = [1] * 99
            return make_measurement(rows=make_rows(base)), make_measurement(
                rows=make_rows(candidate)
            )

        base = Runner(self, number, "A", SECONDS_EACH)
        candidate = Runner(self, number, "B", SECONDS_EACH * math.exp(self.loss + effect))
        return Pair(base, candidate, measured)

    @contextlib.contextmanager
    def fresh(self) -> Iterator[Pair]:
        """A further pair; starting it takes two seconds."""
        number = self.opened
        self.opened += 1
        self.open += 1
        self.most_open = max(self.open, self.most_open)
        self.clock.now += 2_000_000_000
        try:
            effect = self.later[number % len(self.later)]
            yield self.pair(100 + number, effect, self.lost[number % len(self.lost)])
        finally:
            self.open -= 1


@dataclass
class Runner:
    """One side of a pair."""

    hall: Hall
    pair: int
    side: str
    seconds_each: float

    def slot(self, seconds: float, number: int) -> Slot:
        """Answer one request after the other, as long as requests come."""
        hall = self.hall
        start_ns = hall.clock.now
        each = self.seconds_each * math.exp(hall.noise * hall.random.standard_normal())
        calls = math.ceil(seconds / each)
        hall.clock.now += round(calls * each * 1e9)
        hall.turns.append(Turn(self.pair, self.side, number, seconds, start_ns, hall.clock.now))
        bad = calls // hall.bad if hall.bad and self.side == "B" else 0
        good = calls - bad
        return Slot(good, good, bad, calls * each, np.full(-(-good // hall.tail_every), each))


def budgets(*texts: str) -> tuple[BudgetTest, ...]:
    """Budgets that blocks decide."""
    return budget_tests(map(parse_budget, texts), make_measurement(), ErrorRates(len(texts)))


def suspect(lost: float) -> SuspectedLoss:
    """A loss of accuracy that the first pair showed."""
    return SuspectedLoss(parse_budget("accuracy >= baseline"), LossLimits(0.0, 0.01), counted(lost))


def duel(
    hall: Hall,
    *texts: str,
    suspected: tuple[SuspectedLoss, ...] = (),
    seconds: float = 30.0,
    seed: int = 0,
    progress: FakeProgress | None = None,
) -> DuelStatistics:
    """One contest in a hall."""
    settings = DuelSettings(0.005, METRICS["throughput"], seconds, ErrorRates(max(1, len(texts))))
    rng = np.random.default_rng(seed)
    scheduler = SlotScheduler(hall.clock, rng, progress or FakeProgress(), settings)
    return scheduler.run(budgets(*texts), suspected, hall.pairs(), hall.fresh)


def orders(hall: Hall) -> list[str]:
    """The order of each block."""
    sides = "".join(turn.side for turn in hall.turns)
    return [sides[at : at + 4] for at in range(0, len(sides), 4)]


@pytest.mark.parametrize("text", [THROUGHPUT, MEAN])
def test_ten_percent_slower_fails(text: str) -> None:
    """A loss of 10 % is found, and confirmed on fresh pairs; the estimate is 10 %."""
    hall = Hall(loss=math.log(1.1))

    statistics = duel(hall, text)

    outcome = statistics.outcomes[text]
    assert outcome.decision == "FAIL"
    assert outcome.loss.value == pytest.approx(math.log(1.1), abs=0.01)
    assert outcome.loss.low > 0.05
    assert statistics.fresh == hall.opened >= 3
    assert outcome.reason == f"confirmed on {statistics.fresh} fresh pairs"


@pytest.mark.parametrize("text", [THROUGHPUT, MEAN])
@pytest.mark.parametrize("loss", [0.0, -0.1])
def test_equal_or_faster_passes(text: str, loss: float) -> None:
    """Nothing is started to confirm a PASS."""
    hall = Hall(loss=loss)

    statistics = duel(hall, text)

    assert statistics.outcomes[text].decision == "PASS"
    assert statistics.outcomes[text].loss.value == pytest.approx(loss, abs=0.02)
    assert statistics.fresh == hall.opened == 0
    assert statistics.starting == 0.0


@pytest.mark.parametrize("seed", range(5))
def test_the_labels_decide(seed: int) -> None:
    """The same two players with the labels exchanged: the one verdict becomes the other."""
    slower = duel(Hall(loss=0.1), THROUGHPUT, seed=seed)
    faster = duel(Hall(loss=-0.1), THROUGHPUT, seed=seed)

    assert slower.outcomes[THROUGHPUT].decision == "FAIL"
    assert faster.outcomes[THROUGHPUT].decision == "PASS"


def test_one_unlucky_launch_is_no_fail() -> None:
    """Equal code whose first pair is 8 % off for all its life: fresh pairs do not confirm it."""
    hall = Hall(first=(0.08,))

    statistics = duel(hall, THROUGHPUT)

    outcome = statistics.outcomes[THROUGHPUT]
    assert outcome.decision != "FAIL"
    assert statistics.fresh >= 3
    assert f"{statistics.fresh} fresh pairs" in outcome.reason
    assert outcome.loss.value < 0.02


def test_fresh_pairs_are_measured_one_after_the_other() -> None:
    """Only one is there at a time, each has as many blocks, and all are given back."""
    hall = Hall(loss=0.1)

    statistics = duel(hall, THROUGHPUT)

    assert hall.most_open == 1
    assert hall.open == 0
    blocks = Counter(turn.pair for turn in hall.turns if turn.pair >= 100)
    assert len(blocks) == statistics.fresh
    assert len(set(blocks.values())) == 1
    assert statistics.starting == pytest.approx(2.0 * statistics.fresh)


def test_blocks_are_abba_or_baab() -> None:
    """Four slots of one number and one length; no other order, and no other number twice."""
    hall = Hall(loss=0.1)

    statistics = duel(hall, THROUGHPUT)

    assert len(hall.turns) == 4 * statistics.blocks
    assert set(orders(hall)) == {"ABBA", "BAAB"}
    blocks = [hall.turns[at : at + 4] for at in range(0, len(hall.turns), 4)]
    for number, block in enumerate(blocks):
        assert {(turn.number, turn.length, turn.pair) for turn in block} == {
            (number, block[0].length, block[0].pair)
        }


def test_the_coin_is_fair_and_the_generators() -> None:
    """Of some hundred blocks about half begin with the base; another seed, another order."""
    seen = []
    for seed in (0, 1):
        hall = Hall(noise=0.5, loss=0.02)
        duel(hall, THROUGHPUT, seconds=30.0, seed=seed)
        seen.append(orders(hall))

    for blocks in seen:
        assert len(blocks) > 200
        assert 0.4 < blocks.count("ABBA") / len(blocks) < 0.6
    assert seen[0][:50] != seen[1][:50]


def test_one_works_at_a_time() -> None:
    """No two slots overlap, of whichever pair."""
    hall = Hall(loss=0.1, first=(0.0, 0.001))

    duel(hall, THROUGHPUT)

    for before, after in zip(hall.turns, hall.turns[1:], strict=False):
        assert before.end_ns <= after.start_ns


def test_blocks_go_round_the_pairs() -> None:
    """Each pair has its turn before any has its next."""
    hall = Hall(first=(0.0, 0.001, -0.001))

    duel(hall, THROUGHPUT)

    played = [turn.pair for turn in hall.turns[::4]]
    assert len(played) >= 6
    assert played == [number % 3 for number in range(len(played))]


def test_undecided_when_the_time_is_up() -> None:
    """Noise that hides the loss: no decision, the reason, the loss to be seen, and no overtime."""
    hall = Hall(noise=0.5, loss=0.02)

    statistics = duel(hall, THROUGHPUT, seconds=3.0)

    outcome = statistics.outcomes[THROUGHPUT]
    assert outcome.decision is None
    assert outcome.reason == "not decided in 3 s of measuring (dlperf-budget-time)"
    assert outcome.visible > 0.05
    assert outcome.loss.low < 0 < outcome.loss.high
    assert 3.0 <= statistics.measuring < 3.0 + 1.0
    assert statistics.fresh == 0


def test_no_time_at_all() -> None:
    """Nothing is measured, and it says so."""
    statistics = duel(Hall(), THROUGHPUT, seconds=0.0)

    assert statistics.blocks == 0
    assert statistics.outcomes[THROUGHPUT].decision is None
    assert statistics.outcomes[THROUGHPUT].reason == "there was no time to measure it"


def test_nothing_to_decide() -> None:
    """Without questions and suspected no slot is measured."""
    hall = Hall()

    statistics = duel(hall)

    assert (statistics.blocks, statistics.outcomes, hall.turns) == (0, {}, [])


def test_measuring_ends_when_the_last_is_decided() -> None:
    """Two budgets share their blocks: both are answered, by no more than the harder one needs."""
    alone = duel(Hall(), THROUGHPUT, seed=3)
    both = duel(Hall(), THROUGHPUT, MEAN, seed=3)

    assert {text: outcome.decision for text, outcome in both.outcomes.items()} == {
        THROUGHPUT: "PASS",
        MEAN: "PASS",
    }
    assert alone.blocks <= both.blocks <= 2 * alone.blocks


def test_only_what_failed_is_confirmed() -> None:
    """A budget that allows the loss passes on the first pairs, and keeps that outcome."""
    generous = "mean <= 1.5 * baseline"

    statistics = duel(Hall(loss=0.1), THROUGHPUT, generous)

    assert statistics.outcomes[THROUGHPUT].decision == "FAIL"
    assert statistics.outcomes[generous].decision == "PASS"
    assert "fresh" not in statistics.outcomes[generous].reason


def test_time_is_of_blocks() -> None:
    """What is reported as measured is the time of all slots, starts of fresh pairs left out."""
    hall = Hall(loss=0.1)

    statistics = duel(hall, THROUGHPUT)

    spent = sum(turn.end_ns - turn.start_ns for turn in hall.turns) * 1e-9
    assert statistics.measuring == pytest.approx(spent)
    assert statistics.noise_figure is None or 0 < statistics.noise_figure < 0.01


def test_bad_answers_are_counted_of_the_candidate() -> None:
    """One in ten of its requests; the base's are not counted."""
    statistics = duel(Hall(bad=10), "throughput >= 0.5 * baseline")

    assert statistics.requests > 0
    assert statistics.bad / statistics.requests == pytest.approx(0.1, abs=0.02)


def test_a_loss_of_accuracy_that_is_the_same_again() -> None:
    """Two fresh pairs that lose just as many rows are enough; no slot is measured for it."""
    hall = Hall(lost=(5,))

    statistics = duel(hall, suspected=(suspect(0.05),))

    assert statistics.outcomes["accuracy >= baseline"].decision == "FAIL"
    assert statistics.fresh == hall.loads == 2
    assert hall.turns == []
    assert statistics.outcomes["accuracy >= baseline"].loss == counted(0.05)


def test_a_loss_of_accuracy_that_fresh_pairs_do_not_have() -> None:
    """A model that was trained unluckily once: no FAIL."""
    hall = Hall(lost=(0,))

    statistics = duel(hall, suspected=(suspect(0.05),))

    assert statistics.outcomes["accuracy >= baseline"].decision != "FAIL"
    assert statistics.fresh == hall.loads >= 2


def test_a_loss_of_accuracy_that_differs_from_launch_to_launch() -> None:
    """Training without a seed: pairs that all lose much confirm it; pairs of which some do, do not.

    The less they agree, the more of them are asked.
    """
    losing = duel(Hall(lost=(4, 5, 6, 5)), suspected=(suspect(0.05),))
    changing = duel(Hall(lost=(6, 0, 0, 5)), suspected=(suspect(0.05),))

    assert losing.outcomes["accuracy >= baseline"].decision == "FAIL"
    assert changing.outcomes["accuracy >= baseline"].decision != "FAIL"
    assert 2 < losing.fresh <= changing.fresh


def test_progress_is_told() -> None:
    """Which block is measured, and that fresh pairs confirm."""
    progress = FakeProgress()

    duel(Hall(loss=0.1), THROUGHPUT, progress=progress)

    assert progress.phases[0] == "in turn with the base, block 1"
    assert any("fresh pair 1" in phase for phase in progress.phases)


def test_a_side_that_is_lost_ends_the_contest() -> None:
    """Its error comes through, and the fresh pair that it was of is given back."""
    hall = Hall(loss=0.1)
    whole = duel(Hall(loss=0.1), THROUGHPUT)
    fails_at = 4 * (whole.blocks - 2)

    def slot(self: Runner, seconds: float, number: int) -> Slot:
        if len(self.hall.turns) >= fails_at:
            raise TargetError("a call had not returned")
        return play(self, seconds, number)

    play = Runner.slot
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Runner, "slot", slot)
        with pytest.raises(TargetError, match="had not returned"):
            duel(hall, THROUGHPUT)

    assert hall.opened >= 1
    assert hall.open == 0


def test_a_tail_that_cannot_have_enough_requests_is_not_waited_for() -> None:
    """Once all else is decided, measuring ends; it is said how long it would have taken."""
    hall = Hall(noise=0.001)
    hall.tail_every = 400

    statistics = duel(hall, THROUGHPUT, "p99.9 <= baseline", seconds=30.0)

    outcome = statistics.outcomes["p99.9 <= baseline"]
    assert statistics.outcomes[THROUGHPUT].decision == "PASS"
    assert statistics.measuring < 6
    assert outcome.decision is None
    assert "p99.9 needs 100000 requests of a side: about " in outcome.reason
    assert "more than 30 s of measuring (dlperf-budget-time)" in outcome.reason


def test_noisy_blocks_leave_time_for_a_look() -> None:
    """Where blocks are so noisy that one pair could take all the time, three pairs share it."""
    statistics = duel(Hall(loss=1.0, noise=0.6), THROUGHPUT, seconds=5.0)

    assert statistics.outcomes[THROUGHPUT].decision == "FAIL"
    assert statistics.fresh >= 3


def test_rows_that_cannot_be_paired_are_no_evidence() -> None:
    """A fresh pair that did not outcome the same rows neither confirms a loss nor takes it away."""
    hall = Hall(lost=(5,))
    hall.paired = False

    statistics = duel(hall, suspected=(suspect(0.05),))

    assert statistics.outcomes["accuracy >= baseline"].decision is None
    assert statistics.fresh == 8
