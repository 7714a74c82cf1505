"""Sequential tests: from blocks to a decision on one budget."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from simulated_duels import log_evidence
from simulated_pairs import swapped

from pytest_dlperf.duel.sequential_test import Bounds, sequential_test_for, smallest_visible
from pytest_dlperf.judge.error_rates import SLOTTED
from pytest_dlperf.judge.losses import LossLimits
from pytest_dlperf.measure.slots import Block, Slot
from pytest_dlperf.metrics import METRICS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_dlperf.duel.sequential_test import SequentialTest

BOUNDS = Bounds(LossLimits(0.0, math.log(1.05)), alpha=0.01, beta=0.05)
WIDE = Bounds(LossLimits(0.0, math.log(1.25)), alpha=0.01, beta=0.05)


def slot(
    good: int = 100,
    seconds: float = 1.0,
    latencies: object = (0.01,),
    *,
    within: int | None = None,
) -> Slot:
    """What a side did in a block."""
    return Slot(good, good if within is None else within, 0, seconds, np.array(latencies, float))


def block_of(base: Slot, candidate: Slot, pair: int = 0) -> Block:
    """A block of two sides."""
    return Block(base, candidate, pair, 2.0)


def rows(loss: float, count: int, seed: int = 0) -> list[Block]:
    """Blocks whose candidate is slower by a log ratio in all that is measured, 2 % noise."""
    random = np.random.default_rng(seed)
    made = []
    for pair in itertools.islice(itertools.cycle((0, 1)), count):
        cost = np.exp(random.normal([0, loss], 0.02))
        sides = [0.01 * paid * np.exp(0.3 * random.standard_normal(400)) for paid in cost]
        made.append(
            block_of(*(slot(400, paid, side) for paid, side in zip(cost, sides, strict=True)), pair)
        )
    return made


def sequential_test(name: str, bounds: Bounds, blocks: Iterable[Block]) -> SequentialTest:
    """The test of a metric, after some blocks."""
    test = sequential_test_for(METRICS[name], bounds)
    for block in blocks:
        test.add(block)
    return test


@pytest.mark.parametrize("name", sorted(SLOTTED - {"p99", "p99.9"}))
def test_both_decisions(name: str) -> None:
    """A loss beyond the line is a FAIL, no loss a PASS; the least blocks decide nothing."""
    for loss, decision in ((0.3, "FAIL"), (0.0, "PASS")):
        test = sequential_test_for(METRICS[name], WIDE)
        for number, block in enumerate(rows(loss, 60), start=1):
            test.add(block)
            assert test.decision is None or number >= 6
        assert test.decision == decision
        assert test.blocks == 60


@pytest.mark.parametrize("name", sorted(SLOTTED))
def test_labels_change_the_sign_and_nothing_else(name: str) -> None:
    """With all labels exchanged, the estimate and each pair's effect are the opposite."""
    blocks = rows(0.1, 20)
    one = sequential_test(name, BOUNDS, blocks)
    other = sequential_test(name, BOUNDS, map(swapped, blocks))

    assert other.estimate().value == pytest.approx(-one.estimate().value, abs=1e-9)
    assert other.effects() == pytest.approx(-one.effects(), abs=1e-9)
    assert other.errors() == pytest.approx(one.errors(), rel=1e-6)
    assert one.effects().shape == one.errors().shape == (2,)


@pytest.mark.parametrize("name", sorted(SLOTTED - {"p99", "p99.9"}))
def test_the_estimate_is_the_loss(name: str) -> None:
    """10 % dearer is a log ratio of 0.1 of every cost, and of every pair."""
    test = sequential_test(name, BOUNDS, rows(0.1, 60))

    found = test.estimate()
    assert found.low < 0.1 < found.high
    assert found.value == pytest.approx(0.1, abs=0.015)
    assert test.effects() == pytest.approx([0.1, 0.1], abs=0.03)
    assert ((test.errors() > 0) & (test.errors() < 0.02)).all()


def test_a_loss_that_is_allowed_does_not_fail() -> None:
    """A loss at the limit of 10 %, or a little less, is never proven to be beyond it."""
    limit = math.log(1.1)
    bounds = Bounds(LossLimits(limit, math.log(1.2)), 0.01, 0.05)

    assert sequential_test("throughput", bounds, rows(limit - 0.005, 300)).decision == "PASS"


def test_neither() -> None:
    """Too few blocks for so fine a line: nothing is decided, and the loss to be seen is larger."""
    test = sequential_test(
        "throughput", Bounds(LossLimits(0.0, 0.002), 0.01, 0.05), rows(0.001, 30)
    )

    assert test.decision is None
    assert 0.005 < test.visible() < 0.05


def test_few_blocks_decide_nothing() -> None:
    """However little it takes to be sure: six at least, and until then the test says so."""
    bounds = Bounds(LossLimits(0.0, 0.05), 0.3, 0.3)
    test = sequential_test("throughput", bounds, [block_of(slot(100), slot(10))] * 5)
    assert test.decision is None
    assert test.lacking == "5 blocks, at least 6 needed"

    test.add(block_of(slot(100), slot(10)))
    assert (test.decision, test.lacking) == ("FAIL", "")


