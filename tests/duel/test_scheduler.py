"""Which slots are measured when, and with which outcome; on a fake clock."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pytest
from builders import make_measurement
from fakes import FakeProgress
from simulated_pairs import SimulatedPairs, SimulatedSide

from pytest_dlperf.config.budgets import parse_budget
from pytest_dlperf.duel.questions import DuelSettings, SuspectedLoss, budget_tests
from pytest_dlperf.duel.scheduler import SlotScheduler
from pytest_dlperf.errors import TargetError
from pytest_dlperf.judge.error_rates import ErrorRates
from pytest_dlperf.judge.losses import LossLimits
from pytest_dlperf.metrics import METRICS
from pytest_dlperf.statistics.estimate import counted

if TYPE_CHECKING:
    from pytest_dlperf.duel.questions import DuelStatistics
    from pytest_dlperf.measure.slots import Slot

THROUGHPUT = "throughput >= baseline"
MEAN = "mean <= baseline"
ACCURACY = "accuracy >= baseline"
SUSPECT = SuspectedLoss(parse_budget(ACCURACY), LossLimits(0.0, 0.01), counted(5 / 600))


def duel(
    pairs: SimulatedPairs,
    *texts: str,
    suspected: tuple[SuspectedLoss, ...] = (),
    seconds: float = 30.0,
    seed: int = 0,
    progress: FakeProgress | None = None,
) -> DuelStatistics:
    """Measure these budgets."""
    rates = ErrorRates(max(1, len(texts)))
    settings = DuelSettings(0.005, METRICS["throughput"], seconds, rates)
    rng = np.random.default_rng(seed)
    scheduler = SlotScheduler(pairs.clock, rng, progress or FakeProgress(), settings)
    tests = budget_tests(map(parse_budget, texts), make_measurement(), rates)
    return scheduler.run(tests, suspected, pairs.pairs(), pairs.fresh)


def orders(pairs: SimulatedPairs) -> list[str]:
    """The order of each block."""
    sides = "".join(turn.side for turn in pairs.turns)
    return [sides[at : at + 4] for at in range(0, len(sides), 4)]


@pytest.mark.parametrize("text", [THROUGHPUT, MEAN])
def test_ten_percent_slower_fails(text: str) -> None:
    """A loss of 10 % is found, and confirmed on fresh pairs; the estimate is 10 %."""
    pairs = SimulatedPairs(loss=math.log(1.1))

    statistics = duel(pairs, text)

    outcome = statistics.outcomes[text]
    assert outcome.decision == "FAIL"
    assert outcome.loss.value == pytest.approx(math.log(1.1), abs=0.01)
    assert outcome.loss.low > 0.05
    assert statistics.fresh == pairs.opened >= 3
    assert outcome.reason == f"confirmed on {statistics.fresh} fresh pairs"


@pytest.mark.parametrize("text", [THROUGHPUT, MEAN])
@pytest.mark.parametrize("loss", [0.0, -0.1])
def test_equal_or_faster_passes(text: str, loss: float) -> None:
    """Nothing is started to confirm a PASS."""
    pairs = SimulatedPairs(loss=loss)

    statistics = duel(pairs, text)

    assert statistics.outcomes[text].decision == "PASS"
    assert statistics.outcomes[text].loss.value == pytest.approx(loss, abs=0.02)
    assert statistics.fresh == pairs.opened == 0
    assert statistics.starting == 0.0


def test_fresh_pairs_are_measured_one_after_the_other() -> None:
    """Only one is there at a time, each has as many blocks, and all are given back."""
    pairs = SimulatedPairs(loss=0.1)

    statistics = duel(pairs, THROUGHPUT)

    assert pairs.most_open == 1
    assert pairs.open == 0
    blocks = Counter(turn.pair for turn in pairs.turns if turn.pair >= 100)
    assert len(blocks) == statistics.fresh
    assert len(set(blocks.values())) == 1
    assert statistics.starting == pytest.approx(2.0 * statistics.fresh)


def test_blocks_are_abba_or_baab() -> None:
    """Four slots of one number and one length, one after the other; no number comes twice."""
    pairs = SimulatedPairs(loss=0.1)

    statistics = duel(pairs, THROUGHPUT)

    assert len(pairs.turns) == 4 * statistics.blocks
    assert set(orders(pairs)) == {"ABBA", "BAAB"}
    for before, after in zip(pairs.turns, pairs.turns[1:], strict=False):
        assert before.end_ns <= after.start_ns
    blocks = [pairs.turns[at : at + 4] for at in range(0, len(pairs.turns), 4)]
    for number, block in enumerate(blocks):
        assert {(turn.number, turn.length, turn.pair) for turn in block} == {
            (number, block[0].length, block[0].pair)
        }


def test_the_coin_is_fair_and_the_generators() -> None:
    """Of some hundred blocks about half begin with the base; another seed, another order."""
    seen = []
    for seed in (0, 1):
        pairs = SimulatedPairs(noise=0.5, loss=0.02)
        duel(pairs, THROUGHPUT, seconds=30.0, seed=seed)
        seen.append(orders(pairs))

    for blocks in seen:
        assert len(blocks) > 200
        assert 0.4 < blocks.count("ABBA") / len(blocks) < 0.6
    assert seen[0][:50] != seen[1][:50]


def test_blocks_go_round_the_pairs() -> None:
    """Each pair has its turn before any has its next."""
    pairs = SimulatedPairs(first=(0.0, 0.001, -0.001))

    duel(pairs, THROUGHPUT)

    played = [turn.pair for turn in pairs.turns[::4]]
    assert len(played) >= 6
    assert played == [number % 3 for number in range(len(played))]


def test_undecided_when_the_time_is_up() -> None:
    """Noise that hides the loss: no decision, the reason, the loss to be seen, and no overtime."""
    pairs = SimulatedPairs(noise=0.5, loss=0.02)

    statistics = duel(pairs, THROUGHPUT, seconds=3.0)

    outcome = statistics.outcomes[THROUGHPUT]
    assert outcome.decision is None
    assert outcome.reason == "not decided in 3 s of measuring (dlperf-budget-time)"
    assert outcome.visible > 0.05
    assert outcome.loss.low < 0 < outcome.loss.high
    assert 3.0 <= statistics.measuring < 3.0 + 1.0
    assert statistics.fresh == 0


def test_no_time_at_all() -> None:
    """Nothing is measured, and it says so."""
    statistics = duel(SimulatedPairs(), THROUGHPUT, seconds=0.0)

    assert statistics.blocks == 0
    assert statistics.outcomes[THROUGHPUT].decision is None
    assert statistics.outcomes[THROUGHPUT].reason == "there was no time to measure it"


def test_nothing_to_decide() -> None:
    """Without questions and suspected no slot is measured."""
    pairs = SimulatedPairs()

    statistics = duel(pairs)

    assert (statistics.blocks, statistics.outcomes, pairs.turns) == (0, {}, [])


def test_measuring_ends_when_the_last_is_decided() -> None:
    """Two budgets share their blocks: both are answered, by no more than the harder one needs."""
    alone = duel(SimulatedPairs(), THROUGHPUT, seed=3)
    both = duel(SimulatedPairs(), THROUGHPUT, MEAN, seed=3)

    assert {text: outcome.decision for text, outcome in both.outcomes.items()} == {
        THROUGHPUT: "PASS",
        MEAN: "PASS",
    }
    assert alone.blocks <= both.blocks <= 2 * alone.blocks


def test_only_what_failed_is_confirmed() -> None:
    """A budget that allows the loss passes on the first pairs, and keeps that outcome."""
    generous = "mean <= 1.5 * baseline"

    statistics = duel(SimulatedPairs(loss=0.1), THROUGHPUT, generous)

    assert statistics.outcomes[THROUGHPUT].decision == "FAIL"
    assert statistics.outcomes[generous].decision == "PASS"
    assert "fresh" not in statistics.outcomes[generous].reason


def test_time_is_of_blocks() -> None:
    """What is reported as measured is the time of all slots, starts of fresh pairs left out."""
    pairs = SimulatedPairs(loss=0.1)

    statistics = duel(pairs, THROUGHPUT)

    spent = sum(turn.end_ns - turn.start_ns for turn in pairs.turns) * 1e-9
    assert statistics.measuring == pytest.approx(spent)
    assert statistics.noise_figure is None or 0 < statistics.noise_figure < 0.01


def test_bad_answers_are_counted_of_the_candidate() -> None:
    """One in ten of its requests; the base's are not counted."""
    statistics = duel(SimulatedPairs(bad=10), "throughput >= 0.5 * baseline")

    assert statistics.requests > 0
    assert statistics.bad / statistics.requests == pytest.approx(0.1, abs=0.02)


