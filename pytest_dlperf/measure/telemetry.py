"""Telemetry of a load: resource usage of processes and GPUs, and the progress display."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol

from pytest_dlperf.results.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    import psutil

    from pytest_dlperf.clock import Clock
    from pytest_dlperf.results.usage import GpuReading

_NS: Final = 1e-9  # in seconds
_LOOK_NS: Final = 250_000_000  # the driver refreshes its figures no more often
_STAT_BYTES: Final = 80  # three numbers


class Meter(Protocol):
    """Resource usage of this process and the machine."""

    def usage(self) -> Usage:
        """Processor time used so far."""
        ...

    def resident_bytes(self) -> int:
        """Resident memory now."""
        ...


class Progress(Protocol):
    """A progress display."""

    def show(self, phase: str, remaining: float | None) -> None:
        """Show the phase and, unless None, the remaining seconds; must be quick."""
        ...


class ThreadWaits:
    """How long the threads of a process were ready to run without a processor.

    The run-queue delay of Linux, over all threads. One that ends counts up to the last look.
    """

    def __init__(self, process: int | str = "self", root: str | Path = "/proc") -> None:
        self._tasks = f"{root}/{process}/task"
        self._last: dict[str, int] = {}
        self._total_ns = 0

    def seconds(self) -> float | None:
        """Look now; None if the system does not say."""
        try:
            threads = os.listdir(self._tasks)  # noqa: PTH208 - twice a slot, so it must be quick
        except OSError:
            threads = []
        for thread in threads:
            try:
                waited_ns = int(_read(f"{self._tasks}/{thread}/schedstat").split()[1])
            except (OSError, ValueError, IndexError):
                continue  # it has ended, or this kernel does not count
            # Less than before is of another thread with the same number.
            before_ns = self._last.get(thread, 0)
            self._total_ns += waited_ns - before_ns if waited_ns >= before_ns else waited_ns
            self._last[thread] = waited_ns
        return self._total_ns * _NS if self._last else None


def _read(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, _STAT_BYTES)
    finally:
        os.close(descriptor)


class ProcessMeter:
    """Meter of this process and its machine, from psutil."""

    def __init__(self) -> None:
        import psutil

        self._process = psutil.Process()
        self._cpu_times = psutil.cpu_times
        self._waits = ThreadWaits()

    def usage(self) -> Usage:
        """From `time.process_time` and the kernel's counters."""
        times = self._cpu_times()
        stolen = float(getattr(times, "steal", 0.0))
        idle = float(times.idle + getattr(times, "iowait", 0.0))
        # The kernel counts guest time in user time as well.
        guests = float(getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0))
        total = float(sum(times)) - guests
        return Usage(
            process=time.process_time(),
            busy=total - idle - stolen,
            stolen=stolen,
            total=total,
            waited=self._waits.seconds(),
        )

    def resident_bytes(self) -> int:
        """Resident set size."""
        return int(self._process.memory_info().rss)


class FamilyMeter:
    """Meter of this process together with its worker processes, given by their ids.

    Memory shared by processes, such as the code of libraries, counts in each of them.

    Args:
        meter: of this process.
        processes: its workers.
        started: others that it has started, such as a server that a fixture runs: what they take of
            the processors is no other load, but their memory is not counted.
    """

    def __init__(self, meter: Meter, processes: Iterable[int], started: Iterable[int] = ()) -> None:
        import psutil

        self._meter = meter
        self._gone = psutil.Error
        self._workers = [psutil.Process(process) for process in processes]
        self._family = [*self._workers, *_living(started)]
        self._seconds = [0.0] * len(self._family)
        self._waits = [ThreadWaits(process.pid) for process in self._workers]

    def usage(self) -> Usage:
        """Usage of this process, plus the processor time of its family."""
        for number, process in enumerate(self._family):
            try:
                times = process.cpu_times()
            except self._gone:
                continue  # its last reading still counts
            self._seconds[number] = float(times.user + times.system)
        usage = self._meter.usage()
        waits = [usage.waited, *(waits.seconds() for waits in self._waits)]
        known = [waited for waited in waits if waited is not None]
        return replace(
            usage,
            process=usage.process + sum(self._seconds),
            waited=sum(known) if len(known) == len(waits) else None,
        )

    def resident_bytes(self) -> int:
        """Sum of resident set sizes; 0 for a process that has ended."""
        total = self._meter.resident_bytes()
        for process in self._workers:
            try:
                total += int(process.memory_info().rss)
            except self._gone:
                continue
        return total


def _living(processes: Iterable[int]) -> Iterator[psutil.Process]:
    import psutil

    for process in processes:
        with contextlib.suppress(psutil.Error):  # it has just ended
            yield psutil.Process(process)


def descendants() -> frozenset[int]:
    """The ids of the processes that this one has started, and those that they have."""
    import psutil

    return frozenset(child.pid for child in psutil.Process().children(recursive=True))


class Gpus(Protocol):
    """The GPUs of this machine."""

    def read(self) -> tuple[GpuReading, ...]:
        """One reading of each GPU."""
        ...


class Telemetry:
    """`LoadObserver` of one load.

    Usage and GPUs are read four times a second. Without `end_ns` the display has no countdown.
    """

    def __init__(  # noqa: PLR0913 - meters and display
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
        """Resident bytes at each tick."""
        self.looks: list[tuple[GpuReading, ...]] = []
        """Readings of all GPUs."""
        self._gpus = gpus
        self._next_look_ns = self._started_ns + _LOOK_NS

    def tick(self, now_ns: int) -> None:
        """Record memory and GPUs, and show the remaining time."""
        self.resident.append(self._meter.resident_bytes())
        if now_ns >= self._next_look_ns:
            self._meter.usage()  # since the threads of the run end before its last reading
            if self._gpus is not None:
                self.looks.append(self._gpus.read())
            self._next_look_ns = now_ns + _LOOK_NS
        left = None if self._end_ns is None else max(0.0, (self._end_ns - now_ns) * 1e-9)
        self._progress.show(self._phase, left)

    def finish(self) -> tuple[Usage, float]:
        """Usage since the start, and the mean number of processors that this process kept busy."""
        used = self._meter.usage().since(self._began)
        seconds = (self._clock.now_ns() - self._started_ns) * 1e-9
        return used, used.process / max(seconds, 1e-9)
