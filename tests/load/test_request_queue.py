"""The queue: requests in the order in which they become due."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pytest_dlperf.load.batch import Batch, Wait
from pytest_dlperf.load.request_queue import RequestQueue, request_queue_for
from pytest_dlperf.load.scenarios import ClosedLoop, MultiStream, Offline, Server, SingleStream
from pytest_dlperf.load.serving import Serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray


def open_loop(*due_ns: int, serving: Serving | None = None) -> RequestQueue:
    """Requests that come once, at these times."""
    return RequestQueue(np.array(due_ns, np.int64), 1 << 40, serving or Serving())


def test_takes_every_request_that_is_due() -> None:
    """A batch is all that is due, up to the largest batch."""
    queue = open_loop(10, 20, 30, 40)

    assert queue.take(30) == Batch(0, 3)
    assert queue.take(30) == Wait(40)
    assert queue.take(40) == Batch(3, 4)
    assert queue.take(40) is None


def test_never_exceeds_the_largest_batch() -> None:
    """What does not fit waits for the next batch."""
    queue = open_loop(*range(10), serving=Serving(4))

    sizes = []
    while isinstance(batch := queue.take(100), Batch):
        sizes.append(batch.stop - batch.start)

    assert sizes == [4, 4, 2]


def test_waits_for_the_oldest_request_only() -> None:
    """The batch timeout runs from the first request of the batch, not from the last."""
    queue = open_loop(100, 150, 400, serving=Serving(64, batch_timeout=200e-9))

    assert queue.take(100) == Wait(300)
    assert queue.take(299) == Wait(300)
    assert queue.take(300) == Batch(0, 2)


def test_a_full_batch_does_not_wait() -> None:
    """A batch that fills before the timeout goes when it is full."""
    queue = open_loop(100, 150, 160, 170, serving=Serving(3, batch_timeout=1e-6))

    assert queue.take(100) == Wait(160)
    assert queue.take(160) == Batch(0, 3)


def test_clients_come_again_after_thinking() -> None:
    """A closed-loop client is due again when its answer is there and it has thought."""
    queue = request_queue_for(ClosedLoop(2, think_time=7e-9), Serving(1), 0, 1e-6, 0)

    assert queue.take(0) == Batch(0, 1)
    queue.finish(Batch(0, 1), 100)

    assert queue.take(100) == Batch(1, 2)
    assert queue.take(100) == Wait(107)


def test_a_closed_loop_waits_for_answers_in_flight() -> None:
    """With every client waiting for an answer, the next request depends on that answer."""
    queue = request_queue_for(SingleStream(), Serving(), 0, 1e-6, 0)

    queue.take(0)

    assert queue.take(5) == Wait(None)


def test_a_closed_loop_ends_on_time() -> None:
    """No request is sent at or after the end, and none that was not sent counts as left."""
    queue = request_queue_for(SingleStream(), Serving(), 0, 5e-8, 0)

    queue.take(0)
    queue.finish(Batch(0, 1), 49)

    assert queue.take(50) is None
    assert queue.left(50) == 0


def test_an_open_loop_counts_what_was_never_taken() -> None:
    """Requests that were due but not sent are not forgotten."""
    queue = open_loop(10, 20, 30, 40)

    queue.take(10)

    assert queue.left(30) == 2


def test_scenarios_begin_with_their_clients() -> None:
    """Each closed scenario starts with all its clients due at once."""
    sizes = {
        scenario: request_queue_for(scenario, Serving(8, replicas=2), 0, 1.0, 0).take(0)
        for scenario in (ClosedLoop(5), SingleStream(), MultiStream(3), Offline())
    }

    assert sizes == {
        ClosedLoop(5): Batch(0, 5),
        SingleStream(): Batch(0, 1),
        MultiStream(3): Batch(0, 3),
        Offline(): Batch(0, 8),
    }


def test_server_arrivals_are_the_same_for_the_same_seed() -> None:
    """The same seed gives the same times, another seed others."""
    waits = [request_queue_for(Server(1000), Serving(), 0, 1.0, seed).take(0) for seed in (3, 3, 4)]

    assert waits[0] == waits[1] != waits[2]


@given(
    st.lists(st.integers(0, 50), min_size=1, max_size=60),
    st.integers(1, 9),
    st.integers(0, 40),
    st.integers(0, 30),
)
def test_every_request_is_taken_once_and_in_order(
    gaps: list[int], largest: int, timeout: int, work: int
) -> None:
    """Batches are consecutive, never early, never too large, and cover everything."""
    due = np.cumsum(gaps).astype(np.int64)
    queue = RequestQueue(due, 1 << 40, Serving(largest, batch_timeout=timeout * 1e-9))
    now, taken = 0, 0

    while (step := queue.take(now)) is not None:
        if isinstance(step, Wait):
            assert step.until_ns is not None
            assert step.until_ns > now
            now = step.until_ns
            continue
        assert step.start == taken
        assert 0 < step.stop - step.start <= largest
        assert due[step.stop - 1] <= now
        taken = step.stop
        now += work
        queue.finish(step, now)

    assert taken == len(due)


def played(queue: RequestQueue, work: int, *, forgetful: bool) -> tuple[list[object], int, int]:
    """Every batch with the due times of its requests, what was rejected, and what was left."""
    now, taken = 0, []
    while now < 600 and (step := queue.take(now)) is not None:
        if isinstance(step, Wait):
            assert step.until_ns is not None
            now = step.until_ns
            continue
        taken.append((now, step, queue.intended_ns(step.start, step.stop).tolist()))
        now += work
        queue.finish(step, now)
        if forgetful:
            queue.forget(step.stop)
    return taken, queue.rejected, queue.left(now)


@given(
    st.lists(st.integers(0, 50), min_size=1, max_size=60),
    st.lists(st.integers(1, 59), max_size=6),
    st.integers(1, 9),
    st.none() | st.integers(1, 9),
    st.integers(0, 40),
    st.integers(1, 90),
)
def test_drawing_and_forgetting_change_nothing(  # noqa: PLR0913, PLR0917 - what is drawn
    gaps: list[int], cuts: list[int], largest: int, room: int | None, timeout: int, work: int
) -> None:
    """Arrivals drawn in parts, and forgotten once sent, are served as if all were there."""
    due = np.cumsum(gaps).astype(np.int64)
    serving = Serving(largest, batch_timeout=timeout * 1e-9, queue_limit=room)
    first, *more = (part for part in np.split(due, sorted(cuts)) if len(part))

    whole = played(RequestQueue(due, 1 << 40, serving), work, forgetful=False)
    parts = played(RequestQueue(first, 1 << 40, serving, more=more), work, forgetful=True)

    assert parts == whole


def test_a_closed_loop_forgets() -> None:
    """What clients sent before is dropped; the numbers of requests go on."""
    queue = request_queue_for(ClosedLoop(2), Serving(2), 0, 1.0, 0)
    for turn in range(100):
        batch = queue.take(turn)
        assert batch == Batch(2 * turn, 2 * turn + 2)
        assert queue.intended_ns(batch.start, batch.stop).tolist() == [turn, turn]
        queue.finish(batch, turn + 1)
        queue.forget(batch.stop)


def test_an_overload_is_not_drawn_before_it_is_served() -> None:
    """Of waiting requests, only those that may fill the next batch are drawn."""
    drawn = []

    def more() -> Iterator[NDArray[np.int64]]:
        for first in range(4, 1000, 4):
            drawn.append(first)
            yield np.arange(first, first + 4)

    queue = RequestQueue(np.arange(4), 1 << 40, Serving(4), more=more())

    assert queue.take(10**6) == Batch(0, 4)
    assert len(drawn) <= 1
    assert queue.left(10**6) == 996
