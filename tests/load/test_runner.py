"""The load engine on a fake clock: exact where theory knows the answer."""

from __future__ import annotations

import heapq
import math
import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest
from fakes import EchoSource, FakeClock, NoObserver, TimedTarget
from scipy import stats

from pytest_dlperf.clock import MonotonicClock
from pytest_dlperf.load.arrivals import arrivals
from pytest_dlperf.load.intervals import Reading
from pytest_dlperf.load.request_log import RequestLog, SampleSink
from pytest_dlperf.load.request_queue import request_queue_for
from pytest_dlperf.load.runner import Load, Replica
from pytest_dlperf.load.scenarios import (
    ClosedLoop,
    Constant,
    Exponential,
    MultiStream,
    Offline,
    Scenario,
    Server,
    SingleStream,
    Trace,
)
from pytest_dlperf.load.serving import Serving

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_dlperf.load.samples import Samples

SERVICE_NS = 1_000_000


def fixed(service_ns: int = SERVICE_NS, clock: FakeClock | None = None) -> TimedTarget:
    """A target that answers with its inputs after a known time."""
    return TimedTarget(clock or FakeClock(), lambda _: service_ns)


def run(  # noqa: PLR0913 - the knobs of a load
    scenario: Scenario,
    serving: Serving,
    seconds: float,
    target: TimedTarget | None = None,
    *,
    drain_ns: int = 1 << 50,
    seed: int = 0,
    source: EchoSource | None = None,
) -> Samples:
    """One load with a single replica on the fake clock of its target."""
    target = target or fixed()
    start = target.clock.now
    return Load(
        replicas=[Replica(target, target.clock)],
        log=RequestLog(
            queue=request_queue_for(scenario, serving, start, seconds, seed),
            source=source or EchoSource(np.arange(1 << 22)),
            started_ns=start,
            deadline_ns=start + int(seconds * 1e9) + drain_ns,
        ),
        call_seconds=60.0,
        observer=NoObserver(),
    ).run()


def single_server(utilisation: float, seconds: float, seed: int) -> Samples:
    """M/D/1: Poisson arrivals, one request at a time, 1 ms each."""
    rate = utilisation / (SERVICE_NS * 1e-9)
    return run(Server(rate), Serving(1), seconds, seed=seed)


@pytest.mark.parametrize(("utilisation", "seconds"), [(0.5, 400), (0.8, 2_000), (0.95, 40_000)])
def test_waiting_time_of_a_single_server(utilisation: float, seconds: float) -> None:
    """M/D/1: the mean waiting time is `rho s / (2 (1 - rho))` (Pollaczek-Khinchine), within 2 %."""
    # By Lindley's recursion, which the engine follows exactly (`test_waiting_times_are_lindleys`):
    # a mean within 2 % takes longer runs than the engine has time for.
    waits = []
    for seed in range(8):
        due = arrivals(Server(utilisation * 1000), seconds / 8, seed)
        waits.append(float((lindley(due) - due).mean()))

    assert np.mean(waits) == pytest.approx(pollaczek_khinchine(utilisation), rel=0.02)


def pollaczek_khinchine(utilisation: float) -> float:
    """Mean waiting time of M/D/1, in nanoseconds."""
    return utilisation * SERVICE_NS / (2 * (1 - utilisation))


def lindley(due: NDArray[np.int64]) -> NDArray[np.int64]:
    """When each request's service begins, one at a time, `SERVICE_NS` each (Lindley 1952)."""
    work = SERVICE_NS * np.arange(len(due))
    begun: NDArray[np.int64] = np.maximum.accumulate(due - work) + work
    return begun


