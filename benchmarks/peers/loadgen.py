"""MLPerf LoadGen driven from Python, scenario Server."""

from __future__ import annotations

import queue
import re
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from peers.empty import LATE_S, ROWS, Sent, empty
from peers.known import KnownService, Served, System

if TYPE_CHECKING:
    from collections.abc import Callable

SAMPLE = re.compile(
    r'"name":"Sample".*"ph":"b".*"ts":(?P<due>[\d.]+).*"sample_seq":(?P<number>\d+)'
    r'.*"complete_ns":(?P<latency>\d+)'
)


def send(rate: float, seconds: float) -> Sent:
    """Poisson arrivals to the empty target, in the thread that issues them."""
    import mlperf_loadgen as loadgen

    requests = 0

    def issue(samples: list[Any]) -> None:
        nonlocal requests
        requests += len(samples)
        for sample in samples:
            empty(ROWS[sample.index : sample.index + 1])
        _complete(samples)

    with tempfile.TemporaryDirectory() as folder:
        started = time.process_time()
        _run(issue, rate, seconds, Path(folder), loadgen)
        used = time.process_time() - started
        summary = (Path(folder) / "mlperf_log_summary.txt").read_text()
    p99_s = _percentile_ns(summary, 99) * 1e-9
    return Sent(p99_s < LATE_S, used / requests * 1e6, _percentile_ns(summary, 50) * 1e-3)


def serve(system: System, seconds: float) -> Served:
    """Poisson arrivals to a queue that as many threads serve as there are servers."""
    import mlperf_loadgen as loadgen

    target = KnownService(system)
    target.begin()
    waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def issue(samples: list[Any]) -> None:
        for sample in samples:
            waiting.put(sample)

    def work() -> None:
        while (sample := waiting.get()) is not None:
            target.infer(ROWS[sample.index : sample.index + 1])
            _complete([sample])

    workers = [threading.Thread(target=work) for _ in range(system.servers)]
    for worker in workers:
        worker.start()
    with tempfile.TemporaryDirectory() as folder:
        _run(issue, system.rate, seconds, Path(folder), loadgen, trace=True)
        trace = (Path(folder) / "mlperf_log_trace.json").read_text()
    for _ in workers:
        waiting.put(None)
    for worker in workers:
        worker.join()
    # Due times are in microseconds, latencies from due to complete in nanoseconds.
    rows = sorted(
        (int(one["number"]), float(one["due"]) * 1e-6, int(one["latency"]) * 1e-9)
        for one in SAMPLE.finditer(trace)
    )
    _, due, latency = np.array(rows).T
    return Served(due, target.services(len(due)), latency)


def _percentile_ns(summary: str, percent: int) -> int:
    found = re.search(rf"{percent}\.00 percentile latency \(ns\)\s*:\s*(\d+)", summary)
    if found is None:
        raise SystemExit(f"LoadGen's summary has no p{percent}")
    return int(found[1])


def _complete(samples: list[Any]) -> None:
    import mlperf_loadgen as loadgen

    loadgen.QuerySamplesComplete(
        [loadgen.QuerySampleResponse(sample.id, 0, 0) for sample in samples]
    )


def _run(  # noqa: PLR0913 - what LoadGen is to be told
    issue: Callable[[list[Any]], None],
    rate: float,
    seconds: float,
    folder: Path,
    loadgen: Any,  # noqa: ANN401 - a module without types
    *,
    trace: bool = False,
) -> None:
    settings = loadgen.TestSettings()
    settings.scenario = loadgen.TestScenario.Server
    settings.mode = loadgen.TestMode.PerformanceOnly
    settings.server_target_qps = rate
    settings.server_target_latency_ns = int(LATE_S * 1e9)
    settings.min_duration_ms = int(seconds * 1000)
    settings.min_query_count = 1
    logs = loadgen.LogSettings()
    logs.enable_trace = trace
    logs.log_output = loadgen.LogOutputSettings()
    logs.log_output.outdir = str(folder)
    logs.log_output.copy_summary_to_stdout = False
    system = loadgen.ConstructSUT(issue, lambda: None)
    library = loadgen.ConstructQSL(len(ROWS), len(ROWS), lambda _: None, lambda _: None)
    loadgen.StartTestWithLogSettings(system, library, settings, logs)
    loadgen.DestroyQSL(library)
    loadgen.DestroySUT(system)
