"""Telemetry: what the process used while a load ran, and the progress that people see."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol

from pytest_dlperf.results.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_dlperf.clock import Clock
    from pytest_dlperf.results.usage import GpuReading

_LOOK_NS: Final = 250_000_000  # the driver's own figures are no fresher


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


class FamilyMeter:
    """This process together with others that work for it.

    Memory that processes share, such as the code of libraries, counts in each of them.

    Args:
        meter: this process, and the machine.
        processes: ids of the others.
    """

    def __init__(self, meter: Meter, processes: Iterable[int]) -> None:
        import psutil

        self._meter = meter
        self._gone = psutil.Error
        self._others = [psutil.Process(one) for one in processes]
        self._seconds = [0.0] * len(self._others)

    def usage(self) -> Usage:
        """This process' usage, and the processor time of the others."""
        for number, process in enumerate(self._others):
            try:
                times = process.cpu_times()
            except self._gone:
                continue  # what it had used until the last reading stays
            self._seconds[number] = float(times.user + times.system)
        usage = self._meter.usage()
        return replace(usage, process=usage.process + sum(self._seconds))

    def resident_bytes(self) -> int:
        """Resident set sizes; nothing for a process that is gone."""
        total = self._meter.resident_bytes()
        for process in self._others:
            try:
                total += int(process.memory_info().rss)
            except self._gone:
                continue
        return total


class Gpus(Protocol):
    """The GPUs of this machine."""

    def read(self) -> tuple[GpuReading, ...]:
        """One look at each of them."""
        ...


class Telemetry:
    """Watches one load.

    Args:
        meter: what the process uses.
        clock: time.
        progress: where to show it.
        phase: what is going on, for people.
        end_ns: when it is expected to end; None if it is too short to count down.
        gpus: looked at four times a second; None if there are none.
    """

    def __init__(  # noqa: PLR0913 - what is watched, and who is told
        self,
        meter: Meter,
        clock: Clock,
        progress: Progress,
        phase: str,
        end_ns: int | None,
        *,
        gpus: Gpus | None = None,
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
        self.looks: list[tuple[GpuReading, ...]] = []
        """Readings of all GPUs."""
        self._gpus = gpus
        self._next_look_ns = self._started_ns + _LOOK_NS

    def tick(self, now_ns: int) -> None:
        """Note the memory and show how long it still takes."""
        self.resident.append(self._meter.resident_bytes())
        if self._gpus is not None and now_ns >= self._next_look_ns:
            self.looks.append(self._gpus.read())
            self._next_look_ns = now_ns + _LOOK_NS
        left = None if self._end_ns is None else max(0.0, (self._end_ns - now_ns) * 1e-9)
        self._progress.show(self._phase, left)

    def finish(self) -> tuple[Usage, float]:
        """What was used since the start, and processors that this process kept busy on average."""
        used = self._meter.usage().since(self._began)
        seconds = (self._clock.now_ns() - self._started_ns) * 1e-9
        return used, used.process / max(seconds, 1e-9)