def simulate(  # noqa: PLR0913 - the knobs of a load
    scenario: Scenario,
    seconds: float,
    targets: list[TimedTarget],
    *,
    serving: Serving | None = None,
    seed: int = 0,
    sink: SampleSink | None = None,
) -> Samples:
    """A load with several replicas in simulated time: the one that is furthest behind goes next."""
    start = targets[0].clock.now
    replicas = [Replica(target, target.clock) for target in targets]
    serving = serving or Serving(1, replicas=len(targets))
    load = Load(
        replicas=replicas,
        log=RequestLog(
            queue=request_queue_for(scenario, serving, start, seconds, seed),
            source=EchoSource(np.arange(1 << 22)),
            started_ns=start,
            deadline_ns=1 << 60,
            sink=sink,
        ),
        call_seconds=60.0,
        observer=NoObserver(),
    )
    working = list(replicas)
    while working:
        behind = min(working, key=lambda replica: replica.clock.now_ns())
        if not load.step(behind):
            working.remove(behind)
    return load.samples()


def test_waiting_times_with_random_service() -> None:
    """M/M/1: each waiting time is exactly what Lindley's recursion gives for the same services."""
    random = np.random.default_rng(100)
    services: list[int] = []

    def service(_: int) -> int:
        services.append(int(random.exponential(SERVICE_NS)))
        return services[-1]

    samples = simulate(Server(700), 10, [TimedTarget(FakeClock(), service)])

    begun = first_come_first_served(samples.intended_ns, np.array(services), servers=1)
    np.testing.assert_array_equal(samples.queue_ns, begun - samples.intended_ns)
    assert len(services) > 6000


def first_come_first_served(
    due: NDArray[np.int64], services: NDArray[np.int64], servers: int
) -> NDArray[np.int64]:
    """When each request's service begins (Kiefer and Wolfowitz 1955; for one server Lindley's)."""
    free = [0] * servers
    begun = []
    for due_ns, service_ns in zip(due.tolist(), services.tolist(), strict=True):
        begun.append(max(due_ns, free[0]))
        heapq.heapreplace(free, begun[-1] + service_ns)
    return np.array(begun)


def test_mean_waiting_time_with_random_service() -> None:
    """M/M/1: the mean waiting time is `rho s / (1 - rho)`, within 2 %."""
    random = np.random.default_rng(100)
    due = arrivals(Server(700), 1800, 0)
    services = random.exponential(SERVICE_NS, len(due)).astype(np.int64)

    waits = first_come_first_served(due, services, servers=1) - due

    assert waits.mean() == pytest.approx(0.7 * SERVICE_NS / 0.3, rel=0.02)


@pytest.mark.parametrize("replicas", [2, 3])
def test_waiting_times_of_several_replicas(replicas: int) -> None:
    """M/D/c: each waiting time is exactly what Kiefer and Wolfowitz' recursion gives."""
    targets = [TimedTarget(FakeClock(), lambda _: SERVICE_NS) for _ in range(replicas)]

    samples = simulate(Server(replicas * 900), 10, targets, seed=5)

    due = samples.intended_ns
    begun = first_come_first_served(due, np.full(len(due), SERVICE_NS), servers=replicas)
    np.testing.assert_array_equal(samples.queue_ns, begun - due)
    assert samples.queue_ns.max() > SERVICE_NS


def test_mean_waiting_time_of_two_replicas() -> None:
    """M/D/2 at utilisation 0.8: the mean waiting time is Crommelin's, within 2 %."""
    due = arrivals(Server(1600), 900, 0)

    waits = first_come_first_served(due, np.full(len(due), SERVICE_NS), servers=2) - due

    assert waits.mean() == pytest.approx(crommelin(servers=2, load=1.6) * SERVICE_NS, rel=0.02)


def crommelin(servers: int, load: float) -> float:
    """Mean wait of M/D/c over its service time, from the number in the system each service time.

    With deterministic service, whoever is served at t has left at t + s, and whoever is there at
    t + s has either waited at t or come since: `n' = max(n - c, 0) + Poisson(load)` (Crommelin
    1932). Little's law turns the mean queue into the mean wait.
    """
    size = 100
    coming = stats.poisson.pmf(np.arange(size), load)
    step = np.zeros((size, size))
    for present in range(size):
        left = max(present - servers, 0)
        step[present, left:] = coming[: size - left]
        step[present, -1] += 1 - step[present].sum()
    share = np.full(size, 1 / size)
    for _ in range(500):
        share = share @ step
    queue = float(share @ np.maximum(np.arange(size) - servers, 0))
    return queue / load


