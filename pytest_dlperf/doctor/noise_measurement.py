"""Figures: what the doctor measures of a machine.

All of it on pairs of processes that run identical code, so that every difference is noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_dlperf.measure.slots import Block
    from pytest_dlperf.results.usage import Usage


@dataclass(frozen=True, slots=True)
class Host:
    """The machine, as far as it shows itself.

    Attributes:
        cpu: model of the processor.
        processors: that the machine has.
        cores: processors that this process may use.
        quota: processors that its control group may keep busy; None if there is no limit.
        load: processes that wanted to run in the minute before.
        governors: who sets the processors' frequency; empty where that is not shown.
        turbo: whether they may clock higher for a while; None where that is not shown.
        accelerators: model and number; empty if there is none.
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
    """How finely time can be told and waited for, in seconds.

    Attributes:
        step: the smallest step of the clock that was seen.
        late: how late a sleep of 1 ms ends, the median.
        late_p99: the same, the 99th percentile.
    """

    step: float
    late: float
    late_p99: float


@dataclass(frozen=True, slots=True, eq=False)
class IdenticalBlock:
    """A block of two processes with identical code.

    Attributes:
        length: of its slots, in seconds.
        block: what was measured.
    """

    length: float
    block: Block


@dataclass(frozen=True, slots=True, eq=False)
class NoiseMeasurement:
    """What was measured of a machine.

    Attributes:
        probes: blocks of two pairs at least, in the order of time.
        handovers: seconds of each slot that were not measured: hand-over and guard time.
        used: processor time while blocks were measured, all pairs together.
        starting: seconds that each pair took to start.
        timer: of the machine.
        host: the machine.
        seconds: that all of it took.
    """

    probes: Sequence[IdenticalBlock]
    handovers: Sequence[float]
    used: Usage
    starting: Sequence[float]
    timer: Timer
    host: Host
    seconds: float
