"""Backlog: the requests of a scenario in the order in which they become due.

Due times are one array, and a batch is always a slice of it. A virtual client whose request is
answered becomes the next entry, due when it has thought; so a closed loop, too, is a list of due
times, only one that grows while it is worked off. Clients that all think equally long need no
array: they are in `clients`.
"""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
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
    Trace,
)
from pytest_dlperf.load.trace_files import read_times

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

    from pytest_dlperf.load.serving import Serving

_ROOM: Final = 1 << 14


class RequestQueue:
    """A `PendingRequests` whose due times are arrays. Not safe for threads by itself.

    Requests that are due join a queue, if there is room in it; `_queue` holds those that joined,
    in order, from the first that was not forgotten, so that a batch is a slice of it.

    Args:
        due_ns: due times of the first requests, not decreasing.
        end_ns: no request becomes due at or after it.
        serving: the largest batch, and the room in the queue.
        again: how clients come again; None if they do not (open loop).
        per_query: consecutive requests that are one query.
        more: due times of further requests, in arrays; drawn as they are needed.
        pause: entered while they are drawn, so that this takes no time from the load.
    """

    def __init__(  # noqa: PLR0913 - what comes, and how it is served
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
        # Where nobody is turned away and nobody comes again, all that comes is the queue.
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
        """Whether answers bring further requests."""
        return self._again is not None

    def take(self, now_ns: int) -> Batch | Wait | None:
        """The next batch, or when to ask again, or None when all is done.

        A batch goes when it is full, or when its oldest request has waited long enough.
        """
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
        # A batch that is known to fill before the timeout ends goes when it is full.
        fills = self._next + self._largest - waiting - 1
        return Wait(min(ready, int(self._coming[fills])) if fills < len(self._coming) else ready)

    def finish(self, batch: Batch, done_ns: int) -> None:
        """The batch is answered: in a closed loop its clients come again."""
        self._in_flight -= batch.stop - batch.start
        if self._again is None:
            return
        coming = self._coming[self._next :]
        outstanding = self._in_flight + self._tail - self._head + len(coming)
        due = self._again(batch.stop - batch.start, done_ns, outstanding)
        due = due[due < self._end_ns]
        # Clients that think for random times, or replicas that report out of order, overtake.
        sort = len(coming) and len(due) and due[0] < coming[-1]
        self._coming, self._next = np.concatenate([coming, due]), 0
        if sort:
            self._coming.sort()

    def intended_ns(self, start: int, stop: int) -> NDArray[np.int64]:
        """Due times of requests `start` to `stop - 1`, which were taken and not forgotten."""
        return self._queue[start - self._base : stop - self._base]

    def forget(self, stop: int) -> None:
        """Drop the due times of all requests before `stop`, which must have been taken."""
        # A copy: a slice would keep all of it.
        self._queue = self._queue[stop - self._base :].copy()
        if self._all_join:
            self._coming = self._queue
            self._next -= stop - self._base
        self._base = stop

    def left(self, now_ns: int) -> int:
        """Requests that are due but were never taken; those of a closed loop just stop.

        Nothing can be taken after that.
        """
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
        """Let what is due join the queue, and reject what finds it full.

        Whoever takes a batch admits first; so between two admissions nobody leaves the queue,
        and those who come first get the room.
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
        """Draw further due times, if those that are known do not tell when a batch is full."""
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
    """How the clients of a closed loop come again."""

    def __call__(self, answered: int, done_ns: int, outstanding: int) -> NDArray[np.int64]:
        """Due times of the next requests, not decreasing.

        Args:
            answered: requests that were just answered.
            done_ns: when.
            outstanding: requests that are due or with the target and not answered yet.
        """
        ...


def request_queue_for(  # noqa: PLR0913 - what comes, when, how it is served, and on whose time
    scenario: Scenario,
    serving: Serving,
    start_ns: int,
    duration: float,
    seed: int,
    *,
    pause: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> PendingRequests:
    """The requests of a scenario that begins at `start_ns` and lasts `duration` seconds.

    Args:
        scenario: the traffic.
        serving: batching, and the room in the queue.
        start_ns: when the scenario begins.
        duration: seconds for which requests come.
        seed: of whatever is random.
        pause: entered while arrivals are drawn, so that this takes no time from the load.

    Raises:
        UsageError: if a trace's file cannot be read as times.
    """
    end_ns = start_ns + int(duration * 1e9)

    def at_once(clients: int) -> NDArray[np.int64]:
        return np.full(clients, start_ns, np.int64)

    match scenario:
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
            # As many clients as keep every replica in full batches, one batch waiting each.
            clients = 2 * serving.max_batch_size * serving.everywhere
            return ClosedLoopClients(clients, start_ns, end_ns, serving, 0)
        case Trace(str() as path):
            chunks = arrival_chunks(Trace(read_times(Path(path))), duration, seed, CHUNK)
        case _:
            chunks = arrival_chunks(scenario, duration, seed, CHUNK)
    more = (start_ns + chunk for chunk in chunks)
    first = next(more, np.zeros(0, np.int64))
    return RequestQueue(first, end_ns, serving, more=more, pause=pause)


def _after_thinking(mean: float, seed: int) -> RearmPolicy:
    generator = np.random.default_rng(seed)

    def again(answered: int, done_ns: int, outstanding: int) -> NDArray[np.int64]:  # noqa: ARG001 - as Again
        times = done_ns + generator.exponential(mean * 1e9, answered).astype(np.int64)
        times.sort()
        return times

    return again


def _together(samples: int) -> RearmPolicy:
    """The next query follows when the last sample of this one is answered."""
    last_ns = 0

    def again(answered: int, done_ns: int, outstanding: int) -> NDArray[np.int64]:
        nonlocal last_ns
        del answered
        last_ns = max(last_ns, done_ns)
        return np.full(0 if outstanding else samples, last_ns, np.int64)

    return again
