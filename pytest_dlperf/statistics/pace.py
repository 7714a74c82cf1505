"""The pace of a machine, as the yardstick shows it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds that a pass of each part of the yardstick took; more is a slower machine."""

    compute: float
    memory: float

    def __post_init__(self) -> None:
        for part in (self.compute, self.memory):
            if not 0 < part < math.inf:
                raise ValueError(f"yardstick {part!r}: expected seconds above 0")

    @property
    def logs(self) -> NDArray[np.float64]:
        """Half the sum and half the difference of the logarithms."""
        import numpy as np

        compute, memory = math.log(self.compute), math.log(self.memory)
        return np.array([(compute + memory) / 2, (compute - memory) / 2])
