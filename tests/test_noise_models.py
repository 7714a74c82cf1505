"""Models of noise: each has the size, shape and autocorrelation of its fields."""

from __future__ import annotations

import math

import numpy as np
import pytest
from noise_models import SHAPES, Noise, blocks


def sampled(noise: Noise, slots: int = 200, sessions: int = 500) -> np.ndarray:
    """Sessions of slots of half a second."""
    return noise.sample(np.random.default_rng(0), sessions, slots, 0.5)


@pytest.mark.parametrize("tail", [None, 5.0])
def test_white_noise_has_its_deviation(tail: float | None) -> None:
    """Normal or with a heavy tail: 2 %, and each slot by itself."""
    cost = sampled(Noise(white=0.02, tail=tail))

    assert cost.shape == (500, 200)
    assert cost.std() == pytest.approx(0.02, rel=0.03)
    assert np.mean(cost[:, 1:] * cost[:, :-1]) == pytest.approx(0.0, abs=1e-5)


def test_drift_forgets() -> None:
    """4 % about the mean, like itself by 1 / e after 20 s, which are 40 slots."""
    cost = sampled(Noise(drift=0.04, drift_seconds=20.0))

    assert cost.std() == pytest.approx(0.04, rel=0.1)
    alike = np.mean(cost[:, 40:] * cost[:, :-40]) / cost.var()
    assert alike == pytest.approx(math.exp(-1), abs=0.08)


def test_bursts_come_and_go() -> None:
    """One in 20 s for about 2 s: a tenth of the time is dearer, by 10 to 60 %."""
    cost = sampled(Noise(bursts=0.05, burst_size=(0.1, 0.6), burst_seconds=2.0))

    hit = cost > 0
    assert 0.08 < hit.mean() < 0.14
    assert math.log(1.1) <= cost[hit].min() <= cost.max() <= math.log(1.6)
    assert np.mean(hit[:, 1:] & hit[:, :-1]) > 0.6 * hit.mean()


def test_a_walk_strays_with_the_root_of_time() -> None:
    """2 % after a second, 20 % after a hundred."""
    cost = sampled(Noise(walk=0.02))

    assert cost[:, 1].std() == pytest.approx(0.02, rel=0.15)
    assert cost[:, -1].std() == pytest.approx(0.2, rel=0.15)


def test_a_ramp_rises() -> None:
    """Half a percent a second."""
    assert sampled(Noise(ramp=0.005), 5, 1)[0] == pytest.approx(np.arange(5) * 0.0025)


def test_interference_comes_back() -> None:
    """Every fourth slot, in a phase that the session draws."""
    cost = sampled(Noise(period=4, amplitude=0.05), 12, 200)

    assert cost[:, 4:] == pytest.approx(cost[:, :-4])
    assert np.bincount(cost[:, :4].argmax(axis=1), minlength=4).min() > 20


def test_no_noise_at_all() -> None:
    """Costs nothing, and makes blocks without a difference."""
    cost = sampled(Noise(), 8, 3)

    assert not cost.any()
    assert not blocks(cost, np.array([[True, False]] * 3)).any()


def test_launches_differ_by_two_processes() -> None:
    """1 % for each process is 1.4 % for a pair."""
    effects = Noise(launch=0.01).pairs(np.random.default_rng(0), 2000, 2)

    assert effects.shape == (2000, 2)
    assert effects.std() == pytest.approx(0.01 * 2**0.5, rel=0.05)


def test_a_block_by_hand() -> None:
    """ABBA: the candidate has the two slots in the middle; BAAB: the base has them."""
    noise = np.log([[1.0, 2.0, 2.0, 1.0, 1.0, 1.0, 1.0, 3.0]])

    ratios = blocks(noise, np.array([[True, False]]))

    # One answer a second beside a third of one, in two seconds: 1.5 seconds for an answer.
    assert ratios[0] == pytest.approx([math.log(2), math.log(1.5)])


def test_the_coin_only_changes_the_sign() -> None:
    """And a linear ramp leaves nothing but its second order."""
    noise = sampled(SHAPES["bursts"], 40, 5)
    heads = blocks(noise, np.ones((5, 10), np.bool_))

    assert blocks(noise, np.zeros((5, 10), np.bool_)) == pytest.approx(-heads)
    ramp = blocks(sampled(Noise(ramp=0.005), 40, 1), np.ones((1, 10), np.bool_))
    assert np.abs(ramp).max() < 1e-5
