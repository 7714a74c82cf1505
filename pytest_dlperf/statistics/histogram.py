"""Durations counted in bins of 0.2 %, so that memory does not grow with a run."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

ERROR: Final = 1e-3
"""Largest relative error of a duration that is read from a histogram."""

_BINS_A_FOLD: Final = 1 / math.log(1.002)
_ROOM: Final = 256  # spare bins, so that few additions reallocate the table


class Histogram:
    """Durations in integer nanoseconds, counted by row.

    Bin 0 holds durations of 0 (or less); bin i holds those from `1.002^(i - 1)` to `1.002^i` ns,
    whose geometric middle is less than 0.1 % from each of them. `bins` are allocated at once.
    """

    def __init__(self, rows: int, bins: range = range(0)) -> None:
        self._counts = np.zeros((rows, len(bins)), np.int64)
        self._first = bins.start

    @property
    def counts(self) -> NDArray[np.int64]:
        """Number of durations in each bin, shape `(rows, bins)`."""
        return self._counts

    @property
    def middles_ns(self) -> NDArray[np.float64]:
        """The duration that each bin stands for, shape `(bins,)`."""
        bins = self._first + np.arange(self._counts.shape[1])
        return np.where(bins > 0, np.exp((bins - 0.5) / _BINS_A_FOLD), 0.0)

    def add(self, row: NDArray[np.intp], ns: NDArray[np.int64]) -> None:
        """Count durations; `row` and `ns` have shape `(n,)`."""
        if not len(ns):
            return
        bins = _bin(ns)
        self._cover(int(bins.min()), int(bins.max()))
        width = self._counts.shape[1]
        top, bottom = int(row.min()), int(row.max()) + 1
        cell = (row - top) * width + (bins - self._first)
        counts = np.bincount(cell, minlength=(bottom - top) * width)
        self._counts[top:bottom] += counts.reshape(bottom - top, width)

    def grouped(self, group: NDArray[np.intp], groups: int) -> Histogram:
        """The same durations in `groups` rows; `group` is the new row of each row."""
        joined = Histogram(groups, range(self._first, self._first + self._counts.shape[1]))
        for counts, whole in zip(self._counts, group.tolist(), strict=True):
            joined.counts[whole] += counts
        return joined

    def quantile_ns(self, share: float) -> NDArray[np.float64]:
        """The order statistic of each row at a share from 0 to 1; NaN for an empty row."""
        cumulative = np.cumsum(self._counts, axis=1)
        if not cumulative.size:
            return np.full(len(cumulative), np.nan)
        count = cumulative[:, -1]
        rank = np.minimum(count - 1, (count * share).astype(np.int64))
        quantiles = self.middles_ns[np.argmax(cumulative > rank[:, np.newaxis], axis=1)]
        return np.where(count > 0, quantiles, np.nan)

    def _cover(self, low: int, high: int) -> None:
        width = self._counts.shape[1]
        if not width:
            self._first = low
        before = max(0, self._first - low)
        after = max(0, high + 1 - self._first - width)
        if before or after:
            before = min(before + _ROOM, self._first) if before else 0
            self._counts = np.pad(self._counts, ((0, 0), (before, after + _ROOM if after else 0)))
            self._first -= before


def _bin(ns: NDArray[np.int64]) -> NDArray[np.int64]:
    logs = np.log(np.maximum(ns, 1))
    logs *= _BINS_A_FOLD
    bins = logs.astype(np.int64) + 1
    bins[ns <= 0] = 0
    return bins
