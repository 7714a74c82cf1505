"""Readings of NVIDIA GPUs, from the driver's library NVML."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from pytest_dlperf.results.usage import GpuReading

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_T = TypeVar("_T")

_THROTTLING: Final = {
    0x04: "power cap",
    0x08: "hardware slowdown",
    0x10: "synchronised with another GPU",
    0x20: "temperature",
    0x40: "temperature",
    0x80: "power brake",
}
"""nvmlClocksEventReasons of nvml.h; without idleness and clocks set by the user."""


class Library(Protocol):
    """The part of the module `pynvml` (nvidia-ml-py) that is used."""

    NVMLError: type[Exception]
    NVML_CLOCK_SM: int

    def nvmlInit(self) -> None: ...  # noqa: D102, N802 - pynvml's names
    def nvmlDeviceGetCount(self) -> int: ...  # noqa: D102, N802
    def nvmlDeviceGetHandleByIndex(self, index: int) -> object: ...  # noqa: D102, N802
    def nvmlDeviceGetName(self, handle: object) -> str | bytes: ...  # noqa: D102, N802
    def nvmlDeviceGetUtilizationRates(self, handle: object) -> Any: ...  # noqa: ANN401, D102, N802
    def nvmlDeviceGetMemoryInfo(self, handle: object) -> Any: ...  # noqa: ANN401, D102, N802
    def nvmlDeviceGetClockInfo(self, handle: object, type: int) -> int: ...  # noqa: A002, D102, N802
    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: object) -> int: ...  # noqa: D102, N802
    def nvmlDeviceGetComputeRunningProcesses(self, handle: object) -> Sequence[Any]: ...  # noqa: D102, N802


class Nvml:
    """The GPUs of this machine, read through the initialised module."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._gpus = []
        for index in range(library.nvmlDeviceGetCount()):
            handle = library.nvmlDeviceGetHandleByIndex(index)
            name = library.nvmlDeviceGetName(handle)
            self._gpus.append((handle, name.decode() if isinstance(name, bytes) else name))

    def read(self) -> tuple[GpuReading, ...]:
        """One reading of each GPU."""
        return tuple(self._read(index, *gpu) for index, gpu in enumerate(self._gpus))

    def _read(self, index: int, handle: object, name: str) -> GpuReading:
        nvml = self._library
        rates = self._query(lambda: nvml.nvmlDeviceGetUtilizationRates(handle))
        memory = self._query(lambda: nvml.nvmlDeviceGetMemoryInfo(handle))
        megahertz = self._query(lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM))
        reasons = self._query(lambda: nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle))
        processes = self._query(lambda: nvml.nvmlDeviceGetComputeRunningProcesses(handle))
        return GpuReading(
            index=index,
            name=name,
            utilisation=None if rates is None else rates.gpu / 100,
            used_bytes=None if memory is None else int(memory.used),
            clock_hz=None if megahertz is None else megahertz * 1_000_000,
            throttled=frozenset(text for bit, text in _THROTTLING.items() if (reasons or 0) & bit),
            processes=frozenset(int(process.pid) for process in processes or ()),
        )

    def _query(self, ask: Callable[[], _T]) -> _T | None:
        """The driver's answer; None if this GPU does not support the query."""
        try:
            return ask()
        except self._library.NVMLError:
            return None


def find_gpus() -> Nvml | None:
    """The GPUs of the machine; None without nvidia-ml-py, a driver, or a GPU."""
    try:
        import pynvml
    except ImportError:
        return None
    return open_library(pynvml)


def open_library(library: Library) -> Nvml | None:
    """Start NVML; None if there is no driver or no GPU."""
    try:
        library.nvmlInit()
        return Nvml(library) if library.nvmlDeviceGetCount() else None
    except library.NVMLError:
        return None
