"""A target whose service time is known, and what a peer saw of it."""

from __future__ import annotations

import ctypes
import sys
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SPIN_S = 40e-6
_DRAWN = 1 << 16
_PR_SET_TIMERSLACK = 29  # linux/prctl.h


@dataclass(frozen=True, slots=True)
class System:
    """A queueing system in Kendall's letters, with Poisson arrivals.

    Attributes:
        service: D, always the same time, or M, exponential times.
        servers: how many requests are served at the same time.
        utilisation: share of the time that a server is busy.
        service_s: mean service time in seconds.
    """

    service: Literal["D", "M"]
    servers: int
    utilisation: float
    service_s: float

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.utilisation * self.servers / self.service_s

    def __str__(self) -> str:
        return f"M/{self.service}/{self.servers} at {self.utilisation:g}"


@dataclass(frozen=True, slots=True)
class Served:
    """One run, columns of shape `(requests,)` in the order of due times.

    Attributes:
        due_s: when each request was due, from any zero.
        service_s: how long the target really took for it.
        latency_s: what the peer reports.
    """

    due_s: NDArray[np.float64]
    service_s: NDArray[np.float64]
    latency_s: NDArray[np.float64]


class KnownService:
    """Takes a known time for each call and writes down what it really took.

    It sleeps, as one does who waits for an accelerator, so that no other thread is in its way;
    it spins for the last 40 microseconds only, to be exact.
    """

    def __init__(self, system: System) -> None:
        random = np.random.default_rng(1)
        drawn = random.exponential(system.service_s, _DRAWN)
        times = drawn if system.service == "M" else np.full(_DRAWN, system.service_s)
        self._times = iter(times.tolist())
        self._took: list[tuple[float, float]] = []
        self._begun = False
        self._thread = threading.local()

    def begin(self) -> None:
        """Before this, calls are answered at once and not counted."""
        self._begun = True

    def infer(self, batch: NDArray[Any]) -> NDArray[Any]:
        """Take the next service time."""
        if self._begun:
            self._wait()
        return batch[:, :1]

    def services(self, requests: int) -> NDArray[np.float64]:
        """What the first calls took, in the order in which they began, shape `(requests,)`."""
        return np.array([took for _, took in sorted(self._took)[:requests]])

    def _wait(self) -> None:
        started = time.perf_counter()
        end = started + next(self._times)
        self._exact_timers()
        remaining = end - _SPIN_S - time.perf_counter()
        if remaining > 0:
            time.sleep(remaining)
        while (now := time.perf_counter()) < end:
            pass
        self._took.append((started, now - started))

    def _exact_timers(self) -> None:
        if sys.platform == "linux" and not getattr(self._thread, "exact", False):
            ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1_000, 0, 0, 0)
            self._thread.exact = True
