"""Percentiles: how many requests they need, and their exact intervals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pytest_dlperf.metrics import METRICS
from pytest_dlperf.statistics.percentiles import independent, percentile_interval, required_requests


@pytest.mark.parametrize("percent", [10, 33.3, 50, 75, 80, 90, 95, 97, 99, 99.5, 99.9])
def test_required_requests_by_brute_force(percent: float) -> None:
    """The floor is the least n for which two or more exceedances are missed in under 1 %."""
    counts = np.arange(2, 10_000)
    enough = stats.binom.cdf(1, counts, 1 - percent / 100) < 0.01
    assert required_requests(percent) == counts[np.argmax(enough)]
    assert enough[np.argmax(enough) :].all()


@pytest.mark.parametrize(
    ("percent", "requests"), [(50, 11), (90, 64), (95, 130), (99, 662), (99.9, 6636)]
)
def test_mlperf_floors(percent: float, requests: int) -> None:
    """The floors are those of MLPerf LoadGen's early stopping."""
    assert required_requests(percent) == requests


@given(st.floats(1, 99.99))
def test_floor_is_the_least(percent: float) -> None:
    """One request fewer would not be enough."""
    needed = required_requests(percent)
    share = 1 - percent / 100
    assert stats.binom.cdf(1, needed, share) < 0.01 * (1 + 1e-9)
    assert stats.binom.cdf(1, needed - 1, share) >= 0.01 * (1 - 1e-9)


def test_every_percentile_has_its_floor() -> None:
    """Farther out in the tail more requests are needed, for every percentile that is measured."""
    percents = sorted(m.percentile for m in METRICS.values() if m.percentile is not None)
    floors = [required_requests(percent) for percent in percents]
    assert percents == [50, 90, 95, 99, 99.9]
    assert floors == sorted(set(floors))


@pytest.mark.parametrize(
    ("n", "percent", "ranks"),
    [(100, 50, (40, 61)), (1000, 99, (983, 997)), (11, 50, (2, 10)), (20, 50, (6, 15))],
)
def test_ranks_are_the_tables(n: int, percent: float, ranks: tuple[int, int]) -> None:
    """The ranks of 95 % intervals, as tables of the median's interval have them (20: 6 and 15)."""
    estimate = percentile_interval(np.arange(1.0, n + 1), percent)

    assert (estimate.low, estimate.high) == ranks
    low, high = (int(rank) for rank in stats.binom.ppf([0.025, 0.975], n, percent / 100))
    assert ranks == (low, high + 1)


@pytest.mark.parametrize("percent", [50, 90, 99])
def test_coverage(percent: float) -> None:
    """The interval covers in about 95 % of 2,000 samples (with this seed 96.2, 94.6 and 97.7 %)."""
    random = np.random.default_rng(1)
    truth = -np.log(1 - percent / 100)
    held = 0
    for _ in range(2000):
        estimate = percentile_interval(np.sort(random.exponential(size=1000)), percent)
        held += estimate.low <= truth <= estimate.high

    assert 0.945 <= held / 2000 <= 0.985


def test_independent_values_are_found_to_be() -> None:
    """Of 1,000 rows of random values, about 1 % are taken for clusters."""
    random = np.random.default_rng(2)
    accepted = sum(independent(random.exponential(size=500)) for _ in range(1000))

    assert 980 <= accepted <= 997


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
