"""Clock: where time comes from, so that tests can bring their own."""

from __future__ import annotations

import time
from typing import Final, Protocol

_SPIN_NS: Final = 50_000  # a sleeping thread wakes about this late


class Clock(Protocol):
    """A monotonic clock and a way to wait for it, in integer nanoseconds."""

    def now_ns(self) -> int:
        """The present."""
        ...

    def sleep_until_ns(self, when_ns: int) -> None:
        """Return at `when_ns` or as soon after it as possible, at once if it is past."""
        ...


class MonotonicClock:
    """The machine's clock: sleeps until shortly before the time, then spins."""

    def now_ns(self) -> int:
        """`time.perf_counter_ns`."""
        return time.perf_counter_ns()

    def sleep_until_ns(self, when_ns: int) -> None:
        """Sleep, then spin for the last 50 microseconds."""
        remaining = when_ns - time.perf_counter_ns()
        if remaining > _SPIN_NS:
            time.sleep((remaining - _SPIN_NS) * 1e-9)
        while time.perf_counter_ns() < when_ns:
            pass
