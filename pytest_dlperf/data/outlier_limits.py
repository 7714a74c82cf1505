"""Outliers: limits of features by the range of their quartiles (Tukey 1977)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_QUARTILES: Final = (25, 75)


@dataclass(frozen=True, slots=True, eq=False)
class OutlierLimits:
    """The lowest and highest value of each feature that is no outlier, shape `(features,)`."""

    low: NDArray[np.float64]
    high: NDArray[np.float64]

    @property
    def without_range(self) -> int:
        """The number of features without limits."""
        return int(np.isinf(self.low).sum())

    def beyond(self, rows: NDArray[Any]) -> NDArray[np.bool_]:
        """Which values are outliers, shape `(rows, features)`."""
        beyond: NDArray[np.bool_] = (rows < self.low) | (rows > self.high)
        return beyond

    def clipped(self, rows: NDArray[Any]) -> NDArray[Any]:
        """A copy whose outliers are set to the limit that they are beyond."""
        clipped = rows.copy()
        # Value by value: a limit that no value reaches need not fit the type of the rows.
        for beyond, limit in ((rows < self.low, self.low), (rows > self.high, self.high)):
            clipped[beyond] = np.broadcast_to(limit, rows.shape)[beyond].astype(rows.dtype)
        return clipped


def learnt_limits(rows: NDArray[Any], k: float, *, whole: bool) -> OutlierLimits:
    """The limits `k` ranges beyond the quartiles; rounded outwards for `whole` numbers."""
    # Missing values are left out: if they were filled, the range would be too small.
    low, high = np.nanpercentile(rows.astype(np.float64), _QUARTILES, axis=0)
    reach = np.where(high > low, k * (high - low), np.inf)
    low, high = low - reach, high + reach
    return OutlierLimits(np.floor(low), np.ceil(high)) if whole else OutlierLimits(low, high)
