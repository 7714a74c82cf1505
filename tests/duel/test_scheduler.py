"""Which pairs and slots are measured when, and with which outcome; on a fake clock."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pytest
from builders import make_measurement, make_rows
from fakes import FakeProgress
from simulated_pairs import SimulatedPairs, SimulatedSide

from pytest_dlperf.config.budgets import parse_budget
from pytest_dlperf.duel.questions import (
    NO_EVIDENCE,
    DuelSettings,
    EarlierEvidence,
    ShareQuestion,
    budget_tests,
)
from pytest_dlperf.duel.scheduler import SlotScheduler
from pytest_dlperf.duel.verdicts import judge_rows
from pytest_dlperf.errors import TargetError
from pytest_dlperf.judge.error_rates import ErrorRates
from pytest_dlperf.metrics import METRICS
from pytest_dlperf.statistics.estimate import counted

if TYPE_CHECKING:
    from pytest_dlperf.duel.questions import DuelStatistics
    from pytest_dlperf.measure.slots import Slot

THROUGHPUT = "throughput >= baseline"
MEAN = "mean <= baseline"
ACCURACY = "accuracy >= baseline"
TWO = frozenset({0, 1})


def lost_rows(lost: int) -> tuple[ShareQuestion, ...]:
    """The question on the accuracy of a candidate that has lost so many of 600 rows."""
    base, found = (
        make_measurement(
            {"accuracy": counted(1 - wrong / 600)},
            rows=make_rows([0] * wrong + [1] * (600 - wrong)),
        )
        for wrong in (0, lost)
    )
    return judge_rows(found, base, [parse_budget(ACCURACY)], ErrorRates(1))[1]


def duel(  # noqa: PLR0913 - what is measured, for how long, and what is known
    pairs: SimulatedPairs,
    *texts: str,
    questions: tuple[ShareQuestion, ...] = (),
    seconds: float = 60.0,
    seed: int = 0,
    progress: FakeProgress | None = None,
    earlier: EarlierEvidence = NO_EVIDENCE,
    processors: frozenset[int] = frozenset(),
) -> DuelStatistics:
    """Measure these budgets."""
    settings = DuelSettings(0.005, METRICS["throughput"], seconds, processors)
    rng = np.random.default_rng(seed)
    scheduler = SlotScheduler(pairs.clock, rng, progress or FakeProgress(), settings)
    rates = ErrorRates(max(1, len(texts)))
    tests = budget_tests(map(parse_budget, texts), make_measurement(), rates)
    return scheduler.run(tests, questions, pairs.first_pair(), pairs.fresh, earlier)


def orders(pairs: SimulatedPairs) -> list[str]:
    """The order of each block."""
    sides = "".join(turn.side for turn in pairs.turns)
    return [sides[at : at + 4] for at in range(0, len(sides), 4)]


@pytest.mark.parametrize("text", [THROUGHPUT, MEAN])
def test_ten_percent_slower_fails(text: str) -> None:
    """A loss of 10 % is found; the estimate is 10 %, and all of its interval a loss."""
    pairs = SimulatedPairs(loss=math.log(1.1))

    statistics = duel(pairs, text)

    outcome = statistics.outcomes[text]
    assert outcome.decision == "FAIL"
    assert outcome.loss.value == pytest.approx(math.log(1.1), abs=0.01)
    assert outcome.loss.low > 0
    assert 2 <= statistics.pairs == 1 + pairs.opened <= 6


@pytest.mark.parametrize("text", [THROUGHPUT, MEAN])
@pytest.mark.parametrize("loss", [0.0, -0.1])
def test_equal_or_faster_passes(text: str, loss: float) -> None:
    """By as many pairs as a loss fails by: all of the interval is below the line."""
    pairs = SimulatedPairs(loss=loss)

    statistics = duel(pairs, text)

    outcome = statistics.outcomes[text]
    assert outcome.decision == "PASS"
    assert outcome.loss.value == pytest.approx(loss, abs=0.02)
    assert outcome.loss.high < math.log(1.05)
    assert 2 <= statistics.pairs <= 6


def test_pairs_are_measured_one_after_the_other() -> None:
    """Only one further one is there at a time, each has as many blocks, and all are given back."""
    pairs = SimulatedPairs(loss=0.1)

    statistics = duel(pairs, THROUGHPUT)

    assert pairs.most_open == 1
    assert pairs.open == 0
    blocks = Counter(turn.pair for turn in pairs.turns)
    assert len(blocks) == statistics.pairs
    assert set(blocks.values()) == {80}
    assert statistics.starting == pytest.approx(0.5 * (statistics.pairs - 1))


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
            (number, 0.005, block[0].pair)
        }


def test_the_coin_is_fair_and_the_generators() -> None:
    """Of some hundred blocks about half begin with the base; another seed, another order."""
    seen = []
    for seed in (0, 1):
        pairs = SimulatedPairs(noise=0.5, loss=0.02)
        duel(pairs, THROUGHPUT, seed=seed)
        seen.append(orders(pairs))

    for blocks in seen:
        assert len(blocks) > 200
        assert 0.4 < blocks.count("ABBA") / len(blocks) < 0.6
    assert seen[0][:50] != seen[1][:50]


def test_noisy_blocks_make_longer_pairs() -> None:
    """Until their own error is half of what pairs differ by, and for a tenth of the time."""
    quiet, noisy = (duel(SimulatedPairs(noise=noise), THROUGHPUT) for noise in (0.01, 0.1))
    short = duel(SimulatedPairs(noise=0.3), THROUGHPUT, seconds=5.0)

    assert quiet.blocks == 20 * quiet.pairs
    assert 22 * noisy.pairs < noisy.blocks < 200 * noisy.pairs
    assert 0.3 < short.measuring / short.pairs < 0.6


def test_undecided_when_the_time_is_up() -> None:
    """Pairs that differ too much: the reason, the loss to be seen, and no overtime."""
    pairs = SimulatedPairs(loss=0.025, later=(0.1, -0.1), starting=1.0)

    statistics = duel(pairs, THROUGHPUT, seconds=20.0)

    outcome = statistics.outcomes[THROUGHPUT]
    assert outcome.decision is None
    assert outcome.reason == (
        f"{statistics.pairs} pairs, of 1.4 s each: not decided in 20 s (dlperf-budget-time)"
    )
    assert outcome.visible > 0.05
    assert outcome.loss.low < 0 < outcome.loss.high
    assert 17.0 < statistics.measuring + statistics.starting <= 20.0


def test_two_pairs_whatever_the_time() -> None:
    """A single one could decide nothing; what a loss would have to be is said."""
    statistics = duel(SimulatedPairs(starting=30.0), THROUGHPUT, seconds=1.0)

    outcome = statistics.outcomes[THROUGHPUT]
    assert statistics.pairs == 2
    assert outcome.decision is None
    assert outcome.reason.startswith("2 pairs, of 30.1 s each: not decided in 1 s")
    assert 0.05 < outcome.visible < 1.0


def test_nothing_to_decide() -> None:
    """Without budgets no slot is measured."""
    pairs = SimulatedPairs()

    statistics = duel(pairs)

    assert (statistics.blocks, statistics.outcomes, pairs.turns) == (0, {}, [])


def test_measuring_ends_when_the_last_is_decided() -> None:
    """Two budgets share their blocks: both are decided, and the first decision stays."""
    both = duel(SimulatedPairs(loss=0.1), THROUGHPUT, "mean <= 1.05 * baseline", MEAN)

    decided = {text: outcome.decision for text, outcome in both.outcomes.items()}
    assert set(decided.values()) == {"FAIL"}
    assert both.outcomes[MEAN].loss.value == pytest.approx(0.1, abs=0.01)


def test_a_budget_that_allows_the_loss_passes() -> None:
    """Beside one that fails by it."""
    generous = "mean <= 1.5 * baseline"

    statistics = duel(SimulatedPairs(loss=0.1), THROUGHPUT, generous)

    assert statistics.outcomes[THROUGHPUT].decision == "FAIL"
    assert statistics.outcomes[generous].decision == "PASS"


def test_time_is_of_blocks_and_of_starting() -> None:
    """Both are reported apart, and together they are what has passed."""
    pairs = SimulatedPairs(loss=0.1)
    before = pairs.clock.now

    statistics = duel(pairs, THROUGHPUT)

    spent = sum(turn.end_ns - turn.start_ns for turn in pairs.turns) * 1e-9
    assert statistics.measuring == pytest.approx(spent)
    assert statistics.measuring + statistics.starting == pytest.approx(
        (pairs.clock.now - before) * 1e-9
    )


def test_bad_answers_are_counted_of_the_candidate() -> None:
    """One in ten of its requests; the base's are not counted."""
    statistics = duel(SimulatedPairs(bad=10), "throughput >= 0.5 * baseline")

    assert statistics.requests > 0
    assert statistics.bad / statistics.requests == pytest.approx(0.1, abs=0.02)


