"""Ledger: what is to be sent and what became of it, a few numbers a batch; safe for threads."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from pytest_dlperf.load.journal import Journal

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pytest_dlperf.load.pending import Batch, Pending, Wait
    from pytest_dlperf.load.samples import Samples


class Sink(Protocol):
    """Who takes a run while it lasts, segment by segment."""

    def __call__(self, cut: Callable[[], Samples]) -> None:
        """Much has ended; called with a lock held.

        Args:
            cut: gives the next segment; takes milliseconds, which the load's clock need not show.
        """
        ...


class Feed(Protocol):
    """What requests carry, and where their answers go."""

    def inputs(self, start: int, stop: int) -> NDArray[Any]:
        """The rows of requests `start` to `stop - 1`, read-only."""
        ...

    def answer(self, start: int, stop: int, outputs: object) -> None:
        """Take the target's answer to these requests; called with a lock held."""
        ...

    def fail(self, start: int, stop: int, error: Exception) -> None:
        """Take the exception that the target raised instead; called with a lock held."""
        ...


@dataclass(frozen=True, slots=True)
class Call:
    """A batch on its way.

    Attributes:
        batch: the requests.
        replica: number of the replica that it is with.
        dispatched_ns: when it was handed to the target.
    """

    batch: Batch
    replica: int
    dispatched_ns: int


class Ledger:
    """Where all who send requests find the next ones, and write down what became of theirs.

    Args:
        backlog: the requests.
        feed: their rows, and the place for their answers.
        started_ns: when the load began.
        deadline_ns: no batch is sent at or after it, whatever is left.
        sink: takes segments of the run; None keeps it whole.

    Attributes:
        changed: held around every look at the backlog and every entry.
    """

    def __init__(
        self,
        *,
        backlog: Pending,
        feed: Feed,
        started_ns: int,
        deadline_ns: int,
        sink: Sink | None = None,
    ) -> None:
        self.changed = threading.Condition()
        self._backlog = backlog
        self._feed = feed
        self._deadline_ns = deadline_ns
        self._sink = sink
        self._journal = Journal(started_ns)
        self._closed = False

    def close(self) -> None:
        """Nothing is sent any more."""
        with self.changed:
            self._closed = True
            self.changed.notify_all()

    def take(self, now_ns: int) -> Batch | Wait | None:
        """The next batch, or when to ask again, or None when all is done.

        Call it with `changed` held.
        """
        if self._closed or now_ns >= self._deadline_ns:
            return None
        return self._backlog.take(now_ns)

    @property
    def deadline_ns(self) -> int:
        """Nothing is sent from then on."""
        return self._deadline_ns

    @property
    def answers_bring_requests(self) -> bool:
        """Whether an answer may make a request due earlier than what is known to come."""
        return self._backlog.closed_loop

    def inputs(self, batch: Batch) -> NDArray[Any]:
        """The rows of a batch, read-only."""
        return self._feed.inputs(batch.start, batch.stop)

    def answered(self, call: Call, done_ns: int, outputs: object) -> None:
        """Write an answer down. Call it with `changed` held."""
        self._note(call, done_ns)
        self._feed.answer(call.batch.start, call.batch.stop, outputs)
        self._finish(call.batch, done_ns)

    def failed(self, call: Call, done_ns: int, error: Exception) -> None:
        """Write down what was raised instead of an answer. Call it with `changed` held."""
        self._note(call, done_ns)
        self._feed.fail(call.batch.start, call.batch.stop, error)
        self._finish(call.batch, done_ns)

    def woke(self, late_ns: int) -> None:
        """Write down how late somebody idle woke for the next request."""
        with self.changed:
            self._journal.woke(late_ns)

    def samples(self, now_ns: int) -> Samples:
        """What has happened so far and was not given to the sink; call it once, at the end.

        `Samples.outcome` is all OK; the feed knows better.
        """
        # Counted first: what has come up to now may yet be rejected.
        unfinished = self._backlog.left(now_ns)
        return replace(self._journal.cut(self._backlog), unfinished=unfinished)

    def _note(self, call: Call, done_ns: int) -> None:
        start, stop = call.batch.start, call.batch.stop
        self._journal.write(start, stop, call.replica, call.dispatched_ns, done_ns)

    def _finish(self, batch: Batch, done_ns: int) -> None:
        self._backlog.finish(batch, done_ns)
        if self._sink is not None and self._journal.full:
            self._sink(lambda: self._journal.cut(self._backlog))
