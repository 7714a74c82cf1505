"""Values of a run in consecutive parts, each kept or counted in bins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Values(Protocol):
    """Values of a run, divided into consecutive parts."""

    @property
    def total(self) -> NDArray[np.float64]:
        """Number of values in each part, shape `(parts,)`."""
        ...

    def at(self, rank: int) -> float:
        """The order statistic of a rank from 0."""
        ...

    def above(self, ranks: NDArray[np.intp]) -> NDArray[np.float64]:
        """Number of values in each part above each of these order statistics, ascending.

        Shape `(ranks, parts)`.
        """
        ...

    def of_blocks(self, block: NDArray[np.intp], share: float) -> NDArray[np.float64]:
        """The order statistic of each block at a share; `block` is that of each part."""
        ...

    def sums(self, power: int) -> NDArray[np.float64]:
        """Sum of the powers of the values in each part, shape `(parts,)`."""
        ...


@dataclass(frozen=True, slots=True)
class EachValue:
    """Values of which each is known: positive `values`, ascending, with the `part` of each."""

    values: NDArray[np.float64]
    part: NDArray[np.intp]

    @property
    def total(self) -> NDArray[np.float64]:
        """See `Values`."""
        return np.bincount(self.part).astype(np.float64)

    def at(self, rank: int) -> float:
        """See `Values`."""
        return float(self.values[rank])

    def above(self, ranks: NDArray[np.intp]) -> NDArray[np.float64]:
        """See `Values`."""
        first = self.values.searchsorted(self.values[ranks], side="right")
        step = np.repeat(
            np.arange(len(ranks) + 1), np.diff(first, prepend=0, append=len(self.part))
        )
        parts = int(self.part.max()) + 1
        cells = np.bincount(step * parts + self.part, minlength=(len(ranks) + 1) * parts)
        counts = cells.reshape(-1, parts)[:0:-1].cumsum(axis=0)[::-1]
        return counts.astype(np.float64)

    def of_blocks(self, block: NDArray[np.intp], share: float) -> NDArray[np.float64]:
        """See `Values`."""
        of_each = block[self.part]
        blocks = (self.values[of_each == number] for number in range(int(block.max()) + 1))
        return np.array([values[int(len(values) * share)] for values in blocks])

    def sums(self, power: int) -> NDArray[np.float64]:
        """See `Values`."""
        return np.bincount(self.part, weights=self.values**power).astype(np.float64)


@dataclass(frozen=True, slots=True)
class BinnedValues:
    """Values of which only a histogram was kept, exact to a bin; it is not copied, as it is large.

    Attributes:
        counts: shape `(parts, bins)`.
        middles: the value that each bin stands for, increasing, shape `(bins,)`.
        late: number of further values in the last part, all of them equal.
        late_value: what these are.
    """

    counts: NDArray[np.int64]
    middles: NDArray[np.float64]
    late: int = 0
    late_value: float = 0.0

    @property
    def total(self) -> NDArray[np.float64]:
        """See `Values`."""
        total: NDArray[np.float64] = self.counts.sum(axis=1).astype(np.float64)
        total[-1] += self.late
        return total

    def at(self, rank: int) -> float:
        """See `Values`."""
        (place,) = self._places(np.array([rank]))
        return float(np.insert(self.middles, self._late_place, self.late_value)[place])

    def above(self, ranks: NDArray[np.intp]) -> NDArray[np.float64]:
        """See `Values`."""
        places = self._places(ranks)
        counts = np.empty((len(ranks), len(self.counts)))
        rest, begin = self.counts.sum(axis=1), 0
        for row, place in enumerate(places.tolist()):
            end = place if place >= self._late_place else place + 1
            rest = rest - self.counts[:, begin:end].sum(axis=1)
            counts[row], begin = rest, end
        counts[places < self._late_place, -1] += self.late
        return counts

    def of_blocks(self, block: NDArray[np.intp], share: float) -> NDArray[np.float64]:
        """See `Values`."""
        first = np.flatnonzero(np.diff(block, prepend=-1))
        cumulative = np.add.reduceat(self.counts, first, axis=0).cumsum(axis=1)
        rank = (cumulative[:, -1:] * share).astype(np.int64)
        values: NDArray[np.float64] = self.middles[np.argmax(cumulative > rank, axis=1)]
        return values

    def sums(self, power: int) -> NDArray[np.float64]:
        """See `Values`."""
        sums: NDArray[np.float64] = self.counts @ self.middles**power
        sums[-1] += self.late * self.late_value**power
        return sums

    @property
    def _late_place(self) -> int:
        return int(self.middles.searchsorted(self.late_value))

    def _places(self, ranks: NDArray[np.intp]) -> NDArray[np.intp]:
        """The bin of each rank, where the further values are a bin of their own."""
        counts = np.insert(self.counts.sum(axis=0), self._late_place, self.late)
        cumulative: NDArray[np.int64] = counts.cumsum()
        return cumulative.searchsorted(ranks, side="right")
