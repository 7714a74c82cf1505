"""Runs the slots of a duel: a target under its load for some milliseconds at a time."""

from __future__ import annotations

import os
import queue
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_dlperf._processes import give_up, is_abandonment, keep_on
from pytest_dlperf.clock import StoppableClock
from pytest_dlperf.errors import TargetError
from pytest_dlperf.load.answer_leaves import MisfitError
from pytest_dlperf.load.request_log import RequestLog
from pytest_dlperf.load.request_queue import request_queue_for
from pytest_dlperf.load.runner import Load
from pytest_dlperf.load.samples import Outcome
from pytest_dlperf.load.scenarios import ClosedLoop
from pytest_dlperf.measure.answers import repeated_rows
from pytest_dlperf.measure.slots import Slot, slot_of
from pytest_dlperf.measure.telemetry import ThreadWaits
from pytest_dlperf.statistics.trend import relative_trend

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pytest_dlperf.load.async_runner import CoroutineLoad
    from pytest_dlperf.load.samples import Samples
    from pytest_dlperf.measure.prepared import PreparedLoad
    from pytest_dlperf.trees import Tree

_WARM_UP_SECONDS: Final = 0.025  # a slot of the warm-up
_WARM_UP_SLOTS: Final = 16  # at most
_STEADY_SLOTS: Final = 6  # fewer could agree by chance
_LARGE_TREND: Final = 0.1
_ATTEMPTS: Final = 20  # several, as slots of an open loop may hold no request by chance


class SlotRunner:
    """Runs slots of a target after its warm-up.

    Only the shapes of answers are checked: the load before the slots has scored them.
    """

    def __init__(self, load: PreparedLoad) -> None:
        self._load = load
        self._source = _SlotRequests(load)
        self._slot_thread = _SlotThread() if load.plan.lanes == 1 else None
        self._waits = ThreadWaits()

    def slot(self, seconds: float, number: int) -> Slot:
        """Put the target under its load for `seconds`, and wait for the calls in flight.

        Slots with the same number send the same rows at the same times.

        Raises:
            TargetError: if a call does not return, or no request became due.
        """
        for _ in range(_ATTEMPTS):
            before = self._waits.seconds() or 0.0
            samples = self._samples(seconds, number)
            waited = (self._waits.seconds() or 0.0) - before
            # On a busy machine the whole slot may pass before this process runs.
            if len(samples.stop):
                break
        else:
            raise TargetError(
                f"in {_ATTEMPTS} slots of {seconds * 1e3:.0f} ms no request became due: raise the "
                "rate, or measure on a machine that is less busy"
            )
        slot = slot_of(
            replace(samples, outcome=self._source.outcomes(len(samples.outcome))),
            slo=self._load.plan.slo,
            latencies=self._load.plan.has_latencies,
        )
        return replace(slot, waited=waited)

    @staticmethod
    def keep_on(processors: frozenset[int]) -> None:
        """Run this process on these processors from now on."""
        keep_on(os.getpid(), processors)

    def warm_up(self) -> None:
        """Run slots until the time a request takes shows no trend, or else the load's warm-up.

        Raises:
            TargetError: if a call does not return.
        """
        plan = self._load.plan
        costs: list[float] = []
        # In an open loop the time between requests is given, and slots may have none.
        slots = _WARM_UP_SLOTS if isinstance(plan.scenario, ClosedLoop) and not plan.quick else 0
        for number in range(slots):
            slot = self.slot(_WARM_UP_SECONDS, number)
            costs.append(slot.seconds / max(slot.good, 1))
            steady = np.array(costs[-_STEADY_SLOTS:])
            if len(steady) == _STEADY_SLOTS and abs(relative_trend(steady)) < _LARGE_TREND:
                return
        self._load.warm_up()

    def close(self) -> None:
        """End the thread."""
        if self._slot_thread is not None:
            self._slot_thread.close()

    def _samples(self, seconds: float, number: int) -> Samples:
        if self._slot_thread is not None:
            return self._slot_thread.run(
                lambda: self._run(seconds, number, _stepped), self._load.plan.call_timeout
            )
        return self._run(seconds, number, _in_threads)

    def _run(
        self,
        seconds: float,
        number: int,
        work_off: Callable[[Load | CoroutineLoad], Samples],
    ) -> Samples:
        plan = self._load.plan
        clock = StoppableClock(self._load.instruments.clock)
        self._source.begin(number)
        start_ns = clock.now_ns()
        with clock.stopped():
            request_queue = request_queue_for(plan.scenario, plan.served, start_ns, seconds, number)
        log = RequestLog(
            queue=request_queue,
            source=self._source,
            started_ns=start_ns,
            # Requests of a slot that take more than twice its length are late on either side.
            deadline_ns=start_ns + int(2 * seconds * 1e9),
        )
        return work_off(self._load.runner(log, clock, _NoObserver()))


