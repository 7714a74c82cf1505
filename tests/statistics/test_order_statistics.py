"""Percentile intervals of independent values."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from pytest_dlperf.statistics.percentiles import independent, percentile_interval


@pytest.mark.parametrize(
    ("n", "percent", "ranks"),
    [(100, 50, (40, 61)), (1000, 99, (983, 997)), (11, 50, (2, 10)), (20, 50, (6, 15))],
)
def test_ranks_are_the_tables(n: int, percent: float, ranks: tuple[int, int]) -> None:
    """The ranks of 95 % intervals, as tables of the median's interval have them (20: 6 and 15)."""
    found = percentile_interval(np.arange(1.0, n + 1), percent)

    assert (found.low, found.high) == ranks
    low, high = (int(rank) for rank in stats.binom.ppf([0.025, 0.975], n, percent / 100))
    assert ranks == (low, high + 1)


@pytest.mark.parametrize("percent", [50, 90, 99])
def test_coverage(percent: float) -> None:
    """Of 2,000 samples of 1,000 exponential values, the interval holds the truth in about 95 %.

    Counted with this seed: 96.2 %, 94.6 % and 97.7 %.
    """
    random = np.random.default_rng(1)
    truth = -np.log(1 - percent / 100)
    held = 0
    for _ in range(2000):
        found = percentile_interval(np.sort(random.exponential(size=1000)), percent)
        held += found.low <= truth <= found.high

    assert 0.945 <= held / 2000 <= 0.985


def test_independent_values_are_found_to_be() -> None:
    """Of 1,000 rows of random values, about 1 % are taken for clusters."""
    random = np.random.default_rng(2)
    found = sum(independent(random.exponential(size=500)) for _ in range(1000))

    assert 980 <= found <= 997


def test_a_queue_is_not_independent() -> None:
    """Waiting times of a single server at 80 % follow one another."""
    random = np.random.default_rng(3)
    waits = [0.0]
    for gap, work in zip(random.exponential(1, 1000), random.exponential(0.8, 1000), strict=True):
        waits.append(max(0.0, waits[-1] + work - gap))

    assert not independent(np.array(waits))


def test_equal_values_are_no_cluster() -> None:
    """A target that always takes the same time."""
    assert independent(np.full(100, 2.0))


def test_no_values_come_in_no_clusters() -> None:
    """A load in which no request was answered well ends in no warning of numpy's."""
    with np.errstate(all="raise"):
        assert independent(np.zeros(0))
