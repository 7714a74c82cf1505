"""Telemetry: what is looked at while a load runs, and when."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest
from fakes import FakeClock, FakeMeter, FakeProgress

from pytest_dlperf.measure.telemetry import (
    FamilyMeter,
    ProcessMeter,
    Telemetry,
    ThreadWaits,
    descendants,
)
from pytest_dlperf.results.usage import GpuReading, Usage

if TYPE_CHECKING:
    from pathlib import Path

READING = GpuReading(0, "H200", 0.5, 1, 1, frozenset(), frozenset())


class FakeGpus:
    """One GPU, whose every look is counted."""

    def __init__(self) -> None:
        self.looks = 0

    def read(self) -> tuple[GpuReading, ...]:
        """The same each time."""
        self.looks += 1
        return (READING,)


def test_gpus_are_looked_at_four_times_a_second() -> None:
    """A tick comes every 50 ms; the driver is asked at every fifth, not before the first."""
    clock, gpus = FakeClock(), FakeGpus()
    telemetry = Telemetry(FakeMeter(), clock, FakeProgress(), "phase", None, gpus=gpus)
    assert gpus.looks == 0

    for _ in range(40):
        clock.now += 50_000_000
        telemetry.tick(clock.now)

    assert gpus.looks == 8
    assert telemetry.looks == [(READING,)] * 8


def test_without_gpus_nothing_is_looked_at() -> None:
    """Ticks only note the memory then."""
    telemetry = Telemetry(FakeMeter(), FakeClock(), FakeProgress(), "phase", None)

    telemetry.tick(10**18)

    assert telemetry.looks == []
    assert telemetry.resident == [1 << 20] * 2


@pytest.mark.subprocess
def test_what_was_started_is_no_other_load() -> None:
    """A server of a fixture counts as this process' work, but not as its memory."""
    with subprocess.Popen(
        [sys.executable, "-c", "sum(range(10**6)); print(flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as server:
        assert server.stdout is not None
        server.stdout.readline()
        started = descendants()
        meter = FamilyMeter(FakeMeter(), [], started)
        busy = meter.usage().process
        server.communicate(b"\n")

    assert server.pid in started
    assert busy > FakeMeter().usage().process
    assert meter.usage().process >= busy
    assert meter.resident_bytes() == FakeMeter().resident_bytes()
    assert server.pid not in descendants()
    FamilyMeter(FakeMeter(), [], started)  # of one that has ended


class Kernel:
    """The files of a process in which Linux says how long its threads waited."""

    def __init__(self, root: Path) -> None:
        self._tasks = root / "7" / "task"

    def waited(self, thread: int, seconds: float) -> None:
        """Since the thread began."""
        folder = self._tasks / str(thread)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "schedstat").write_text(f"123 {int(seconds * 1e9)} 4\n")

    def ended(self, thread: int) -> None:
        """The thread has ended."""
        (self._tasks / str(thread) / "schedstat").unlink()
        (self._tasks / str(thread)).rmdir()


def test_threads_wait(tmp_path: Path) -> None:
    """Summed over threads, those that have ended since, and a new one of the same number."""
    kernel, waits = Kernel(tmp_path), ThreadWaits(7, tmp_path)
    kernel.waited(1, 0.5)
    kernel.waited(2, 1.0)
    assert waits.seconds() == pytest.approx(1.5)
    kernel.waited(2, 3.0)
    assert waits.seconds() == pytest.approx(3.5)
    kernel.ended(2)
    assert waits.seconds() == pytest.approx(3.5)
    kernel.waited(2, 0.25)
    assert waits.seconds() == pytest.approx(3.75)


@pytest.mark.parametrize("text", [None, "", "123", "a b c"])
def test_a_kernel_that_does_not_say(tmp_path: Path, text: str | None) -> None:
    """Nothing is known then, which is not the same as no waiting."""
    if text is not None:
        folder = tmp_path / "7" / "task" / "1"
        folder.mkdir(parents=True)
        (folder / "schedstat").write_text(text)
    assert ThreadWaits(7, tmp_path).seconds() is None


def test_threads_that_end_with_the_run() -> None:
    """Usage is read four times a second, since replicas' threads are gone at the last reading."""

    class Counting(FakeMeter):
        readings = 0

        def usage(self) -> Usage:
            """Count it."""
            self.readings += 1
            return super().usage()

    clock, meter = FakeClock(), Counting()
    telemetry = Telemetry(meter, clock, FakeProgress(), "phase", None)
    for _ in range(40):
        clock.now += 50_000_000
        telemetry.tick(clock.now)

    assert meter.readings == 1 + 8


@pytest.mark.skipif(not os.path.exists("/proc/self/schedstat"), reason="Linux counts it")  # noqa: PTH110
def test_a_real_thread_waits() -> None:
    """Two threads that want one processor: one of them waits as long as the other runs."""
    meter, processors = ProcessMeter(), os.sched_getaffinity(0)
    before = meter.usage()
    until, much = time.process_time() + 0.2, bytes(1_000_000)

    def spin() -> None:
        while time.process_time() < until:
            hashlib.sha256(much)  # which releases the lock of the interpreter

    try:
        os.sched_setaffinity(0, {min(processors)})
        threads = [threading.Thread(target=spin) for _ in range(2)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            threads[0].join(0.01)
            meter.usage()
    finally:
        os.sched_setaffinity(0, processors)

    waited = meter.usage().since(before).waited
    assert waited is not None
    assert waited > 0.01


def test_waiting_of_a_family() -> None:
    """Unknown if it is unknown of any; else it is summed."""

    class Waiting(FakeMeter):
        def usage(self) -> Usage:
            """Three seconds."""
            return Usage(1.0, 1.0, 0.0, 1.0, 3.0)

    assert (FamilyMeter(Waiting(), [os.getpid()]).usage().waited or 0.0) >= 3.0
    assert FamilyMeter(FakeMeter(), [os.getpid()]).usage().waited is None