def test_multi_stream_waits_for_the_whole_query() -> None:
    """8 samples, batches of 3, 1 ms each: every query takes 3 ms, and the next one follows."""
    target = fixed()

    samples = run(MultiStream(8), Serving(3), 0.3, target)

    latency = Reading(None).read(samples).latency_ns
    assert target.batches == [3, 3, 2] * 100
    assert set(latency) == {3 * SERVICE_NS}
    assert len(latency) == 100


def test_multi_stream_on_two_replicas() -> None:
    """Two replicas share a query; it is answered when the slower one is done."""
    targets = [
        TimedTarget(FakeClock(), lambda _: SERVICE_NS),
        TimedTarget(FakeClock(), lambda _: 3 * SERVICE_NS),
    ]

    samples = simulate(MultiStream(2), 0.3, targets)

    latency = Reading(None).read(samples).latency_ns
    assert set(latency) == {3 * SERVICE_NS}
    assert len(latency) == 100


def test_random_thinking_is_a_machine_repair_model() -> None:
    """4 clients, exponential thinking and service: throughput by Engset's formula, within 2 %."""
    clients, think, service = 4, 2e-3, SERVICE_NS * 1e-9
    random = np.random.default_rng(3)
    target = TimedTarget(FakeClock(), lambda _: int(random.exponential(SERVICE_NS)))

    samples = simulate(ClosedLoop(clients, think_time=Exponential(think)), 60, [target])

    # P(n at the server) is proportional to N! / (N - n)! (service / think)^n.
    weights = [math.perm(clients, n) * (service / think) ** n for n in range(clients + 1)]
    busy = 1 - weights[0] / sum(weights)
    assert len(samples.intended_ns) / 60 == pytest.approx(busy / service, rel=0.02)
    assert np.all(np.diff(samples.intended_ns) >= 0)


def test_constant_arrivals_below_capacity_never_wait() -> None:
    """D/D/1: one every 2 ms, 1 ms each."""
    samples = run(Constant(500), Serving(1), 2.0)

    assert len(samples.stop) == 1000
    assert samples.queue_ns.max() == 0


def test_a_trace_is_replayed() -> None:
    """Requests are due when they were recorded, and wait for each other."""
    target = fixed()
    start = target.clock.now

    samples = run(Trace((0.0, 0.0005, 0.1)), Serving(1), 1.0, target)

    assert (samples.intended_ns - start).tolist() == [0, 500_000, 100_000_000]
    assert samples.queue_ns.tolist() == [0, 500_000, 0]


def test_a_full_queue_rejects() -> None:
    """M/M/1/K: the share that is rejected is `(1 - rho) rho^K / (1 - rho^(K + 1))`, within 2 %."""
    random = np.random.default_rng(8)
    target = TimedTarget(FakeClock(), lambda _: int(random.exponential(SERVICE_NS)))
    rho, places = 1.25, 4  # three wait, one is served

    samples = simulate(Server(1250), 80, [target], serving=Serving(1, queue_limit=places - 1))

    expected = (1 - rho) * rho**places / (1 - rho ** (places + 1))
    assert samples.rejected / samples.total == pytest.approx(expected, rel=0.02)
    assert samples.total == len(arrivals(Server(1250), 80, 0))


def test_first_come_first_queued() -> None:
    """With room for three, the first three of five that come during one call wait for it."""
    target = fixed()
    start = target.clock.now
    times = Trace((0.0, 1e-4, 2e-4, 3e-4, 4e-4, 5e-4, 0.1))

    samples = run(times, Serving(1, queue_limit=3), 1.0, target)

    assert samples.rejected == 2
    due = ((samples.intended_ns - start) / 1e5).round().astype(int)
    assert due.tolist() == [0, 1, 2, 3, 1000]


