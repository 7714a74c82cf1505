"""Backlog: the requests of a scenario in the order in which they become due.

Virtual clients are rows of one array. A client whose request is answered becomes the next
entry, due when it has thought; so a closed loop, too, is a list of due times, only one that
grows while it is worked off, and a batch is always a slice of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_dlperf.core.arrivals import poisson
from pytest_dlperf.core.scenarios import ClosedLoop, Offline, Scenario, Server, SingleStream

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_dlperf.core.serving import Serving

_ROOM: Final = 1 << 14


@dataclass(frozen=True, slots=True)
class Batch:
    """Requests `start` to `stop - 1`, to be sent together."""

    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to send before `until_ns`; None if that depends on answers still to come."""

    until_ns: int | None


class Backlog:
    """Requests by due time. Not safe for threads by itself.

    Args:
        due_ns: due times of the first requests, not decreasing.
        end_ns: no request becomes due at or after it.
        think_ns: time from an answer to the same client's next request; None if the clients do
            not come again (open loop).
    """

    def __init__(self, due_ns: NDArray[np.int64], end_ns: int, think_ns: int | None) -> None:
        self._due = np.concatenate([due_ns, np.zeros(_ROOM, np.int64)])
        self._tail = len(due_ns)
        self._head = 0
        self._in_flight = 0
        self._end_ns = end_ns
        self._think_ns = think_ns

    def take(self, now_ns: int, serving: Serving, patience_ns: int) -> Batch | Wait | None:
        """The next batch, or when to ask again, or None when all is done.

        A batch goes when it is full, or when its oldest request has waited for `patience_ns`.
        """
        head, tail, due = self._head, self._tail, self._due
        if self._think_ns is not None and now_ns >= self._end_ns:
            return None
        if head == tail:
            return Wait(None) if self._in_flight and self._think_ns is not None else None
        full = head + serving.max_batch_size
        if full <= tail and due[full - 1] <= now_ns:
            return self._send(full)
        first = int(due[head])
        ready = first + patience_ns
        if now_ns < ready:
            # A batch that is known to fill before the patience ends goes when it is full.
            return Wait(min(ready, int(due[full - 1])) if full <= tail else ready)
        stop = head + int(due[head : min(full, tail)].searchsorted(now_ns, side="right"))
        return self._send(stop)

    def finish(self, batch: Batch, done_ns: int) -> None:
        """The batch is answered: in a closed loop its clients come again."""
        self._in_flight -= batch.stop - batch.start
        if self._think_ns is None:
            return
        again = done_ns + self._think_ns
        if again >= self._end_ns:
            return
        stop = self._tail + batch.stop - batch.start
        if stop > len(self._due):
            self._due = np.concatenate([self._due, np.zeros(len(self._due), np.int64)])
        # Replicas may report a little out of order; the order of due times must hold.
        self._due[self._tail : stop] = max(again, int(self._due[self._tail - 1]))
        self._tail = stop

    def _send(self, stop: int) -> Batch:
        batch = Batch(self._head, stop)
        self._in_flight += stop - self._head
        self._head = stop
        return batch

    @property
    def intended_ns(self) -> NDArray[np.int64]:
        """Due times of all requests that were taken, shape `(taken,)`."""
        return self._due[: self._head]

    def left(self, now_ns: int) -> int:
        """Requests that are due but were never taken; those of a closed loop just stop."""
        if self._think_ns is not None:
            return 0
        return int(self._due[self._head : self._tail].searchsorted(now_ns, side="right"))


def backlog_for(
    scenario: Scenario, serving: Serving, start_ns: int, duration: float, seed: int
) -> Backlog:
    """The requests of a scenario that begins at `start_ns` and lasts `duration` seconds."""
    end_ns = start_ns + int(duration * 1e9)
    match scenario:
        case Server(rate):
            return Backlog(start_ns + poisson(rate, duration, seed), end_ns, None)
        case ClosedLoop(clients, think_time):
            think_ns = int(think_time * 1e9)
        case SingleStream():
            clients, think_ns = 1, 0
        case Offline():
            # As many clients as keep every replica in full batches, one batch waiting each.
            clients, think_ns = 2 * serving.max_batch_size * serving.replicas, 0
    return Backlog(np.full(clients, start_ns, np.int64), end_ns, think_ns)
