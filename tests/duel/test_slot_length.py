"""Slot length: the one that tells most in a second of measuring."""

from __future__ import annotations

import math
from collections import Counter
from types import MappingProxyType

import numpy as np
import pytest
from builders import make_measurement
from simulated_pairs import make_block, swapped

from pytest_dlperf.config.options import Options
from pytest_dlperf.config.plan import plan
from pytest_dlperf.duel.slot_length import FACTORS, TRIED, SlotLengths, shortest_slot
from pytest_dlperf.load.scenarios import ClosedLoop, Server
from pytest_dlperf.load.serving import Serving
from pytest_dlperf.metrics import METRICS

SHORTEST = 0.005
LENGTHS = [SHORTEST * factor for factor in FACTORS]
SCALE = 1.4826


def tried(noise: dict[float, float], loss: float = 0.0) -> SlotLengths:
    """Lengths after as many blocks as they are chosen by; `noise` is the size of differences."""
    lengths = SlotLengths(SHORTEST, METRICS["throughput"])
    for number in range(TRIED * len(LENGTHS)):
        length = lengths.next
        sign = 1 if number // len(LENGTHS) % 2 else -1
        lengths.add(length, make_block(loss + sign * noise[length], length=length))
    return lengths


def test_all_lengths_are_tried_alike() -> None:
    """Each length has its blocks before one is chosen, in turn and not one after the other."""
    lengths = SlotLengths(SHORTEST, METRICS["throughput"])
    seen = []
    for _ in range(TRIED * len(LENGTHS)):
        assert lengths.figure is None
        assert lengths.block_noise is None
        seen.append(lengths.next)
        lengths.add(lengths.next, make_block(0.01, length=lengths.next))

    assert Counter(seen) == dict.fromkeys(LENGTHS, TRIED)
    assert sorted(seen[: len(LENGTHS)]) == LENGTHS
    assert lengths.figure is not None


@pytest.mark.parametrize("best", range(len(LENGTHS)))
def test_the_least_noise_figure_wins(best: int) -> None:
    """Where noise falls as fast as time grows all figures are alike; one that is less, wins."""
    noise = {length: 0.02 * math.sqrt(SHORTEST / length) for length in LENGTHS}
    noise[LENGTHS[best]] *= 0.9

    assert tried(noise).next == LENGTHS[best]


def test_longer_slots_must_pay_for_their_time() -> None:
    """With the same noise the shortest wins, though with less of it a longer one would."""
    assert tried(dict.fromkeys(LENGTHS, 0.02)).next == LENGTHS[0]
    assert tried({LENGTHS[0]: 0.02, LENGTHS[1]: 0.015, LENGTHS[2]: 0.001}).next == LENGTHS[2]


def test_the_figure() -> None:
    """`S = sigma^2 t`, for the length that was chosen, whatever the loss; sigma is robust."""
    noise = {LENGTHS[0]: 0.02, LENGTHS[1]: 0.03, LENGTHS[2]: 0.04}
    for loss in (0.0, 0.3):
        lengths = tried(noise, loss)
        assert lengths.next == LENGTHS[0]
        assert lengths.block_seconds == pytest.approx(4 * SHORTEST)
        assert lengths.figure == pytest.approx((SCALE * 0.02) ** 2 * 4 * SHORTEST)
        assert lengths.block_noise == pytest.approx(SCALE * 0.02)


@pytest.mark.parametrize("seed", range(20))
def test_labels_do_not_choose(seed: int) -> None:
    """With the labels of any blocks exchanged, the same length is chosen; so it favours nobody."""
    random = np.random.default_rng(seed)
    plain = SlotLengths(SHORTEST, METRICS["throughput"])
    other = SlotLengths(SHORTEST, METRICS["throughput"])
    while plain.figure is None:
        assert plain.next == other.next
        one = make_block(random.normal(0.02, 0.05), length=plain.next)
        other.add(other.next, swapped(one) if random.integers(2) else one)
        plain.add(plain.next, one)

    assert plain.next == other.next


def test_the_choice_stays() -> None:
    """Once chosen, a length is kept, however noisy it becomes."""
    lengths = tried(dict.fromkeys(LENGTHS, 0.02))
    for sign in (1, -1) * 20:
        lengths.add(lengths.next, make_block(sign * 0.5, length=lengths.next))

    assert lengths.next == LENGTHS[0]
    assert lengths.figure == pytest.approx((SCALE * 0.5) ** 2 * 4 * SHORTEST)


@pytest.mark.parametrize("seconds_a_block", [0.02, 0.5])
def test_seconds_are_known_from_the_first_block(seconds_a_block: float) -> None:
    """Of a length without a block it is what the others took."""
    lengths = SlotLengths(SHORTEST, METRICS["throughput"])
    lengths.add(LENGTHS[0], make_block(0.0, length=seconds_a_block / 4))

    assert lengths.next == LENGTHS[1]
    assert lengths.block_seconds == pytest.approx(seconds_a_block)


@pytest.mark.parametrize(
    ("utilisation", "calls", "seconds"),
    [
        ((0.8,), 1000, 8 * 0.8 * 5 / 1000),  # 4 ms a call: eight of them
        ((0.8, 0.8), 1000, 8 * 1.6 * 5 / 1000 / 2),  # two replicas share the calls
        ((0.9,), 100_000, 0.005),  # 45 us a call: 5 ms
        ((1.0,), 20, 60 / 4 / 24),  # 0.25 s a call: 24 blocks have to fit into 60 s
        ((1.0,), 2, 2.5),  # 2.5 s a call: one call
        ((1.0,), 1, 5.0),  # 5 s a call: 5 s at the most
    ],
)
def test_shortest_slots(utilisation: tuple[float, ...], calls: int, seconds: float) -> None:
    """From 5 ms to 5 s."""
    opening = make_measurement(
        utilisation=utilisation,
        batch_sizes=MappingProxyType({64: calls - 1, 1: 1}),
        seconds=5.0,
    )
    serving = Serving(replicas=len(utilisation))

    closed = plan([Options(scenario=ClosedLoop(64), serving=serving)])

    assert shortest_slot(closed, opening) == pytest.approx(seconds)


@pytest.mark.parametrize(("rate", "seconds"), [(100.0, 0.4), (10_000.0, 0.05), (1.0, 5.0)])
def test_shortest_of_an_open_loop_is_forty_arrivals(rate: float, seconds: float) -> None:
    """From 50 ms to 5 s, by what came and not by how long calls take."""
    opening = make_measurement(requests=int(rate * 5), seconds=5.0, utilisation=(0.1,))

    assert shortest_slot(plan([Options(scenario=Server(rate))]), opening) == pytest.approx(seconds)
