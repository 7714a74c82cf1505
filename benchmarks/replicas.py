"""Replicas in processes of their own against replicas in threads, on a heavy model, in one run.

The model is the reference model with two layers of `--units`; its clients keep every replica in
full batches. Threads share one TensorFlow; processes have one each, with one thread. The last
line is what it costs to reach a process: a call that answers with its batch.

    python benchmarks/replicas.py [--seconds 3] [--rounds 3] [--units 2048]
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import time
from typing import TYPE_CHECKING

import numpy as np

from pytest_dlperf.clock import MonotonicClock
from pytest_dlperf.config.options import Options
from pytest_dlperf.config.plan import plan
from pytest_dlperf.data.dataset import as_data
from pytest_dlperf.data.digits import load_digits
from pytest_dlperf.load.scenarios import Offline
from pytest_dlperf.load.serving import Serving
from pytest_dlperf.measure.measure import measure
from pytest_dlperf.measure.prepared import Instruments
from pytest_dlperf.measure.telemetry import ProcessMeter
from pytest_dlperf.report.progress import NoProgress
from pytest_dlperf.targets.worker import Loader, start_workers

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

CALLS = 3000
BATCH = 64


def echo() -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """What the worker of the last line loads."""
    return lambda batch: batch


def seconds_a_call(features: int) -> float:
    """Median seconds from a batch to its answer, to a process and back."""
    (worker,) = start_workers(Loader("replicas", "echo", {}), 1, 60)
    with contextlib.closing(worker):
        batch = np.zeros((BATCH, features), np.float32)
        times = []
        for _ in range(CALLS):
            started = time.perf_counter()
            worker.infer(batch)
            times.append(time.perf_counter() - started)
    return statistics.median(times)


def main() -> None:
    """Measure all of them in turn, and print one table."""
    import keras

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--units", type=int, default=2048)
    given = parser.parse_args()
    data = load_digits()
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((data.schema.features,)),
            keras.layers.Dense(given.units, activation="relu"),
            keras.layers.Dense(given.units, activation="relu"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    cores = len(os.sched_getaffinity(0))
    sides = {
        "1 process of 1 thread": Serving(BATCH, intra_op_threads=1),
        f"{cores} processes of 1 thread": Serving(BATCH, replicas=cores, intra_op_threads=1),
        "here, 1 replica": Serving(BATCH),
        f"here, {cores} replicas": Serving(BATCH, replicas=cores),
    }
    bench = Instruments(MonotonicClock(), ProcessMeter(), NoProgress())
    rates: dict[str, list[float]] = {side: [] for side in sides}
    busy: dict[str, list[float]] = {side: [] for side in sides}
    costs: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(given.rounds):
        for side, serving in sides.items():
            load = plan([Options(scenario=Offline(), serving=serving, duration=given.seconds)])
            found = measure(model, as_data(data.test), load, bench, test="replicas", name="")
            rates[side].append(found["throughput"].value)
            if found.usage is not None:
                busy[side].append(found.usage.busy_cores)
                costs[side].append(found.usage.cpu_per_request * 1e6)
    first = next(iter(sides))
    print(
        f"Dense {given.units} twice, batches of {BATCH}, {cores} cores, "
        f"{given.rounds} rounds of {given.seconds:g} s, medians"
    )
    print(f"{'':<25}{'rows/s':>10}{'cores busy':>12}{'CPU us a row':>14}{'ratio':>8}")
    for side in sides:
        ratio = statistics.median(a / b for a, b in zip(rates[side], rates[first], strict=True))
        print(
            f"{side:<25}{statistics.median(rates[side]):>10,.0f}"
            f"{statistics.median(busy[side]):>12.2f}{statistics.median(costs[side]):>14.1f}"
            f"{ratio:>8.2f}"
        )
    microseconds = seconds_a_call(data.schema.features) * 1e6
    print(f"a call to a process and back: {microseconds:.1f} us with {BATCH} rows")


if __name__ == "__main__":
    main()