def test_a_loss_of_accuracy_that_is_the_same_again() -> None:
    """Two fresh pairs that lose just as many rows are enough; no slot is measured for it."""
    pairs = SimulatedPairs(lost=(5,))

    statistics = duel(pairs, suspected=(SUSPECT,))

    assert statistics.outcomes[ACCURACY].decision == "FAIL"
    assert statistics.fresh == pairs.loads == 2
    assert pairs.turns == []
    assert statistics.outcomes[ACCURACY].loss == counted(5 / 600)


def test_progress_is_shown() -> None:
    """Which block is measured, and that fresh pairs confirm."""
    progress = FakeProgress()

    duel(SimulatedPairs(loss=0.1), THROUGHPUT, progress=progress)

    assert progress.phases[0] == "in turn with the base, block 1"
    assert any("fresh pair 1" in phase for phase in progress.phases)


def test_a_side_that_is_lost_ends_the_duel() -> None:
    """Its error comes through, and the fresh pair that it was of is given back."""
    pairs = SimulatedPairs(loss=0.1)
    whole = duel(SimulatedPairs(loss=0.1), THROUGHPUT)
    fails_at = 4 * (whole.blocks - 2)

    def slot(self: SimulatedSide, seconds: float, number: int) -> Slot:
        if len(self.pairs.turns) >= fails_at:
            raise TargetError("a call had not returned")
        return play(self, seconds, number)

    play = SimulatedSide.slot
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SimulatedSide, "slot", slot)
        with pytest.raises(TargetError, match="had not returned"):
            duel(pairs, THROUGHPUT)

    assert pairs.opened >= 1
    assert pairs.open == 0


