"""What a long run costs in memory: 100 million requests to an empty target.

Two loads: `Offline` in calls of 4,096 requests, and an open loop of Poisson arrivals. For each the
peak of the resident memory while it ran and was summed up, beyond what was resident before.

    python benchmarks/memory.py [--requests 100000000] [--rate 2000000]
"""

from __future__ import annotations

import argparse
import gc
import threading
import time
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from pytest_dlperf.clock import MonotonicClock
from pytest_dlperf.config.options import Options
from pytest_dlperf.config.plan import plan
from pytest_dlperf.data.dataset import as_data
from pytest_dlperf.load.scenarios import Offline, Server
from pytest_dlperf.load.serving import Serving
from pytest_dlperf.load.summary import summarise_load
from pytest_dlperf.measure.preparation import prepare_load
from pytest_dlperf.measure.prepared import Instruments
from pytest_dlperf.measure.telemetry import ProcessMeter
from pytest_dlperf.report.progress import NoProgress

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_dlperf.load.scenarios import Scenario
    from pytest_dlperf.measure.prepared import LoadResult

GOAL_MB = 200
LARGEST = 4096


class Peak:
    """The highest resident memory, looked at every few milliseconds."""

    def __init__(self) -> None:
        self._meter = ProcessMeter()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look)
        gc.collect()
        self.before = self.highest = self._meter.resident_bytes()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._done.wait(0.005):
            self.highest = max(self.highest, self._meter.resident_bytes())

    @property
    def grown_mb(self) -> float:
        """Megabytes beyond what was there before."""
        return (self.highest - self.before) / 1e6


def empty(batch: NDArray[Any]) -> NDArray[Any]:
    """Answer at once."""
    return batch[:, :1]


def load(scenario: Scenario, serving: Serving, seconds: float) -> tuple[LoadResult, Peak]:
    """Run a load and sum it up."""
    rows = np.random.default_rng(0).random((1024, 64)).astype(np.float32)
    given = plan([Options(scenario=scenario, serving=serving, duration=seconds)])
    prepared = prepare_load(
        empty,
        as_data((rows, None)),
        given,
        Instruments(MonotonicClock(), ProcessMeter(), NoProgress()),
    )
    prepared.run(0.1, "")
    with Peak() as peak:
        run = prepared.run(seconds, "")
        summarise_load(run.totals, latencies=True)
    return run, peak


def main() -> None:
    """Run both loads and print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000_000)
    parser.add_argument("--rate", type=float, default=2_000_000)
    given = parser.parse_args()
    serving = Serving(LARGEST)
    tried, _ = load(Offline(), serving, 1.0)
    # The first try is slower or faster than what follows.
    seconds = 1.5 * given.requests / tried.totals.answered
    print(f"{'load':34}{'requests':>14}{'clock s':>9}{'real s':>8}{'peak MB':>9}")
    highest = 0.0
    for scenario, lasts in (
        (Offline(), seconds),
        (Server(given.rate), given.requests / given.rate),
    ):
        began = time.perf_counter()
        run, peak = load(scenario, serving, lasts)
        took = time.perf_counter() - began
        print(
            f"{scenario!s:34}{run.totals.total:>14,}{run.totals.span_ns * 1e-9:>9.1f}"
            f"{took:>8.1f}{peak.grown_mb:>9.0f}"
        )
        highest = max(highest, peak.grown_mb)
    print(f"highest peak {highest:.0f} MB (goal: under {GOAL_MB} MB)")


if __name__ == "__main__":
    main()
