"""Telemetry: what the process used while a load ran, and the progress that people see."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pytest_dlperf.engine.clock import Clock


class Meter(Protocol):
    """What a process uses."""

    def cpu_seconds(self) -> float:
        """Processor time of all threads so far."""
        ...

    def resident_bytes(self) -> int:
        """Memory that is held now."""
        ...


class Progress(Protocol):
    """Where people see that something is going on."""

    def show(self, phase: str, remaining: float | None) -> None:
        """Show the phase and, if it is known, the seconds left; must be quick."""
        ...


class ProcessMeter:
    """This process."""

    def __init__(self) -> None:
        import psutil

        self._process = psutil.Process()

    def cpu_seconds(self) -> float:
        """`time.process_time`."""
        return time.process_time()

    def resident_bytes(self) -> int:
        """Resident set size."""
        return int(self._process.memory_info().rss)


class Telemetry:
    """Watches one load.

    Args:
        meter: what the process uses.
        clock: time.
        progress: where to show it.
        phase: what is going on, for people.
        end_ns: when it is expected to end; None if it is too short to count down.
    """

    def __init__(
        self, meter: Meter, clock: Clock, progress: Progress, phase: str, end_ns: int | None
    ) -> None:
        self._meter = meter
        self._clock = clock
        self._progress = progress
        self._phase = phase
        self._end_ns = end_ns
        self._cpu_seconds = meter.cpu_seconds()
        self._started_ns = clock.now_ns()
        self.peak_bytes = meter.resident_bytes()

    def tick(self, now_ns: int) -> None:
        """Note the memory and show how long it still takes."""
        self.peak_bytes = max(self.peak_bytes, self._meter.resident_bytes())
        left = None if self._end_ns is None else max(0.0, (self._end_ns - now_ns) * 1e-9)
        self._progress.show(self._phase, left)

    def busy_cores(self) -> float:
        """Processors that the process kept busy since the start, on average."""
        seconds = (self._clock.now_ns() - self._started_ns) * 1e-9
        return (self._meter.cpu_seconds() - self._cpu_seconds) / max(seconds, 1e-9)
