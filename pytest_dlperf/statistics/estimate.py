"""A value with its confidence interval, and robust measures of noise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


Decision: TypeAlias = Literal["FAIL", "PASS"]
"""What evidence proves of a budget; None, where neither is proven."""

CONFIDENCE: Final = 0.95
"""Two-sided confidence of every interval that is computed, printed or stored."""

NORMAL_REACH: Final = NormalDist().inv_cdf(1 - (1 - CONFIDENCE) / 2)
"""Half the width of a normal value's interval, in standard errors."""

FARTHEST: Final = math.log(1e6)
"""A log ratio beyond anything that is measured, for an end that is not known."""

SCALE: Final = 1.4826
"""The median of |x| times this is the standard deviation of a normal x."""

SD_OF_HODGES_LEHMANN: Final = math.sqrt(math.pi / 3)
"""`hodges_lehmann` of n normal values has this many standard errors of their mean."""

SD_OF_MEDIAN: Final = math.sqrt(math.pi / 2)
"""The median of n normal values has this many standard errors of their mean."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A measured value and its two-sided 95 % confidence interval, in the metric's base unit.

    A value that was counted rather than estimated has `low == value == high`. `high` is infinite if
    nothing bounds it.
    """

    value: float
    low: float
    high: float

    def __post_init__(self) -> None:
        finite = math.isfinite(self.low) and math.isfinite(self.value)
        if not finite or not self.low <= self.value <= self.high:
            raise ValueError(f"{self.value} is not within the interval {self.low} to {self.high}")

    @property
    def bounded(self) -> bool:
        """Whether it has an upper bound."""
        return math.isfinite(self.high)


def counted(value: float) -> Estimate:
    """An estimate without uncertainty."""
    return Estimate(value, value, value)


def deviation(sizes: NDArray[np.float64]) -> float:
    """Robust standard deviation, from the distances of n >= 1 values to their median."""
    import numpy as np

    return SCALE * float(np.median(sizes))


def hodges_lehmann(values: NDArray[np.float64]) -> float:
    """The median of the means of all pairs of n >= 1 values, each with itself too.

    A middle as robust as a trimmed mean, and nearly as precise as the mean (Hodges and Lehmann
    1963).
    """
    import numpy as np

    first, second = np.triu_indices(len(values))
    return float(np.median((values[first] + values[second]) / 2))
