"""The effect of a pair, from its blocks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from simulated_pairs import swapped

from pytest_dlperf.duel.pair_effect import (
    lacking,
    log_costs,
    log_ratio,
    needed_requests,
    pair_effects,
    pair_error,
    waiting,
    without_waiting,
)
from pytest_dlperf.judge.error_rates import SLOTTED
from pytest_dlperf.measure.slots import Block, Slot
from pytest_dlperf.metrics import METRICS


def slot(
    good: int = 100,
    seconds: float = 1.0,
    latencies: object = (0.01,),
    *,
    within: int | None = None,
    waited: float = 0.0,
) -> Slot:
    """What a side did in a block."""
    met = good if within is None else within
    return Slot(good, met, 0, seconds, np.array(latencies, float), waited)


def block_of(base: Slot, candidate: Slot) -> Block:
    """A block of two sides."""
    return Block(base, candidate, 0, 2.0)


def rows(loss: float, count: int, seed: int = 0) -> list[Block]:
    """Blocks whose candidate is slower by a log ratio in all that is measured, 2 % noise."""
    random = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        cost = np.exp(random.normal([0, loss], 0.02))
        sides = [0.01 * paid * np.exp(0.3 * random.standard_normal(400)) for paid in cost]
        made.append(
            block_of(*(slot(400, paid, side) for paid, side in zip(cost, sides, strict=True)))
        )
    return made


@pytest.mark.parametrize("name", sorted(SLOTTED))
def test_the_effect_is_the_loss(name: str) -> None:
    """10 % dearer is a log ratio of 0.1 of every cost; with the labels exchanged, of -0.1."""
    blocks = rows(0.1, 60)
    effects = pair_effects(METRICS[name], [blocks, blocks[:30]])

    far = 0.05 if name == "p99.9" else 0.02
    assert effects == pytest.approx([0.1, 0.1], abs=far)
    exchanged = pair_effects(METRICS[name], [[swapped(block) for block in blocks]])
    assert exchanged == pytest.approx(-effects[:1])
    assert len(pair_effects(METRICS[name], [])) == 0


def test_one_wild_block_does_not_decide() -> None:
    """A third of the blocks may be anything."""
    blocks = [*rows(0.1, 20), *[block_of(slot(400), slot(4))] * 6]

    (effect,) = pair_effects(METRICS["throughput"], [blocks])

    assert effect == pytest.approx(0.1, abs=0.03)


@pytest.mark.parametrize(
    ("name", "base", "candidate", "ratio"),
    [
        ("throughput", slot(100, 1.0), slot(50, 1.0), math.log(2)),
        ("throughput", slot(100, 1.0), slot(100, 2.0), math.log(2)),
        ("throughput", slot(99, 1.0), slot(0, 1.0), math.log(99.5 / 0.5)),
        ("goodput", slot(100, within=40), slot(100, within=10), math.log(4)),
        ("mean", slot(latencies=(1.0, 3.0)), slot(latencies=(1.0, 1.0)), -math.log(2)),
        ("p50", slot(latencies=(1.0, 2.0, 9.0)), slot(latencies=(4.0,)), math.log(2)),
        ("p50", slot(latencies=(0.5,)), slot(latencies=()), math.log(2)),
    ],
)
def test_costs_of_a_block(name: str, base: Slot, candidate: Slot, ratio: float) -> None:
    """Known answers; a side without an answer is as slow as its slot."""
    block = block_of(base, candidate)

    assert log_ratio(METRICS[name], block) == pytest.approx(ratio)
    costs = log_costs(METRICS[name], block)
    assert costs[1] - costs[0] == pytest.approx(ratio)


def test_what_slots_do_not_show() -> None:
    """It is named, with what they do."""
    with pytest.raises(ValueError, match=r"slots cannot decide accuracy: expected one of goodput"):
        pair_effects(METRICS["accuracy"], [rows(0.0, 3)])


@pytest.mark.parametrize(("name", "needed"), [("p90", 100), ("p95", 200), ("p99.9", 10_000)])
def test_requests_that_a_percentile_needs(name: str, needed: int) -> None:
    """Ten beyond it, on either side."""
    metric = METRICS[name]
    full, short = slot(latencies=np.ones(needed)), slot(latencies=np.ones(needed - 30))

    assert needed_requests(metric) == needed
    assert lacking(metric, [block_of(full, full)]) == 0
    assert lacking(metric, [block_of(full, short)]) == 30
    assert lacking(metric, [block_of(full, short)] * 2) == 0
    assert lacking(metric, []) == needed
    assert lacking(METRICS["throughput"], []) == 1
    assert lacking(METRICS["throughput"], rows(0.0, 1)) == 0


def test_waiting_is_a_share_of_the_time() -> None:
    """The candidate's less the base's."""
    block = block_of(slot(seconds=2.0, waited=0.1), slot(seconds=4.0, waited=1.0))

    assert waiting(block) == pytest.approx(0.25 - 0.05)
    assert waiting(swapped(block)) == pytest.approx(-0.2)


def test_waiting_explains_what_it_explains() -> None:
    """Blocks that are dearer by twice their waiting are all alike without it, in all pairs."""
    random = np.random.default_rng(1)
    waited = [random.normal(0.0, 0.1, 20) for _ in range(3)]
    kept = without_waiting([0.0 + 2 * x for x in waited], waited)

    assert np.concatenate(kept) == pytest.approx(np.zeros(60), abs=1e-12)


def test_labels_do_not_change_what_waiting_explains() -> None:
    """With the sides exchanged, all is the opposite."""
    random = np.random.default_rng(2)
    d, x = random.normal(0.01, 0.05, 40), random.normal(0.0, 0.05, 40)
    (plain,), (turned,) = without_waiting([d + x], [x]), without_waiting([-d - x], [-x])

    assert turned == pytest.approx(-plain)
    assert plain != pytest.approx(d + x)


def test_a_loss_is_not_taken_for_waiting() -> None:
    """Waiting that has nothing to do with it leaves it as it is, however large it is."""
    random = np.random.default_rng(6)
    shrunk = [
        np.mean(without_waiting([np.full(20, 0.7)], [random.normal(0.0, 0.05, 20)])[0])
        for _ in range(100)
    ]

    assert shrunk == pytest.approx([0.7] * 100)


@pytest.mark.parametrize("waited", [np.zeros(20), np.full(20, 0.1)])
def test_waiting_that_is_none_or_one_side_s(waited: np.ndarray) -> None:
    """Nothing is taken away: no waiting was seen, or it is the code's own."""
    ratios = np.random.default_rng(3).normal(0.05, 0.02, 20)

    assert without_waiting([ratios], [waited])[0] is ratios


def test_the_error_of_a_pair() -> None:
    """That of the middle of so many blocks, as drawn many times."""
    random = np.random.default_rng(4)
    errors = [pair_error(random.normal(0.1, 0.05, 40)) for _ in range(400)]

    assert np.median(errors) == pytest.approx(0.05 * math.sqrt(math.pi / 3 / 40), rel=0.1)
