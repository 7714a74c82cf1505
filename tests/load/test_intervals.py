"""Samples of requests, and sums over intervals of time."""

from __future__ import annotations

import numpy as np
import pytest
from builders import make_samples
from hypothesis import given
from hypothesis import strategies as st

from pytest_dlperf.load.intervals import Reading, blocks_of, no_intervals
from pytest_dlperf.load.samples import Outcome

GAPS = st.lists(st.integers(1, 1_000_000), min_size=1, max_size=60)


@given(GAPS, st.integers(1, 25), st.integers(0, 10**15), st.randoms(use_true_random=False))
def test_blocks_are_intervals_of_time(
    gaps: list[int], count: int, started: int, random: np.random.Generator
) -> None:
    """Blocks follow one another in time, are numbered without gaps, and are `count` at most."""
    done = started + np.cumsum(gaps)
    random.shuffle(done)  # several replicas finish in any order
    block = blocks_of(done, started, count)
    assert set(block.tolist()) == set(range(int(block.max()) + 1))
    assert block.max() < count
    assert (np.diff(block[np.argsort(done, kind="stable")]) >= 0).all()


def test_blocks_are_equally_long() -> None:
    """Evenly spaced calls spread evenly; one that ends on a border belongs before it."""
    done = np.arange(1, 101) * 1_000 + 5_000
    assert np.bincount(blocks_of(done, 5_000, 20)).tolist() == [5] * 20


def test_blocks_of_a_pause() -> None:
    """An interval in which nothing ended is no block."""
    assert blocks_of(np.array([10, 20, 1000]), 0, 10).tolist() == [0, 0, 1]


def test_blocks_of_an_instant() -> None:
    """A run that took no time is one block, not a division by zero; one without calls has none."""
    assert blocks_of(np.array([5, 5]), 5, 20).tolist() == [0, 0]
    assert blocks_of(np.zeros(0, np.int64), 5, 20).tolist() == []


SAMPLES = make_samples(
    [2, 1],
    [50, 90],
    dispatched_ns=[20, 60],
    intended_ns=[5, 10, 40],
    outcome=[0, Outcome.NOT_FINITE, 0],
)


def test_samples_by_hand() -> None:
    """Latency runs from due to done, queueing from due to dispatched, service in between."""
    assert SAMPLES.size.tolist() == [2, 1]
    assert SAMPLES.latency_ns.tolist() == [45, 40, 50]
    assert SAMPLES.queue_ns.tolist() == [15, 10, 20]
    assert SAMPLES.service_ns.tolist() == [30, 30]
    assert SAMPLES.ok.tolist() == [True, False, True]


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 1_000_000)), min_size=1, max_size=60))
def test_latency_is_queue_plus_service(batches: list[tuple[int, int]]) -> None:
    """For every request, latency is its time in the queue plus its batch's service time."""
    sizes = [size for size, _ in batches]
    dispatched = np.cumsum([gap for _, gap in batches])
    samples = make_samples(sizes, dispatched + 7, dispatched_ns=dispatched, started_ns=0)
    service = np.repeat(samples.service_ns, samples.size)
    assert np.array_equal(samples.latency_ns, samples.queue_ns + service)
    assert samples.size.tolist() == sizes


def test_calls_by_hand() -> None:
    """Counts, latencies and queueing times of each call."""
    answers = Reading(slo=47e-9).read(SAMPLES)

    assert answers.latency_ns.tolist() == [45, 50]
    assert answers.call.tolist() == [0, 1]
    calls = answers.calls
    assert calls.requests.tolist() == [2, 1]
    assert calls.good.tolist() == [1, 1]
    assert calls.within.tolist() == [1, 0]
    assert calls.queries.tolist() == [1, 1]
    assert calls.latency_ns.tolist() == [45, 50]
    assert calls.queue_ns.tolist() == [15 + 10, 20]
    assert calls.seconds(0).tolist() == pytest.approx([50e-9, 40e-9])


def test_longer_intervals_by_hand() -> None:
    """Sums are added, the latest end counts, and an interval in which nothing ended is empty."""
    calls = Reading(None).read(make_samples([2, 1, 4], [50, 90, 70])).calls

    grouped = calls.grouped(np.array([0, 2, 2]), 3)

    assert grouped.requests.tolist() == [2, 0, 5]
    assert grouped.calls.tolist() == [1, 0, 2]
    assert grouped.ends_ns[[0, 2]].tolist() == [50, 90]
    assert no_intervals(3).plus(grouped).requests.tolist() == [2, 0, 5]


def test_a_query_ends_with_its_last_request() -> None:
    """Of three requests in calls of two: as slow as the slowest, as good as the worst."""
    samples = make_samples(
        [2, 2, 2, 1],
        [10, 40, 20, 70],
        outcome=[0, 0, 0, 0, Outcome.EXCEPTION, 0, 0],
        per_query=3,
    )

    answers = Reading(None).read(samples)

    assert answers.latency_ns.tolist() == [40]
    assert answers.call.tolist() == [1]


def test_columns_of_one_length() -> None:
    """Intervals whose columns differ in length are refused."""
    column = np.zeros(2, np.int64)
    with pytest.raises(ValueError, match="differ in length"):
        type(no_intervals(0))(*(column for _ in range(8)), np.zeros(3, np.int64))
