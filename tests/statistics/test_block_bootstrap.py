"""Blocks: intervals that know of dependence inside a run."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from pytest_dlperf.statistics.block_bootstrap import block_percentiles, ratio_of_sums

PERCENTS = (50.0, 90.0, 99.0)


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


@settings(max_examples=40)
@given(
    st.lists(st.integers(1, 1_000), min_size=1, max_size=200),
    st.integers(1, 5),
    st.sampled_from(PERCENTS),
)
def test_point_is_an_order_statistic(values: list[int], blocks: int, percent: float) -> None:
    """The point is a measured value, the order statistic, inside its interval."""
    array = np.array(values, np.float64)
    block = np.unique(np.arange(len(array)) % blocks, return_inverse=True)[1]
    got = block_percentiles(array, block, (percent,))[percent]
    # In whole numbers, so that no rounding of 99 / 100 can hide a shift by one.
    assert got.value == sorted(values)[int(len(values) * Fraction(int(percent), 100))]
    assert got.low <= got.value <= got.high
    assert array.min() <= got.low
    assert got.high <= array.max() * 1.0021


@settings(max_examples=40)
@given(st.integers(2, 400), st.sampled_from(PERCENTS))
def test_point_agrees_with_numpy(count: int, percent: float) -> None:
    """The point is numpy's `higher` quantile, or the next value where rounding decides."""
    values = np.random.default_rng(count).permutation(np.arange(1.0, count + 1))
    got = block_percentiles(values, np.zeros(count, np.intp), (percent,))[percent]
    assert 0 <= got.value - np.quantile(values, percent / 100, method="higher") <= 1


def test_nothing_varies() -> None:
    """Equal values have an interval no wider than the histogram's bins."""
    got = block_percentiles(np.full(100, 0.005), np.arange(100) % 20, PERCENTS)
    for estimate in got.values():
        assert estimate.value == 0.005
        assert estimate.high - estimate.low <= 0.005 * 0.0021


def test_percentiles_of_one_run_are_in_order() -> None:
    """A higher percentile is never below a lower one, nor are the ends of its interval."""
    generator = np.random.default_rng(2)
    got = block_percentiles(generator.lognormal(size=5000), np.arange(5000) % 20, PERCENTS)
    for name in ("value", "low", "high"):
        ends = [getattr(got[percent], name) for percent in PERCENTS]
        assert ends == sorted(ends)
        assert ends[0] < ends[-1]


def test_same_data_same_interval() -> None:
    """Resampling is seeded: the same samples always give the same interval."""
    values = np.random.default_rng(3).lognormal(size=2000)
    block = np.arange(2000) // 100
    assert block_percentiles(values, block, PERCENTS) == block_percentiles(values, block, PERCENTS)


def test_bootstrap_by_brute_force() -> None:
    """The interval is that of drawing whole blocks again and again, to a bin's width or so."""
    generator = np.random.default_rng(4)
    blocks = [generator.lognormal(shift, 0.2, 50) for shift in generator.normal(0, 0.2, 20)]
    got = block_percentiles(np.concatenate(blocks), np.arange(1000) // 50, (50.0,))[50.0]
    drawn = [
        np.median(np.concatenate([blocks[i] for i in generator.integers(0, 20, 20)]))
        for _ in range(2000)
    ]
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert (got.low, got.high) == pytest.approx((low, high), rel=0.025)
    assert high / low > 1.1


def test_block_bootstrap_covers() -> None:
    """With correlated blocks the interval covers the median; one for independent values fails."""
    generator = np.random.default_rng(5)
    blocks, each, runs = 20, 60, 200
    held = naive = 0
    rank = int(blocks * each / 2)
    reach = int(1.96 * (blocks * each) ** 0.5 / 2)
    block = np.repeat(np.arange(blocks), each)
    for _ in range(runs):
        values = np.exp(
            np.repeat(generator.normal(0, 0.1, blocks), each)
            + generator.normal(0, 0.05, blocks * each)
        )
        got = block_percentiles(values, block, (50.0,))[50.0]
        held += got.low <= 1.0 <= got.high
        ordered = np.sort(values)
        naive += ordered[rank - reach] <= 1.0 <= ordered[rank + reach]
    # The percentile bootstrap with 20 blocks is known to reach 92 to 93 %.
    assert held >= stats.binom.ppf(1e-4, runs, 0.92)
    assert naive <= 0.6 * runs
