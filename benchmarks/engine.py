"""The load engine against a thread for each client, on the reference model, in one run.

Both put 64 closed-loop clients on the same concrete function. The engine's clients are virtual
and their requests are batched; the threads call the function one row at a time.

    python benchmarks/engine.py [--seconds 5] [--rounds 3]
"""

from __future__ import annotations

import argparse
import statistics
import threading
import time
from typing import TYPE_CHECKING

import numpy as np

from pytest_dlperf.core.data import as_data
from pytest_dlperf.core.options import Options
from pytest_dlperf.core.plan import plan
from pytest_dlperf.core.scenarios import ClosedLoop
from pytest_dlperf.engine.clock import MonotonicClock
from pytest_dlperf.engine.measure import measure
from pytest_dlperf.engine.reference import reference_model
from pytest_dlperf.engine.reference_data import load_digits
from pytest_dlperf.engine.rig import Bench
from pytest_dlperf.engine.telemetry import ProcessMeter
from pytest_dlperf.reports.progress import NoProgress

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

CLIENTS = 64


def thread_per_client(
    infer: Callable[[NDArray[np.float32]], object], rows: NDArray[np.float32], seconds: float
) -> tuple[float, float]:
    """Requests a second and p99 in seconds of one thread a client, one row a call."""
    latencies: list[list[float]] = [[] for _ in range(CLIENTS)]
    barrier = threading.Barrier(CLIENTS + 1)
    stop = threading.Event()

    def client(number: int) -> None:
        mine = latencies[number]
        barrier.wait()
        while not stop.is_set():
            row = (number + CLIENTS * len(mine)) % len(rows)
            started = time.perf_counter()
            infer(rows[row : row + 1])
            mine.append(time.perf_counter() - started)

    threads = [threading.Thread(target=client, args=(n,)) for n in range(CLIENTS)]
    for thread in threads:
        thread.start()
    barrier.wait()
    started = time.perf_counter()
    time.sleep(seconds)
    stop.set()
    for thread in threads:
        thread.join()
    elapsed = time.perf_counter() - started
    merged = np.concatenate([np.array(mine) for mine in latencies])
    return len(merged) / elapsed, float(np.quantile(merged, 0.99))


def main() -> None:
    """Measure both in turn and print one table."""
    import tensorflow as tf

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    data = load_digits()
    model = reference_model(data, None, print, MonotonicClock()).model
    spec = tf.TensorSpec((None, data.schema.features), tf.float32)
    concrete = tf.function(lambda x: model(x, training=False)).get_concrete_function(spec)
    load = plan([Options(scenario=ClosedLoop(CLIENTS), duration=given.seconds)])
    bench = Bench(MonotonicClock(), ProcessMeter(), NoProgress())

    def infer(batch: NDArray[np.float32]) -> NDArray[np.float32]:
        answer: NDArray[np.float32] = concrete(tf.convert_to_tensor(batch)).numpy()
        return answer

    print(f"{CLIENTS} closed-loop clients, {given.rounds} rounds of {given.seconds:g} s each")
    print(f"{'round':>5}  {'engine/s':>10} {'p99 ms':>7}  {'threads/s':>10} {'p99 ms':>7}  ratio")
    ratios = []
    for turn in range(given.rounds):
        found = measure(concrete, as_data(data.test), load, bench, test="engine", name="")
        ours, our_p99 = found["throughput"].value, found["p99"].value
        theirs, their_p99 = thread_per_client(infer, data.test.inputs, given.seconds)
        ratios.append(ours / theirs)
        print(
            f"{turn + 1:>5}  {ours:>10,.0f} {our_p99 * 1e3:>7.2f}  "
            f"{theirs:>10,.0f} {their_p99 * 1e3:>7.1f}  {ratios[-1]:.1f}"
        )
    print(f"median ratio {statistics.median(ratios):.1f} (goal: at least 10)")


if __name__ == "__main__":
    main()
