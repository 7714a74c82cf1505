"""Samples: columns, and what follows from them."""

from __future__ import annotations

import numpy as np
from builders import make_samples
from hypothesis import given
from hypothesis import strategies as st

from pytest_dlperf.core.samples import Outcome

_BATCHES = st.lists(
    st.tuples(st.integers(1, 5), st.integers(1, 1_000_000)), min_size=1, max_size=60
)


def test_columns_by_hand() -> None:
    """Latency runs from due to done, queueing from due to dispatched, service in between."""
    samples = make_samples(
        [2, 1],
        [50, 90],
        dispatched_ns=[20, 60],
        intended_ns=[5, 10, 40],
        outcome=[0, Outcome.NOT_FINITE, 0],
    )
    assert samples.size.tolist() == [2, 1]
    assert samples.latency_ns.tolist() == [45, 40, 50]
    assert samples.queue_ns.tolist() == [15, 10, 20]
    assert samples.service_ns.tolist() == [30, 30]
    assert samples.ok.tolist() == [True, False, True]


@given(_BATCHES)
def test_latency_is_queue_plus_service(batches: list[tuple[int, int]]) -> None:
    """For every request, latency is its time in the queue plus its batch's service time."""
    sizes = [size for size, _ in batches]
    dispatched = np.cumsum([gap for _, gap in batches])
    samples = make_samples(sizes, dispatched + 7, dispatched_ns=dispatched, started_ns=0)
    service = np.repeat(samples.service_ns, samples.size)
    assert np.array_equal(samples.latency_ns, samples.queue_ns + service)
    assert samples.size.tolist() == sizes


@given(_BATCHES, st.integers(1, 25), st.integers(0, 10**15), st.randoms(use_true_random=False))
def test_blocks_are_stretches_of_time(
    batches: list[tuple[int, int]],
    count: int,
    started: int,
    random: np.random.Generator,
) -> None:
    """Blocks follow one another in time, are numbered without gaps, and are `count` at most."""
    done = started + np.cumsum([gap for _, gap in batches])
    random.shuffle(done)  # several replicas finish in any order
    block = make_samples([size for size, _ in batches], done, started_ns=started).blocks(count)
    assert set(block.tolist()) == set(range(int(block.max()) + 1))
    assert block.max() < count
    assert (np.diff(block[np.argsort(done, kind="stable")]) >= 0).all()


def test_blocks_are_equally_long() -> None:
    """Evenly spaced batches spread evenly; a batch that ends on a border belongs before it."""
    done = np.arange(1, 101) * 1_000 + 5_000
    block = make_samples([1] * 100, done, started_ns=5_000).blocks(20)
    assert np.bincount(block).tolist() == [5] * 20


def test_blocks_of_a_pause() -> None:
    """A stretch in which nothing ended is no block of its own."""
    block = make_samples([1, 1, 1], [10, 20, 1000]).blocks(10)
    assert block.tolist() == [0, 0, 1]


def test_blocks_of_an_instant() -> None:
    """A run that took no time is one block, not a division by zero."""
    assert make_samples([1, 1], [5, 5], started_ns=5).blocks(20).tolist() == [0, 0]
