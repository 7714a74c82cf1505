"""Coroutines as clients, in an event loop whose time is a fake clock's."""

from __future__ import annotations

import asyncio
import contextlib
import selectors
import sys
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from fakes import EchoSource, FakeClock, NoObserver

from pytest_dlperf.load.async_runner import CoroutineLoad, CoroutineTarget, EventLoop, one_row
from pytest_dlperf.load.batch import Batch
from pytest_dlperf.load.intervals import Reading
from pytest_dlperf.load.request_log import RequestLog
from pytest_dlperf.load.request_queue import request_queue_for
from pytest_dlperf.load.scenarios import ClosedLoop, Constant, MultiStream, Scenario, Server
from pytest_dlperf.load.serving import Serving

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from numpy.typing import NDArray

    from pytest_dlperf.load.samples import Samples

SERVICE = 0.01


class FakeSelector(selectors.DefaultSelector):
    """Lets the clock pass instead of waiting; a look around takes a microsecond."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self._fake = clock

    def select(self, timeout: float | None = None) -> Any:  # noqa: ANN401 - as the base class has it
        """What is ready, without waiting for it."""
        if timeout is None:
            return super().select(None)
        self._fake.now += max(1000, int(timeout * 1e9))
        return super().select(0)


class FakeLoop(asyncio.SelectorEventLoop):
    """An event loop that lives by a fake clock."""

    def __init__(self, clock: FakeClock) -> None:
        self._fake = clock
        super().__init__(FakeSelector(clock))

    def time(self) -> float:
        """The fake clock's."""
        return self._fake.now * 1e-9


async def sleeps(row: NDArray[Any]) -> NDArray[Any]:
    """Answers after 10 ms."""
    await asyncio.sleep(SERVICE)
    return row


def run(  # noqa: PLR0913 - the knobs of a load
    function: Callable[[NDArray[Any]], Coroutine[Any, Any, object]],
    scenario: Scenario,
    clients: int,
    *,
    clock: FakeClock | None = None,
    source: EchoSource | None = None,
    call_seconds: float = 60.0,
) -> tuple[Samples, str]:
    """One load of a second, and the message about a call that timed out."""
    clock = clock or FakeClock()
    target = CoroutineTarget(one_row(function), EventLoop(FakeLoop(clock)))
    start = clock.now
    load = CoroutineLoad(
        target=target,
        clients=clients,
        clock=clock,
        log=RequestLog(
            queue=request_queue_for(scenario, Serving(1, replicas=clients), start, 1.0, 0),
            source=source or EchoSource(np.arange(1 << 16)),
            started_ns=start,
            deadline_ns=start + 2 * 10**9,
        ),
        call_seconds=call_seconds,
        observer=NoObserver(),
    )
    try:
        return load.run(), load.timed_out
    finally:
        target.close()


def test_a_closed_loop_has_all_its_clients_under_way() -> None:
    """8 clients, 10 ms each: 800 requests in a second, and each takes 10 ms."""
    samples, timed_out = run(sleeps, ClosedLoop(8), 8)

    assert len(samples.stop) == pytest.approx(800, rel=0.02)
    assert samples.latency_ns == pytest.approx(np.full(len(samples.stop), 1e7), rel=0.05)
    assert timed_out == ""


def test_requests_do_not_wait_for_a_free_client_if_there_are_enough() -> None:
    """M/D/infinity: 100 a second, 10 ms each, 64 clients: each latency is the service time."""
    samples, _ = run(sleeps, Server(100), 64)

    assert len(samples.stop) > 60
    assert samples.latency_ns == pytest.approx(np.full(len(samples.stop), 1e7), rel=0.05)
    assert samples.late_ns.max() < 100_000


def test_no_more_are_under_way_than_there_are_clients() -> None:
    """400 a second, 10 ms each, 2 clients: 200 a second are answered, two at a time."""
    under_way = [0, 0]

    async def counts(row: NDArray[Any]) -> NDArray[Any]:
        under_way[0] += 1
        under_way[1] = max(under_way)
        await asyncio.sleep(SERVICE)
        under_way[0] -= 1
        return row

    samples, _ = run(counts, Constant(400), 2)

    assert under_way[1] == 2
    assert len(samples.stop) == pytest.approx(400, rel=0.02)  # the run drains for a second more
    assert samples.latency_ns.max() == pytest.approx(1e9, rel=0.05)


