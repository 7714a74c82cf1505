"""The evidence on a budget, pair by pair."""

from __future__ import annotations

import math

import numpy as np
import pytest
from simulated_duels import most_often
from simulated_pairs import make_block

from pytest_dlperf.config.budgets import parse_budget
from pytest_dlperf.duel.budget_evidence import ShareEvidence, SpeedEvidence
from pytest_dlperf.duel.questions import BudgetTest, ShareQuestion, bounds_of
from pytest_dlperf.judge.error_rates import ErrorRates
from pytest_dlperf.judge.loss_evidence import PairedLoss
from pytest_dlperf.judge.losses import LossLimits
from pytest_dlperf.measure.slots import Block, Slot
from pytest_dlperf.statistics.pair_effects import PairBounds, Spread

FIVE = math.log(1.05)
TEST = BudgetTest(parse_budget("throughput >= baseline"), PairBounds(0.0, FIVE, 0.01, 0.01))
RATES = ErrorRates(1)
POINT = LossLimits(0.0, 0.01)
ACCURACY = parse_budget("accuracy >= baseline")


def pair(effect: float) -> list[Block]:
    """The blocks of a pair."""
    return [make_block(effect + wobble) for wobble in (-0.001, 0.0, 0.001)]


def speed(*effects: float, earlier: tuple[float, ...] = ()) -> SpeedEvidence:
    """The evidence of some pairs."""
    evidence = SpeedEvidence(TEST, Spread(), earlier)
    for effect in effects:
        evidence.add(pair(effect))
    return evidence


def question(only_base: int, only_candidate: int, rows: int) -> ShareQuestion:
    """Rows that one side alone has right."""
    return ShareQuestion(ACCURACY, POINT, PairedLoss(only_base, only_candidate, rows), RATES)


@pytest.mark.parametrize(("loss", "decision"), [(0.2, "FAIL"), (0.0, "PASS"), (-0.1, "PASS")])
def test_pairs_decide(loss: float, decision: str) -> None:
    """And once they have, no further pair changes the outcome."""
    evidence = speed(*[loss] * 6)
    outcome = evidence.outcome

    assert outcome is not None
    assert outcome.decision == decision
    evidence.add(pair(-loss + 0.3))
    assert evidence.outcome is outcome
    assert outcome.loss.low <= loss <= outcome.loss.high


def test_one_pair_decides_nothing() -> None:
    """It shows an estimate, and what would have been a FAIL."""
    evidence = speed(0.5)
    outcome = evidence.open_outcome("no time")

    assert evidence.outcome is None
    assert (outcome.decision, outcome.reason) == (None, "no time")
    assert outcome.loss.value == pytest.approx(0.5)
    assert outcome.visible == pytest.approx(0.5 - outcome.loss.low)


def test_no_pair_at_all() -> None:
    """Nothing is known."""
    outcome = speed().open_outcome("no time")

    assert (outcome.decision, outcome.loss) == (None, None)


def test_earlier_pairs_count() -> None:
    """And are not reported as this duel's."""
    evidence = speed(0.2, earlier=(0.2, 0.2))

    assert evidence.outcome is not None
    assert evidence.outcome.decision == "FAIL"
    assert evidence.effects == pytest.approx((0.2,))


def test_a_pair_without_enough_requests_for_a_tail() -> None:
    """The budget is given up, with the time that it would take."""
    test = BudgetTest(parse_budget("p99 <= baseline"), TEST.bounds)
    evidence = SpeedEvidence(test, Spread())
    side = Slot(250, 250, 0, 1.0, np.ones(250))
    blocks = [Block(side, side, 0, 1.0)]
    assert evidence.lacks(blocks)

    evidence.add(blocks)

    assert evidence.outcome is not None
    assert evidence.outcome.decision is None
    assert evidence.outcome.reason == (
        "p99 needs 1000 requests of each side of a pair: about 40 s of measuring "
        "(dlperf-budget-time)"
    )
    assert not evidence.lacks(blocks)


