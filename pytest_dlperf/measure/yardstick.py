"""The yardstick: two short benchmarks directly before and after a load, for the machine's speed.

Made of numpy alone, so that sessions are comparable whatever frameworks their tests load. Its time
is that of its thread's processor: beside eight busy processes it varied by 2 and 12 %, its time by
the clock by 43 and 56 %. How long the load itself waited for processors is measured while it runs
(`Usage.lost_share`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from pytest_dlperf.clock import thread_cpu_ns
from pytest_dlperf.statistics.pace import Pace

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pytest_dlperf.clock import Clock

_FEATURES: Final = 64
_UNITS: Final = 512  # as many as the reference model has
_CLASSES: Final = 10
# In stacks of few rows: products so small stay in the calling thread, so that no pool of threads
# still spins when the load begins.
_BATCH: Final = (64, 4)
_COPIED_BYTES: Final = 48 << 20  # read, and written elsewhere: together more than most caches hold
_COMPUTE_NS: Final = 100_000_000
_MEMORY_NS: Final = 50_000_000
_WARM_UP_NS: Final = 10_000_000


class SpeedCheck(Protocol):
    """What a measurement tells when its load begins and ends."""

    @property
    def pace(self) -> Pace | None:
        """The machine's mean pace around the load; None if it was not measured."""
        ...

    def begin(self) -> None:
        """Measure the machine directly before a load; what was measured earlier is dropped."""
        ...

    def again(self) -> None:
        """Measure the machine directly after a load, or between two of its parts."""
        ...


class NoYardstick:
    """For measurements whose verdicts do not depend on the machine's speed."""

    @property
    def pace(self) -> None:
        """None."""
        return

    def begin(self) -> None:
        """Do nothing."""

    def again(self) -> None:
        """Do nothing."""


NO_YARDSTICK: Final = NoYardstick()


class Yardstick:
    """Measures the machine around one measurement, for 0.15 to 0.2 s at each call.

    The mean, as the load's own speed is one, so that what comes and goes counts in both.

    Args:
        clock: says when a slot ends.
        cpu_ns: processor time used so far by the calling thread.
        parts: makes the calls to measure: one bound by computing, and one bound by memory.
    """

    def __init__(
        self,
        clock: Clock,
        cpu_ns: Callable[[], int] = thread_cpu_ns,
        parts: Callable[[], tuple[Callable[[], object], Callable[[], object]]] | None = None,
    ) -> None:
        self._clock = clock
        self._cpu_ns = cpu_ns
        self._parts = parts or reference_calls
        self._seconds = [0.0, 0.0]
        self._passes = [0, 0]

    @property
    def pace(self) -> Pace | None:
        """Mean of all slots since `begin`; None before it, or if it cannot be."""
        # A coarse clock may have seen no processor time at all.
        if not all(self._seconds):
            return None
        return Pace(*(s / n for s, n in zip(self._seconds, self._passes, strict=True)))

    def begin(self) -> None:
        """Start a new mean."""
        self._seconds, self._passes = [0.0, 0.0], [0, 0]
        self.again()

    def again(self) -> None:
        """Add a slot of each part."""
        # Made anew, since the memory must not count as the target's.
        compute, memory = self._parts()
        # Computing last: it leaves the caches to the load.
        self._add(1, memory, _MEMORY_NS)
        self._slot(compute, _WARM_UP_NS)
        self._add(0, compute, _COMPUTE_NS)

    def _add(self, part: int, call: Callable[[], object], length_ns: int) -> None:
        seconds, passes = self._slot(call, length_ns)
        self._seconds[part] += seconds
        self._passes[part] += passes

    def _slot(self, call: Callable[[], object], length_ns: int) -> tuple[float, int]:
        """Processor time in seconds, and number, of the calls that begin within `length_ns`."""
        calls, cpu_ns = 0, self._cpu_ns()
        end_ns = self._clock.now_ns() + length_ns
        while self._clock.now_ns() < end_ns or not calls:
            call()
            calls += 1
        return (self._cpu_ns() - cpu_ns) * 1e-9, calls


def reference_calls() -> tuple[Callable[[], object], Callable[[], object]]:
    """Dense 512 relu, Dense 10 on 256 rows; and a copy of 48 MiB, whose pages are there already.

    Does not touch the random generators that tests may use.
    """
    random = np.random.default_rng(0)

    def normal(*shape: int) -> NDArray[np.float32]:
        return random.normal(0, 0.05, shape).astype(np.float32)

    first, second = normal(_FEATURES, _UNITS), normal(_UNITS, _CLASSES)
    batch, hidden = normal(*_BATCH, _FEATURES), np.empty((*_BATCH, _UNITS), np.float32)
    answers = np.empty((*_BATCH, _CLASSES), np.float32)
    source, copy = np.ones((2, _COPIED_BYTES), np.uint8)

    def compute() -> NDArray[np.float32]:
        np.matmul(batch, first, out=hidden)
        np.maximum(hidden, 0, out=hidden)
        return np.matmul(hidden, second, out=answers)

    return compute, lambda: np.copyto(copy, source)
