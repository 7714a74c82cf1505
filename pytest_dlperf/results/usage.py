"""Usage: what this process and the rest of the machine did with the processors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


_OTHERS: Final = 0.1
_STOLEN: Final = 0.02
_TOO_MUCH_OTHERS: Final = 0.2
_TOO_MUCH_STOLEN: Final = 0.05
_SHORTEST: Final = 1.0


@dataclass(frozen=True, slots=True)
class Usage:
    """Processor time, in seconds summed over all processors: since the start, or a difference.

    Attributes:
        process: used by this process, and by those of its replicas.
        busy: used by all processes, this one included.
        stolen: taken by the host of a virtual machine.
        total: used, stolen or idle.
    """

    process: float
    busy: float
    stolen: float
    total: float

    def since(self, earlier: Usage) -> Usage:
        """What was used between two readings."""
        return Usage(
            self.process - earlier.process,
            self.busy - earlier.busy,
            self.stolen - earlier.stolen,
            self.total - earlier.total,
        )

    def plus(self, other: Usage) -> Usage:
        """What was used in two stretches of time together."""
        return Usage(
            self.process + other.process,
            self.busy + other.busy,
            self.stolen + other.stolen,
            self.total + other.total,
        )

    @property
    def others_share(self) -> float | None:
        """The share of all processors that other processes took; None if it cannot be told.

        The counters advance in steps of 10 ms, so less than a second of processor time says
        nothing.
        """
        if self.total < _SHORTEST:
            return None
        return max(0.0, self.busy - self.process) / self.total

    @property
    def stolen_share(self) -> float | None:
        """The share of all processors that the host took; None if it cannot be told."""
        return None if self.total < _SHORTEST else self.stolen / self.total


@dataclass(frozen=True, slots=True)
class Consumption:
    """What a run took of the machine, and who else did.

    Attributes:
        cpu_per_request: seconds of processor time a request, of this process and those of its
            replicas, the load generator included.
        busy_cores: processors that they kept busy, on average.
        resident_bytes: memory that they held in the end.
        peak_bytes: the most that they held.
        others: share of all processors that other processes took; None if the run was too short
            to tell.
        stolen: share of all processors that the host of a virtual machine took; None as above.
    """

    cpu_per_request: float
    busy_cores: float
    resident_bytes: int
    peak_bytes: int
    others: float | None
    stolen: float | None


def consumption(
    used: Usage, busy_cores: float, resident: Sequence[int], requests: int
) -> Consumption:
    """What a run took, put together.

    Args:
        used: processor time while it lasted.
        busy_cores: processors that the process kept busy, on average.
        resident: bytes held, from time to time; at least one reading.
        requests: how many there were, at least one.
    """
    return Consumption(
        cpu_per_request=used.process / requests,
        busy_cores=busy_cores,
        resident_bytes=resident[-1],
        peak_bytes=max(resident),
        others=used.others_share,
        stolen=used.stolen_share,
    )


def disturbance(used: Usage) -> str:
    """What else went on during a run, in words; empty if the machine was quiet.

    Quiet is: others took less than 10 % of the processors, the host less than 2 %.
    """
    return _told(used.others_share, used.stolen_share, _OTHERS, _STOLEN)


def noise_note(taken: Consumption) -> str:
    """What went on, if it was so much that speeds say nothing; else empty.

    Too much is: others took 20 % of the processors or more, or the host 5 %.
    """
    return _told(taken.others, taken.stolen, _TOO_MUCH_OTHERS, _TOO_MUCH_STOLEN)


def _told(
    others: float | None, stolen: float | None, worth_others: float, worth_stolen: float
) -> str:
    parts = []
    if others is not None and others >= worth_others:
        parts.append(f"other processes took {others:.0%} of its processors")
    if stolen is not None and stolen >= worth_stolen:
        parts.append(f"its host took {stolen:.0%}")
    return f"the machine was not quiet: {' and '.join(parts)}" if parts else ""


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
