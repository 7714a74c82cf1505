"""Confirmation: what the first pairs cannot settle is asked of fresh ones."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from simulated_pairs import make_block

from pytest_dlperf.config.budgets import parse_budget
from pytest_dlperf.duel.confirmation import (
    Confirmation,
    ScreenedBudget,
    blocks_of_a_pair,
    more_blocks,
)
from pytest_dlperf.duel.questions import SuspectedLoss
from pytest_dlperf.duel.sequential_test import Bounds, sequential_test_for
from pytest_dlperf.judge.error_rates import BETA, ErrorRates
from pytest_dlperf.judge.losses import LossLimits
from pytest_dlperf.statistics.estimate import counted
from pytest_dlperf.statistics.pair_effects import LOOKS, PAIR_NOISE

if TYPE_CHECKING:
    from pytest_dlperf.measure.slots import Block

LINE = math.log(1.05)
RATES = ErrorRates(1)
ACCURACY = "accuracy >= baseline"
THROUGHPUT = "throughput >= baseline"
AT_THE_LINE: dict[str, Any] = {"text": "throughput >= 0.951 * baseline", "allowed": LINE}
FRESH = (0.003, -0.004, 0.006, -0.002, 0.001, -0.005, 0.004, 0.0)
"""What eight launches of unchanged code differ by."""


def blocks(effect: float, pair: int, count: int = 20) -> list[Block]:
    """Blocks of a pair with this effect, 1 % of noise; as many above it as below."""
    noise = 0.01 * np.abs(np.random.default_rng(pair).standard_normal(count))
    return [make_block(effect + (-1) ** n * size, pair) for n, size in enumerate(noise)]


def screened(
    *first: float, text: str = THROUGHPUT, allowed: float = 0.0, earlier: tuple[float, ...] = ()
) -> ScreenedBudget:
    """A budget, with first pairs that have these effects."""
    budget = parse_budget(text)
    bounds = Bounds(LossLimits(allowed, max(allowed, LINE)), RATES.screen, BETA)
    test = sequential_test_for(budget.metric, bounds)
    by_pair = [blocks(effect, pair) for pair, effect in enumerate(first)]
    for turn in zip(*by_pair, strict=True):
        for one in turn:
            test.add(one)
    return ScreenedBudget(budget, bounds, test, np.array(earlier))


def looked(confirmation: Confirmation, *effects: float, count: int = 20) -> int:
    """Measure fresh pairs with these effects, as long as one is wanted; how many it were."""
    pairs = 0
    for number, effect in enumerate(effects):
        if not confirmation.needs_pair(pairs):
            break
        if confirmation.needs_blocks:
            for one in blocks(effect, number, count):
                confirmation.add(one)
        confirmation.look()
        pairs += 1
    return pairs


def suspect(lost: float) -> SuspectedLoss:
    """A loss of accuracy that the first pair had."""
    return SuspectedLoss(parse_budget(ACCURACY), LossLimits(0.0, 0.01), counted(lost))


def test_a_loss_is_confirmed() -> None:
    """Fresh pairs lose as much: FAIL at the first look, with their estimate."""
    confirmation = Confirmation([screened(0.10, 0.11)], (), RATES)

    pairs = looked(confirmation, *(0.1 + effect for effect in FRESH))

    outcome = confirmation.outcomes()[THROUGHPUT]
    assert (pairs, outcome.decision) == (LOOKS[0], "FAIL")
    assert outcome.reason == "confirmed on 3 fresh pairs"
    assert outcome.loss.value == pytest.approx(0.1, abs=0.01)
    assert outcome.loss.low > 0.03


def test_a_loss_that_fresh_pairs_do_not_have() -> None:
    """The first pair was unlucky in its launch: PASS, and the estimate is that of the others."""
    confirmation = Confirmation([screened(0.06)], (), RATES)

    pairs = looked(confirmation, *FRESH)

    outcome = confirmation.outcomes()[THROUGHPUT]
    assert outcome.decision == "PASS"
    assert outcome.reason == f"the first pairs did not settle it; {pairs} fresh pairs did"
    assert outcome.loss.value == pytest.approx(0.0, abs=0.01)


def test_what_stays_open() -> None:
    """Pairs that differ too much to say: after the last look none is wanted, and it says so."""
    confirmation = Confirmation([screened(0.06)], (), RATES)

    pairs = looked(confirmation, 0.12, -0.05, 0.1, -0.06, 0.13, -0.04, 0.11, -0.03, 0.1)

    outcome = confirmation.outcomes()[THROUGHPUT]
    assert (pairs, outcome.decision) == (LOOKS[-1], None)
    assert outcome.reason == (
        "the first pairs lost too much, and 8 fresh pairs did not settle it either"
    )
    assert outcome.visible > LINE


def test_the_first_pairs_are_no_evidence_of_a_loss() -> None:
    """However much they lost: FAIL is said on the fresh ones alone."""
    little, much = (Confirmation([screened(loss)], (), RATES) for loss in (0.06, 0.8))
    for confirmation in (little, much):
        looked(confirmation, *FRESH)

    assert little.outcomes()[THROUGHPUT].decision == "PASS"
    assert much.outcomes()[THROUGHPUT].decision != "FAIL"


def test_it_is_said_at_looks_only() -> None:
    """Between them nothing is decided, so that looking often does not err more often."""
    confirmation = Confirmation([screened(0.2)], (), RATES)
    for number in range(LOOKS[0]):
        assert confirmation.needs_pair(number)
        assert confirmation.needs_blocks
        assert confirmation.outcomes()[THROUGHPUT].decision is None
        for one in blocks(0.2 + FRESH[number], number):
            confirmation.add(one)
        confirmation.look()

    assert not confirmation.needs_pair(LOOKS[0])
    assert not confirmation.needs_blocks


def test_what_was_said_stays() -> None:
    """Another budget may need further pairs: they do not change an outcome that was given."""
    mean = screened(0.1, text="mean <= 1.1 * baseline", allowed=math.log(1.1))
    confirmation = Confirmation([screened(0.1), mean], (), RATES)

    pairs = looked(confirmation, *[0.1] * 8)

    outcomes = confirmation.outcomes()
    assert pairs > LOOKS[0]
    assert outcomes[THROUGHPUT].decision == "FAIL"
    assert outcomes[THROUGHPUT].reason == "confirmed on 3 fresh pairs"
    assert outcomes["mean <= 1.1 * baseline"].decision is None


def test_without_a_fresh_pair() -> None:
    """There was no time to start one: nothing is decided, and what was seen is told."""
    outcome = Confirmation([screened(0.1)], (), RATES).outcomes()[THROUGHPUT]

    assert outcome.decision is None
    assert "0 fresh pairs did not settle it" in outcome.reason
    assert outcome.loss.value == pytest.approx(0.1, abs=0.01)


def test_effects_are_told() -> None:
    """What each fresh pair lost, in order; of budgets that had none, nothing."""
    confirmation = Confirmation([screened(0.1)], (), RATES)
    assert confirmation.effects() == {}

    looked(confirmation, 0.09, 0.11, 0.10)

    (effects,) = confirmation.effects().values()
    assert effects == pytest.approx([0.09, 0.11, 0.10], abs=0.01)


@pytest.mark.parametrize(
    ("first", "settled"),
    [((0.0, 0.0), True), ((-0.1,), True), ((0.0,), True), ((0.3,), False)],
)
def test_a_pass_that_launches_cannot_explain_is_settled(
    first: tuple[float, ...],
    settled: bool,  # noqa: FBT001 - a case
) -> None:
    """Neither slower nor near the line; a loss never is settled by the first pairs."""
    assert screened(*first).settled is settled


def test_a_pass_by_luck_is_not_settled() -> None:
    """The blocks exclude the line, but a launch could have brought the pair so far below it."""
    lucky = screened(LINE - PAIR_NOISE, **AT_THE_LINE)

    assert lucky.test.decision == "PASS"
    assert not lucky.settled
    assert screened(LINE - 6 * PAIR_NOISE, **AT_THE_LINE).settled


def test_earlier_duels_of_the_same_code_count() -> None:
    """A pair that passed by luck is settled with others that were far from the line."""
    earlier = (0.0, 0.004, -0.003)

    assert not screened(LINE - PAIR_NOISE, **AT_THE_LINE).settled
    assert screened(LINE - PAIR_NOISE, **AT_THE_LINE, earlier=earlier).settled


@pytest.mark.parametrize(
    ("fresh", "pairs", "decision"),
    [
        ([0.05] * 8, 2, "FAIL"),  # two that lose as many rows as the first
        ([0.02] * 2, 2, None),  # two alike, but not like the first
        ([0.0] * 8, 3, "PASS"),  # the first model was trained unluckily
        ([0.048, 0.052, 0.05, 0.049, 0.051], 3, "FAIL"),  # always lost, though never the same
        ([0.05, 0.0, 0.04, 0.0, 0.0, 0.06, 0.0, 0.05], LOOKS[-1], None),  # lost in some
    ],
)
def test_a_loss_of_accuracy(fresh: list[float], pairs: int, decision: str | None) -> None:
    """Pairs are measured as long as one is needed; the loss that is shown is the first pair's."""
    confirmation = Confirmation((), [suspect(0.05)], RATES)
    measured = 0
    while measured < len(fresh) and confirmation.needs_pair(measured):
        confirmation.add_loss(suspect(0.05), fresh[measured])
        confirmation.look()
        measured += 1

    outcome = confirmation.outcomes()[ACCURACY]
    assert (measured, outcome.decision, outcome.loss) == (pairs, decision, counted(0.05))
    assert f"{pairs} fresh pairs" in outcome.reason
    assert confirmation.needs_pair(2) is (decision is None)
    assert not confirmation.needs_pair(LOOKS[-1])


