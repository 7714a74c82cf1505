"""Clocks: the machine's, and one that can be stopped; tests bring their own."""

from __future__ import annotations

import contextlib
import ctypes
import sys
import time
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

_LONGEST_SPIN_NS: Final = 50_000  # the kernel's default timer slack; beyond it spinning is wasted
_STEP_NS: Final = 250  # small, so that one interruption hardly moves the quantile
_IN_TIME: Final = 9  # sleeps that end in time, for each one that ends late
_PR_SET_TIMERSLACK: Final = 29  # linux/prctl.h
_SLACK_NS: Final = 1_000


class Clock(Protocol):
    """A monotonic clock and a way to wait for it, in integer nanoseconds."""

    def now_ns(self) -> int:
        """Current time."""
        ...

    def sleep_until_ns(self, when_ns: int) -> None:
        """Return at `when_ns` or as soon as possible afterwards, at once if it has passed."""
        ...


def thread_cpu_ns() -> int:
    """Processor time that the calling thread has used."""
    return time.thread_time_ns()


class StoppableClock:
    """A clock that can be stopped during work that must not count.

    While the clock of virtual clients is stopped, no request becomes due and no latency grows.

    Args:
        clock: the clock that keeps running.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # When it was stopped (None while it runs), and for how long it was stopped before; one
        # tuple, so that other threads read both consistently.
        self._state: tuple[int | None, int] = (None, 0)

    def now_ns(self) -> int:
        """Time of the underlying clock, less the time for which this one was stopped."""
        stopped_ns, lost_ns = self._state
        return (self._clock.now_ns() if stopped_ns is None else stopped_ns) - lost_ns

    def sleep_until_ns(self, when_ns: int) -> None:
        """As `Clock.sleep_until_ns`, in the time of this clock."""
        self._clock.sleep_until_ns(when_ns + self._state[1])

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """Stop the clock inside the block; no effect if it is stopped already."""
        stopped_ns, lost_ns = self._state
        if stopped_ns is not None:
            yield
            return
        began_ns = self._clock.now_ns()
        self._state = (began_ns, lost_ns)
        try:
            yield
        finally:
            self._state = (None, lost_ns + self._clock.now_ns() - began_ns)


class SpinMargin:
    """How much earlier than due to wake up: the 90 % quantile of the lateness of sleeps.

    A thread that wakes up early spins until the time comes, which costs processor time; so the
    margin is no more than this machine needs, and at most 50 microseconds. It tracks the quantile
    in small steps, 9 times as large up as down (Robbins and Monro 1951).
    """

    def __init__(self) -> None:
        self.ns = _LONGEST_SPIN_NS

    def learn(self, late_ns: int) -> None:
        """Adapt to the lateness of a sleep."""
        if late_ns > self.ns:
            self.ns = min(_LONGEST_SPIN_NS, self.ns + _IN_TIME * _STEP_NS)
        else:
            self.ns = max(0, self.ns - _STEP_NS)


class MonotonicClock:
    """The machine's clock: sleeps until shortly before the time, then spins.

    On Linux it requests exact timers for the thread that creates it, and for the threads started
    by that one: by default the kernel may wake a thread 50 microseconds late to save power.
    """

    def __init__(self) -> None:
        # Shared by all threads: an update that is lost to a race does no harm.
        self._margin = SpinMargin()
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, _SLACK_NS, 0, 0, 0)

    def now_ns(self) -> int:
        """`time.perf_counter_ns`."""
        return time.perf_counter_ns()

    def sleep_until_ns(self, when_ns: int) -> None:
        """Sleep until the margin before `when_ns`, then spin."""
        wake_ns = when_ns - self._margin.ns
        remaining = wake_ns - time.perf_counter_ns()
        if remaining > 0:
            time.sleep(remaining * 1e-9)
            self._margin.learn(time.perf_counter_ns() - wake_ns)
        while time.perf_counter_ns() < when_ns:
            pass
