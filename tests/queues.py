"""Queues whose answers are known: one server, Poisson arrivals, without an engine."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from pytest_dlperf.load.samples import Samples

if TYPE_CHECKING:
    from numpy.typing import NDArray


def single_server(
    rate: float, service_rate: float, seconds: float, random: np.random.Generator
) -> Samples:
    """M/M/1 from an empty queue."""
    arrivals = poisson(rate, seconds, random)
    return served(arrivals, random.exponential(1 / service_rate, len(arrivals)))


def served(arrivals: NDArray[np.float64], work: NDArray[np.float64]) -> Samples:
    """One server, first come first served, from an empty queue: Lindley's recursion."""
    done = np.cumsum(work)
    done += np.maximum.accumulate(arrivals - done + work)
    return Samples(
        started_ns=0,
        intended_ns=_ns(arrivals),
        stop=np.arange(1, len(arrivals) + 1),
        dispatched_ns=_ns(done - work),
        done_ns=_ns(done),
        replica=np.zeros(len(arrivals), np.int64),
        outcome=np.zeros(len(arrivals), np.uint8),
        late_ns=np.zeros(0, np.int64),
        unfinished=0,
    )


def random_service_limit(rate: float, service_rate: float, share: float) -> float:
    """Seconds within which a share of the requests of M/M/1 is answered.

    The time in the system is exponential: `P[T > t] = exp(-(mu - lambda) t)`.
    """
    return -math.log(1 - share) / (service_rate - rate)


def fixed_service_share(rate: float, service: float, seconds: float) -> float:
    """The share of the requests of M/D/1 that are answered within `seconds` (Erlang 1909).

    `P[W <= t] = (1 - rho) sum_k (-x_k)^k / k! exp(x_k)` with `x_k = lambda (t - k s)`, k up to
    `t / s`, is for the waiting time; the service comes on top.
    """
    waited = seconds - service
    terms = (
        (-rate * (waited - k * service)) ** k
        / math.factorial(k)
        * math.exp(rate * (waited - k * service))
        for k in range(int(waited / service) + 1)
    )
    return (1 - rate * service) * sum(terms)


def poisson(rate: float, seconds: float, random: np.random.Generator) -> NDArray[np.float64]:
    """Times of Poisson arrivals."""
    expected = rate * seconds
    gaps = random.exponential(1 / rate, int(expected + 8 * expected**0.5) + 16)
    times: NDArray[np.float64] = np.cumsum(gaps)
    return times[times < seconds]


def _ns(seconds: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.round(seconds * 1e9).astype(np.int64)
