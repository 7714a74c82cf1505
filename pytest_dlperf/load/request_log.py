"""The request log: hands out batches and records their results; thread-safe."""

from __future__ import annotations

import threading
from array import array
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from pytest_dlperf.load.samples import Outcome, Samples

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pytest_dlperf.load.batch import Batch, PendingRequests, Wait
    from pytest_dlperf.trees import Tree


# A segment ends with either: few enough to cut in milliseconds, many enough to cut seldom.
_CALLS: Final = 1 << 16
_REQUESTS: Final = 1 << 18
_COLUMNS: Final = 5  # columns of integers: no object per call for the garbage collector to visit


class SampleSink(Protocol):
    """Receives the segments of a run while it lasts."""

    def __call__(self, cut: Callable[[], Samples]) -> None:
        """Take a segment from `cut`; called with a lock held when many requests have ended.

        Cutting takes milliseconds, for which the load's clock may stop.
        """
        ...


class RequestSource(Protocol):
    """Provides the rows of requests, and takes their answers."""

    def inputs(self, start: int, stop: int) -> Tree:
        """The rows of requests `start` to `stop - 1`, read-only."""
        ...

    def secure(self, outputs: list[object]) -> object:
        """Return an answer that its target can no longer change; called without a lock.

        Args:
            outputs: the answer as the only element, and the caller's only reference to it.
        """
        ...

    def answer(self, start: int, stop: int, outputs: object) -> None:
        """Take the target's answer to these requests; called with a lock held."""
        ...

    def fail(self, start: int, stop: int, error: Exception) -> None:
        """Take the exception that the target raised instead; called with a lock held."""
        ...


@dataclass(frozen=True, slots=True)
class InFlightBatch:
    """A batch that was sent and not yet answered.

    Attributes:
        batch: the requests.
        replica: number of the replica that answers.
        dispatched_ns: when it was handed to the target.
    """

    batch: Batch
    replica: int
    dispatched_ns: int


class RequestLog:
    """Hands batches to replicas or clients, and records when and how they end.

    No batch is sent at or after `deadline_ns`, even if requests are left. Without a `sink` the run
    is kept whole.

    Attributes:
        changed: lock of the queue and the records; notified when either changes.
        deadline_ns: as given.
    """

    def __init__(
        self,
        *,
        queue: PendingRequests,
        source: RequestSource,
        started_ns: int,
        deadline_ns: int,
        sink: SampleSink | None = None,
    ) -> None:
        self.changed = threading.Condition()
        self._queue = queue
        self._source = source
        self.deadline_ns = deadline_ns
        self._sink = sink
        self._call_log = CallLog(started_ns)
        self._closed = False

    def close(self) -> None:
        """Send no further batch."""
        with self.changed:
            self._closed = True
            self.changed.notify_all()

    def take(self, now_ns: int) -> Batch | Wait | None:
        """As `PendingRequests.take`, None also when closed; call with `changed` held."""
        if self._closed or now_ns >= self.deadline_ns:
            return None
        return self._queue.take(now_ns)

    @property
    def answers_bring_requests(self) -> bool:
        """Whether an answer may make a request due before those already known."""
        return self._queue.closed_loop

    def inputs(self, batch: Batch) -> Tree:
        """The rows of a batch, read-only."""
        return self._source.inputs(batch.start, batch.stop)

    def secure(self, outputs: list[object]) -> object:
        """As `RequestSource.secure`."""
        return self._source.secure(outputs)

    def answered(self, call: InFlightBatch, done_ns: int, outputs: object) -> None:
        """Record an answer; call with `changed` held."""
        self._note(call, done_ns)
        self._source.answer(call.batch.start, call.batch.stop, outputs)
        self._finish(call.batch, done_ns)

    def failed(self, call: InFlightBatch, done_ns: int, error: Exception) -> None:
        """Record an exception of the target; call with `changed` held."""
        self._note(call, done_ns)
        self._source.fail(call.batch.start, call.batch.stop, error)
        self._finish(call.batch, done_ns)

    def woke(self, late_ns: int) -> None:
        """Record how late an idle replica woke, in nanoseconds."""
        with self.changed:
            self._call_log.woke(late_ns)

    def samples(self, now_ns: int) -> Samples:
        """The rest of the run, which the sink has not received; call once, at the end.

        `Samples.outcome` is OK throughout; the source knows the real outcomes.
        """
        # Counted first, as this may still reject requests that are due by now.
        unfinished = self._queue.left(now_ns)
        return replace(self._call_log.cut(self._queue), unfinished=unfinished)

    def _note(self, call: InFlightBatch, done_ns: int) -> None:
        start, stop = call.batch.start, call.batch.stop
        self._call_log.write(start, stop, call.replica, call.dispatched_ns, done_ns)

    def _finish(self, batch: Batch, done_ns: int) -> None:
        self._queue.finish(batch, done_ns)
        if self._sink is not None and self._call_log.full:
            self._sink(lambda: self._call_log.cut(self._queue))


class CallLog:
    """When each call began and ended, as columns; not thread-safe."""

    def __init__(self, started_ns: int) -> None:
        self._started_ns = started_ns
        self._columns = tuple(array("q") for _ in range(_COLUMNS))
        self._late_ns = array("q")
        self._first = 0
        self._rejected = 0
        self._full_calls = _CALLS
        self._requests = 0
        self.full = False
        """Whether it is time to cut a segment."""

    def write(self, start: int, stop: int, replica: int, dispatched_ns: int, done_ns: int) -> None:
        """Record a call that ended, with requests `start` to `stop - 1`."""
        self._requests += stop - start
        starts, stops, replicas, dispatched, done = self._columns
        starts.append(start)
        stops.append(stop)
        replicas.append(replica)
        dispatched.append(dispatched_ns)
        done.append(done_ns)
        self.full = self._requests >= _REQUESTS or len(starts) >= self._full_calls

    def woke(self, late_ns: int) -> None:
        """Record how late an idle replica woke, in nanoseconds."""
        self._late_ns.append(late_ns)

    def cut(self, queue: PendingRequests) -> Samples:
        """Remove and return all calls before the first request that is still in flight.

        The queue forgets the requests that are returned. Every outcome is OK.
        """
        starts, stops, replicas, dispatched, done = self._sorted()
        ended = int(np.argmin(np.append(starts == np.append(self._first, stops[:-1]), False)))
        first, stop = self._first, int(stops[ended - 1]) if ended else self._first
        segment = Samples(
            started_ns=self._started_ns,
            intended_ns=queue.intended_ns(first, stop).copy(),
            stop=stops[:ended] - first,
            dispatched_ns=dispatched[:ended],
            done_ns=done[:ended],
            replica=replicas[:ended],
            outcome=np.full(stop - first, Outcome.OK, np.uint8),
            late_ns=np.array(self._late_ns, np.int64),
            unfinished=0,
            per_query=queue.per_query,
            rejected=queue.rejected - self._rejected,
            first=first,
        )
        queue.forget(stop)
        self._first, self._rejected, self._requests = stop, queue.rejected, 0
        rest = [column[ended:] for column in (starts, stops, replicas, dispatched, done)]
        self._columns = tuple(array("q", column.tobytes()) for column in rest)
        self._late_ns = array("q")
        # Calls that could not be cut must not make it full again at once.
        self._full_calls = len(rest[0]) + _CALLS
        self.full = False
        return segment

    def _sorted(self) -> NDArray[np.int64]:
        """Calls in the order of their requests, shape `(5, calls)`."""
        columns = np.array(self._columns, np.int64)
        return columns[:, np.argsort(columns[0], kind="stable")]
