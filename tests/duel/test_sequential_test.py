"""Trials: from blocks to a decision on one budget."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from simulated_duels import log_evidence

from pytest_dlperf.duel.sequential_test import Bounds, sequential_test_for, smallest_visible
from pytest_dlperf.judge.error_rates import SLOTTED
from pytest_dlperf.judge.losses import LossLimits
from pytest_dlperf.measure.slots import Block, Slot
from pytest_dlperf.metrics import METRICS

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


def swapped(block: Block) -> Block:
    """The same with the other labels."""
    return Block(block.candidate, block.base, block.pair, block.seconds)


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
    one, other = (
        sequential_test_for(METRICS[name], BOUNDS),
        sequential_test_for(METRICS[name], BOUNDS),
    )
    for block in rows(0.1, 20):
        one.add(block)
        other.add(swapped(block))

    assert other.estimate().value == pytest.approx(-one.estimate().value, abs=1e-9)
    assert other.effects() == pytest.approx(-one.effects(), abs=1e-9)
    assert other.errors() == pytest.approx(one.errors(), rel=1e-6)
    assert one.effects().shape == one.errors().shape == (2,)


@pytest.mark.parametrize("name", sorted(SLOTTED - {"p99", "p99.9"}))
def test_the_estimate_is_the_loss(name: str) -> None:
    """10 % dearer is a log ratio of 0.1 of every cost, and of every pair."""
    test = sequential_test_for(METRICS[name], BOUNDS)
    for block in rows(0.1, 60):
        test.add(block)

    found = test.estimate()
    assert found.low < 0.1 < found.high
    assert found.value == pytest.approx(0.1, abs=0.015)
    assert test.effects() == pytest.approx([0.1, 0.1], abs=0.03)
    assert ((test.errors() > 0) & (test.errors() < 0.02)).all()


def test_a_loss_that_is_allowed_does_not_fail() -> None:
    """A loss at the limit of 10 %, or a little less, is never proven to be beyond it."""
    limit = math.log(1.1)
    test = sequential_test_for(
        METRICS["throughput"], Bounds(LossLimits(limit, math.log(1.2)), 0.01, 0.05)
    )
    for block in rows(limit - 0.005, 300):
        test.add(block)

    assert test.decision == "PASS"


def test_neither() -> None:
    """Too few blocks for so fine a line: nothing is decided, and the loss to be seen is larger."""
    test = sequential_test_for(METRICS["throughput"], Bounds(LossLimits(0.0, 0.002), 0.01, 0.05))
    for block in rows(0.001, 30):
        test.add(block)

    assert test.decision is None
    assert 0.005 < test.visible() < 0.05


def test_few_blocks_decide_nothing() -> None:
    """However little it takes to be sure: six at least, and until then the test says so."""
    test = sequential_test_for(METRICS["throughput"], Bounds(LossLimits(0.0, 0.05), 0.3, 0.3))
    for _ in range(5):
        test.add(block_of(slot(100), slot(10)))
    assert test.decision is None
    assert test.lacking == "5 blocks, at least 6 needed"

    test.add(block_of(slot(100), slot(10)))
    assert (test.decision, test.lacking) == ("FAIL", "")


def test_a_decision_stays() -> None:
    """Whatever comes later."""
    test = sequential_test_for(METRICS["throughput"], BOUNDS)
    for block in rows(0.3, 20) + rows(-0.5, 100):
        test.add(block)

    assert test.decision == "FAIL"
    assert test.estimate().value < 0


def test_throughput_by_hand() -> None:
    """100 answers in 1 s against 90 in 1.2 s."""
    test = sequential_test_for(METRICS["throughput"], BOUNDS)
    test.add(block_of(slot(100, 1.0), slot(90, 1.2)))

    assert test.estimate().value == pytest.approx(math.log(1.2 / 90 * 100))


def test_goodput_counts_what_was_in_time() -> None:
    """Half of the answers in time is a loss of a half, however many there were."""
    test = sequential_test_for(METRICS["goodput"], BOUNDS)
    test.add(block_of(slot(100, within=80), slot(200, within=40)))

    assert test.estimate().value == pytest.approx(math.log(2))


def test_the_mean_and_the_median_are_not_the_same() -> None:
    """One slow answer of four."""
    base, candidate = slot(latencies=[0.01] * 4), slot(latencies=[0.01, 0.01, 0.01, 0.05])
    mean, median = (sequential_test_for(METRICS[name], BOUNDS) for name in ("mean", "p50"))
    for test in (mean, median):
        test.add(block_of(base, candidate))

    assert mean.estimate().value == pytest.approx(math.log(2))
    assert median.estimate().value == pytest.approx(0.0)


@pytest.mark.parametrize("name", sorted(SLOTTED))
def test_a_side_without_a_good_answer(name: str) -> None:
    """Nothing crashes: a count is 0.5 instead of 0, and a latency is all the time that passed."""
    nothing, some = slot(0, 1.0, ()), slot(100, 1.0, [0.01] * 100)
    test = sequential_test_for(METRICS[name], BOUNDS)
    for base, candidate in ((some, nothing), (nothing, some), (nothing, nothing)):
        test.add(block_of(base, candidate))

    assert test.estimate().value == pytest.approx(0.0, abs=1e-9)
    if name in {"throughput", "goodput"}:
        one = sequential_test_for(METRICS[name], BOUNDS)
        one.add(block_of(some, nothing))
        assert one.estimate().value == pytest.approx(math.log(100.5 / 0.5))
    if name == "mean":
        one = sequential_test_for(METRICS[name], BOUNDS)
        one.add(block_of(some, nothing))
        assert one.estimate().value == pytest.approx(math.log(100))


def test_a_tail_waits_for_enough_requests() -> None:
    """However clear, p95 is not decided before 2,000 requests of a side; and says so."""
    test = sequential_test_for(METRICS["p95"], WIDE)
    quick, slow = np.linspace(0.01, 0.02, 100), np.linspace(0.02, 0.04, 100)
    for _ in range(19):
        test.add(block_of(slot(latencies=quick), slot(latencies=slow)))
    assert test.decision is None
    assert test.lacking == "p95 needs 2000 requests of a side"

    test.add(block_of(slot(latencies=quick), slot(latencies=slow)))
    assert (test.decision, test.lacking) == ("FAIL", "")


def test_what_a_tail_could_have_shown() -> None:
    """A loss as large as what is visible is found in most of 20 duels."""
    test = sequential_test_for(METRICS["p95"], BOUNDS)
    for block in rows(0.0, 40):
        test.add(block)
    visible = test.visible()
    found = 0
    for seed in range(20):
        other = sequential_test_for(METRICS["p95"], BOUNDS)
        for block in rows(visible, 40, seed + 1):
            other.add(block)
        found += other.decision == "FAIL"

    assert 0.01 < visible < 0.2
    assert found >= 16


@pytest.mark.parametrize("allowed", [0.0, 0.03])
def test_the_visible_loss_is_where_it_would_fail(allowed: float) -> None:
    """Blocks moved so that their loss is the visible one just reach the evidence for a FAIL."""
    d = np.random.default_rng(3).normal(0, 0.02, 40)
    bounds = Bounds(LossLimits(allowed, 0.05), 0.01, 0.05)
    visible = smallest_visible(d, bounds)
    test = sequential_test_for(METRICS["throughput"], bounds)
    for ratio in d.tolist():
        test.add(block_of(slot(1), slot(1, math.exp(ratio))))
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
