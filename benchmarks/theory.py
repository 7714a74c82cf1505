"""What theory knows of queues with Poisson arrivals, and of one given sequence of arrivals."""

from __future__ import annotations

import heapq
import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from peers.known import System

STATES = 1_500
SHARE = 0.99


def waits(
    due_s: NDArray[np.float64], service_s: NDArray[np.float64], servers: int
) -> NDArray[np.float64]:
    """Waiting time of each request, first come first served, shape `(requests,)`.

    Kiefer and Wolfowitz' recursion, for one server Lindley's: whoever comes takes the server that
    is free first.

    Args:
        due_s: when requests come, not decreasing, shape `(requests,)`.
        service_s: how long each is served, shape `(requests,)`.
        servers: how many serve.
    """
    free = [0.0] * servers
    waited = []
    for due, service in zip(due_s.tolist(), service_s.tolist(), strict=True):
        begun = max(due, free[0])
        heapq.heapreplace(free, begun + service)
        waited.append(begun - due)
    return np.array(waited)


def steady_p99(system: System) -> float:
    """99th percentile of the latency after endless time, in seconds.

    M/M/1: latency is exponential with rate `(1 - rho) / s`. M/D/c: see `_wait_of_m_d_c`.

    Raises:
        ValueError: for several servers with exponential service.
    """
    if system.service == "M":
        if system.servers != 1:
            raise ValueError(f"{system}: expected one server, or a service that is always the same")
        return -math.log(1 - SHARE) * system.service_s / (1 - system.utilisation)
    below = _wait_of_m_d_c(system.servers, system.utilisation * system.servers)
    low, high = 0.0, 1.0
    while below(high) < SHARE:
        high *= 2
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if below(middle) < SHARE else (low, middle)
    return system.service_s * (1 + high)


def _wait_of_m_d_c(servers: int, load: float) -> Callable[[float], float]:
    """`P[W <= x]`, x in service times, by Franx' formula.

    For `k - 1 <= x < k` it is the sum over j from 0 to `kc - 1` of `Q[kc - 1 - j]` times the
    Poisson probability of j arrivals in `k - x`, where `Q[m]` is the probability that m or fewer
    wait (G. J. Franx, A simple solution for the M/D/c waiting time distribution, 2001). All terms
    are positive, so that nothing cancels out as in Erlang's series.
    """
    from scipy import stats

    few_wait = np.cumsum(_present(servers, load))[servers:]

    def below(x: float) -> float:
        whole = math.floor(x) + 1
        coming = np.arange(whole * servers)
        arrive = stats.poisson.pmf(coming, load * (whole - x))
        return float(few_wait[whole * servers - 1 - coming] @ arrive)

    return below


def _present(servers: int, load: float) -> NDArray[np.float64]:
    """Probability of 0, 1, 2 ... requests in M/D/c, by Crommelin's chain, shape `(STATES,)`.

    Who is served at t has left a service time later, and who is there then has waited at t or
    come since: `n' = max(n - c, 0) + Poisson(load)`.
    """
    from scipy import stats

    coming = stats.poisson.pmf(np.arange(STATES), load)
    step = np.zeros((STATES, STATES))
    for present in range(STATES):
        left = max(present - servers, 0)
        step[present, left:] = coming[: STATES - left]
        step[present, -1] += 1 - step[present].sum()
    equations = step.T - np.eye(STATES)
    equations[0] = 1.0
    return np.linalg.solve(equations, np.eye(STATES)[0])
