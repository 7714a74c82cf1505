"""Arrivals of open loops: known distributions, made before the run from a seed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pytest_dlperf.errors import UsageError
from pytest_dlperf.load.arrivals import arrival_chunks, arrivals, seconds_of_arrivals
from pytest_dlperf.load.scenarios import (
    Burst,
    Constant,
    Offline,
    OpenLoop,
    Ramp,
    Scenario,
    Server,
    Trace,
)

SCENARIOS: list[OpenLoop] = [
    Server(500),
    Constant(500),
    Burst(500, burstiness=0.3),
    Ramp(200, 800),
    Ramp(800, 0),
]


@given(st.floats(0.5, 2000), st.floats(0.01, 3), st.integers(0, 5), st.floats(0.1, 9))
def test_times_are_in_order_and_in_time(
    rate: float, duration: float, seed: int, burstiness: float
) -> None:
    """Whatever comes, comes in order, at or after the start and before the end."""
    for scenario in (Server(rate), Constant(rate), Burst(rate, burstiness), Ramp(0, rate)):
        times = arrivals(scenario, duration, seed)

        assert times.dtype == np.int64
        assert np.all(np.diff(times) >= 0)
        assert np.all((times >= 0) & (times < duration * 1e9))


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_a_seed_fixes_the_times(scenario: OpenLoop) -> None:
    """The same seed gives the same times; a longer run begins as the shorter one did."""
    np.testing.assert_array_equal(arrivals(scenario, 2, 7), arrivals(scenario, 2, 7))
    if isinstance(scenario, (Server, Burst)):
        assert not np.array_equal(arrivals(scenario, 2, 7)[:9], arrivals(scenario, 2, 8)[:9])


def test_the_times_of_a_seed_are_these() -> None:
    """The times of a seed are the same on every machine and with every version."""
    assert arrivals(Server(1000), 1, 0)[:3].tolist() == [679931, 1699529, 1719335]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_the_mean_rate_is_kept(scenario: OpenLoop) -> None:
    """The number of arrivals is what the rate asks for, within four standard deviations."""
    counts = [len(arrivals(scenario, 4, seed)) for seed in range(50)]

    expected = {Ramp(800, 0): 400.0}.get(scenario, 500.0) * 4  # type: ignore[call-overload]  # ours
    spread = (expected / 0.3 / len(counts)) ** 0.5
    assert np.mean(counts) == pytest.approx(expected, abs=4 * spread + 1)


def test_server_arrivals_are_poisson() -> None:
    """Gaps are exponential, by Kolmogorov and Smirnov's test."""
    gaps = np.diff(arrivals(Server(1000), 20, 1)) * 1e-9

    assert stats.kstest(gaps, "expon", args=(0, 1e-3)).pvalue > 0.01


@pytest.mark.parametrize("burstiness", [0.5, 1.0, 4.0])
def test_bursts_are_gamma(burstiness: float) -> None:
    """Gaps are gamma distributed, so their coefficient of variation is `1 / sqrt(burstiness)`."""
    gaps = np.diff(arrivals(Burst(1000, burstiness), 30, 2)) * 1e-9

    assert gaps.std() / gaps.mean() == pytest.approx(burstiness**-0.5, rel=0.05)
    shape = (burstiness, 0, 1e-3 / burstiness)
    assert stats.kstest(gaps, "gamma", args=shape).pvalue > 0.01


def test_constant_arrivals_have_equal_gaps() -> None:
    """One every 2 ms, the first at once."""
    times = arrivals(Constant(500), 1, 0)

    np.testing.assert_array_equal(times, np.arange(500) * 2_000_000)


def test_a_ramp_changes_its_rate_evenly() -> None:
    """From 0 to 1,000/s: a quarter of all arrivals comes in the first half."""
    times = arrivals(Ramp(0, 1000), 100, 3) * 1e-9

    assert len(times) == pytest.approx(50_000, rel=0.02)
    # By the time change, t^2 is uniform.
    assert stats.kstest((times / 100) ** 2, "uniform").pvalue > 0.01


def test_an_even_ramp_is_a_server() -> None:
    """With equal rates the ramp's formula is still exact: gaps are exponential."""
    gaps = np.diff(arrivals(Ramp(1000, 1000), 20, 4)) * 1e-9

    assert stats.kstest(gaps, "expon", args=(0, 1e-3)).pvalue > 0.01


def test_a_trace_is_replayed_as_recorded() -> None:
    """Its own times, as far as the run lasts."""
    times = arrivals(Trace((0.0, 0.5, 0.5, 2.0, 3.0)), 2.5, 0)

    assert times.tolist() == [0, 500_000_000, 500_000_000, 2_000_000_000]


@pytest.mark.parametrize(
    ("scenario", "seconds"),
    [
        (Trace((0.0, 0.5, 1.0, 1.5)), 2.0),
        (Trace((1.0, 1.25, 1.5)), 1.75),
        (Trace((0.0, 5.0, 9.0)), 4.0),
        (Trace((1.0,)), 4.0),
        (Trace((0.0, 0.0)), 4.0),
        (Constant(5), 4.0),
        (Offline(), 4.0),
    ],
    ids=str,
)
def test_a_trace_is_over_after_its_last_request(scenario: Scenario, seconds: float) -> None:
    """Its rate is that of its requests: seconds of the run in which none come do not count."""
    assert seconds_of_arrivals(scenario, 4.0) == seconds


@pytest.mark.parametrize("scenario", [*SCENARIOS, Trace((0.0, 0.5, 0.5, 1.5, 3.0))], ids=str)
@given(size=st.integers(1, 2000), seed=st.integers(0, 9))
def test_chunks_are_the_same_times(scenario: OpenLoop, size: int, seed: int) -> None:
    """However many are drawn at a time, they are the same nanoseconds; no chunk is empty."""
    chunks = list(arrival_chunks(scenario, 2.0, seed, size))

    np.testing.assert_array_equal(np.concatenate(chunks), arrivals(scenario, 2.0, seed))
    assert all(0 < len(chunk) <= size for chunk in chunks)


def test_arrivals_are_drawn_when_they_are_asked_for() -> None:
    """The first of a hundred million cost no more than themselves; too many are refused at once."""
    chunk = next(arrival_chunks(Server(1e6), 100.0, 0, 1000))

    np.testing.assert_array_equal(chunk, arrivals(Server(1e6), 0.1, 0)[:1000])
    with pytest.raises(UsageError, match="more than 200,000,000 requests"):
        arrival_chunks(Server(1e6), 1000.0, 0)
