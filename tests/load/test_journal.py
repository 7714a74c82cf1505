"""The journal: calls in the order of their requests, given away when they have ended."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_dlperf.load.batch import Batch
from pytest_dlperf.load.ledger import CallLog
from pytest_dlperf.load.request_queue import RequestQueue
from pytest_dlperf.load.serving import Serving


def taken(sizes: list[int]) -> tuple[RequestQueue, list[Batch]]:
    """A backlog all of whose requests are with replicas, due at 0, 10, 20 ns and so on."""
    backlog = RequestQueue(10 * np.arange(sum(sizes)), 1 << 40, Serving(100))
    stops = np.cumsum(sizes).tolist()
    batches = [Batch(stop - size, stop) for size, stop in zip(sizes, stops, strict=True)]
    backlog.take(1 << 30)
    return backlog, batches


@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=25),
    st.randoms(use_true_random=False),
    st.integers(1, 5),
)
def test_segments_follow_one_another(
    sizes: list[int], random: np.random.Generator, often: int
) -> None:
    """In whatever order calls end, segments are consecutive requests, each call in one of them."""
    backlog, batches = taken(sizes)
    shuffled = list(batches)
    random.shuffle(shuffled)
    journal, segments = CallLog(0), []
    for number, batch in enumerate(shuffled):
        journal.write(batch.start, batch.stop, number % 3, 5 * batch.stop, 1000 + number)
        if number % often == 0:
            segments.append(journal.cut(backlog))
    segments.append(journal.cut(backlog))

    first = 0
    found = []
    for segment in segments:
        assert segment.first == first
        assert segment.intended_ns.tolist() == list(
            range(10 * first, 10 * (first + len(segment.outcome)), 10)
        )
        found += (segment.stop + first).tolist()
        assert segment.dispatched_ns.tolist() == (5 * (segment.stop + first)).tolist()
        for stop, done, replica in zip(segment.stop, segment.done_ns, segment.replica, strict=True):
            number = next(i for i, batch in enumerate(shuffled) if batch.stop == stop + first)
            assert (done, replica) == (1000 + number, number % 3)
        first += len(segment.outcome)
    assert found == [batch.stop for batch in batches]


def test_wakes_and_rejections_are_given_away_once() -> None:
    """Each is in one segment only."""
    backlog = RequestQueue(np.zeros(5, np.int64), 1 << 40, Serving(1, queue_limit=2))
    journal = CallLog(0)
    batch = backlog.take(0)
    assert isinstance(batch, Batch)
    journal.woke(7)
    journal.write(batch.start, batch.stop, 0, 0, 1)

    first, second = journal.cut(backlog), journal.cut(backlog)

    assert (first.late_ns.tolist(), first.rejected) == ([7], 3)
    assert (second.late_ns.tolist(), second.rejected) == ([], 0)


@pytest.mark.parametrize(("limit", "value"), [("_CALLS", 4), ("_REQUESTS", 8)])
def test_full_by_calls_or_requests(limit: str, value: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is full with so many calls or requests, and empty again when they were given away."""
    monkeypatch.setattr(f"pytest_dlperf.load.ledger.{limit}", value)
    backlog, batches = taken([2] * 4)
    journal = CallLog(0)
    for batch in batches[:-1]:
        journal.write(batch.start, batch.stop, 0, 0, 1)
        assert not journal.full
    journal.write(batches[-1].start, batches[-1].stop, 0, 0, 1)
    assert journal.full

    assert len(journal.cut(backlog).stop) == 4
    assert not journal.full


def test_a_slow_call_does_not_keep_it_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the first call lasts nothing can be given away; it is tried again with many more."""
    monkeypatch.setattr("pytest_dlperf.load.ledger._CALLS", 3)
    backlog, batches = taken([1] * 8)
    journal = CallLog(0)
    full = []
    for batch in batches[1:]:
        journal.write(batch.start, batch.stop, 0, 0, 1)
        full.append(journal.full)
        if journal.full:
            assert len(journal.cut(backlog).stop) == 0
    assert full == [False, False, True, False, False, True, False]

    journal.write(0, 1, 0, 0, 9)
    assert len(journal.cut(backlog).stop) == 8