def test_a_query_of_several_samples() -> None:
    """The four samples of a query go at once; the next query follows the last answer."""
    samples, _ = run(sleeps, MultiStream(4), 4)

    latency = Reading(slo=None).read(samples).latency_ns
    assert len(latency) == pytest.approx(100, rel=0.02)
    assert latency == pytest.approx(np.full(len(latency), 1e7), rel=0.05)


def test_answers_belong_to_their_requests() -> None:
    """Answers that come out of order are written down for the request that asked."""
    source = EchoSource(np.arange(1 << 16))

    async def shuffles(row: np.int64) -> np.int64:
        await asyncio.sleep(SERVICE / (1 + int(row) % 3))
        return row

    run(shuffles, Server(200), 64, source=source)

    assert len(source.answers) > 150
    assert all(np.array_equal(answer, [start]) for start, _, answer in source.answers)


def test_a_call_that_takes_too_long_is_cancelled() -> None:
    """It is an error of its own kind, and the load goes on."""
    source = EchoSource(np.arange(1 << 16))

    async def stalls(row: np.int64) -> np.int64:
        await asyncio.sleep(1e6 if row == 20 else SERVICE)
        return row

    _, timed_out = run(stalls, ClosedLoop(4), 4, source=source, call_seconds=0.1)

    assert [(start, str(error)) for start, _, error in source.errors] == [
        (20, "a call had not returned after 100 ms")
    ]
    assert len(source.answers) > 300
    assert timed_out == ""


def test_an_exception_is_its_requests_own() -> None:
    """What a coroutine raises is counted; a timeout of its own is no hanging call."""
    source = EchoSource(np.arange(1 << 16))

    async def raises(row: np.int64) -> np.int64:
        await asyncio.sleep(SERVICE)
        if row == 20:
            raise TimeoutError("the shard is gone")
        return row

    run(raises, ClosedLoop(4), 4, source=source)

    assert [(start, repr(error)) for start, _, error in source.errors] == [
        (20, "TimeoutError('the shard is gone')")
    ]


def test_a_coroutine_that_is_cancelled() -> None:
    """It is an error of its own kind: no request is lost, and the load goes on with all clients."""
    source = EchoSource(np.arange(1 << 16))

    async def shares(row: np.int64) -> np.int64:
        await asyncio.sleep(SERVICE)
        if row == 20:
            raise asyncio.CancelledError
        return row

    samples, _ = run(shares, ClosedLoop(4), 4, source=source)

    assert [(start, str(error)) for start, _, error in source.errors] == [
        (20, "the coroutine was cancelled, or awaited what was")
    ]
    assert len(samples.stop) == pytest.approx(400, rel=0.02)
    assert samples.stop[-1] == len(samples.stop)


def test_a_coroutine_that_will_not_be_cancelled() -> None:
    """It ends the run, as a call that hangs in a thread does."""
    clock = FakeClock()
    source = EchoSource(np.arange(1 << 16))

    async def stubborn(row: np.int64) -> np.int64:
        while row == 20:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(SERVICE)
        await asyncio.sleep(SERVICE)
        return row

    _, timed_out = run(stubborn, ClosedLoop(4), 4, clock=clock, source=source, call_seconds=0.1)

    assert "a call had not returned after 200 ms" in timed_out
    assert 20 in {start for start, _, _ in source.errors}


def test_closing_a_loop_that_has_ended() -> None:
    """As that of a call which was abandoned."""
    inner = asyncio.new_event_loop()
    loop = EventLoop(inner)
    inner.call_soon_threadsafe(inner.stop)
    loop.thread.join()

    loop.close()

    assert not loop.thread.is_alive()


