"""The call log: calls in the order of their requests, cut into segments when they have ended."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_dlperf.load.batch import Batch
from pytest_dlperf.load.request_log import CallLog
from pytest_dlperf.load.request_queue import RequestQueue
from pytest_dlperf.load.serving import Serving


def taken(sizes: list[int]) -> tuple[RequestQueue, list[Batch]]:
    """A queue all of whose requests are with replicas, due at 0, 10, 20 ns and so on."""
    queue = RequestQueue(10 * np.arange(sum(sizes)), 1 << 40, Serving(100))
    stops = np.cumsum(sizes).tolist()
    batches = [Batch(stop - size, stop) for size, stop in zip(sizes, stops, strict=True)]
    queue.take(1 << 30)
    return queue, batches


@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=25),
    st.randoms(use_true_random=False),
    st.integers(1, 5),
)
def test_segments_follow_one_another(
    sizes: list[int], random: np.random.Generator, often: int
) -> None:
    """In whatever order calls end, segments are consecutive requests, each call in one of them."""
    queue, batches = taken(sizes)
    shuffled = list(batches)
    random.shuffle(shuffled)
    call_log, segments = CallLog(0), []
    for number, batch in enumerate(shuffled):
        call_log.write(batch.start, batch.stop, number % 3, 5 * batch.stop, 1000 + number)
        if number % often == 0:
            segments.append(call_log.cut(queue))
    segments.append(call_log.cut(queue))

    first = 0
    requests = []
    for segment in segments:
        assert segment.first == first
        assert segment.intended_ns.tolist() == list(
            range(10 * first, 10 * (first + len(segment.outcome)), 10)
        )
        requests += (segment.stop + first).tolist()
        assert segment.dispatched_ns.tolist() == (5 * (segment.stop + first)).tolist()
        for stop, done, replica in zip(segment.stop, segment.done_ns, segment.replica, strict=True):
            number = next(i for i, batch in enumerate(shuffled) if batch.stop == stop + first)
            assert (done, replica) == (1000 + number, number % 3)
        first += len(segment.outcome)
    assert requests == [batch.stop for batch in batches]


def test_wake_ups_and_rejections_are_in_one_segment() -> None:
    """Each wake-up and rejection is in one segment only."""
    queue = RequestQueue(np.zeros(5, np.int64), 1 << 40, Serving(1, queue_limit=2))
    call_log = CallLog(0)
    batch = queue.take(0)
    assert isinstance(batch, Batch)
    call_log.woke(7)
    call_log.write(batch.start, batch.stop, 0, 0, 1)

    first, second = call_log.cut(queue), call_log.cut(queue)

    assert (first.late_ns.tolist(), first.rejected) == ([7], 3)
    assert (second.late_ns.tolist(), second.rejected) == ([], 0)


@pytest.mark.parametrize(("limit", "value"), [("_CALLS", 4), ("_REQUESTS", 8)])
def test_full_by_calls_or_requests(limit: str, value: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is full after a number of calls or requests, and empty again after a cut."""
    monkeypatch.setattr(f"pytest_dlperf.load.request_log.{limit}", value)
    queue, batches = taken([2] * 4)
    call_log = CallLog(0)
    for batch in batches[:-1]:
        call_log.write(batch.start, batch.stop, 0, 0, 1)
        assert not call_log.full
    call_log.write(batches[-1].start, batches[-1].stop, 0, 0, 1)
    assert call_log.full

    assert len(call_log.cut(queue).stop) == 4
    assert not call_log.full


def test_a_slow_call_does_not_keep_it_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the first call lasts nothing can be cut; the log is full again only after many more."""
    monkeypatch.setattr("pytest_dlperf.load.request_log._CALLS", 3)
    queue, batches = taken([1] * 8)
    call_log = CallLog(0)
    full = []
    for batch in batches[1:]:
        call_log.write(batch.start, batch.stop, 0, 0, 1)
        full.append(call_log.full)
        if call_log.full:
            assert len(call_log.cut(queue).stop) == 0
    assert full == [False, False, True, False, False, True, False]

    call_log.write(0, 1, 0, 0, 9)
    assert len(call_log.cut(queue).stop) == 8
