"""Clock: where time comes from, so that tests can bring their own."""

from __future__ import annotations

import contextlib
import ctypes
import sys
import time
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

_LONGEST_SPIN_NS: Final = 50_000
_STEP_NS: Final = 250
_IN_TIME: Final = 9  # sleeps that end before the time, for one that ends after it
_PR_SET_TIMERSLACK: Final = 29  # linux/prctl.h
_SLACK_NS: Final = 1_000


class Clock(Protocol):
    """A monotonic clock and a way to wait for it, in integer nanoseconds."""

    def now_ns(self) -> int:
        """The present."""
        ...

    def sleep_until_ns(self, when_ns: int) -> None:
        """Return at `when_ns` or as soon after it as possible, at once if it is past."""
        ...


class StoppableClock:
    """A clock that can be stopped while something is done that must not count.

    Virtual clients can wait without knowing it: while their clock stands still, none of them
    becomes due and none gets older.

    Args:
        clock: the one that goes on.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # When it was stopped, None while it goes, and how long it stood still before; one value,
        # so that another thread never reads the one without the other.
        self._state: tuple[int | None, int] = (None, 0)

    def now_ns(self) -> int:
        """The time on the clock, less all that it stood still."""
        stopped_ns, lost_ns = self._state
        return (self._clock.now_ns() if stopped_ns is None else stopped_ns) - lost_ns

    def sleep_until_ns(self, when_ns: int) -> None:
        """Return when this clock shows `when_ns`."""
        self._clock.sleep_until_ns(when_ns + self._state[1])

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """Let the clock stand still inside; so it does already if it was stopped before."""
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
    """How much sooner to ask to be woken: what 9 of 10 sleeps here are late by at the most.

    Whoever is woken before the time spins until it comes, and that is processor time; so the
    margin is no more than this machine needs, and 50 microseconds at the most. It follows the
    quantile by small steps, 9 times as far up as down (Robbins and Monro 1951).
    """

    def __init__(self) -> None:
        self.ns = _LONGEST_SPIN_NS

    def learn(self, late_ns: int) -> None:
        """A sleep was so late."""
        if late_ns > self.ns:
            self.ns = min(_LONGEST_SPIN_NS, self.ns + _IN_TIME * _STEP_NS)
        else:
            self.ns = max(0, self.ns - _STEP_NS)


class MonotonicClock:
    """The machine's clock: sleeps until shortly before the time, then spins.

    On Linux it asks for exact timers, for the thread that makes it and for those that this one
    starts: by default the kernel may wake a thread 50 microseconds late to save power.
    """

    def __init__(self) -> None:
        # One for all threads: it matters little if two of them learn at once and one is lost.
        self._margin = SpinMargin()
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, _SLACK_NS, 0, 0, 0)

    def now_ns(self) -> int:
        """`time.perf_counter_ns`."""
        return time.perf_counter_ns()

    def sleep_until_ns(self, when_ns: int) -> None:
        """Sleep for all but what a sleep may be late by, then spin."""
        wake_ns = when_ns - self._margin.ns
        remaining = wake_ns - time.perf_counter_ns()
        if remaining > 0:
            time.sleep(remaining * 1e-9)
            self._margin.learn(time.perf_counter_ns() - wake_ns)
        while time.perf_counter_ns() < when_ns:
            pass