@pytest.mark.parametrize(
    ("counts", "decision"),
    [((0, 0, 1000), "PASS"), ((60, 10, 1000), "FAIL"), ((3, 3, 10_000), "PASS")],
)
def test_the_same_weights_decide_by_their_rows(counts: tuple[int, int, int], decision: str) -> None:
    """Where no row differs at once, else when a second pair answers alike."""
    asked = question(*counts)
    evidence = ShareEvidence(asked)

    assert (evidence.outcome is not None) == (not asked.evidence.differs)
    evidence.add(asked.evidence)
    assert evidence.outcome is not None
    assert evidence.outcome.decision == decision
    assert evidence.outcome.reason == ""


def test_a_model_that_is_trained_anew_is_not_decided_by_one_training() -> None:
    """Its first pair would have failed by its rows; others lose nothing."""
    asked = question(60, 10, 1000)
    evidence = ShareEvidence(asked)
    for counts in ((30, 31), (29, 30), (31, 30)):
        evidence.add(PairedLoss(*counts, 1000))
        assert evidence.outcome is None

    outcome = evidence.open_outcome("no time")
    assert outcome.decision is None
    assert outcome.reason == "trained anew in each of 4 pairs; no time"


def test_without_a_second_pair_the_rows_decide() -> None:
    """As of a load that cannot be cut into slots, whose further pairs found no time."""
    assert ShareEvidence(question(60, 10, 1000)).open_outcome("no time").decision == "FAIL"


def trained(random: np.random.Generator, loss: float, sd: float, rows: int) -> PairedLoss:
    """A training on each side: seeds differ by `sd`, and 3 % of the rows by chance."""
    lost = loss + random.normal(0.0, sd)
    both = random.binomial(rows, 0.03)
    only_base = random.binomial(both, min(1.0, max(0.0, 0.5 + lost / 0.06)))
    return PairedLoss(only_base, both - only_base, rows)


@pytest.mark.simulation
@pytest.mark.parametrize("sd", [0.002, 0.003, 0.005])
@pytest.mark.parametrize("rows", [1000, 10_000])
@pytest.mark.parametrize(("loss", "wrong"), [(0.0, "FAIL"), (0.01, "PASS")])
def test_trainings_rarely_decide_wrongly(sd: float, rows: int, loss: float, wrong: str) -> None:
    """Neither unchanged code that FAILs, nor a loss of a point that passes, in 1 of 100 duels."""
    random = np.random.default_rng(5)
    sessions, errors = 400, 0
    for _ in range(sessions):
        first = trained(random, loss, sd, rows)
        asked = ShareQuestion(ACCURACY, POINT, first, RATES)
        evidence = ShareEvidence(asked)
        for _ in range(7):
            evidence.add(trained(random, loss, sd, rows))
        errors += evidence.outcome is not None and evidence.outcome.decision == wrong

    assert errors <= most_often(0.01, sessions)


@pytest.mark.simulation
@pytest.mark.parametrize(("rows", "flipped"), [(1000, 0.02), (10_000, 0.02), (60_000, 0.03)])
@pytest.mark.parametrize("budgets", [1, 3, 8])
def test_fixed_weights_rarely_fail(rows: int, flipped: float, budgets: int) -> None:
    """Numerics flip rows either way: at the run's own rate, since pairs say the same again."""
    random = np.random.default_rng(6)
    sessions = 4000
    rates = ErrorRates(budgets)
    bounds = bounds_of(POINT, rates)
    differ = random.binomial(rows, flipped, sessions)
    lost = random.binomial(differ, 0.5)
    failed = sum(
        PairedLoss(int(b), int(n - b), rows).decision(POINT, bounds.alpha, bounds.beta) == "FAIL"
        for b, n in zip(lost, differ, strict=True)
    )

    assert failed <= most_often(0.01 / budgets, sessions)
