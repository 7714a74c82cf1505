"""The empty target, the schedule that is kept, and what is said about a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_dlperf.load.arrivals import arrivals
from pytest_dlperf.load.scenarios import Server

if TYPE_CHECKING:
    from numpy.typing import NDArray

CLIENTS = 64
"""Threads or users that share the requests of an open loop, where a peer has such."""

LATE_S = 1e-3
ALLOWED_SHARE = 0.01
GIVE_UP_S = 0.5
"""Who is this far behind has lost, and need not be waited for."""

ROWS = np.random.default_rng(0).random((1024, 64)).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Sent:
    """One run.

    Attributes:
        in_time: fewer than 1 % of the requests were answered 1 ms after they were due, or later.
        cpu_us: processor time of each request that was answered, all threads, microseconds.
        p50_us: median latency, which is all the generator's own, microseconds.
    """

    in_time: bool
    cpu_us: float
    p50_us: float


def empty(batch: NDArray[Any]) -> NDArray[Any]:
    """Answer at once."""
    return batch[:, :1]


def due_times(rate: float, seconds: float) -> NDArray[np.float64]:
    """Poisson arrivals in seconds from the start, shape `(n,)`."""
    return arrivals(Server(rate), seconds, seed=0).astype(np.float64) * 1e-9


def judged(late_s: NDArray[np.float64], cpu_s: float) -> Sent:
    """A run by how late its answers were.

    Args:
        late_s: from due to answered, infinite for what was not, shape `(n,)`.
        cpu_s: processor time of the process.
    """
    return Sent(
        in_time=float(np.mean(late_s >= LATE_S)) < ALLOWED_SHARE,
        cpu_us=cpu_s / int(np.isfinite(late_s).sum()) * 1e6,
        p50_us=float(np.quantile(late_s, 0.5, method="lower")) * 1e6,
    )
