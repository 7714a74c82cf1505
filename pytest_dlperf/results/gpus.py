"""GPUs: what they did during a run, folded from readings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence


@dataclass(frozen=True, slots=True)
class GpuReading:
    """One look at one GPU; what the driver does not tell is None, or empty.

    Attributes:
        index: the driver's number of it.
        name: its model.
        utilisation: share of the driver's last sample period (1/6 s to 1 s, by model) in which
            something was computed.
        used_bytes: memory that is taken, by anybody.
        clock_hz: clock of its processors.
        throttled: why the clock is held down.
        processes: ids of the processes that compute on it.
    """

    index: int
    name: str
    utilisation: float | None
    used_bytes: int | None
    clock_hz: int | None
    throttled: frozenset[str]
    processes: frozenset[int]


@dataclass(frozen=True, slots=True)
class GpuUse:
    """What one GPU did during a run; what the driver does not tell is None.

    Attributes:
        index: the driver's number of it.
        name: its model.
        utilisation: mean share of the time in which something was computed.
        peak_bytes: the most memory that was taken, by anybody. What a framework takes in
            advance counts, whether it needs it or not.
        lowest_clock_hz: clock of its processors.
        highest_clock_hz: clock of its processors.
        throttled: why the clock was held down, sorted.
        others: how many other processes computed on it; None if processes cannot be told apart,
            as in containers, where the driver names them by other numbers or not at all.
    """

    index: int
    name: str
    utilisation: float | None
    peak_bytes: int | None
    lowest_clock_hz: int | None
    highest_clock_hz: int | None
    throttled: tuple[str, ...]
    others: int | None

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> GpuUse:
        """The inverse of `dataclasses.asdict`.

        Raises:
            KeyError, TypeError: if the values are not of this shape.
        """
        return cls(**{**value, "throttled": tuple(value["throttled"])})


def summarise_gpus(
    looks: Iterable[Sequence[GpuReading]], own: frozenset[int]
) -> tuple[GpuUse, ...]:
    """What each GPU did.

    Only the GPUs that the run's own processes were seen on are of interest; where processes
    cannot be told apart, those that computed anything at all.

    Args:
        looks: readings of all GPUs, from time to time.
        own: ids of the run's processes.
    """
    by_gpu: dict[int, list[GpuReading]] = {}
    for look in looks:
        for reading in look:
            by_gpu.setdefault(reading.index, []).append(reading)
    uses = [_fold(readings, own) for _, readings in sorted(by_gpu.items())]
    ours = [use for use in uses if use.others is not None]
    return tuple(ours or [use for use in uses if use.utilisation])


def _fold(readings: Sequence[GpuReading], own: frozenset[int]) -> GpuUse:
    busy = [one.utilisation for one in readings if one.utilisation is not None]
    taken = [one.used_bytes for one in readings if one.used_bytes is not None]
    clocks = [one.clock_hz for one in readings if one.clock_hz is not None]
    processes = frozenset[int]().union(*(one.processes for one in readings))
    return GpuUse(
        index=readings[0].index,
        name=readings[0].name,
        utilisation=sum(busy) / len(busy) if busy else None,
        peak_bytes=max(taken, default=None),
        lowest_clock_hz=min(clocks, default=None),
        highest_clock_hz=max(clocks, default=None),
        throttled=tuple(sorted(frozenset[str]().union(*(one.throttled for one in readings)))),
        others=len(processes - own) if processes & own else None,
    )


def gpu_notes(uses: Iterable[GpuUse]) -> Iterator[str]:
    """What a reader should know of GPUs that were not quiet, or slower than they can be."""
    for use in uses:
        which = f"GPU {use.index} ({use.name})"
        if use.others:
            processes = "process" if use.others == 1 else "processes"
            yield f"{which} was not quiet: {use.others} other {processes} computed on it"
        if use.throttled:
            yield f"{which} was throttled: {', '.join(use.throttled)}"
