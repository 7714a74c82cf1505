"""Run a load with one thread per replica: a few lines of Python per batch, none per request."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from pytest_dlperf._processes import TICK_SECONDS, give_up, is_abandonment
from pytest_dlperf.load.batch import Batch, Wait
from pytest_dlperf.load.outputs import read_outputs
from pytest_dlperf.load.request_log import InFlightBatch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_dlperf._processes import LoadObserver
    from pytest_dlperf.clock import Clock
    from pytest_dlperf.load.request_log import RequestLog
    from pytest_dlperf.load.samples import Samples
    from pytest_dlperf.trees import Tree


_NEAR_NS: Final = 100_000  # a thread that waits for a condition wakes up less late than this


@dataclass(frozen=True, slots=True, eq=False)
class Replica:
    """One copy of a target, with the clock of its thread."""

    target: Target
    clock: Clock


class Load:
    """One run of a load, with a thread for each replica.

    A call that takes longer than `call_seconds` is abandoned, and ends the run.
    """

    def __init__(
        self,
        *,
        replicas: Sequence[Replica],
        log: RequestLog,
        call_seconds: float,
        observer: LoadObserver,
    ) -> None:
        self.replicas = replicas
        self._call_seconds = call_seconds
        self._observer = observer
        self._log = log
        self._number = {replica: number for number, replica in enumerate(replicas)}
        # One replica at a time looks for work, so only one idle thread waits for the clock.
        self._turn = threading.Lock()
        self._waits_for_others = len(replicas) > 1 and log.answers_bring_requests
        self._in_flight: dict[Replica, InFlightBatch] = {}
        self._crash: BaseException | None = None
        self.timed_out = ""
        """Message about the call that never returned; empty if all did."""

    def run(self) -> Samples:
        """Run until the queue is empty or the deadline is reached.

        Returns:
            What the log's sink has not received: the whole run if it has no sink.
        """
        threads = {
            replica: threading.Thread(
                target=self._serve, args=(replica,), name="dlperf replica", daemon=True
            )
            for replica in self.replicas
        }
        self._observer.tick(self._now_ns())
        try:
            for thread in threads.values():
                thread.start()
            self._supervise(threads)
        finally:
            # An interrupt, such as Ctrl-C, must not leave the load running.
            self._log.close()
        if self._crash is not None:
            raise self._crash
        return self.samples()

    def step(self, replica: Replica) -> bool:
        """Send one batch, or wait for one, in the caller's thread; false at the end of the run.

        For one replica without a thread, and for replicas in simulated time.
        """
        with self._log.changed:
            batch = self._log.take(replica.clock.now_ns())
        if isinstance(batch, Batch):
            self._send(batch, replica)
        elif batch is not None and batch.until_ns is not None:
            self._sleep(batch.until_ns, replica.clock)
        return batch is not None

    def samples(self) -> Samples:
        """As `run` returns; call once, after the last `step`."""
        return self._log.samples(self._now_ns())

    def _supervise(self, threads: dict[Replica, threading.Thread]) -> None:
        waiting = dict(threads)
        while waiting:
            next(iter(waiting.values())).join(TICK_SECONDS)
            self._observer.tick(self._now_ns())
            for replica, thread in list(waiting.items()):
                if not thread.is_alive() or self._overdue(replica, thread):
                    del waiting[replica]

    def _overdue(self, replica: Replica, thread: threading.Thread) -> bool:
        """Whether a replica's call has timed out; if so, abandon it and end the run."""
        now_ns = replica.clock.now_ns()
        with self._log.changed:
            call = self._in_flight.get(replica)
            if call is None or now_ns - call.dispatched_ns <= self._call_seconds * 1e9:
                return False
            del self._in_flight[replica]
            # Closed before the thread is interrupted, so that it takes no further batch.
            self._log.close()
        rows = call.batch.stop - call.batch.start
        what = f"a call with {rows} row{'s' if rows > 1 else ''}"
        error = give_up(thread, what, self._call_seconds)
        with self._log.changed:
            self._log.failed(call, now_ns, error)
        self.timed_out = self.timed_out or str(error)
        return True

    def _serve(self, replica: Replica) -> None:
        try:
            while (batch := self._next(replica.clock)) is not None:
                self._send(batch, replica)
        except BaseException as error:  # noqa: BLE001 - every replica must stop, then it is raised
            if not is_abandonment(error):
                self._crash = self._crash or error
                self._log.close()

    def _next(self, clock: Clock) -> Batch | None:
        """Wait for the next batch; None if there is none left."""
        with self._turn:
            while True:
                now_ns = clock.now_ns()
                with self._log.changed:
                    batch = self._log.take(now_ns)
                    if not isinstance(batch, Wait):
                        return batch
                    if self._waits_for_others and self._wait(batch, now_ns):
                        continue
                if batch.until_ns is not None:
                    self._sleep(batch.until_ns, clock)

    def _wait(self, wait: Wait, now_ns: int) -> bool:
        """Wait for another replica's answer, which may make a request due before the known ones."""
        seconds = TICK_SECONDS
        if wait.until_ns is not None:
            seconds = min(seconds, (wait.until_ns - now_ns - _NEAR_NS) * 1e-9)
        if seconds > 0:
            self._log.changed.wait(seconds)
        return seconds > 0

    def _send(self, batch: Batch, replica: Replica) -> None:
        inputs = self._log.inputs(batch)
        error: Exception | None = None
        outputs: list[object] = []
        call = self._in_flight[replica] = InFlightBatch(
            batch, self._number[replica], replica.clock.now_ns()
        )
        try:
            outputs.append(read_outputs(replica.target.infer(inputs)))
        except Exception as raised:  # noqa: BLE001 - whatever a target raises is a result
            # The traceback would keep the call's arrays alive until the end of the run.
            error = raised.with_traceback(None)
        # Read before the lock is taken: waiting for it is not the target's time.
        done_ns = replica.clock.now_ns()
        answer = self._log.secure(outputs) if error is None else None
        with self._log.changed:
            if self._in_flight.pop(replica, None) is not call:
                return  # timed out meanwhile, and recorded as failed
            if error is None:
                self._log.answered(call, done_ns, answer)
            else:
                self._log.failed(call, done_ns, error)
            if self._waits_for_others:
                self._log.changed.notify()

    def _sleep(self, until_ns: int, clock: Clock) -> None:
        until_ns = min(until_ns, self._log.deadline_ns)
        idle = not self._in_flight
        clock.sleep_until_ns(until_ns)
        # During a call the lateness may be caused by the target's own work.
        if idle and not self._in_flight:
            self._log.woke(clock.now_ns() - until_ns)

    def _now_ns(self) -> int:
        return max(replica.clock.now_ns() for replica in self.replicas)


class Target(Protocol):
    """Answers batches."""

    def infer(self, batch: Tree) -> object:
        """Answer a batch synchronously; input and output have one leading batch axis."""
        ...
