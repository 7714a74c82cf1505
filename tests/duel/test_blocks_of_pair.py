"""How many blocks a pair is measured for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_dlperf.duel.blocks_of_pair import FEWEST_BLOCKS, blocks_of_pair
from pytest_dlperf.statistics.estimate import SD_OF_HODGES_LEHMANN, deviation
from pytest_dlperf.statistics.pair_effects import PAIR_NOISE


def noisy(blocks: int, noise: float) -> np.ndarray:
    """Log ratios of blocks, with no other difference."""
    return np.random.default_rng(1).normal(0.0, noise, blocks)


@pytest.mark.parametrize(
    ("noise", "starting", "least", "most"),
    [(0.01, 1.0, 20, 20), (0.1, 1.0, 25, 45), (0.1, 9.0, 80, 130), (1.0, 9.0, 200, 200)],
)
def test_noisier_blocks_are_more(noise: float, starting: float, least: int, most: int) -> None:
    """Twenty, or as many as take the least time in all; never more than 200."""
    wanted = blocks_of_pair(noisy(100, noise), 2.0, 100.0, starting)

    assert least <= wanted <= most


def test_the_time_limits_them() -> None:
    """Three at least, however long they take."""
    assert blocks_of_pair(noisy(3, 0.01), 3.0, 6.0, 1.0) == 6
    assert blocks_of_pair(noisy(3, 0.01), 30.0, 6.0, 1.0) == FEWEST_BLOCKS
    assert blocks_of_pair(noisy(40, 0.3), 4.0, 6.0, 90.0) == 60
    assert blocks_of_pair(noisy(0, 0.3), 0.0, 6.0, 1.0) == FEWEST_BLOCKS


def test_so_many_blocks_take_the_least_time() -> None:
    """Twenty more or fewer cost more time for the same error of the mean of all pairs."""
    noise, seconds, starting = 0.2, 0.02, 2.0
    ratios = noisy(200, noise)
    wanted = blocks_of_pair(ratios, 200 * seconds, 100.0, starting)

    def cost(blocks: int) -> float:
        error = SD_OF_HODGES_LEHMANN * deviation(np.abs(ratios - np.median(ratios)))
        return (PAIR_NOISE**2 + error**2 / blocks) * (starting + blocks * seconds)

    assert 40 < wanted < 180
    assert cost(wanted) < min(cost(wanted - 20), cost(wanted + 20))


@given(st.lists(st.floats(-1, 1), min_size=20, max_size=60), st.floats(-1, 1))
def test_neither_side_is_favoured(ratios: list[float], loss: float) -> None:
    """The number does not depend on signs, nor on the loss."""
    plain = np.array(ratios)

    assert blocks_of_pair(plain, 1.0, 100.0, 1.0) == blocks_of_pair(-plain, 1.0, 100.0, 1.0)
    moved = blocks_of_pair(plain + loss, 1.0, 100.0, 1.0)
    assert abs(moved - blocks_of_pair(plain, 1.0, 100.0, 1.0)) <= 1  # rounding