@pytest.mark.parametrize("utilisation", [0.5, 0.95, 1.2])
def test_waiting_times_are_lindleys(utilisation: float) -> None:
    """Each waiting time is exactly what Lindley's recursion gives for the same arrivals."""
    samples = single_server(utilisation, 20, seed=1)

    due = samples.intended_ns
    begun = lindley(due)
    np.testing.assert_array_equal(samples.queue_ns, begun - due)
    np.testing.assert_array_equal(samples.latency_ns, begun - due + SERVICE_NS)


def test_closed_loop_throughput_is_clients_over_cycle() -> None:
    """With 8 clients, batches of 8, 1 ms of work and 3 ms of thinking: 8 requests each 4 ms."""
    target = fixed()

    samples = run(ClosedLoop(8, think_time=0.003), Serving(8), 1.0, target)

    assert set(target.batches) == {8}
    assert len(target.batches) == 250
    assert set(samples.latency_ns) == {SERVICE_NS}


def test_closed_loop_queues_when_batches_are_small() -> None:
    """8 clients and batches of 2: each waits for three other batches, by Little's law."""
    samples = run(ClosedLoop(8), Serving(2), 1.0)

    assert set(samples.latency_ns[8:]) == {4 * SERVICE_NS}
    assert len(samples.intended_ns) == 2000


def test_single_stream_sends_one_at_a_time() -> None:
    """Back to back, whatever the largest batch."""
    target = fixed()

    samples = run(SingleStream(), Serving(64), 0.5, target)

    assert set(target.batches) == {1}
    assert len(samples.stop) == 500
    assert samples.queue_ns.max() == 0


def test_offline_sends_full_batches_only() -> None:
    """Every batch is as large as allowed."""
    target = fixed()

    samples = run(Offline(), Serving(16), 0.5, target)

    assert set(target.batches) == {16}
    assert len(samples.intended_ns) == 500 * 16


def test_overload_is_counted_not_hidden() -> None:
    """Latency of an open loop runs from the due time, and what never was sent is counted."""
    samples = run(Server(1000), Serving(1), 1.0, fixed(10 * SERVICE_NS), drain_ns=10**9)

    assert len(samples.stop) == 200  # two seconds at 10 ms each
    assert samples.latency_ns.max() > 1.5e9
    total = len(samples.intended_ns) + samples.unfinished
    assert total == pytest.approx(1000, rel=0.1)
    # The run stops a second after its end; only the call that was under way is finished.
    assert 3 * 10**9 <= samples.done_ns.max() < 3 * 10**9 + 10 * SERVICE_NS


def test_a_late_generator_is_recorded() -> None:
    """Waking late for a request is noted for each wake-up."""
    target = fixed(1000, FakeClock(oversleep_ns=2_000_000))

    samples = run(Server(100), Serving(1), 1.0, target)

    assert len(samples.late_ns) > 50
    assert set(samples.late_ns) == {2_000_000}


def test_an_exception_ends_its_batch_only() -> None:
    """A target that raises is reported with the requests it was asked; the load goes on."""
    calls = iter(range(10**9))

    def answer(batch: object) -> object:
        if next(calls) == 3:
            raise RuntimeError("boom")
        return batch

    target = TimedTarget(FakeClock(), lambda _: SERVICE_NS, answer)
    source = EchoSource(np.arange(1 << 16))
    run(ClosedLoop(4), Serving(4), 0.01, target, source=source)

    assert [(start, stop) for start, stop, _ in source.errors] == [(12, 16)]
    assert len(source.answers) == 9


def test_answers_reach_their_own_requests() -> None:
    """What is asked and what is answered belong to the same request numbers."""
    target = TimedTarget(FakeClock(), lambda rows: rows * 1000, lambda batch: batch * 2)
    source = EchoSource(np.arange(1 << 16))
    run(Server(5000), Serving(8), 1.0, target, source=source)

    for start, stop, outputs in source.answers:
        np.testing.assert_array_equal(outputs, 2 * np.arange(start, stop))


