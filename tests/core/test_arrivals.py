"""Arrivals: a Poisson process made before the run."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pytest_dlperf.core.arrivals import poisson

SEED = st.integers(0, 2**32)


@given(st.floats(0.1, 20_000), st.floats(0.01, 2), SEED)
def test_times_are_in_order_and_in_time(rate: float, duration: float, seed: int) -> None:
    """Times never decrease, start after zero and end before the duration; there is one at least."""
    times = poisson(rate, duration, seed)
    assert times.dtype == np.int64
    assert len(times) >= 1
    assert (np.diff(times) >= 0).all()
    assert times[0] >= 0
    assert len(times) == 1 or times[-1] < duration * 1e9


def test_seed_decides() -> None:
    """The same seed gives the same times, another seed others."""
    assert np.array_equal(poisson(1000, 1, 7), poisson(1000, 1, 7))
    assert not np.array_equal(poisson(1000, 1, 7)[:50], poisson(1000, 1, 8)[:50])


def test_a_longer_run_begins_alike() -> None:
    """A longer run asks the same at first, so that a longer run only adds to a short one."""
    short, longer = poisson(1000, 1, 3), poisson(1000, 2, 3)
    assert np.array_equal(longer[: len(short)], short)
    assert longer[len(short)] >= 1e9


def test_counts_are_poisson() -> None:
    """The number of arrivals has the mean and the variance of a Poisson count."""
    counts = np.array([len(poisson(200, 0.5, seed)) for seed in range(1000)])
    assert counts.mean() == pytest.approx(100, abs=5 * 10 / 1000**0.5)
    low, high = stats.chi2.ppf([1e-6, 1 - 1e-6], 999) / 999 * 100
    assert low < counts.var(ddof=1) < high


def test_gaps_are_exponential() -> None:
    """Gaps are exponential with mean one over the rate (Kolmogorov and Smirnov's test)."""
    gaps = np.diff(poisson(1000, 20, 1)) * 1e-9
    assert stats.kstest(gaps, "expon", args=(0, 1e-3)).pvalue > 1e-3
    assert stats.kstest(gaps, "expon", args=(0, 1.1e-3)).pvalue < 1e-6


def test_the_whole_duration_is_filled() -> None:
    """Arrivals last to the end of the run for every seed, never stopping short of it."""
    lasts = np.array([poisson(5, 20, seed)[-1] for seed in range(500)]) * 1e-9
    # The last gap before the end is exponential too: 5 s without arrivals has odds of e^-25.
    assert lasts.min() > 15
    assert lasts.max() < 20


def test_a_rate_too_low_for_the_duration() -> None:
    """Where none is expected the first arrival is given all the same."""
    times = poisson(1e-3, 0.01, 0)
    assert len(times) == 1
    assert times[0] > 0
