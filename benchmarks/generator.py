"""What the load generator itself costs, against MLPerf LoadGen driven from Python.

Both send Poisson arrivals (scenario `Server`) to an empty target. Two tables: the highest rate at
which fewer than 1 % of the requests were more than 1 ms late from schedule to answer, found by
doubling; and the processor time that a request takes, all threads counted.

    pip install mlcommons-loadgen
    python benchmarks/generator.py [--seconds 2] [--rounds 3]
"""

from __future__ import annotations

import argparse
import re
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlperf_loadgen as loadgen
import numpy as np

from pytest_dlperf.core.data import as_data
from pytest_dlperf.core.options import Options
from pytest_dlperf.core.plan import plan
from pytest_dlperf.core.scenarios import Server
from pytest_dlperf.engine.clock import MonotonicClock
from pytest_dlperf.engine.rig import Bench, set_up
from pytest_dlperf.engine.telemetry import ProcessMeter
from pytest_dlperf.reports.progress import NoProgress

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

LATE_S = 1e-3
FIRST_RATE = 25_000
LAST_RATE = 12_800_000


@dataclass(frozen=True)
class Sent:
    """One run: requests, the 99th percentile of their latency, and processor time for each."""

    requests: int
    p99_s: float
    cpu_us: float


def ours(rate: float, seconds: float) -> Sent:
    """The engine with everything that a measurement does while requests are sent."""
    rows = np.random.default_rng(0).random((1024, 64)).astype(np.float32)

    def empty(batch: NDArray[Any]) -> NDArray[Any]:
        return batch[:, :1]

    load = plan([Options(scenario=Server(rate), duration=seconds)])
    bench = Bench(MonotonicClock(), ProcessMeter(), NoProgress())
    rig = set_up(empty, as_data((rows, None)), load, bench)
    started = time.process_time()
    tally = rig.run(seconds, "").tally
    used = time.process_time() - started
    p99 = tally.latencies.percentiles((99.0,))[99.0].value
    return Sent(tally.total, p99, used / tally.total * 1e6)


def theirs(rate: float, seconds: float) -> Sent:
    """LoadGen with a system under test that answers at once."""
    requests = 0

    def issue(samples: list[Any]) -> None:
        nonlocal requests
        requests += len(samples)
        answers = [loadgen.QuerySampleResponse(sample.id, 0, 0) for sample in samples]
        loadgen.QuerySamplesComplete(answers)

    settings = loadgen.TestSettings()
    settings.scenario = loadgen.TestScenario.Server
    settings.mode = loadgen.TestMode.PerformanceOnly
    settings.server_target_qps = rate
    settings.server_target_latency_ns = int(LATE_S * 1e9)
    settings.min_duration_ms = int(seconds * 1000)
    settings.min_query_count = 1
    with tempfile.TemporaryDirectory() as folder:
        output = loadgen.LogOutputSettings()
        output.outdir = folder
        output.copy_summary_to_stdout = False
        logs = loadgen.LogSettings()
        logs.log_output = output
        logs.enable_trace = False
        system = loadgen.ConstructSUT(issue, lambda: None)
        library = loadgen.ConstructQSL(1024, 1024, lambda _: None, lambda _: None)
        started = time.process_time()
        loadgen.StartTestWithLogSettings(system, library, settings, logs)
        used = time.process_time() - started
        loadgen.DestroyQSL(library)
        loadgen.DestroySUT(system)
        summary = (Path(folder) / "mlperf_log_summary.txt").read_text()
    found = re.search(r"99\.00 percentile latency \(ns\)\s*:\s*(\d+)", summary)
    if found is None:
        raise SystemExit("LoadGen's summary has no p99")
    return Sent(requests, int(found[1]) * 1e-9, used / requests * 1e6)


def highest_rate(send: Callable[[float, float], Sent], seconds: float) -> float:
    """The last rate, by doubling, at which the generator was in time; in one of two tries."""
    held, rate = 0.0, float(FIRST_RATE)
    while rate <= LAST_RATE and any(send(rate, seconds).p99_s <= LATE_S for _ in range(2)):
        held, rate = rate, rate * 2
    return held


def main() -> None:
    """Measure both in turn and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    print(f"empty target, Poisson arrivals, {given.rounds} rounds of {given.seconds:g} s, medians")
    print(f"{'':34}{'dlperf':>12}{'LoadGen':>12}{'ratio':>8}")
    rates = [
        (highest_rate(ours, given.seconds), highest_rate(theirs, given.seconds))
        for _ in range(given.rounds)
    ]
    mine, others = (statistics.median(column) for column in zip(*rates, strict=True))
    print(f"{'highest rate in time, 1/s':34}{mine:>12,.0f}{others:>12,.0f}{mine / others:>8.1f}")
    for rate in (2_000, 100_000):
        costs = [
            (ours(rate, given.seconds).cpu_us, theirs(rate, given.seconds).cpu_us)
            for _ in range(given.rounds)
        ]
        mine, others = (statistics.median(column) for column in zip(*costs, strict=True))
        line = f"processor us a request at {rate:,}/s"
        print(f"{line:34}{mine:>12.2f}{others:>12.2f}{mine / others:>8.2f}")


if __name__ == "__main__":
    main()