def test_replicas_work_at_the_same_time() -> None:
    """Two replicas each wait for the other's call to begin, so they must overlap."""
    both = threading.Barrier(2, timeout=30)

    class Together:
        def infer(self, batch: object) -> object:
            both.wait()
            return batch

    clock = MonotonicClock()
    source = EchoSource(np.arange(1 << 16))
    ending = _Ending(clock, source, 20, both)
    samples = Load(
        replicas=[Replica(Together(), ending), Replica(Together(), ending)],
        log=RequestLog(
            queue=request_queue_for(ClosedLoop(2), Serving(1, replicas=2), clock.now_ns(), 60.0, 0),
            source=source,
            started_ns=clock.now_ns(),
            deadline_ns=clock.now_ns() + 60 * 10**9,
        ),
        call_seconds=1e6,
        observer=NoObserver(),
    ).run()

    assert len(samples.stop) >= 20
    assert not [error for error in source.errors if not _broken(error[2])]
    assert np.all(np.diff(samples.stop) == 1)


def _broken(error: Exception) -> bool:
    # When the run ends, the last replica may be left alone at the barrier.
    return isinstance(error, threading.BrokenBarrierError)


class _Ending:
    """A real clock that jumps past the end once enough was answered."""

    def __init__(
        self, clock: MonotonicClock, source: EchoSource, enough: int, meeting: threading.Barrier
    ) -> None:
        self._clock, self._source, self._enough, self._meeting = clock, source, enough, meeting

    def now_ns(self) -> int:
        if len(self._source.answers) < self._enough:
            return self._clock.now_ns()
        self._meeting.abort()
        return self._clock.now_ns() + 10**12

    def sleep_until_ns(self, when_ns: int) -> None:
        self._clock.sleep_until_ns(when_ns)


def test_a_bug_in_the_source_is_raised_not_swallowed() -> None:
    """What goes wrong in the engine's own parts ends the run with that error."""
    clock = FakeClock()

    class Broken(EchoSource):
        def answer(self, start: int, stop: int, outputs: object) -> None:  # noqa: ARG002 - a source's
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Load(
            replicas=[Replica(TimedTarget(clock, lambda _: 1), clock)],
            log=RequestLog(
                queue=request_queue_for(SingleStream(), Serving(), clock.now, 1.0, 0),
                source=Broken(np.arange(8)),
                started_ns=clock.now,
                deadline_ns=1 << 60,
            ),
            call_seconds=60.0,
            observer=NoObserver(),
        ).run()


@pytest.mark.parametrize(
    "scenario", [Server(2500), Server(5000), ClosedLoop(50), MultiStream(7), Offline()], ids=str
)
def test_segments_are_the_whole_run(scenario: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    """The segments that a load hands over, joined, are what it would have kept."""
    serving = Serving(3, replicas=2, queue_limit=9 if isinstance(scenario, Server) else None)

    def targets() -> list[TimedTarget]:
        work = [np.random.default_rng(seed) for seed in (1, 2)]
        return [TimedTarget(FakeClock(), lambda _, w=w: int(w.exponential(1e6))) for w in work]

    whole = simulate(scenario, 1.0, targets(), serving=serving)
    monkeypatch.setattr("pytest_dlperf.load.request_log._CALLS", 10)
    monkeypatch.setattr("pytest_dlperf.load.request_queue.CHUNK", 64)
    segments: list[Samples] = []
    rest = simulate(
        scenario, 1.0, targets(), serving=serving, sink=lambda cut: segments.append(cut())
    )
    segments.append(rest)

    assert len(segments) > 20
    for column in ("intended_ns", "dispatched_ns", "done_ns", "replica", "outcome"):
        joined = np.concatenate([getattr(segment, column) for segment in segments])
        np.testing.assert_array_equal(joined, getattr(whole, column))
    stops = np.concatenate([segment.first + segment.stop for segment in segments])
    np.testing.assert_array_equal(stops, whole.stop)
    assert sum(len(segment.late_ns) for segment in segments) == len(whole.late_ns)
    assert sum(segment.rejected for segment in segments) == whole.rejected
    assert [segment.unfinished for segment in segments[:-1]] == [0] * (len(segments) - 1)
    assert set(whole.replica.tolist()) == {0, 1}
