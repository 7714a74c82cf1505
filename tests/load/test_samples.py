"""Samples: columns, and what follows from them."""

from __future__ import annotations

import numpy as np
from builders import make_samples
from hypothesis import given
from hypothesis import strategies as st

from pytest_dlperf.load.samples import Outcome

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
