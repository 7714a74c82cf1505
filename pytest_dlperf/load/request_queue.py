"""Request queues: the requests of a scenario in the order in which they become due.

Due times are one array, and a batch is always a slice of it. In a closed loop the array grows while
the load runs: an answered client appends its next due time. Closed loops with a constant think time
need no array: `closed_loop.ClosedLoopClients`.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from pytest_dlperf.load.arrivals import CHUNK, arrival_chunks
from pytest_dlperf.load.batch import Batch, PendingRequests, Wait
from pytest_dlperf.load.closed_loop import ClosedLoopClients
from pytest_dlperf.load.scenarios import (
    ClosedLoop,
    Exponential,
    MultiStream,
    Offline,
    Scenario,
    SingleStream,
)
from pytest_dlperf.load.trace_files import with_times

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

    from pytest_dlperf.load.serving import Serving

_ROOM: Final = 1 << 14  # due times to allocate at first; more is appended in bulk


class RequestQueue:
    """`PendingRequests` whose due times are arrays.

    Requests that become due join the queue if it has room. `_queue` holds the due times of those
    that joined, from the first one not yet forgotten, so a batch is a slice of it.

    Args:
        due_ns: due times of the first requests, non-decreasing.
        end_ns: no request becomes due at or after it.
        serving: batch size, batch timeout, and queue limit.
        again: when answered clients send again; None for an open loop.
        per_query: consecutive requests that form one query.
        more: due times of further requests, in arrays, drawn on demand.
        pause: entered while they are drawn; stops the clock of the load.
    """

    def __init__(  # noqa: PLR0913 - arrivals and serving
        self,
        due_ns: NDArray[np.int64],
        end_ns: int,
        serving: Serving,
        again: RearmPolicy | None = None,
        *,
        per_query: int = 1,
        more: Iterable[NDArray[np.int64]] = (),
        pause: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self.per_query = per_query
        self.rejected = 0
        self._coming = due_ns
        self._next = 0
        self._more = iter(more)
        self._pause = pause
        self._all_drawn = False
        # Without rejections and without clients that send again, the queue is the arrivals.
        self._all_join = serving.queue_limit is None and again is None
        self._queue = due_ns if self._all_join else np.empty(_ROOM, np.int64)
        self._base = 0  # number of the request that the queue begins with
        self._head = 0
        self._tail = 0
        self._in_flight = 0
        self._end_ns = end_ns
        self._largest = serving.max_batch_size
        self._room = serving.queue_limit
        self._batch_timeout_ns = int(serving.batch_timeout * 1e9)
        self._again = again

    @property
    def closed_loop(self) -> bool:
        """Whether answers trigger further requests."""
        return self._again is not None

    def take(self, now_ns: int) -> Batch | Wait | None:
        """See `PendingRequests.take`."""
        if self._again is not None and now_ns >= self._end_ns:
            return None
        self._admit(now_ns)
        waiting = self._tail - self._head
        if waiting >= self._largest:
            return self._send(self._largest)
        if not waiting and self._next == len(self._coming):
            return Wait(None) if self._in_flight and self._again is not None else None
        oldest = self._queue[self._head - self._base] if waiting else self._coming[self._next]
        ready = int(oldest) + self._batch_timeout_ns
        if now_ns >= ready:
            return self._send(waiting)
        # A batch that will fill before its timeout is due when it is full.
        fills = self._next + self._largest - waiting - 1
        return Wait(min(ready, int(self._coming[fills])) if fills < len(self._coming) else ready)

    def finish(self, batch: Batch, done_ns: int) -> None:
        """See `PendingRequests.finish`."""
        self._in_flight -= batch.stop - batch.start
        if self._again is None:
            return
        coming = self._coming[self._next :]
        outstanding = self._in_flight + self._tail - self._head + len(coming)
        due = self._again(batch.stop - batch.start, done_ns, outstanding)
        due = due[due < self._end_ns]
        # Random think times, and replicas that finish out of order, break the order.
        sort = len(coming) and len(due) and due[0] < coming[-1]
        self._coming, self._next = np.concatenate([coming, due]), 0
        if sort:
            self._coming.sort()

    def intended_ns(self, start: int, stop: int) -> NDArray[np.int64]:
        """See `PendingRequests.intended_ns`."""
        return self._queue[start - self._base : stop - self._base]

    def forget(self, stop: int) -> None:
        """See `PendingRequests.forget`."""
        # A slice without the copy would keep the whole array alive.
        self._queue = self._queue[stop - self._base :].copy()
        if self._all_join:
            self._coming = self._queue
            self._next -= stop - self._base
        self._base = stop

    def left(self, now_ns: int) -> int:
        """See `PendingRequests.left`."""
        if self._again is not None:
            return 0
        self._admit(now_ns)
        left = self._tail - self._head
        if self._next == len(self._coming):
            for chunk in self._more:
                left += int(chunk.searchsorted(now_ns, side="right"))
                if chunk[-1] > now_ns:
                    break
        return left

    def _admit(self, now_ns: int) -> None:
        """Move due requests to the queue, and reject those that find it full.

        `take` admits before it sends, so no request leaves the queue between two admissions, and
        earlier arrivals get the room.
        """
        self._join(now_ns)
        while not self._all_drawn and self._draw():
            self._join(now_ns)

    def _join(self, now_ns: int) -> None:
        due = int(self._coming[self._next :].searchsorted(now_ns, side="right"))
        if self._all_join:
            self._next += due
            self._tail = self._base + self._next
            return
        if not due:
            return
        room = due if self._room is None else min(due, self._room - self._tail + self._head)
        start, stop = self._tail - self._base, self._tail - self._base + room
        if stop > len(self._queue):
            self._queue = np.concatenate([self._queue, np.empty(max(room, stop), np.int64)])
        self._queue[start:stop] = self._coming[self._next : self._next + room]
        self._tail += room
        self._next += due
        self.rejected += due - room

    def _draw(self) -> bool:
        """Draw further due times unless the known ones determine when the next batch is full."""
        waiting = self._tail - self._head
        known = len(self._coming) - self._next
        if known >= self._largest or (self._all_join and waiting >= self._largest):
            return False
        with self._pause():
            chunk = next(self._more, None)
            if chunk is None:
                self._all_drawn = True
                return False
            if self._all_join:
                self._queue = self._coming = np.concatenate([self._queue, chunk])
            else:
                self._coming, self._next = np.concatenate([self._coming[self._next :], chunk]), 0
        return True

    def _send(self, count: int) -> Batch:
        batch = Batch(self._head, self._head + count)
        self._head = batch.stop
        self._in_flight += count
        return batch


class RearmPolicy(Protocol):
    """When the clients of a closed loop send their next requests."""

    def __call__(self, answered: int, done_ns: int, outstanding: int) -> NDArray[np.int64]:
        """Due times of the next requests after an answer to some, non-decreasing.

        `outstanding` requests are known and not yet answered.
        """
        ...


def request_queue_for(  # noqa: PLR0913 - traffic, serving and time
    scenario: Scenario,
    serving: Serving,
    start_ns: int,
    duration: float,
    seed: int,
    *,
    pause: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> PendingRequests:
    """The requests of a scenario that starts at `start_ns` and lasts `duration` seconds.

    `pause` is entered while arrivals are drawn; it stops the clock of the load.

    Raises:
        UsageError: if the file of a trace cannot be read.
    """
    end_ns = start_ns + int(duration * 1e9)

    def at_once(clients: int) -> NDArray[np.int64]:
        return np.full(clients, start_ns, np.int64)

    match with_times(scenario):
        case ClosedLoop(clients, think_time):
            if isinstance(think_time, Exponential):
                again = _after_thinking(think_time.mean, seed)
                return RequestQueue(at_once(clients), end_ns, serving, again)
            return ClosedLoopClients(clients, start_ns, end_ns, serving, int(think_time * 1e9))
        case SingleStream():
            return ClosedLoopClients(1, start_ns, end_ns, serving, 0)
        case MultiStream(samples):
            return RequestQueue(
                at_once(samples), end_ns, serving, _together(samples), per_query=samples
            )
        case Offline():
            # Enough clients that each replica computes one full batch while another one waits.
            clients = 2 * serving.max_batch_size * serving.everywhere
            return ClosedLoopClients(clients, start_ns, end_ns, serving, 0)
        case open_loop:
            chunks = arrival_chunks(open_loop, duration, seed, CHUNK)
    more = (start_ns + chunk for chunk in chunks)
    first = next(more, np.zeros(0, np.int64))
    return RequestQueue(first, end_ns, serving, more=more, pause=pause)


def _after_thinking(mean: float, seed: int) -> RearmPolicy:
    generator = np.random.default_rng(seed)

    def again(answered: int, done_ns: int, outstanding: int) -> NDArray[np.int64]:  # noqa: ARG001 - as RearmPolicy
        times = done_ns + generator.exponential(mean * 1e9, answered).astype(np.int64)
        times.sort()
        return times

    return again


def _together(samples: int) -> RearmPolicy:
    """The next query is sent when the last sample of this one is answered."""
    last_ns = 0

    def again(answered: int, done_ns: int, outstanding: int) -> NDArray[np.int64]:
        nonlocal last_ns
        del answered
        last_ns = max(last_ns, done_ns)
        return np.full(0 if outstanding else samples, last_ns, np.int64)

    return again
