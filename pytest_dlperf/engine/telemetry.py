"""Telemetry: what the process used while a load ran, and the progress that people see."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from pytest_dlperf.core.usage import Usage

if TYPE_CHECKING:
    from pytest_dlperf.engine.clock import Clock


class Meter(Protocol):
    """What this process and the machine use."""

    def usage(self) -> Usage:
        """Processor time so far."""
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
    """This process, and the machine that it runs on."""

    def __init__(self) -> None:
        import psutil

        self._process = psutil.Process()
        self._cpu_times = psutil.cpu_times

    def usage(self) -> Usage:
        """From `time.process_time` and the kernel's counters."""
        times = self._cpu_times()
        stolen = float(getattr(times, "steal", 0.0))
        idle = float(times.idle + getattr(times, "iowait", 0.0))
        # Guests' time is counted in user time already.
        guests = float(getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0))
        total = float(sum(times)) - guests
        return Usage(time.process_time(), total - idle - stolen, stolen, total)

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
        self._began = meter.usage()
        self._started_ns = clock.now_ns()
        self.resident = [meter.resident_bytes()]
        """Bytes held at each tick."""

    def tick(self, now_ns: int) -> None:
        """Note the memory and show how long it still takes."""
        self.resident.append(self._meter.resident_bytes())
        left = None if self._end_ns is None else max(0.0, (self._end_ns - now_ns) * 1e-9)
        self._progress.show(self._phase, left)

    def finish(self) -> tuple[Usage, float]:
        """What was used since the start, and processors that this process kept busy on average."""
        used = self._meter.usage().since(self._began)
        seconds = (self._clock.now_ns() - self._started_ns) * 1e-9
        return used, used.process / max(seconds, 1e-9)
