"""What the doctor measures: pairs of processes with identical code, so each difference is noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_dlperf.measure.slots import Block
    from pytest_dlperf.results.usage import Usage


@dataclass(frozen=True, slots=True)
class Host:
    """The machine, as far as the operating system shows it.

    Attributes:
        cpu: model of the processor.
        processors: number of the machine's processors.
        cores: number of processors that this process may use.
        quota: number of processors that its control group may keep busy; None without a limit.
        load: average number of runnable processes in the minute before.
        governors: frequency governors of the processors; empty where they are not shown.
        turbo: whether turbo frequencies are enabled; None where that is not shown.
        accelerators: number and model; empty if there is none.
    """

    cpu: str
    processors: int
    cores: int
    quota: float | None
    load: float
    governors: tuple[str, ...]
    turbo: bool | None
    accelerators: str


@dataclass(frozen=True, slots=True)
class Timer:
    """Resolution of the clock and lateness of sleeps, in seconds.

    Attributes:
        step: the smallest step of the clock that was seen.
        late: median lateness of a sleep of 1 ms.
        late_p99: 99th percentile of the same.
    """

    step: float
    late: float
    late_p99: float


@dataclass(frozen=True, slots=True, eq=False)
class NoiseMeasurement:
    """Blocks of all pairs, and the state of the machine meanwhile.

    Attributes:
        pairs: the blocks of each pair, at least two of them, in the order of time.
        starting: seconds that each pair took until it could be measured; of the first with the
            import of frameworks and the load before the slots.
        slot_seconds: length of a slot.
        gains: whether the model gains from more processors than one; None where there is no choice.
        spawned: why the sides were started as new programs; empty if they were forked.
        used: processor time while blocks were measured, of all pairs together.
        timer: of the machine.
        host: the machine.
        seconds: of the whole measurement.
    """

    pairs: Sequence[Sequence[Block]]
    starting: Sequence[float]
    slot_seconds: float
    gains: bool | None
    spawned: str
    used: Usage
    timer: Timer
    host: Host
    seconds: float
