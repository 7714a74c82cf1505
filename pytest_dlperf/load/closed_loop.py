"""Closed loops with a constant think time, at the cost of a few integers a batch.

Clients that are answered together send again together. So the due requests are a short list of
(time, number of clients), and no array is touched for a batch.
"""

from __future__ import annotations

from array import array
from bisect import insort
from typing import TYPE_CHECKING

import numpy as np

from pytest_dlperf.load.batch import Batch, Wait

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_dlperf.load.serving import Serving


class ClosedLoopClients:
    """`PendingRequests` of `count` virtual clients; all send their first request at `start_ns`.

    No request becomes due, and no batch is sent, at or after `end_ns`.
    """

    closed_loop = True
    per_query = 1
    rejected = 0

    def __init__(
        self, count: int, start_ns: int, end_ns: int, serving: Serving, think_ns: int
    ) -> None:
        self._coming = [(start_ns, count)]
        self._end_ns = end_ns
        self._largest = serving.max_batch_size
        self._batch_timeout_ns = int(serving.batch_timeout * 1e9)
        self._think_ns = think_ns
        self._in_flight = 0
        self._head = 0
        # Requests that were taken and not forgotten: due times, and the number due at each.
        self._base = 0
        # Arrays, not lists: 8 bytes an entry, and numpy reads them without a loop.
        self._due_ns = array("q")
        self._counts = array("q")

    def take(self, now_ns: int) -> Batch | Wait | None:
        """See `PendingRequests.take`."""
        if now_ns >= self._end_ns:
            return None
        if not self._coming:
            return Wait(None) if self._in_flight else None
        known = waiting = 0
        fills_ns: int | None = None
        for due_ns, count in self._coming:
            known += count
            if due_ns <= now_ns:
                waiting = known
            if known >= self._largest:
                fills_ns = due_ns
                break
        if fills_ns is not None and fills_ns <= now_ns:
            return self._send(self._largest)
        ready_ns = self._coming[0][0] + self._batch_timeout_ns
        if now_ns >= ready_ns:
            return self._send(waiting)
        return Wait(ready_ns if fills_ns is None else min(ready_ns, fills_ns))

    def finish(self, batch: Batch, done_ns: int) -> None:
        """See `PendingRequests.finish`."""
        count = batch.stop - batch.start
        self._in_flight -= count
        due_ns = done_ns + self._think_ns
        if due_ns >= self._end_ns:
            return
        # Replicas may finish out of order.
        if self._coming and due_ns < self._coming[-1][0]:
            insort(self._coming, (due_ns, count))
        else:
            self._coming.append((due_ns, count))

    def intended_ns(self, start: int, stop: int) -> NDArray[np.int64]:
        """See `PendingRequests.intended_ns`."""
        due = np.repeat(np.array(self._due_ns, np.int64), np.array(self._counts, np.int64))
        return due[start - self._base : stop - self._base]

    def forget(self, stop: int) -> None:
        """See `PendingRequests.forget`."""
        counts = np.array(self._counts, np.int64)
        ends = self._base + np.cumsum(counts)
        dropped = int(ends.searchsorted(stop, side="right"))
        if dropped < len(ends):
            counts[dropped] = ends[dropped] - max(stop, self._base)
        self._due_ns = self._due_ns[dropped:]
        self._counts = array("q", counts[dropped:].tobytes())
        self._base = stop

    def left(self, now_ns: int) -> int:
        """0: clients of a closed loop stop when the load does."""
        del now_ns
        return 0

    def _send(self, count: int) -> Batch:
        batch = Batch(self._head, self._head + count)
        self._head = batch.stop
        self._in_flight += count
        emptied = 0
        for due_ns, here in self._coming:
            taken = min(here, count)
            self._due_ns.append(due_ns)
            self._counts.append(taken)
            count -= taken
            if taken < here:
                self._coming[emptied] = (due_ns, here - taken)
                break
            emptied += 1
            if not count:
                break
        del self._coming[:emptied]
        return batch
