"""Samples: what happened to each request, as columns.

Requests are numbered in the order in which they became due, and a batch is a run of consecutive
requests; so what is true of a whole batch is stored once a batch.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Outcome(enum.IntEnum):
    """How a request ended."""

    OK = 0
    EXCEPTION = 1
    WRONG_SHAPE = 2
    NOT_FINITE = 3
    MIXED_UP = 4
    CHANGED = 5


@dataclass(frozen=True, slots=True)
class Samples:
    """One run of a load.

    Attributes:
        started_ns: clock reading when the load began.
        intended_ns: when each answered request was due, shape `(requests,)`, not decreasing.
        stop: index of the request after each batch's last, shape `(batches,)`, increasing.
        dispatched_ns: when each batch was handed to the target, shape `(batches,)`.
        done_ns: when each batch's answer was there, shape `(batches,)`.
        outcome: `Outcome` of each request, shape `(requests,)`.
        late_ns: how late each idle replica woke for the next request, shape `(waits,)`.
        unfinished: requests that were due but not answered when the run's time was up.
        per_query: consecutive requests that are one query, answered when its last one is.
        rejected: requests that found the queue full; they are in no column.
    """

    started_ns: int
    intended_ns: NDArray[np.int64]
    stop: NDArray[np.int64]
    dispatched_ns: NDArray[np.int64]
    done_ns: NDArray[np.int64]
    outcome: NDArray[np.uint8]
    late_ns: NDArray[np.int64]
    unfinished: int
    per_query: int = 1
    rejected: int = 0

    @property
    def total(self) -> int:
        """All requests that became due."""
        return len(self.outcome) + self.unfinished + self.rejected

    @property
    def size(self) -> NDArray[np.int64]:
        """Requests in each batch, shape `(batches,)`."""
        return np.diff(self.stop, prepend=0)

    @property
    def ok(self) -> NDArray[np.bool_]:
        """Whether each request was answered well, shape `(requests,)`."""
        return np.equal(self.outcome, Outcome.OK)

    @property
    def latency_ns(self) -> NDArray[np.int64]:
        """From due to done, for each request."""
        return np.repeat(self.done_ns, self.size) - self.intended_ns

    @property
    def queue_ns(self) -> NDArray[np.int64]:
        """From due to dispatched, for each request."""
        return np.repeat(self.dispatched_ns, self.size) - self.intended_ns

    @property
    def service_ns(self) -> NDArray[np.int64]:
        """From dispatched to done, for each batch."""
        return self.done_ns - self.dispatched_ns

    def queries(self) -> tuple[NDArray[np.int64], NDArray[np.intp]]:
        """Latency of each query whose requests were all answered well, and its last batch.

        Returns:
            Nanoseconds from due to done, and indices of batches, both of shape `(queries,)`.
        """
        batch = np.repeat(np.arange(len(self.stop)), self.size)
        latency, good = self.latency_ns, self.ok
        if self.per_query > 1:
            whole = len(latency) // self.per_query * self.per_query
            shape = (-1, self.per_query)
            latency = latency[:whole].reshape(shape).max(axis=1)
            good = np.logical_and.reduce(good[:whole].reshape(shape), axis=1)
            batch = batch[:whole].reshape(shape).max(axis=1)
        return latency[good], batch[good]

    def block_seconds(self, block: NDArray[np.intp]) -> NDArray[np.float64]:
        """How long each block lasted, from the end of the one before it, shape `(blocks,)`.

        Args:
            block: block of each batch, as `blocks` gives it.
        """
        ends = np.full(int(block.max()) + 1, self.started_ns)
        np.maximum.at(ends, block, self.done_ns)
        return np.diff(ends, prepend=self.started_ns).astype(np.float64) * 1e-9

    def request_seconds(self, count: int) -> NDArray[np.float64]:
        """Seconds in the target for each request, in at most `count` stretches of the run."""
        if not len(self.stop):
            return np.empty(0)
        block = self.blocks(count)
        return np.bincount(block, self.service_ns * 1e-9) / np.bincount(block, self.size)

    def blocks(self, count: int) -> NDArray[np.intp]:
        """The block of each batch, shape `(batches,)`: at most `count` equal stretches of time.

        A block ends with the completion of a batch, so that it holds whole batches only.
        """
        span = max(1, int(self.done_ns.max()) - self.started_ns)
        ends = self.started_ns + span * np.arange(1, count) / count
        return np.unique(np.searchsorted(ends, self.done_ns, side="left"), return_inverse=True)[1]