def test_rows_need_no_blocks() -> None:
    """Where only accuracy is in doubt, no slot is measured."""
    assert not Confirmation((), [suspect(0.05)], RATES).needs_blocks


def test_nothing_to_confirm() -> None:
    """No pair is wanted."""
    confirmation = Confirmation((), (), RATES)

    assert not confirmation.needs_pair(0)
    assert confirmation.outcomes() == {}


def test_what_is_answered_is_not_asked_again() -> None:
    """Accuracy is no more measured once its loss is confirmed, though speed is still open."""
    confirmation = Confirmation([screened(0.1)], [suspect(0.05)], RATES)
    assert confirmation.needs_rows
    for number in range(2):
        confirmation.add_loss(suspect(0.05), 0.05)
        for one in blocks(0.1 + FRESH[number], number):
            confirmation.add(one)
        confirmation.look()

    assert not confirmation.needs_rows
    assert confirmation.needs_blocks
    assert confirmation.needs_pair(2)


def test_more_blocks_where_they_help() -> None:
    """A few in any case, and as long as a PASS is not settled; never for a FAIL."""
    fails, settled, unsure = screened(0.2, 0.2), screened(0.0, 0.0), screened(0.0, earlier=(0.06,))
    assert (fails.test.decision, settled.settled) == ("FAIL", True)
    assert (unsure.test.decision, unsure.settled) == ("PASS", False)

    assert more_blocks([settled], 5, 6)
    assert not more_blocks([fails, settled], 30, 200)
    assert more_blocks([fails, unsure], 30, 200)
    assert not more_blocks([fails, unsure], 200, 200)