def test_a_coroutine_that_leaves_the_interpreter() -> None:
    """`sys.exit` in a client is raised in the test, and the event loop is not lost with it."""

    async def leaves(row: np.int64) -> np.int64:
        if row == 20:
            sys.exit(3)
        await asyncio.sleep(SERVICE)
        return row

    with pytest.raises(SystemExit):
        run(leaves, ClosedLoop(4), 4)


def test_a_call_that_is_thrown_away_leaves_the_log_alone() -> None:
    """The garbage collector closes it anywhere, where it must not wait for the lock of a log."""

    async def hangs(_row: np.int64) -> np.int64:
        await asyncio.Event().wait()
        raise AssertionError

    clock = FakeClock()
    queue = request_queue_for(ClosedLoop(2), Serving(1, replicas=2), clock.now, 1.0, 0)
    log = RequestLog(
        queue=queue,
        source=EchoSource(np.arange(8)),
        started_ns=clock.now,
        deadline_ns=clock.now + 10**9,
    )
    inner = asyncio.new_event_loop()
    target = CoroutineTarget(one_row(hangs), EventLoop(inner))
    load = CoroutineLoad(
        target=target, clients=2, clock=clock, log=log, call_seconds=60.0, observer=NoObserver()
    )

    async def throw_away() -> None:
        batch = log.take(clock.now)
        assert isinstance(batch, Batch)
        call = load._send(batch, 0)  # noqa: SLF001 - what a collector finds
        task = asyncio.ensure_future(call)
        await asyncio.sleep(0)
        call.close()
        task.cancel()

    with contextlib.closing(target):
        target.loop.submit(throw_away()).result()
        assert log.take(clock.now) is not None


@pytest.mark.parametrize("leaving", [SystemExit, KeyboardInterrupt])
def test_a_first_call_that_leaves_the_interpreter(leaving: type[BaseException]) -> None:
    """It is raised to the caller, who would wait for ever for an event loop that it ended."""

    async def leaves(_row: np.int64) -> np.int64:
        raise leaving

    target = CoroutineTarget(one_row(leaves), EventLoop(asyncio.new_event_loop()))
    with contextlib.closing(target):
        for _ in range(2):
            with pytest.raises(leaving):
                target.infer(np.zeros((1, 1)))


def test_each_client_has_its_own_utilisation() -> None:
    """16 coroutines that are always under way are 16 that are busy, not one that is 16 times."""
    samples, _ = run(sleeps, ClosedLoop(16), 16)

    assert set(samples.replica.tolist()) == set(range(16))


def test_work_of_the_target_is_no_lateness() -> None:
    """A wake-up during a call is not counted as late: the call may have delayed it."""
    clock = FakeClock()

    async def works(row: np.int64) -> np.int64:
        await asyncio.sleep(SERVICE)
        clock.now += 5_000_000
        return row

    samples, _ = run(works, Constant(90), 64, clock=clock)

    assert len(samples.stop) == 90
    assert not (samples.late_ns > 1_000_000).any()


def test_what_is_no_exception_ends_the_run() -> None:
    """`pytest.fail` in a client fails the test."""

    async def fails(row: np.int64) -> np.int64:
        if row == 20:
            pytest.fail("not like this")
        await asyncio.sleep(SERVICE)
        return row

    with pytest.raises(pytest.fail.Exception, match="not like this"):
        run(fails, ClosedLoop(4), 4)


def test_a_coroutine_that_blocks_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """The run ends, and what was under way are errors that say where the loop hangs."""
    monkeypatch.setattr("pytest_dlperf.load.async_runner._CLOSING_SECONDS", 0.01)
    clock = FakeClock()
    source = EchoSource(np.arange(1 << 16))
    never = threading.Event()

    async def blocks(row: np.int64) -> np.int64:
        if row == 20:
            clock.now += 1000 * 10**9
            never.wait()
        await asyncio.sleep(SERVICE)
        return row

    _, timed_out = run(blocks, ClosedLoop(4), 4, clock=clock, source=source)
    never.set()

    assert "the event loop had not returned after 2 min; it was in" in timed_out
    assert "test_async_runner.py" in timed_out
    assert {start for start, _, _ in source.errors} >= {20}
