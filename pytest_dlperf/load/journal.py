"""Journal: what became of each call, a few numbers each, until it is given away."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_dlperf.load.samples import Outcome, Samples

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_dlperf.load.pending import Pending

_CALLS: Final = 1 << 16
_REQUESTS: Final = 1 << 18
_COLUMNS: Final = 5


class Journal:
    """Written once a call; not safe for threads by itself.

    Args:
        started_ns: when the run began.
    """

    def __init__(self, started_ns: int) -> None:
        self._started_ns = started_ns
        self._columns = tuple(array("q") for _ in range(_COLUMNS))
        self._late_ns = array("q")
        self._first = 0
        self._rejected = 0
        self._full_calls = _CALLS
        self._requests = 0
        self.full = False
        """Whether there is so much that it should be given away."""

    def write(self, start: int, stop: int, replica: int, dispatched_ns: int, done_ns: int) -> None:
        """A call with requests `start` to `stop - 1` has ended."""
        self._requests += stop - start
        starts, stops, replicas, dispatched, done = self._columns
        starts.append(start)
        stops.append(stop)
        replicas.append(replica)
        dispatched.append(dispatched_ns)
        done.append(done_ns)
        self.full = self._requests >= _REQUESTS or len(starts) >= self._full_calls

    def woke(self, late_ns: int) -> None:
        """Somebody idle woke so late for the next request."""
        self._late_ns.append(late_ns)

    def cut(self, backlog: Pending) -> Samples:
        """Give away what has ended, up to the first request that is still with a replica.

        Args:
            backlog: knows when requests were due, and forgets those that are given away.

        Returns:
            The next segment of the run, all its outcomes OK; whoever takes the answers knows
            better.
        """
        starts, stops, replicas, dispatched, done = self._sorted()
        ended = int(np.argmin(np.append(starts == np.append(self._first, stops[:-1]), False)))
        first, stop = self._first, int(stops[ended - 1]) if ended else self._first
        segment = Samples(
            started_ns=self._started_ns,
            intended_ns=backlog.intended_ns(first, stop).copy(),
            stop=stops[:ended] - first,
            dispatched_ns=dispatched[:ended],
            done_ns=done[:ended],
            replica=replicas[:ended],
            outcome=np.full(stop - first, Outcome.OK, np.uint8),
            late_ns=np.array(self._late_ns, np.int64),
            unfinished=0,
            per_query=backlog.per_query,
            rejected=backlog.rejected - self._rejected,
            first=first,
        )
        backlog.forget(stop)
        self._first, self._rejected, self._requests = stop, backlog.rejected, 0
        rest = [column[ended:] for column in (starts, stops, replicas, dispatched, done)]
        self._columns = tuple(array("q", column.tobytes()) for column in rest)
        self._late_ns = array("q")
        # What had to stay must not make it full again at once.
        self._full_calls = len(rest[0]) + _CALLS
        self.full = False
        return segment

    def _sorted(self) -> NDArray[np.int64]:
        """Calls in the order of their requests, shape `(5, calls)`."""
        columns = np.array(self._columns, np.int64)
        return columns[:, np.argsort(columns[0], kind="stable")]
