"""Blocks: intervals from parts of one run."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from pytest_dlperf.statistics.blocks import ratio_of_sums


def test_ratio_of_equal_blocks_is_students_interval() -> None:
    """With equal denominators the interval is Student's of the mean."""
    values = np.array([9.0, 11.0, 10.0, 12.0, 10.5, 9.5])
    got = ratio_of_sums(values, np.full(6, 1.0))
    low, high = stats.t.interval(0.95, 5, loc=values.mean(), scale=stats.sem(values))
    assert (got.value, got.low, got.high) == pytest.approx((values.mean(), low, high))


def test_ratio_by_hand() -> None:
    """Sum over sum, with Cochran's linearised error."""
    got = ratio_of_sums(np.array([10.0, 30.0]), np.array([1.0, 2.0]))
    # R = 40 / 3; residuals -10/3 and 10/3; sd 10 sqrt(2) / 3; error sd / (sqrt(2) 1.5) = 20 / 9.
    reach = stats.t.ppf(0.975, 1) * 20 / 9
    assert got.value == pytest.approx(40 / 3)
    assert got.high == pytest.approx(40 / 3 + reach)
    assert got.low == 0.0


@given(
    hnp.arrays(np.float64, st.shared(st.integers(2, 20), key="k"), elements=st.floats(0.1, 1e6)),
    hnp.arrays(np.float64, st.shared(st.integers(2, 20), key="k"), elements=st.floats(0.1, 1e6)),
)
def test_ratio_scales(numerators: np.ndarray, denominators: np.ndarray) -> None:
    """Counting in other units only scales the estimate, which lies inside its interval."""
    ratio = ratio_of_sums(numerators, denominators)
    scaled = ratio_of_sums(numerators * 8, denominators * 2)
    assert 0 <= ratio.low <= ratio.value <= ratio.high
    assert ratio.value == pytest.approx(numerators.sum() / denominators.sum())
    assert (scaled.value, scaled.high) == pytest.approx((4 * ratio.value, 4 * ratio.high))


def test_ratio_covers() -> None:
    """About 95 % of the intervals hold the true ratio, with 20 blocks of uneven length."""
    generator = np.random.default_rng(1)
    held = 0
    runs = 2000
    for _ in range(runs):
        seconds = generator.uniform(0.2, 0.3, 20)
        requests = seconds * generator.normal(1000, 100, 20)
        got = ratio_of_sums(requests, seconds)
        held += got.low <= 1000 <= got.high
    low, high = stats.binom.ppf([1e-5, 1 - 1e-5], runs, 0.95)
    assert low <= held <= high
