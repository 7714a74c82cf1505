"""Telemetry: what is looked at while a load runs, and when."""

from __future__ import annotations

import subprocess
import sys

import pytest
from fakes import FakeClock, FakeMeter, FakeProgress

from pytest_dlperf.measure.telemetry import FamilyMeter, Telemetry, descendants
from pytest_dlperf.results.usage import GpuReading

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
