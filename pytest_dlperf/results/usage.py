"""Usage: what this process and the rest of the machine did with the processors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

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


def unrest(taken: Consumption) -> str:
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
