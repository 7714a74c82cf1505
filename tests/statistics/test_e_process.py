"""The sign-flip e-process, and what is read off it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from simulated_duels import log_evidence

from pytest_dlperf.statistics.e_process import (
    FARTHEST,
    EProcess,
    blocks_needed,
    hodges_lehmann,
    interval,
    lower_bound,
    smallest_loss,
)

RATIOS = arrays(
    np.float64, st.integers(1, 40), elements=st.floats(-2, 2).map(lambda x: round(x, 4))
)


def noisy(blocks: int, loss: float, seed: int) -> np.ndarray:
    """Blocks with heavy tails about a loss."""
    return loss + 0.02 * np.random.default_rng(seed).standard_t(3, blocks)


def test_one_block_by_hand() -> None:
    """The first block is 1 / 1.4826 robust deviations from 0, whatever its size."""
    evidence = EProcess(0.0)
    evidence.add(0.3)

    stakes = np.geomspace(0.08, 4, 16)
    bets = 2 / (1 + np.exp(-2 * stakes / 1.4826))
    assert evidence.log_e == pytest.approx(math.log(bets.mean()))
    assert evidence.peak == evidence.log_e
    assert evidence.blocks == 1


def test_before_the_first_block() -> None:
    """The capital is 1."""
    evidence = EProcess(0.0)

    assert (evidence.log_e, evidence.peak, evidence.blocks) == (0.0, 0.0, 0)


@given(RATIOS, st.floats(-1, 1))
def test_a_wrong_sign_never_pays(d: np.ndarray, theta0: float) -> None:
    """The evidence against one side and that against the other are never both large."""
    up, down = log_evidence(d, theta0), log_evidence(-d, -theta0)

    assert np.isfinite(up).all()
    assert (np.minimum(up, down) <= math.log(2)).all()
    assert up.max() <= len(d) * math.log(2) + 1e-9


@given(RATIOS, st.floats(0.01, 100))
def test_the_unit_does_not_matter(d: np.ndarray, times: float) -> None:
    """The evidence does not depend on the unit."""
    d = d[np.abs(d) > 1e-3]
    assert log_evidence(d * times, 0.0) == pytest.approx(log_evidence(d, 0.0))


def test_equal_blocks() -> None:
    """Equal blocks are no evidence against their value, and much against smaller ones."""
    same = np.full(20, 0.05)

    assert log_evidence(same, 0.05)[-1] == 0.0
    assert log_evidence(same, 0.04)[-1] > math.log(100)
    bounds = interval(same)
    assert bounds.value == pytest.approx(0.05)
    assert bounds.high - bounds.low < 1e-6


def test_a_block_after_zeros() -> None:
    """Where the scale is zero, a block that is not counts as 2.5 deviations, and no more."""
    d = np.array([0.0] * 9 + [0.2])

    bets = 2 / (1 + np.exp(-2 * np.geomspace(0.08, 4, 16) * 2.5))
    assert log_evidence(d, 0.0)[-1] == pytest.approx(math.log(bets.mean()))


def test_the_peak_stays() -> None:
    """The peak is the greatest capital so far, and does not fall with it."""
    evidence = EProcess(0.0)
    for ratio in [0.05] * 10 + [-0.05] * 30:
        evidence.add(ratio)

    running = log_evidence(np.array([0.05] * 10 + [-0.05] * 30), 0.0)
    assert evidence.log_e == running[-1] < running.max() == evidence.peak


@given(RATIOS)
def test_hodges_lehmann_is_the_median_of_walsh_averages(d: np.ndarray) -> None:
    """The median is that of all averages, counted one by one."""
    row, column = np.tril_indices(len(d))
    plainly = np.median((d[row] + d[column]) / 2)

    assert hodges_lehmann(d) == pytest.approx(plainly, abs=1e-9)


@settings(max_examples=10, deadline=None)
@given(st.integers(12, 120), st.integers(0, 2**31), st.floats(-0.2, 0.2))
def test_the_interval_is_what_the_evidence_has_not_refuted(
    blocks: int, seed: int, loss: float
) -> None:
    """What is inside of the interval is kept, what is outside is refuted, close to its ends too."""
    d = noisy(blocks, loss, seed)
    bounds = interval(d)
    width = bounds.high - bounds.low
    # A hundredth of the width next to each end shows an end that is only roughly right.
    shares = [-1, -0.3, -0.01, 0.01, 0.25, 0.5, 0.75, 0.99, 1.01, 1.3, 2]

    for share in shares:
        theta = bounds.low + share * width
        evidence = max(log_evidence(d, theta)[-1], log_evidence(-d, -theta)[-1])
        assert (evidence < math.log(2 / 0.05)) == (0 < share < 1)


def test_the_interval_narrows() -> None:
    """Four times the blocks, half the width; more confidence, more width."""
    few, many = interval(noisy(100, 0.03, 1)), interval(noisy(400, 0.03, 1))

    assert few.low < few.value < few.high
    assert 0.35 < (many.high - many.low) / (few.high - few.low) < 0.65
    surer = interval(noisy(100, 0.03, 1), 0.99)
    assert surer.low < few.low
    assert surer.high > few.high


def test_few_blocks_bound_nothing() -> None:
    """An end that the evidence leaves open is a millionfold from the point."""
    bounds = interval(np.array([0.01, 0.02, 0.03]))

    assert bounds.low == pytest.approx(0.02 - FARTHEST)
    assert bounds.high == pytest.approx(0.02 + FARTHEST)


def test_the_point_gives_way_to_the_evidence() -> None:
    """Where early blocks were calm and later ones wild, the interval still holds its point."""
    d = np.concatenate([np.full(40, 1e-4), np.linspace(-3, -1, 60)])

    bounds = interval(d)

    assert bounds.low <= bounds.value <= bounds.high


@pytest.mark.parametrize("shift", [-0.3, 0.07])
def test_a_bound_moves_with_the_blocks(shift: float) -> None:
    """Blocks moved by some loss have their bound moved by as much."""
    d = noisy(60, 0.0, 5)

    assert lower_bound(d + shift, 0.01) == pytest.approx(lower_bound(d, 0.01) + shift, abs=1e-5)


def test_planning_by_hand() -> None:
    """K is 28.9 at 1 % and 95 %; four times the seconds show half the loss."""
    assert blocks_needed(0.01, 0.95) == pytest.approx(28.9, abs=0.1)
    assert smallest_loss(28.9, 0.01) == pytest.approx(0.1, rel=0.01)
    assert smallest_loss(40.0, 0.003) == pytest.approx(smallest_loss(10.0, 0.003) / 2)


@pytest.mark.parametrize(("alpha", "power"), [(0.01, 0.95), (0.05, 0.95), (0.01, 0.8)])
def test_the_plan_holds(alpha: float, power: float) -> None:
    """After the planned blocks, 300 duels at half a sigma have about the power planned."""
    random = np.random.default_rng(1)
    planned = math.ceil(blocks_needed(alpha, power) / 0.5**2)
    proven = 0
    for _ in range(300):
        evidence = EProcess(0.0)
        for ratio in random.normal(0.5, 1.0, planned).tolist():
            evidence.add(ratio)
        proven += evidence.peak >= math.log(1 / alpha)

    assert power - 0.03 < proven / 300 < power + 0.1
