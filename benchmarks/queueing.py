"""Latencies of a target with a known service time, against what queueing theory says.

Theory is taken for the very arrivals and services of each run (Kiefer and Wolfowitz' recursion),
so that what differs is the generator's own, and no chance of sampling. How far the run's p99 is
from that of endless time is printed beside it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from apart import apart
from peers import dlperf, loadgen, locust_users
from peers.known import System
from table import installed, line, spread
from theory import steady_p99, waits

if TYPE_CHECKING:
    from collections.abc import Callable

    from peers.known import Served

PEERS: dict[str, Callable[[System, float], Served]] = {"dlperf": dlperf.serve}
if installed("mlperf_loadgen"):
    PEERS["LoadGen"] = loadgen.serve
if installed("locust"):
    PEERS["locust"] = locust_users.serve

LENGTHS = {0.5: 3, 0.8: 5, 0.95: 12}
"""Utilisation -> length of its runs: the fuller a system, the longer it remembers its start."""


def against_theory(seconds: float, rounds: int, service_s: float) -> None:
    """p99 and mean wait of every peer and system, as deviations from theory in percent."""
    systems = [
        *(System("D", 1, utilisation, service_s) for utilisation in (0.5, 0.8, 0.95)),
        System("M", 1, 0.8, service_s),
        System("D", 2, 0.8, service_s),
    ]
    print(f"latency against theory, {service_s * 1e3:g} ms of service (goal: p99 within 2 %)")
    line("", "p99, % off", "mean wait, % off", "this run's p99 and endless, %")
    for system in systems:
        found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in PEERS}
        length = LENGTHS[system.utilisation] * seconds
        for _ in range(rounds):
            for name, serve in PEERS.items():
                found[name].append(_deviations(system, apart(serve, system, length)))
        endless = f"{steady_p99(system) * 1e3:.1f} ms"
        print(f"  {system}, p99 after endless time {endless}")
        for name, runs in found.items():
            percents = 100 * np.array(runs).T
            line(f"  {name}", *(spread(column.tolist(), "+.1f") for column in percents))


def _deviations(system: System, served: Served) -> tuple[float, float, float]:
    """p99 and mean wait over theory's for this run, and theory's p99 over the endless one; - 1."""
    waited = waits(served.due_s, served.service_s, system.servers)
    p99 = float(np.quantile(waited + served.service_s, 0.99))
    return (
        float(np.quantile(served.latency_s, 0.99)) / p99 - 1,
        float((served.latency_s - served.service_s).mean() / waited.mean()) - 1,
        p99 / steady_p99(system) - 1,
    )
