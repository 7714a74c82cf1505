"""Percentiles: how many requests they need, and what bounds them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pytest_dlperf.metrics import METRICS
from pytest_dlperf.statistics.percentiles import early_stopping_bound, required_requests


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
    ("requests", "at_p90", "at_p95", "at_p99"),
    [
        (662, 48, 20, 1),
        (1_000, 78, 34, 2),
        (2_000, 168, 77, 9),
        (5_000, 450, 214, 33),
        (10_000, 930, 449, 77),
    ],
)
def test_bounds_by_mlperf(requests: int, at_p90: int, at_p95: int, at_p99: int) -> None:
    """The order statistics are those of MLPerf LoadGen's early stopping."""
    bounds = [early_stopping_bound(requests, percent) for percent in (90, 95, 99)]
    assert bounds == [at_p90, at_p95, at_p99]


@pytest.mark.parametrize("percent", [50, 90, 99, 99.9])
def test_the_least_requests_leave_the_highest(percent: float) -> None:
    """At the floor the maximum is the bound; with one request fewer there is none."""
    floor = required_requests(percent)
    assert early_stopping_bound(floor, percent) == 1
    with pytest.raises(ValueError, match=f"expected at least {floor}"):
        early_stopping_bound(floor - 1, percent)


@given(st.integers(662, 1_000_000), st.floats(1, 99))
def test_bound_is_the_tightest(requests: int, percent: float) -> None:
    """It misses the percentile in less than 1 % of runs, and the next lower latency does not."""
    bound = early_stopping_bound(requests, percent)
    share = 1 - percent / 100
    assert stats.binom.cdf(bound, requests, share) < 0.01 * (1 + 1e-9)
    assert stats.binom.cdf(bound + 1, requests, share) >= 0.01 * (1 - 1e-9)


def test_bound_covers_the_percentile() -> None:
    """Of 4,000 runs with 1,000 exponential latencies each, about 1 % miss p95, and not more."""
    latencies = np.random.default_rng(0).exponential(size=(4_000, 1_000))
    latencies.sort(axis=1)
    misses = latencies[:, 1_000 - early_stopping_bound(1_000, 95)] < -np.log(0.05)
    assert 0.003 < misses.mean() < 0.013
