"""How many blocks a pair is measured for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_dlperf.duel.blocks_of_pair import FEWEST_BLOCKS, blocks_of_pair


def noisy(blocks: int, noise: float) -> np.ndarray:
    """Log ratios of blocks, with no other difference."""
    return np.random.default_rng(1).normal(0.0, noise, blocks)


@pytest.mark.parametrize(
    ("noise", "least", "most"), [(0.01, 20, 20), (0.05, 20, 40), (0.1, 60, 160), (1.0, 200, 200)]
)
def test_noisier_blocks_are_more(noise: float, least: int, most: int) -> None:
    """Twenty, or as many as bring the pair's error down to 1 %; never more than 200."""
    wanted = blocks_of_pair(noisy(100, noise), 2.0, 100.0)

    assert least <= wanted <= most


def test_the_time_limits_them() -> None:
    """Three at least, however long they take."""
    assert blocks_of_pair(noisy(3, 0.01), 3.0, 6.0) == 6
    assert blocks_of_pair(noisy(3, 0.01), 30.0, 6.0) == FEWEST_BLOCKS
    assert blocks_of_pair(noisy(40, 0.3), 4.0, 6.0) == 60
    assert blocks_of_pair(noisy(0, 0.3), 0.0, 6.0) == FEWEST_BLOCKS


@given(st.lists(st.floats(-1, 1), min_size=20, max_size=60), st.floats(-1, 1))
def test_neither_side_is_favoured(ratios: list[float], loss: float) -> None:
    """The number does not depend on signs, nor on the loss."""
    plain = np.array(ratios)

    assert blocks_of_pair(plain, 1.0, 100.0) == blocks_of_pair(-plain, 1.0, 100.0)
    moved = blocks_of_pair(plain + loss, 1.0, 100.0)
    assert abs(moved - blocks_of_pair(plain, 1.0, 100.0)) <= 1  # rounding
