"""Run a load with coroutines as clients: one request per call, many calls in one event loop."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from concurrent import futures
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pytest_dlperf._processes import NO_ANSWER, TICK_SECONDS, give_up, is_abandonment
from pytest_dlperf.errors import AnswerError
from pytest_dlperf.load.batch import Batch
from pytest_dlperf.load.outputs import read_outputs, with_batch_axis
from pytest_dlperf.load.request_log import InFlightBatch
from pytest_dlperf.trees import mapped
from pytest_dlperf.units import format_quantity

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from pytest_dlperf._processes import LoadObserver
    from pytest_dlperf.clock import Clock
    from pytest_dlperf.load.request_log import RequestLog
    from pytest_dlperf.load.samples import Samples
    from pytest_dlperf.trees import Tree

_T = TypeVar("_T")
_CLOSING_SECONDS: Final = 1.0
_EARLY_NS: Final = 1_200_000  # event loops wake up to a millisecond late


class EventLoop:
    """Runs an event loop in a thread of its own, for all calls of one target.

    Sessions and locks that a target creates are bound to one loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.thread = threading.Thread(target=self._run_loop, name="dlperf event loop", daemon=True)
        self.thread.start()

    def _run_loop(self) -> None:
        try:
            self._loop.run_forever()
            self._loop.run_until_complete(_cancel_all())
        except BaseException as error:
            if not is_abandonment(error):
                raise
        finally:
            self._loop.close()

    def submit(self, coroutine: Coroutine[Any, Any, _T]) -> futures.Future[_T]:
        """Run a coroutine in the loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def close(self) -> None:
        """Cancel all tasks, and stop the loop."""
        with contextlib.suppress(RuntimeError):  # it has ended already, since it was abandoned
            self._loop.call_soon_threadsafe(self._loop.stop)
        self.thread.join(_CLOSING_SECONDS)  # a blocked loop is abandoned


@dataclass(frozen=True, slots=True, eq=False)
class CoroutineTarget:
    """A coroutine function that answers batches.

    Attributes:
        ask: shape `(1, ...)` in and out.
        loop: the event loop in which it runs.
    """

    ask: Callable[[Tree], Coroutine[Any, Any, object]]
    loop: EventLoop

    def infer(self, batch: Tree) -> object:
        """Answer a batch, called from outside the event loop."""
        answer, ended = self.loop.submit(_without_exit(self.ask(batch))).result()
        if ended is not None:
            raise ended
        return answer

    def close(self) -> None:
        """Stop the event loop."""
        self.loop.close()


class CoroutineLoad:
    """One run of a load whose clients are coroutines, at most `clients` requests in flight.

    A call that takes longer than `call_seconds` is cancelled; one that blocks the event loop for
    twice as long ends the run.
    """

    def __init__(  # noqa: PLR0913 - target, requests and limits
        self,
        *,
        target: CoroutineTarget,
        clients: int,
        clock: Clock,
        log: RequestLog,
        call_seconds: float,
        observer: LoadObserver,
    ) -> None:
        self._target = target
        self._free = deque(range(clients))
        self._clock = clock
        self._log = log
        self._call_seconds = call_seconds
        self._observer = observer
        self._waiter: asyncio.Future[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._in_flight: dict[Batch, InFlightBatch] = {}
        self._crash: BaseException | None = None
        self._heartbeat_ns = clock.now_ns()
        self.timed_out = ""
        """Message about the call that blocked the event loop; empty if none did."""

    def run(self) -> Samples:
        """Run until the queue is empty or the deadline is reached."""
        running = self._target.loop.submit(self._serve())
        try:
            while not futures.wait([running], TICK_SECONDS).done:
                self._observer.tick(self._clock.now_ns())
                if self._blocked():
                    break
            else:
                running.result()
        finally:
            self._log.close()
        if self._crash is not None:
            raise self._crash
        return self._log.samples(self._clock.now_ns())

    def _blocked(self) -> bool:
        """Whether the event loop is blocked, or a call has ignored its cancellation.

        If so, abandon the loop and end the run.
        """
        now_ns, timeout = self._clock.now_ns(), 2 * self._call_seconds
        calls = list(self._in_flight.values())
        oldest_ns = min((call.dispatched_ns for call in calls), default=now_ns)
        thread = self._target.loop.thread
        if thread.is_alive() and now_ns - min(self._heartbeat_ns, oldest_ns) <= timeout * 1e9:
            return False
        what = "the event loop" if now_ns - self._heartbeat_ns > timeout * 1e9 else "a call"
        with self._log.changed:
            self._log.close()
            error = give_up(thread, what, timeout)
            for call in self._in_flight.values():
                self._log.failed(call, now_ns, error)
            self._in_flight.clear()
        self.timed_out = str(error)
        return True

    async def _serve(self) -> None:
        while True:
            now_ns = self._heartbeat_ns = self._clock.now_ns()
            if not self._free:
                await self._pause(None)
                continue
            with self._log.changed:
                batch = self._log.take(now_ns)
            if batch is None:
                break
            if isinstance(batch, Batch):
                self._start(batch)
                await asyncio.sleep(0)  # lets the task send its request first
            else:
                await self._pause(batch.until_ns)
        while self._tasks:
            await self._pause(None)
            self._heartbeat_ns = self._clock.now_ns()

    def _start(self, batch: Batch) -> None:
        lane = self._free.popleft()
        task = asyncio.get_running_loop().create_task(self._send(batch, lane))
        self._tasks.add(task)
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # or asyncio logs that it was never retrieved

    def _ended(self, lane: int) -> None:
        self._free.appendleft(lane)  # so that no more lanes are in use than are needed
        # A task that ignores cancellation may end after its event loop is closed.
        waiter = self._waiter
        if waiter is not None and not waiter.done() and not waiter.get_loop().is_closed():
            waiter.set_result(None)

    async def _pause(self, until_ns: int | None) -> None:
        """Wait for the next request, or for an answer, which may trigger one."""
        loop = asyncio.get_running_loop()
        idle = not self._in_flight
        self._waiter = loop.create_future()
        seconds = TICK_SECONDS
        if until_ns is not None:
            until_ns = min(until_ns, self._log.deadline_ns)
            seconds = (until_ns - self._clock.now_ns() - _EARLY_NS) * 1e-9
        handle = loop.call_later(max(0.0, min(seconds, TICK_SECONDS)), _wake, self._waiter)
        await self._waiter
        handle.cancel()
        if until_ns is None or until_ns - self._clock.now_ns() > _EARLY_NS:
            return
        while (late_ns := self._clock.now_ns() - until_ns) < 0:  # noqa: ASYNC110 - only time ends it
            await asyncio.sleep(0)
        # During a call the lateness may be caused by the target's own work.
        if idle and not self._in_flight:
            self._log.woke(late_ns)

    async def _send(self, batch: Batch, lane: int) -> None:
        try:
            await self._ask(batch, lane)
        except BaseException as error:
            # A coroutine that is thrown away is closed wherever the garbage collector happens to
            # run: it must not wait for a lock there.
            if is_abandonment(error) or isinstance(error, GeneratorExit):
                raise
            # Not re-raised here: SystemExit, for one, would end the event loop itself.
            self._crash = self._crash or error
            self._log.close()
        finally:
            self._ended(lane)

    async def _ask(self, batch: Batch, lane: int) -> None:
        inputs = self._log.inputs(batch)
        call = self._in_flight[batch] = InFlightBatch(batch, lane, self._clock.now_ns())
        error: Exception | None = None
        outputs: list[object] = []
        limit = asyncio.timeout(self._call_seconds)
        try:
            async with limit:
                outputs.append(read_outputs(await self._target.ask(inputs)))
        except Exception as raised:  # noqa: BLE001 - whatever a target raises is a result
            error = raised.with_traceback(None)
            if limit.expired():
                waited = format_quantity(self._call_seconds, "s")
                error = AnswerError(NO_ANSWER, f"a call had not returned after {waited}")
        except asyncio.CancelledError:
            error = AnswerError("cancelled", "the coroutine was cancelled, or awaited what was")
        done_ns = self._clock.now_ns()  # before the lock, which is not the target's time
        answer = self._log.secure(outputs) if error is None else None
        with self._log.changed:
            if self._in_flight.pop(batch, None) is None:
                return  # timed out meanwhile, and recorded as failed
            if error is None:
                self._log.answered(call, done_ns, answer)
            else:
                self._log.failed(call, done_ns, error)


def one_row(
    function: Callable[[Tree], Coroutine[Any, Any, object]],
) -> Callable[[Tree], Coroutine[Any, Any, object]]:
    """Make a coroutine function for batches of one row from one for single rows."""

    async def ask(batch: Tree) -> object:
        return with_batch_axis(await function(mapped(lambda leaf: leaf[0], batch)))

    return ask


async def _without_exit(
    coroutine: Coroutine[Any, Any, object],
) -> tuple[object, BaseException | None]:
    """The answer of a coroutine, or what would end the event loop if it were raised in it."""
    try:
        return await coroutine, None
    except (SystemExit, KeyboardInterrupt) as error:
        return None, error


async def _cancel_all() -> None:
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    if left:
        await asyncio.wait(left, timeout=_CLOSING_SECONDS)


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
