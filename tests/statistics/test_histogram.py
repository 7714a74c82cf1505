"""Histogram: durations within 0.1 %, however many there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_dlperf.statistics.histogram import ERROR, Histogram

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

DISTRIBUTIONS: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "lognormal": lambda random, n: random.lognormal(14, 1.5, n),
    "exponential": lambda random, n: random.exponential(2e6, n),
    "uniform": lambda random, n: random.uniform(1e3, 1e9, n),
    "two humps": lambda random, n: np.where(random.random(n) < 0.95, 1e6, 3e8),
    "heavy tail": lambda random, n: 1e5 * (1 + random.pareto(1.1, n)),
}
NANOSECONDS = st.integers(0, 10**15)


def counted(ns: Sequence[int] | np.ndarray) -> Histogram:
    """One row."""
    histogram = Histogram(1)
    histogram.add(np.zeros(len(ns), np.intp), np.array(ns, np.int64))
    return histogram


@pytest.mark.parametrize("name", DISTRIBUTIONS)
@given(seed=st.integers(0, 2**32), n=st.integers(1, 3000), percent=st.floats(0, 99.99))
def test_percentiles_are_within_a_thousandth(name: str, seed: int, n: int, percent: float) -> None:
    """Whatever the distribution, each percentile is at most 0.1 % from the order statistic."""
    ns = DISTRIBUTIONS[name](np.random.default_rng(seed), n).astype(np.int64)

    exact = np.sort(ns)[min(n - 1, int(n * (percent / 100)))]

    assert counted(ns).quantile_ns(percent / 100)[0] == pytest.approx(exact, rel=ERROR, abs=0)


@given(NANOSECONDS)
def test_every_duration_is_within_a_thousandth(ns: int) -> None:
    """From nanoseconds to weeks, a single duration is read back within 0.1 %; 0 is read as 0."""
    assert counted([ns]).quantile_ns(0.5)[0] == pytest.approx(ns, rel=ERROR, abs=0)


def test_a_clock_that_goes_back_is_no_crash() -> None:
    """A duration below 0 counts as 0."""
    assert counted([-5, -1, 1000]).quantile_ns(0.5)[0] == 0


@given(st.lists(st.tuples(st.integers(0, 3), NANOSECONDS), min_size=1), st.integers(1, 9))
def test_parts_add_up(durations: list[tuple[int, int]], size: int) -> None:
    """Counting in parts, in any range of durations, is counting at once."""
    row, ns = (np.array(column, np.int64) for column in zip(*durations, strict=True))
    whole, parts = Histogram(4), Histogram(4)

    whole.add(row, ns)
    for i in range(0, len(ns), size):
        parts.add(row[i : i + size], ns[i : i + size])

    for share in (0.0, 0.3, 0.9):
        np.testing.assert_array_equal(parts.quantile_ns(share), whole.quantile_ns(share))
    assert parts.counts.sum(axis=1).tolist() == np.bincount(row, minlength=4).tolist()


@given(st.lists(st.tuples(st.integers(0, 3), NANOSECONDS), min_size=1))
def test_grouped_rows_hold_both(durations: list[tuple[int, int]]) -> None:
    """Rows that are joined are as if their durations had been counted in one."""
    row, ns = (np.array(column, np.int64) for column in zip(*durations, strict=True))
    whole, joined = Histogram(4), Histogram(2)
    group = np.array([1, 0, 1, 1])

    whole.add(row, ns)
    joined.add(group[row], ns)

    grouped = whole.grouped(group, 2)
    np.testing.assert_array_equal(grouped.quantile_ns(0.6), joined.quantile_ns(0.6))


def test_an_empty_row_has_no_percentiles() -> None:
    """Where nothing was counted there is nothing to read."""
    histogram = Histogram(2)
    assert np.isnan(histogram.quantile_ns(0.5)).all()
    histogram.add(np.array([1]), np.array([1000]))
    assert np.isnan(histogram.quantile_ns(0.5)).tolist() == [True, False]
