"""The engine of this project."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from peers.empty import ROWS, Sent, empty, judged
from peers.known import KnownService, Served, System
from pytest_dlperf.core.data import as_data
from pytest_dlperf.core.options import Options
from pytest_dlperf.core.plan import plan
from pytest_dlperf.core.scenarios import Server
from pytest_dlperf.core.serving import Serving
from pytest_dlperf.engine.clock import MonotonicClock
from pytest_dlperf.engine.rig import Bench, Rig, set_up
from pytest_dlperf.engine.telemetry import ProcessMeter
from pytest_dlperf.reports.progress import NoProgress

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_dlperf.core.data import Data
    from pytest_dlperf.core.scenarios import Scenario

BATCH_TIMEOUT_S = 0.5e-3


def rig_for(
    target: object, data: Data, scenario: Scenario, serving: Serving, seconds: float
) -> Rig:
    """A target ready to be measured, with everything that a measurement does."""
    load = plan([Options(scenario=scenario, serving=serving, duration=seconds)])
    return set_up(target, data, load, Bench(MonotonicClock(), ProcessMeter(), NoProgress()))


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
    rig = rig_for(target, as_data((ROWS[:8], None)), Server(system.rate), serving, seconds)
    target.begin()
    samples, _, _ = rig.run(seconds, "")
    due = _seconds(samples.intended_ns - samples.started_ns)
    return Served(due, target.services(len(due)), _seconds(samples.latency_ns))


def _send(rate: float, seconds: float, serving: Serving) -> Sent:
    rig = rig_for(empty, as_data((ROWS, None)), Server(rate), serving, seconds)
    started = time.process_time()
    samples, _, _ = rig.run(seconds, "")
    used = time.process_time() - started
    never = np.full(samples.unfinished, np.inf)
    return judged(np.concatenate([_seconds(samples.latency_ns), never]), used)


def _seconds(times_ns: NDArray[np.int64]) -> NDArray[np.float64]:
    return times_ns.astype(np.float64) * 1e-9