def test_a_decision_stays() -> None:
    """Whatever comes later."""
    test = sequential_test("throughput", BOUNDS, rows(0.3, 20) + rows(-0.5, 100))

    assert test.decision == "FAIL"
    assert test.estimate().value < 0


SLOW_ANSWER = slot(latencies=[0.01, 0.01, 0.01, 0.05])


@pytest.mark.parametrize(
    ("name", "base", "candidate", "loss"),
    [
        ("throughput", slot(100, 1.0), slot(90, 1.2), math.log(1.2 / 90 * 100)),
        ("goodput", slot(100, within=80), slot(200, within=40), math.log(2)),
        ("mean", slot(latencies=[0.01] * 4), SLOW_ANSWER, math.log(2)),
        ("p50", slot(latencies=[0.01] * 4), SLOW_ANSWER, 0.0),
        # Half a request is added to both sides, and a latency is all the time that passed.
        ("throughput", slot(100), slot(0), math.log(100.5 / 0.5)),
        ("goodput", slot(100), slot(0), math.log(100.5 / 0.5)),
        ("mean", slot(), slot(0, 1.0, ()), math.log(100)),
    ],
)
def test_costs_by_hand(name: str, base: Slot, candidate: Slot, loss: float) -> None:
    """Answers in time, a slow one of four, and none at all."""
    estimate = sequential_test(name, BOUNDS, [block_of(base, candidate)]).estimate()

    assert estimate.value == pytest.approx(loss)


@pytest.mark.parametrize("name", sorted(SLOTTED))
def test_sides_without_a_good_answer(name: str) -> None:
    """Each side in turn, and both: no metric favours one of them."""
    nothing, some = slot(0, 1.0, ()), slot(100, 1.0, [0.01] * 100)
    sides = ((some, nothing), (nothing, some), (nothing, nothing))

    estimate = sequential_test(name, BOUNDS, [block_of(*both) for both in sides]).estimate()

    assert estimate.value == pytest.approx(0.0, abs=1e-9)


def test_a_tail_waits_for_enough_requests() -> None:
    """However clear, p95 is not decided before 2,000 requests of a side; and says so."""
    quick, slow = np.linspace(0.01, 0.02, 100), np.linspace(0.02, 0.04, 100)
    block = block_of(slot(latencies=quick), slot(latencies=slow))
    test = sequential_test("p95", WIDE, [block] * 19)
    assert test.decision is None
    assert test.lacking == "p95 needs 2000 requests of a side"

    test.add(block)
    assert (test.decision, test.lacking) == ("FAIL", "")


def test_what_a_tail_could_have_shown() -> None:
    """A loss as large as what is visible is found in most of 20 duels."""
    visible = sequential_test("p95", BOUNDS, rows(0.0, 40)).visible()
    duels = [sequential_test("p95", BOUNDS, rows(visible, 40, seed + 1)) for seed in range(20)]

    assert 0.01 < visible < 0.2
    assert sum(test.decision == "FAIL" for test in duels) >= 16


@pytest.mark.parametrize("allowed", [0.0, 0.03])
def test_the_visible_loss_is_where_it_would_fail(allowed: float) -> None:
    """Blocks moved so that their loss is the visible one just reach the evidence for a FAIL."""
    d = np.random.default_rng(3).normal(0, 0.02, 40)
    bounds = Bounds(LossLimits(allowed, 0.05), 0.01, 0.05)
    visible = smallest_visible(d, bounds)
    blocks = [block_of(slot(1), slot(1, math.exp(ratio))) for ratio in d.tolist()]
    test = sequential_test("throughput", bounds, blocks)
    moved = d + visible - test.estimate().value

    assert test.visible() == pytest.approx(visible)
    assert log_evidence(moved, allowed)[-1] == pytest.approx(math.log(100), abs=0.02)


@pytest.mark.parametrize(
    "values",
    [
        (0.1, 0.05, 0.01, 0.05),
        (0.0, 0.05, 0.0, 0.05),
        (0.0, 0.05, 0.01, 1.0),
        (0, math.inf, 0.5, 0.5),
    ],
)
def test_bounds_are_checked(values: tuple[float, float, float, float]) -> None:
    """The line is not below what is allowed, and error rates are between 0 and 1."""
    with pytest.raises(ValueError, match=r"allowed <= line|between 0 and 1"):
        Bounds(LossLimits(*values[:2]), *values[2:])


@pytest.mark.parametrize("name", ["accuracy", "max", "errors", "peak_memory"])
def test_not_everything_is_in_slots(name: str) -> None:
    """What slots cannot decide is refused."""
    with pytest.raises(ValueError, match=f"slots cannot decide {name}: expected one of goodput"):
        sequential_test_for(METRICS[name], BOUNDS)
