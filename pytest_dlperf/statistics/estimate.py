"""Estimate: a value with the interval that the evidence allows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

CONFIDENCE: Final = 0.95
"""Two-sided confidence of every interval that is computed, printed or stored."""

NORMAL_REACH: Final = NormalDist().inv_cdf(1 - (1 - CONFIDENCE) / 2)
"""The interval of a normal value reaches so many of its standard errors to either side."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A measured value and its two-sided 95 % confidence interval, in the metric's base unit.

    A value that was counted rather than estimated has `low == value == high`.
    """

    value: float
    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.low <= self.value <= self.high or math.isinf(self.high - self.low):
            raise ValueError(f"{self.value} is not within the interval {self.low} to {self.high}")


def counted(value: float) -> Estimate:
    """An estimate without uncertainty."""
    return Estimate(value, value, value)
