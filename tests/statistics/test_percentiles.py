"""Percentiles: how many requests they need, and what bounds them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pytest_dlperf.metrics import METRICS
from pytest_dlperf.statistics.percentiles import required_requests


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