def test_noisier_blocks_need_more_of_them() -> None:
    """Four times as many for twice the noise, within bounds; the fewest where it is not known.

    What seems to be quiet is not believed: 20, unless these take longer than two seconds.
    """
    assert blocks_of_a_pair(0.12) == pytest.approx(4 * blocks_of_a_pair(0.06), rel=0.1)
    assert blocks_of_a_pair(0.0, 0.05) == 20
    assert blocks_of_a_pair(0.0, 0.2) == 10
    assert blocks_of_a_pair(0.0, 5.0) == blocks_of_a_pair(None) > 1
    assert blocks_of_a_pair(10.0) == blocks_of_a_pair(100.0)


@pytest.mark.parametrize(("loss", "least", "most"), [(0.0, 0, 2), (math.log(1.1), 48, 50)])
def test_rates(loss: float, least: int, most: int) -> None:
    """Of 50 sessions whose first pair failed: unchanged code hardly fails, a real loss does.

    Pairs differ by 1.4 %.
    """
    random = np.random.default_rng(11)
    first = screened(0.1)
    failed = 0
    for _ in range(50):
        confirmation = Confirmation([first], (), RATES)
        looked(confirmation, *random.normal(loss, 0.014, LOOKS[-1]), count=8)
        failed += confirmation.outcomes()[first.budget.text].decision == "FAIL"

    assert least <= failed <= most