def _stepped(load: Load | CoroutineLoad) -> Samples:
    """Run a load of one replica in the caller's thread."""
    if not isinstance(load, Load):
        return _in_threads(load)
    (replica,) = load.replicas
    while load.step(replica):
        pass
    return load.samples()


def _in_threads(load: Load | CoroutineLoad) -> Samples:
    samples = load.run()
    if load.timed_out:
        raise TargetError(load.timed_out)
    return samples


class _SlotRequests:
    """`RequestSource` of slots."""

    def __init__(self, load: PreparedLoad) -> None:
        self._rows = len(load.order)
        self._inputs = repeated_rows(load.data, load.order, load.plan.served.max_batch_size)
        self._layout = load.prepared.layout
        self._offset = 0
        self._bad: list[tuple[int, int, Outcome]] = []

    def begin(self, number: int) -> None:
        """Start a slot; each number starts with another row."""
        self._bad = []
        # A prime step shares no factor with most numbers of rows, so that every row has its turn.
        self._offset = number * 7919

    def inputs(self, start: int, stop: int) -> Tree:
        """The rows of requests `start` to `stop - 1`, read-only."""
        first = (self._offset + start) % self._rows
        return self._inputs[first : first + stop - start]

    def secure(self, outputs: list[object]) -> object:
        """Return the answer as it is: only its layout is looked at."""
        return outputs.pop()

    def answer(self, start: int, stop: int, outputs: object) -> None:
        """Record whether the answer is laid out as those before."""
        try:
            self._layout.parts(outputs, stop - start)
        except MisfitError:
            self._bad.append((start, stop, Outcome.WRONG_SHAPE))

    def fail(self, start: int, stop: int, error: Exception) -> None:
        """Record that these requests ended in an exception."""
        del error
        self._bad.append((start, stop, Outcome.EXCEPTION))

    def outcomes(self, requests: int) -> NDArray[np.uint8]:
        """Outcome of each request of the slot, shape `(requests,)`."""
        outcome = np.full(requests, Outcome.OK, np.uint8)
        for start, stop, how in self._bad:
            outcome[start:stop] = how
        return outcome


class _NoObserver:
    """Ignores every tick."""

    def tick(self, now_ns: int) -> None:
        """Do nothing."""


class _SlotThread:
    """One thread for all slots, as runtimes keep much state per calling thread."""

    def __init__(self) -> None:
        self._work: queue.SimpleQueue[Callable[[], Samples] | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[Samples | BaseException] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name="dlperf slots", daemon=True)
        self._thread.start()

    def run(self, work: Callable[[], Samples], call_seconds: float) -> Samples:
        """Run `work` in the thread; raises what it raises.

        Raises:
            TargetError: if it has not returned after `2 * call_seconds`.
        """
        self._work.put(work)
        try:
            result = self._done.get(timeout=2 * call_seconds)
        except queue.Empty:
            timeout = give_up(self._thread, "a call in a slot", 2 * call_seconds)
            raise TargetError(str(timeout)) from None
        if isinstance(result, BaseException):
            raise result
        return result

    def close(self) -> None:
        """End the thread."""
        self._work.put(None)

    def _serve(self) -> None:
        while (work := self._work.get()) is not None:
            try:
                result: Samples | BaseException = work()
            except BaseException as error:  # noqa: BLE001 - raised by `run`
                if is_abandonment(error):
                    return
                result = error
            self._done.put(result)
