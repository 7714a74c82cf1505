"""Percentiles of two sides: evidence from a common threshold, and estimates."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pytest_dlperf.statistics.tail_test import Exceedances, Tails, needed_requests


def latencies(random: np.random.Generator, slower: float = 0.0, requests: int = 400) -> np.ndarray:
    """About 10 ms, lognormal."""
    return 0.01 * np.exp(slower + 0.3 * random.standard_normal(requests))


def test_a_longer_tail_is_found() -> None:
    """10 % in p95 against no loss; and no loss against 10 %, with the sides exchanged."""
    random = np.random.default_rng(0)
    line = math.log(1.1)
    loss, no_loss = Exceedances(95, 0.0), Exceedances(95, -line)
    for _ in range(40):
        base, slow, alike = latencies(random), latencies(random, line), latencies(random)
        loss.add(base, slow)
        no_loss.add(alike, base)

    assert loss.peak > math.log(100)
    assert no_loss.peak > math.log(100)


def test_a_loss_that_is_allowed_is_no_evidence() -> None:
    """10 % in p95 is not more than 10 %."""
    random = np.random.default_rng(0)
    exceedances = Exceedances(95, math.log(1.1))
    for _ in range(100):
        exceedances.add(latencies(random), latencies(random, math.log(1.1)))

    assert exceedances.peak < math.log(100)
    assert exceedances.blocks == 99


def test_labels_only_change_the_sign() -> None:
    """With both sides exchanged in a block, its bet is the opposite one: thresholds are alike."""
    random = np.random.default_rng(1)
    rows = [(latencies(random), latencies(random, 0.2)) for _ in range(2)]
    slower, faster = Exceedances(95, 0.0), Exceedances(95, 0.0)
    for base, candidate in rows:
        slower.add(base, candidate)
        faster.add(candidate, base)

    assert slower.log_e > 0 > faster.log_e
    assert math.exp(slower.log_e) + math.exp(faster.log_e) == pytest.approx(2)


def test_the_first_block_only_sets_the_threshold() -> None:
    """Nothing is bet on it."""
    exceedances = Exceedances(95, 0.0)
    exceedances.add(np.full(100, 0.01), np.full(100, 0.02))

    assert (exceedances.blocks, exceedances.log_e) == (0, 0.0)


@pytest.mark.parametrize("dearer", [1.01, 1.0101, 1.0107, 1.0113, 1.1, 2.0])
def test_latencies_that_are_all_alike(dearer: float) -> None:
    """Equal constants are no evidence; a constant that is larger is, in every block."""
    alike, slower = Exceedances(95, 0.0), Exceedances(95, 0.0)
    for _ in range(20):
        alike.add(np.full(100, 0.01), np.full(100, 0.01))
        slower.add(np.full(100, 0.01), np.full(100, 0.01 * dearer))

    assert alike.log_e == 0.0
    assert slower.log_e > math.log(100)


def test_more_requests_are_no_worse_tail() -> None:
    """A side with twice the requests and the same shares above is as good."""
    exceedances = Exceedances(95, 0.0)
    row = np.linspace(0.01, 0.02, 200)
    for _ in range(20):
        exceedances.add(row, np.repeat(row, 2))

    assert exceedances.log_e == 0.0


def test_a_side_without_latencies_says_nothing() -> None:
    """No good answer is a matter of the errors, not of the percentile."""
    exceedances = Exceedances(95, 0.0)
    for _ in range(20):
        exceedances.add(np.linspace(0.01, 0.02, 200), np.empty(0))
        exceedances.add(np.empty(0), np.empty(0))

    assert exceedances.log_e == 0.0


def test_admission() -> None:
    """100 latencies beyond the percentile are expected of each side."""
    exceedances = Exceedances(95, 0.0)
    exceedances.add(np.full(1999, 0.01), np.full(5000, 0.01))
    assert not exceedances.admitted
    exceedances.add(np.full(1, 0.01), np.empty(0))

    assert exceedances.admitted
    assert exceedances.needed == needed_requests(95) == 2000


def test_an_estimate_covers() -> None:
    """Of 60 duels of 20 blocks at 5 %, at least 54 intervals of p95 hold it."""
    random = np.random.default_rng(2)
    held = 0
    for _ in range(60):
        tails = Tails(95)
        for _ in range(20):
            tails.add(0, latencies(random), latencies(random, 0.05))
        estimate = tails.estimate()
        held += estimate.low <= 0.05 <= estimate.high
        assert estimate.high - estimate.low < 0.1

    # 56 do; of 90 % intervals 52 would, of 80 % ones 45.
    assert held >= 54


def test_pairs_are_told_apart() -> None:
    """Each pair's own effect, in the order of their numbers, with its own error."""
    random = np.random.default_rng(3)
    tails = Tails(90)
    for block in range(60):
        pair = (7, 2, 5)[block % 3]
        tails.add(pair, latencies(random), latencies(random, 0.1 * pair))

    assert tails.effects() == pytest.approx([0.2, 0.5, 0.7], abs=0.04)
    assert (tails.errors() > 0.002).all()
    assert (tails.errors() < 0.02).all()


def test_a_long_duel_is_folded() -> None:
    """After 1,000 blocks in stretches the percentiles are those of all latencies, to 0.3 %."""
    random = np.random.default_rng(4)
    tails = Tails(95)
    rows = [(latencies(random, 0, 50), latencies(random, 0.1, 50)) for _ in range(1000)]
    for base, candidate in rows:
        tails.add(0, base, candidate)

    base, candidate = (np.concatenate(side) for side in zip(*rows, strict=True))
    exact = math.log(np.quantile(candidate, 0.95) / np.quantile(base, 0.95))
    assert tails.estimate().value == pytest.approx(exact, abs=0.003)


def test_nothing_to_estimate_from() -> None:
    """Without latencies of both sides the log ratio is 0, as is its error."""
    tails = Tails(95)
    tails.add(0, np.full(10, 0.01), np.empty(0))

    assert tails.estimate().value == 0.0
    assert tails.effects().tolist() == tails.errors().tolist() == [0.0]
