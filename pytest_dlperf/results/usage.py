"""Usage of processors, memory and GPUs by a run and by the rest of the machine."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence


UNQUIET: Final = "the machine was not quiet"
"""Beginning of the notes on other load."""

# From these shares of the processors on, a run is noted as disturbed.
_OTHERS: Final = 0.1
_STOLEN: Final = 0.02
_LOST: Final = 0.03  # of the processor time that the run wanted
# From these on, its speeds are not judged.
_TOO_MUCH_OTHERS: Final = 0.2
_TOO_MUCH_STOLEN: Final = 0.05
_TOO_MUCH_LOST: Final = 0.05  # a single thread is slower by as much, several may be by twice
_SHORTEST: Final = 1.0  # seconds of processor time; the counters have steps of 10 ms


@dataclass(frozen=True, slots=True)
class Usage:
    """Processor time in seconds, summed over all processors: since the start, or a difference.

    Attributes:
        process: used by this process, and by those that it has started.
        busy: used by all processes, this one included.
        stolen: taken by the host of a virtual machine.
        total: used, stolen or idle.
        waited: time in which threads of this process, and of its replicas, were ready to run and
            had no processor, summed over them; None if the system does not say.
    """

    process: float
    busy: float
    stolen: float
    total: float
    waited: float | None = None

    def since(self, earlier: Usage) -> Usage:
        """The use between two readings."""
        return Usage(
            self.process - earlier.process,
            self.busy - earlier.busy,
            self.stolen - earlier.stolen,
            self.total - earlier.total,
            _both(self.waited, earlier.waited, operator.sub),
        )

    def plus(self, other: Usage) -> Usage:
        """The use in two periods together."""
        return Usage(
            self.process + other.process,
            self.busy + other.busy,
            self.stolen + other.stolen,
            self.total + other.total,
            _both(self.waited, other.waited, operator.add),
        )

    @property
    def others_share(self) -> float | None:
        """Share of all processors used by other processes; None if the time was too short.

        The counters advance in steps of 10 ms, so less than a second of processor time is not
        enough.
        """
        if self.total < _SHORTEST:
            return None
        return max(0.0, self.busy - self.process) / self.total

    @property
    def stolen_share(self) -> float | None:
        """Share of all processors taken by the host; None if the time was too short."""
        return None if self.total < _SHORTEST else self.stolen / self.total

    @property
    def lost_share(self) -> float | None:
        """Share of the processor time that this process wanted, but others had.

        It wanted what it used, and what it waited for. A process's threads wait for one another as
        well, so of the waiting only as much counts as other processes were running. The host's
        share is split among all that ran.

        Returns:
            None if the time was too short, or the system does not say how long threads wait.
        """
        if self.waited is None or self.total < _SHORTEST:
            return None
        others = max(0.0, self.busy - self.process)
        lost = min(self.waited, others) + self.stolen * min(1.0, self.process / (self.busy or 1.0))
        return lost / (self.process + lost) if lost > 0 else 0.0


def _both(
    one: float | None, other: float | None, change: Callable[[float, float], float]
) -> float | None:
    return None if one is None or other is None else change(one, other)


@dataclass(frozen=True, slots=True)
class Consumption:
    """Resources that a run used, and how busy the rest of the machine was.

    Attributes:
        cpu_per_request: seconds of processor time per request, of this process and those that it
            has started, the load generator included.
        busy_cores: processors that they kept busy, on average.
        resident_bytes: their memory at the end.
        peak_bytes: their largest memory.
        others: share of all processors used by other processes; None if the run was too short.
        stolen: share of all processors taken by the host of a virtual machine; None as above.
        lost: share of the processor time wanted by the run that others had; None as above, or if
            the system does not say.
    """

    cpu_per_request: float
    busy_cores: float
    resident_bytes: int
    peak_bytes: int
    others: float | None
    stolen: float | None
    lost: float | None = None


def consumption(
    used: Usage, busy_cores: float, resident: Sequence[int], requests: int
) -> Consumption:
    """The consumption of a run: at least one reading of its memory in bytes, and one request."""
    return Consumption(
        cpu_per_request=used.process / requests,
        busy_cores=busy_cores,
        resident_bytes=resident[-1],
        peak_bytes=max(resident),
        others=used.others_share,
        stolen=used.stolen_share,
        lost=used.lost_share,
    )


def disturbance(used: Usage) -> str:
    """A note on other load during a run; empty if the machine was quiet.

    Quiet means that others took less than 10 % of the processors and 3 % of the time that the run
    wanted, and the host less than 2 %.
    """
    shares = used.others_share, used.stolen_share, used.lost_share
    return _noise(shares, (_OTHERS, _STOLEN, _LOST))


def noise_note(taken: Consumption) -> str:
    """A note on other load so high that speeds mean nothing; else empty.

    That is if others took 20 % of the processors or more, or 5 % of the time that the run wanted,
    or the host 5 %.
    """
    shares = taken.others, taken.stolen, taken.lost
    return _noise(shares, (_TOO_MUCH_OTHERS, _TOO_MUCH_STOLEN, _TOO_MUCH_LOST))


def _noise(shares: Iterable[float | None], least: Iterable[float]) -> str:
    texts = (
        "other processes took {:.0%} of its processors",
        "its host took {:.0%}",
        "others had {:.0%} of the processor time that the run wanted",
    )
    parts = [
        text.format(share)
        for share, limit, text in zip(shares, least, texts, strict=True)
        if share is not None and share >= limit
    ]
    return f"{UNQUIET}: {' and '.join(parts)}" if parts else ""


@dataclass(frozen=True, slots=True)
class GpuReading:
    """One reading of one GPU; fields that the driver does not report are None, or empty.

    Attributes:
        index: the driver's number of the GPU.
        name: its model.
        utilisation: share of the driver's last sample period (1/6 s to 1 s, by model) in which
            the GPU computed.
        used_bytes: memory in use by all processes.
        clock_hz: clock of its processors.
        throttled: reasons for which the clock is throttled.
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
    """Use of one GPU during a run; fields as in `GpuReading`, None if the driver reports none.

    Attributes:
        utilisation: mean share of the time in which it computed.
        peak_bytes: largest memory in use, including what a framework reserves in advance.
        throttled: reasons for which the clock was throttled, sorted.
        others: number of other processes that computed on it; None if processes cannot be
            identified, as in containers, where the driver reports other ids or none.
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
    samples: Iterable[Sequence[GpuReading]], own: frozenset[int]
) -> tuple[GpuUse, ...]:
    """The use of each GPU that the processes in `own` computed on, from readings at several times.

    If processes cannot be identified, of each GPU that computed at all.
    """
    by_gpu: dict[int, list[GpuReading]] = {}
    for sample in samples:
        for reading in sample:
            by_gpu.setdefault(reading.index, []).append(reading)
    uses = [_fold(readings, own) for _, readings in sorted(by_gpu.items())]
    ours = [use for use in uses if use.others is not None]
    return tuple(ours or [use for use in uses if use.utilisation])


def _fold(readings: Sequence[GpuReading], own: frozenset[int]) -> GpuUse:
    busy = [r.utilisation for r in readings if r.utilisation is not None]
    used = [r.used_bytes for r in readings if r.used_bytes is not None]
    clocks = [r.clock_hz for r in readings if r.clock_hz is not None]
    processes = frozenset[int]().union(*(r.processes for r in readings))
    return GpuUse(
        index=readings[0].index,
        name=readings[0].name,
        utilisation=sum(busy) / len(busy) if busy else None,
        peak_bytes=max(used, default=None),
        lowest_clock_hz=min(clocks, default=None),
        highest_clock_hz=max(clocks, default=None),
        throttled=tuple(sorted(frozenset[str]().union(*(r.throttled for r in readings)))),
        others=len(processes - own) if processes & own else None,
    )


def gpu_notes(uses: Iterable[GpuUse]) -> Iterator[str]:
    """Notes on GPUs that other processes used, or that were throttled."""
    for use in uses:
        which = f"GPU {use.index} ({use.name})"
        if use.others:
            processes = "process" if use.others == 1 else "processes"
            yield f"{which} was not quiet: {use.others} other {processes} computed on it"
        if use.throttled:
            yield f"{which} was throttled: {', '.join(use.throttled)}"
