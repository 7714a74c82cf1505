"""Load: replicas work off a backlog; a few lines of Python a batch, none a request."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from pytest_dlperf.core.samples import Outcome, Samples
from pytest_dlperf.engine.backlog import Backlog, Batch, Wait

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

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


@dataclass(slots=True)
class _Log:
    """What the replicas write down, a few numbers a batch."""

    stop: list[int] = field(default_factory=list)
    dispatched_ns: list[int] = field(default_factory=list)
    done_ns: list[int] = field(default_factory=list)
    first: list[int] = field(default_factory=list)
    late_ns: list[int] = field(default_factory=list)


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
    """

    def __init__(
        self,
        *,
        replicas: Sequence[Replica],
        backlog: Backlog,
        feed: Feed,
        deadline_ns: int,
        watch: Watch,
    ) -> None:
        self._replicas = replicas
        self._backlog = backlog
        self._feed = feed
        self._deadline_ns = deadline_ns
        self._watch = watch
        self._log = _Log()
        self._changed = threading.Condition()
        self._crash: BaseException | None = None
        self._next_tick_ns = 0
        self._started_ns = min(replica.clock.now_ns() for replica in replicas)

    def run(self) -> Samples:
        """Run until the backlog is done or the deadline is reached, a thread each replica.

        `Samples.outcome` is all OK except for what never was answered; the feed knows better.
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
            self._log.first.append(batch.start)
            self._log.stop.append(batch.stop)
            self._log.dispatched_ns.append(dispatched_ns)
            self._log.done_ns.append(done_ns)
            if error is None:
                self._feed.answer(batch.start, batch.stop, outputs)
            else:
                self._feed.fail(batch.start, batch.stop, error)
            self._backlog.finish(batch, done_ns)
            self._changed.notify()

    def _sleep(self, until_ns: int, clock: Clock) -> None:
        clock.sleep_until_ns(until_ns)
        self._log.late_ns.append(clock.now_ns() - until_ns)

    def samples(self) -> Samples:
        """What has happened so far."""
        log = self._log
        # Counted first: what has come up to now may yet be rejected.
        unfinished = self._backlog.left(max(r.clock.now_ns() for r in self._replicas))
        order = np.argsort(np.array(log.first, np.int64), kind="stable")
        intended_ns = self._backlog.intended_ns
        return Samples(
            started_ns=self._started_ns,
            intended_ns=intended_ns.copy(),
            stop=np.array(log.stop, np.int64)[order],
            dispatched_ns=np.array(log.dispatched_ns, np.int64)[order],
            done_ns=np.array(log.done_ns, np.int64)[order],
            outcome=np.full(len(intended_ns), Outcome.OK, np.uint8),
            late_ns=np.array(log.late_ns, np.int64),
            per_query=self._backlog.per_query,
            rejected=self._backlog.rejected,
            unfinished=unfinished,
        )
