"""The engine of this project."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from peers.empty import ROWS, Sent, empty, judged
from peers.known import KnownService, Served, System
from pytest_dlperf.clock import MonotonicClock, StoppableClock
from pytest_dlperf.config.options import Options
from pytest_dlperf.config.plan import plan
from pytest_dlperf.data.dataset import as_data
from pytest_dlperf.load.request_log import RequestLog
from pytest_dlperf.load.request_queue import request_queue_for
from pytest_dlperf.load.runner import Load, Replica
from pytest_dlperf.load.scenarios import Server
from pytest_dlperf.load.serving import Serving
from pytest_dlperf.measure.preparation import prepare_load
from pytest_dlperf.measure.prepared import SEED, Instruments, PreparedLoad
from pytest_dlperf.measure.telemetry import ProcessMeter, Telemetry
from pytest_dlperf.report.progress import NoProgress

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pytest_dlperf.data.dataset import Data
    from pytest_dlperf.load.samples import Samples
    from pytest_dlperf.load.scenarios import Scenario

BATCH_TIMEOUT_S = 0.5e-3
ALLOWED_LENGTH = 1.15


def prepare_for(
    target: object, data: Data, scenario: Scenario, serving: Serving, seconds: float
) -> PreparedLoad:
    """A target ready to be measured, with everything that a measurement does."""
    load = plan([Options(scenario=scenario, serving=serving, duration=seconds)])
    return prepare_load(
        target, data, load, Instruments(MonotonicClock(), ProcessMeter(), NoProgress())
    )


def send(rate: float, seconds: float) -> Sent:
    """Poisson arrivals to the empty target, each request as soon as it is due."""
    return _send(rate, seconds, Serving())


def send_batching(rate: float, seconds: float) -> Sent:
    """The same with dynamic batching: a request may wait half a millisecond for company."""
    return _send(rate, seconds, Serving(batch_timeout=BATCH_TIMEOUT_S))


def serve(system: System, seconds: float) -> Served:
    """Poisson arrivals to a target with a known service time, one request a call."""
    target = KnownService(system)
    serving = Serving(max_batch_size=1, replicas=system.servers)
    prepared = prepare_for(target, as_data((ROWS[:8], None)), Server(system.rate), serving, seconds)
    target.begin()
    samples, _ = whole(prepared, seconds)
    due = _seconds(samples.intended_ns - samples.started_ns)
    return Served(due, target.services(len(due)), _seconds(samples.latency_ns))


def _send(rate: float, seconds: float, serving: Serving) -> Sent:
    prepared = prepare_for(empty, as_data((ROWS, None)), Server(rate), serving, seconds)
    started = time.process_time()
    samples, took = whole(prepared, seconds)
    used = time.process_time() - started
    never = np.full(samples.unfinished, np.inf)
    sent = judged(np.concatenate([_seconds(samples.latency_ns), never]), used)
    # The load's own clock stands still while a million requests are put away; whoever asks for a
    # rate means the clock on the wall.
    return replace(sent, in_time=sent.in_time and took <= ALLOWED_LENGTH * seconds)


def whole(prepared: PreparedLoad, seconds: float) -> tuple[Samples, float]:
    """Run a load, and put its segments together again.

    Returns:
        Every request, and how long the load took on the wall.
    """
    clock = StoppableClock(MonotonicClock())
    scenario, serving = prepared.plan.scenario, prepared.plan.served
    start_ns = clock.now_ns()
    with clock.stopped():
        queue = request_queue_for(scenario, serving, start_ns, seconds, SEED, pause=clock.stopped)
    segments: list[Samples] = []

    def put_away(cut: Callable[[], Samples]) -> None:
        with clock.stopped():
            segments.append(cut())

    log = RequestLog(
        queue=queue,
        source=prepared.evaluation(clock),
        started_ns=start_ns,
        deadline_ns=start_ns + int(2 * max(seconds, 1.0) * 1e9),
        sink=put_away,
    )
    load = Load(
        replicas=[Replica(target, clock) for target in prepared.prepared.replicas],
        log=log,
        call_seconds=60.0,
        observer=Telemetry(
            prepared.instruments.meter,
            prepared.instruments.clock,
            prepared.instruments.progress,
            "",
            None,
        ),
    )
    started = time.perf_counter()
    segments.append(load.run())
    took = time.perf_counter() - started
    columns = ("intended_ns", "dispatched_ns", "done_ns", "replica", "outcome", "late_ns")
    joined = {name: np.concatenate([getattr(one, name) for one in segments]) for name in columns}
    stop = np.concatenate([one.first + one.stop for one in segments])
    return replace(segments[-1], first=0, stop=stop, **joined), took


def _seconds(times_ns: NDArray[np.int64]) -> NDArray[np.float64]:
    return times_ns.astype(np.float64) * 1e-9
