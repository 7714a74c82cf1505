"""NVML: what the driver tells, from a made-up driver."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING

from pytest_dlperf.measure.gpu_driver import find_gpus, open_library
from pytest_dlperf.results.usage import GpuReading

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest


class DriverError(Exception):
    """What a driver raises for what it does not know."""


@dataclass
class FakeNvml:
    """The module `pynvml` on a machine with some GPUs."""

    gpus: int = 1
    driver: bool = True
    mute: bool = False
    reasons: int = 0
    name: str | bytes = "H200"
    queries: list[str] = field(default_factory=list)
    NVMLError: type[Exception] = DriverError
    NVML_CLOCK_SM: int = 1

    def nvmlInit(self) -> None:  # noqa: N802 - pynvml's names
        """Start."""
        if not self.driver:
            raise DriverError

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        """How many."""
        return self.gpus

    def nvmlDeviceGetHandleByIndex(self, index: int) -> object:  # noqa: N802
        """A handle."""
        return index

    def nvmlDeviceGetName(self, handle: object) -> str | bytes:  # noqa: N802
        """A model."""
        del handle
        return self.name

    def nvmlDeviceGetUtilizationRates(self, handle: object) -> SimpleNamespace:  # noqa: N802
        """Percent."""
        del handle
        self._ask("utilisation")
        return SimpleNamespace(gpu=25, memory=99)

    def nvmlDeviceGetMemoryInfo(self, handle: object) -> SimpleNamespace:  # noqa: N802
        """Bytes."""
        del handle
        self._ask("memory")
        return SimpleNamespace(used=1 << 30, total=1 << 40)

    def nvmlDeviceGetClockInfo(self, handle: object, type: int) -> int:  # noqa: A002, N802
        """Megahertz."""
        del handle
        self._ask("clock")
        return {1: 1980}[type]

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: object) -> int:  # noqa: N802
        """A bit a reason."""
        del handle
        self._ask("reasons")
        return self.reasons

    def nvmlDeviceGetComputeRunningProcesses(self, handle: object) -> Sequence[SimpleNamespace]:  # noqa: N802
        """Processes."""
        del handle
        self._ask("processes")
        return [SimpleNamespace(pid=42, usedGpuMemory=None)]

    def _ask(self, what: str) -> None:
        self.queries.append(what)
        if self.mute:
            raise DriverError


def look(library: FakeNvml) -> tuple[GpuReading, ...]:
    """One look at all GPUs."""
    gpus = open_library(library)
    assert gpus is not None
    return gpus.read()


def test_a_reading_in_our_units() -> None:
    """Shares, bytes, hertz, reasons in words; the name as text, whatever the binding returns."""
    readings = look(FakeNvml(gpus=2, reasons=0x04 | 0x40, name=b"H200"))

    assert readings[1] == GpuReading(
        index=1,
        name="H200",
        utilisation=0.25,
        used_bytes=1 << 30,
        clock_hz=1_980_000_000,
        throttled=frozenset({"power cap", "temperature"}),
        processes=frozenset({42}),
    )
    assert len(readings) == 2


def test_idle_and_set_clocks_are_no_throttling() -> None:
    """A GPU that has nothing to do, or whose clock the user has fixed, is not throttled."""
    (readings,) = look(FakeNvml(reasons=0x01 | 0x02 | 0x100))

    assert readings.throttled == frozenset()


def test_failed_queries_are_none() -> None:
    """Each query may fail separately: parts of a GPU (MIG) have no utilisation."""
    library = FakeNvml(mute=True)

    assert look(library) == (GpuReading(0, "H200", None, None, None, frozenset(), frozenset()),)
    assert library.queries == ["utilisation", "memory", "clock", "reasons", "processes"]


def test_without_a_driver_or_a_gpu_there_is_nothing() -> None:
    """Neither is an error, as most machines have none."""
    assert open_library(FakeNvml(driver=False)) is None
    assert open_library(FakeNvml(gpus=0)) is None


def test_without_the_library_there_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra `gpu` is optional."""
    monkeypatch.setitem(sys.modules, "pynvml", None)

    assert find_gpus() is None


def test_the_library_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is installed and there is a GPU, it is used."""
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml())

    assert find_gpus() is not None