def test_what_earlier_duels_have_shown() -> None:
    """A test whose pairs hardly differ needs fewer; a run that is repeated continues."""
    texts = (THROUGHPUT,)
    alone = duel(SimulatedPairs(), *texts)
    calm = EarlierEvidence(others=({THROUGHPUT: (0.001, -0.001, 0.0005, -0.0003)},) * 4)
    taught = duel(SimulatedPairs(), *texts, earlier=calm)
    known = EarlierEvidence(repeated={THROUGHPUT: (0.1, 0.101, 0.099, 0.1, 0.1)})
    repeated = duel(SimulatedPairs(loss=0.1), *texts, earlier=known)

    assert taught.pairs < alone.pairs
    assert repeated.outcomes[THROUGHPUT].decision == "FAIL"
    assert repeated.pairs == 1  # the sixth of these versions
    assert len(repeated.effects[THROUGHPUT]) == 1


def test_a_target_without_a_gain_is_kept_on_one_processor() -> None:
    """Both sides on the same one, drawn for each pair."""
    pairs = SimulatedPairs(loss=0.1)

    statistics = duel(pairs, THROUGHPUT, processors=TWO)

    assert statistics.processors == 1
    assert statistics.outcomes[THROUGHPUT].decision == "FAIL"
    kept = pairs.kept[-2 * (statistics.pairs - 1) :]
    for base, candidate in zip(kept[::2], kept[1::2], strict=True):
        assert {base[0], candidate[0]} == {"A", "B"}
        assert base[1] == candidate[1]
        assert len(base[1]) == 1


