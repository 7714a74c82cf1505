"""Load: replicas work off a backlog; a few lines of Python a batch, none a request."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Protocol

from pytest_dlperf.engine.backlog import Backlog, Batch, Wait
from pytest_dlperf.engine.journal import Journal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from pytest_dlperf.core.samples import Samples
    from pytest_dlperf.engine.clock import Clock
    from pytest_dlperf.engine.target import Target

_TICK_NS: Final = 50_000_000


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


class Watch(Protocol):
    """Somebody who looks on while a load runs."""

    def tick(self, now_ns: int) -> None:
        """Called between two batches, at most every 50 ms; must be quick."""
        ...


@dataclass(frozen=True, slots=True)
class Replica:
    """One copy of a target, with the clock that its thread lives by."""

    target: Target
    clock: Clock


class Load:
    """One run of a load.

    Args:
        replicas: who answers; the first one runs in the caller's thread, and is the one that is
            watched.
        backlog: the requests.
        feed: their rows, and the place for their answers.
        deadline_ns: no batch is sent at or after it, whatever is left.
        watch: looks on.
        sink: is given a segment of the run whenever much has ended, with a lock held, and forgets
            it or not; None keeps the run whole.
    """

    def __init__(  # noqa: PLR0913 - who, what, how long, and who wants to know
        self,
        *,
        replicas: Sequence[Replica],
        backlog: Backlog,
        feed: Feed,
        deadline_ns: int,
        watch: Watch,
        sink: Callable[[Samples], None] | None = None,
    ) -> None:
        self._replicas = replicas
        self._backlog = backlog
        self._feed = feed
        self._deadline_ns = deadline_ns
        self._watch = watch
        self._sink = sink
        self._number = {id(replica): number for number, replica in enumerate(replicas)}
        self._changed = threading.Condition()
        self._crash: BaseException | None = None
        self._next_tick_ns = 0
        self._journal = Journal(min(replica.clock.now_ns() for replica in replicas))

    def run(self) -> Samples:
        """Run until the backlog is done or the deadline is reached, a thread each replica.

        Returns:
            What was not given to the sink: the whole run without one. `Samples.outcome` is all
            OK; the feed knows better.
        """
        threads = [
            threading.Thread(target=self._serve, args=(replica,), daemon=True)
            for replica in self._replicas[1:]
        ]
        for thread in threads:
            thread.start()
        self._serve(self._replicas[0])
        for thread in threads:
            thread.join()
        if self._crash is not None:
            raise self._crash
        return self.samples()

    def _serve(self, replica: Replica) -> None:
        try:
            while self._crash is None and self.step(replica):
                pass
        except BaseException as error:  # noqa: BLE001 - every replica must stop, then it is raised
            with self._changed:
                self._crash = self._crash or error
                self._changed.notify_all()

    def step(self, replica: Replica) -> bool:
        """Let a replica send one batch, or wait for one; false when it is done."""
        now_ns = replica.clock.now_ns()
        if now_ns >= self._deadline_ns:
            return False
        if replica is self._replicas[0] and now_ns >= self._next_tick_ns:
            self._watch.tick(now_ns)
            self._next_tick_ns = now_ns + _TICK_NS
        with self._changed:
            batch = self._backlog.take(now_ns)
            if isinstance(batch, Wait) and batch.until_ns is None:
                # Only another replica's answer can bring the next request.
                self._changed.wait(_TICK_NS * 1e-9)
                return True
        if batch is None:
            return False
        if isinstance(batch, Batch):
            self._send(batch, replica)
        elif batch.until_ns is not None:
            self._sleep(min(batch.until_ns, self._deadline_ns), replica.clock)
        return True

    def _send(self, batch: Batch, replica: Replica) -> None:
        inputs = self._feed.inputs(batch.start, batch.stop)
        error: Exception | None = None
        outputs: object = None
        dispatched_ns = replica.clock.now_ns()
        try:
            outputs = replica.target.infer(inputs)
        except Exception as raised:  # noqa: BLE001 - whatever a target raises is a result
            # Its frames would hold what the call computed with until the run is over.
            error = raised.with_traceback(None)
        done_ns = replica.clock.now_ns()
        with self._changed:
            number = self._number[id(replica)]
            self._journal.write(batch.start, batch.stop, number, dispatched_ns, done_ns)
            if error is None:
                self._feed.answer(batch.start, batch.stop, outputs)
            else:
                self._feed.fail(batch.start, batch.stop, error)
            self._backlog.finish(batch, done_ns)
            if self._sink is not None and self._journal.full:
                self._sink(self._journal.cut(self._backlog))
            self._changed.notify()

    def _sleep(self, until_ns: int, clock: Clock) -> None:
        clock.sleep_until_ns(until_ns)
        late_ns = clock.now_ns() - until_ns
        with self._changed:
            self._journal.woke(late_ns)

    def samples(self) -> Samples:
        """What has happened so far and was not given to the sink; call it once, at the end."""
        # Counted first: what has come up to now may yet be rejected.
        unfinished = self._backlog.left(max(r.clock.now_ns() for r in self._replicas))
        return replace(self._journal.cut(self._backlog), unfinished=unfinished)
