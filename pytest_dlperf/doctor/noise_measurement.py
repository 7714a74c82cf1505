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
class IdenticalBlock:
    """A block of two processes with identical code.

    Attributes:
        length: of its slots, in seconds.
        block: its measurement.
    """

    length: float
    block: Block


@dataclass(frozen=True, slots=True, eq=False)
class NoiseMeasurement:
    """Blocks of all pairs, and the state of the machine meanwhile.

    Attributes:
        blocks: of at least two pairs, in the order of time.
        used: processor time while blocks were measured, of all pairs together.
        starting: seconds that each pair took to start.
        timer: of the machine.
        host: the machine.
        seconds: of the whole measurement.
    """

    blocks: Sequence[IdenticalBlock]
    used: Usage
    starting: Sequence[float]
    timer: Timer
    host: Host
    seconds: float
