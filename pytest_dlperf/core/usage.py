"""Usage: what this process and the rest of the machine did with the processors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_OTHERS: Final = 0.1
_STOLEN: Final = 0.02
_SHORTEST: Final = 1.0


@dataclass(frozen=True, slots=True)
class Usage:
    """Processor time, in seconds summed over all processors: since the start, or a difference.

    Attributes:
        process: used by this process.
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


def disturbance(used: Usage) -> str:
    """What else went on during a run, in words; empty if the machine was quiet.

    Quiet is: others took less than 10 % of the processors, the host less than 2 %. The counters
    advance in steps of 10 ms, so less than a second of processor time says nothing.
    """
    if used.total < _SHORTEST:
        return ""
    others = max(0.0, used.busy - used.process) / used.total
    stolen = used.stolen / used.total
    parts = []
    if others >= _OTHERS:
        parts.append(f"other processes took {others:.0%} of its processors")
    if stolen >= _STOLEN:
        parts.append(f"its host took {stolen:.0%}")
    return f"the machine was not quiet: {' and '.join(parts)}" if parts else ""