def test_a_target_that_gains_has_all_processors() -> None:
    """As in an ordinary run."""
    pairs = SimulatedPairs(gain=1.5)

    statistics = duel(pairs, THROUGHPUT, processors=TWO)

    assert statistics.processors == 0
    assert statistics.outcomes[THROUGHPUT].decision == "PASS"
    assert {processors for _, processors in pairs.kept[-2:]} == {TWO}


@pytest.mark.parametrize("processors", [frozenset(), frozenset({3})])
def test_where_there_is_no_choice_of_processors(processors: frozenset[int]) -> None:
    """Nothing is kept anywhere."""
    pairs = SimulatedPairs()

    assert duel(pairs, THROUGHPUT, processors=processors).processors == 0
    assert pairs.kept == []


def test_a_loss_of_accuracy_that_is_the_same_again() -> None:
    """Two pairs that lose the same rows have the same weights; no slot is measured for it."""
    pairs = SimulatedPairs(lost=(10,))

    statistics = duel(pairs, questions=lost_rows(10))

    assert statistics.outcomes[ACCURACY].decision == "FAIL"
    assert pairs.opened == pairs.loads == 1
    assert pairs.turns == []
    assert statistics.outcomes[ACCURACY].loss.value == pytest.approx(10 / 600)


def test_no_row_has_changed() -> None:
    """Decided by the first pair alone."""
    pairs = SimulatedPairs()

    statistics = duel(pairs, questions=lost_rows(0))

    assert statistics.outcomes[ACCURACY].decision == "PASS"
    assert pairs.opened == 0


def test_models_that_are_trained_anew() -> None:
    """Each pair loses other rows: what pairs differ by counts, and many agree on a loss."""
    pairs = SimulatedPairs(lost=(30, 31, 29, 32, 30))

    statistics = duel(pairs, questions=lost_rows(29))

    outcome = statistics.outcomes[ACCURACY]
    assert outcome.decision == "FAIL"
    assert outcome.reason == f"trained anew in each of {1 + pairs.opened} pairs"


def test_rows_that_cannot_be_paired_are_no_evidence() -> None:
    """A pair that did not answer the same rows neither confirms a loss nor takes it away."""
    pairs = SimulatedPairs(lost=(5,), paired=False)

    statistics = duel(pairs, questions=lost_rows(2), seconds=10.0)

    assert statistics.outcomes[ACCURACY].decision is None


def test_progress_is_shown() -> None:
    """Which pair is measured next."""
    progress = FakeProgress()

    duel(SimulatedPairs(loss=0.1), THROUGHPUT, progress=progress)

    assert progress.phases[0] == "in turn with the base, pair 2"


def test_a_side_that_is_lost_ends_the_duel() -> None:
    """Its error comes through, and the pair that it was of is given back."""
    pairs = SimulatedPairs(loss=0.1)

    def slot(self: SimulatedSide, seconds: float, number: int) -> Slot:
        if len(self.pairs.turns) >= 100:
            raise TargetError("a call had not returned")
        return play(self, seconds, number)

    play = SimulatedSide.slot
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SimulatedSide, "slot", slot)
        with pytest.raises(TargetError, match="had not returned"):
            duel(pairs, THROUGHPUT)

    assert pairs.opened == 1
    assert pairs.open == 0


def test_a_tail_that_cannot_have_enough_requests_is_not_waited_for() -> None:
    """Once all else is decided, measuring ends; it is said how long it would take."""
    pairs = SimulatedPairs(noise=0.001, tail_every=400)

    statistics = duel(pairs, THROUGHPUT, "p99.9 <= baseline", seconds=30.0)

    outcome = statistics.outcomes["p99.9 <= baseline"]
    assert statistics.outcomes[THROUGHPUT].decision == "PASS"
    assert statistics.measuring < 8
    assert outcome.decision is None
    reason = "p99.9 needs 10000 requests of each side of a pair: about "
    assert outcome.reason.startswith(reason)
    assert int(outcome.reason.removeprefix(reason).partition(" ")[0]) > 1000
