"""Block summary: how evenly a session went, in two figures."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pytest_dlperf.results.codec import rounded
from pytest_dlperf.statistics.block_bootstrap import MIN_BLOCKS
from pytest_dlperf.statistics.robust import deviation

if TYPE_CHECKING:
    from pytest_dlperf.results.series import Series

_SHAPE: Final = '{"count": 50, "spread": 0.02}'


@dataclass(frozen=True, slots=True)
class BlockSummary:
    """How much the rate of answers changed from block to block of a session.

    Attributes:
        count: how many there were, each as long as a point of the session's series.
        spread: robust standard deviation of the logarithm of their rates: 0.02 is about 2 %.
    """

    count: int
    spread: float

    def __post_init__(self) -> None:
        if self.count < 1 or not 0 <= self.spread < math.inf:
            raise ValueError(
                f"{self.count} blocks with a spread of {self.spread}: expected some, and 0 or more"
            )

    def to_json(self) -> dict[str, object]:
        """Plain values."""
        return {"count": self.count, "spread": rounded(self.spread)}

    @classmethod
    def from_json(cls, value: Any) -> BlockSummary:  # noqa: ANN401 - of a file
        """The inverse of `to_json`.

        Raises:
            ValueError: if the values are not of this shape.
        """
        match value:
            case {"count": int(count), "spread": int() | float() as spread}:
                return cls(count, float(spread))
        raise ValueError(f"{value!r:.80} is no summary of blocks: expected such as {_SHAPE}")


def block_summary(series: Series) -> BlockSummary | None:
    """What there is to say of a session's blocks; None if there are too few to say it.

    `spread = 1.4826 median |log r - median(log r)|` over the rates `r` of the blocks in which
    anything was answered.
    """
    rates = np.array([rate for rate in series.rate if rate > 0])
    if len(rates) < MIN_BLOCKS:
        return None
    costs = np.log(rates)
    return BlockSummary(len(rates), deviation(np.abs(costs - np.median(costs))))