def test_a_tail_that_cannot_have_enough_requests_is_not_waited_for() -> None:
    """Once all else is decided, measuring ends; it is said how long it would have taken."""
    pairs = SimulatedPairs(noise=0.001, tail_every=400)

    statistics = duel(pairs, THROUGHPUT, "p99.9 <= baseline", seconds=30.0)

    outcome = statistics.outcomes["p99.9 <= baseline"]
    assert statistics.outcomes[THROUGHPUT].decision == "PASS"
    assert statistics.measuring < 6
    assert outcome.decision is None
    assert "p99.9 needs 100000 requests of a side: about " in outcome.reason
    assert "more than 30 s of measuring (dlperf-budget-time)" in outcome.reason


def test_noisy_blocks_leave_time_for_a_look() -> None:
    """Where blocks are so noisy that one pair could take all the time, three pairs share it."""
    statistics = duel(SimulatedPairs(loss=1.0, noise=0.6), THROUGHPUT, seconds=5.0)

    assert statistics.outcomes[THROUGHPUT].decision == "FAIL"
    assert statistics.fresh >= 3


def test_rows_that_cannot_be_paired_are_no_evidence() -> None:
    """A fresh pair that did not outcome the same rows neither confirms a loss nor takes it away."""
    pairs = SimulatedPairs(lost=(5,), paired=False)

    statistics = duel(pairs, suspected=(SUSPECT,))

    assert statistics.outcomes[ACCURACY].decision is None
    assert statistics.fresh == 8
