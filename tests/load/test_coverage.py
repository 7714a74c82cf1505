"""Intervals of latencies hold the value of endless time, or are left open."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from builders import make_samples, totals_of
from noise_models import Noise
from queues import poisson, served, single_server
from scipy import stats

from pytest_dlperf.load.summary import summarise_load

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_dlperf.load.samples import Samples

    Load = Callable[[float, np.random.Generator], Samples]

RUNS = 200
NAMES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


def memoryless(seconds: float, random: np.random.Generator) -> Samples:
    """M/M/1 at 80 %."""
    return single_server(1000, 1250, seconds, random)


def regular(seconds: float, random: np.random.Generator) -> Samples:
    """M/D/1 at 90 %."""
    arrivals = poisson(200, seconds, random)
    return served(arrivals, np.full(len(arrivals), 0.9 / 200))


def wandering(seconds: float, random: np.random.Generator) -> Samples:
    """M/D/1 at 70 % on a machine whose speed wanders by 10 % over 2 s."""
    arrivals = poisson(1000, seconds, random)
    noise = Noise(drift=0.1, drift_seconds=2.0)
    costs = np.exp(noise.sample(random, 1, int(seconds / 0.01) + 1, 0.01)[0])
    return served(arrivals, 0.7e-3 * costs[(arrivals / 0.01).astype(int)])


def alone(seconds: float, random: np.random.Generator) -> Samples:
    """One client, whose requests vary independently by 30 %."""
    work = random.lognormal(-6.9, 0.3, int(seconds * 1000))
    return served(np.append(0.0, np.cumsum(work)[:-1]), work)


def latencies(samples: Samples) -> np.ndarray:
    """Latencies in seconds."""
    return samples.latency_ns * 1e-9


@pytest.mark.simulation
@pytest.mark.parametrize(
    ("load", "seconds", "given"),
    [
        (memoryless, 5.0, {"p50"}),
        (memoryless, 30.0, {"p50", "p95"}),
        (regular, 5.0, set()),
        (wandering, 5.0, set()),
        (alone, 5.0, {"p50", "p95", "p99"}),
    ],
)
def test_intervals_hold_the_percentile_of_endless_time(
    load: Load, seconds: float, given: set[str]
) -> None:
    """At most 5 % miss on either side: more than 21 of 200 would come once in 10,000 such tests.

    Twenty blocks resampled missed up to 86 %. Percentiles in `given` are left open in few runs.
    """
    random = np.random.default_rng(1)
    truth = np.quantile(latencies(load(1000.0, random)), list(NAMES.values()))
    above, below, left_open = (dict.fromkeys(NAMES, 0) for _ in range(3))
    for _ in range(RUNS):
        samples = load(seconds, random)
        totals = totals_of(samples, seconds=seconds, open_loop=load is not alone)
        summary = summarise_load(totals, latencies=True)
        for name, value in zip(NAMES, truth, strict=True):
            found = summary.metrics[name]
            left_open[name] += name in summary.unbounded
            above[name] += value > found.high
            below[name] += value < found.low
    most = stats.binom.ppf(1 - 1e-4, RUNS, 0.05)
    assert max(above.values()) <= most
    assert max(below.values()) <= most
    assert all(left_open[name] <= RUNS / 5 for name in given), left_open


@pytest.mark.simulation
def test_blocks_taken_for_independent_would_miss() -> None:
    """With the queue's requests in a random order the same intervals miss far more often."""
    random = np.random.default_rng(2)
    truth = float(np.quantile(latencies(memoryless(1000.0, random)), 0.95))
    missed = 0
    for _ in range(RUNS):
        samples = memoryless(5.0, random)
        mixed = random.permutation(samples.latency_ns)
        ends = np.arange(1, len(mixed) + 1) * 1_000_000
        mixed = make_samples([1] * len(mixed), ends, intended_ns=ends - mixed)
        found = summarise_load(totals_of(mixed), latencies=True).metrics["p95"]
        missed += not found.low <= truth <= found.high
    assert missed > 0.2 * RUNS
