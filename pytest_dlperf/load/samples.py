"""Samples: times and outcomes of the requests of a run, as columns.

Requests are numbered in the order in which they became due, and a batch is a range of consecutive
requests, so values of a whole batch are stored once per batch.
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


@dataclass(frozen=True, slots=True)
class Samples:
    """A segment of a run: consecutive requests, all of whose calls have ended.

    Attributes:
        started_ns: clock reading when the run began.
        intended_ns: when each answered request was due, shape `(requests,)`, non-decreasing.
        stop: index of the request after each batch's last, shape `(batches,)`, increasing.
        dispatched_ns: when each batch was handed to the target, shape `(batches,)`.
        done_ns: when each batch was answered, shape `(batches,)`.
        replica: number of the replica that answered each batch, shape `(batches,)`.
        outcome: `Outcome` of each request, shape `(requests,)`.
        late_ns: how late each idle replica woke for the next request, shape `(waits,)`.
        unfinished: requests that were due but not answered when the run ended.
        per_query: consecutive requests that form one query, answered when its last one is.
        rejected: requests that found the queue full; they are in no column.
        first: number of the segment's first request in the run.
    """

    started_ns: int
    intended_ns: NDArray[np.int64]
    stop: NDArray[np.int64]
    dispatched_ns: NDArray[np.int64]
    done_ns: NDArray[np.int64]
    replica: NDArray[np.int64]
    outcome: NDArray[np.uint8]
    late_ns: NDArray[np.int64]
    unfinished: int
    per_query: int = 1
    rejected: int = 0
    first: int = 0

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
        """Whether each request has a good answer, shape `(requests,)`."""
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
