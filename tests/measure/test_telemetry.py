"""Telemetry: what is looked at while a load runs, and when."""

from __future__ import annotations

from fakes import FakeClock, FakeMeter, FakeProgress

from pytest_dlperf.measure.telemetry import Telemetry
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
