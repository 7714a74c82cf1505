"""Test of a latency percentile, by the exceedances of a threshold that both sides share.

The threshold of a block is the percentile of both sides' latencies together in the blocks before
it. It does not depend on which side a latency is of; so where the sides do not differ, either is
equally likely to have more latencies above it, and the sign of the difference is the fair one that
`EProcess` needs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_dlperf.statistics.e_process import EProcess
from pytest_dlperf.statistics.estimate import CONFIDENCE, Estimate
from pytest_dlperf.statistics.histogram import ERROR, Histogram

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NS: Final = 1e9
_FEWEST: Final = 100  # expected latencies of a side beyond the percentile
_GROUPS: Final = 64  # groups of blocks for each pair
_RESAMPLES: Final = 1000
_SEED: Final = 0  # fixed: the same latencies must have the same interval
_TAIL: Final = (1 - CONFIDENCE) / 2


def needed_requests(percent: float) -> int:
    """Latencies that each side needs for a percentile to be judged: 100 expected beyond it.

    >>> [needed_requests(percent) for percent in (90, 95, 99, 99.9)]
    [1000, 2000, 10000, 100000]
    """
    return math.ceil(round(100 * _FEWEST / (100 - percent), 3))


class Exceedances:
    """Evidence against `theta <= theta0`, theta being the log ratio of a percentile.

    The candidate's latencies are divided by `exp(theta0)`; then both sides' percentiles are equal
    where the loss is `theta0`. With the sides, and the sign of `theta0`, exchanged it is evidence
    against `theta >= theta0`. The first block only sets the threshold.
    """

    __slots__ = ("_evidence", "_percent", "_pooled", "_requests", "_shrink")

    def __init__(self, percent: float, theta0: float) -> None:
        self._percent = percent
        self._shrink = math.exp(-theta0)
        self._pooled = Histogram(1)
        self._requests = [0, 0]
        self._evidence = EProcess(0.0)

    @property
    def log_e(self) -> float:
        """The log capital now."""
        return self._evidence.log_e

    @property
    def peak(self) -> float:
        """The greatest log capital so far, from 0."""
        return self._evidence.peak

    @property
    def blocks(self) -> int:
        """Number of blocks that are evidence."""
        return self._evidence.blocks

    @property
    def needed(self) -> int:
        """Latencies of each side that are needed."""
        return needed_requests(self._percent)

    @property
    def admission(self) -> float:
        """The latencies of the side that has fewer, as a share of those needed; 1 at the most."""
        return min(1.0, min(self._requests) / self.needed)

    @property
    def admitted(self) -> bool:
        """Whether each side has enough latencies for the percentile to be judged."""
        return self.admission == 1

    def add(self, base: NDArray[np.float64], candidate: NDArray[np.float64]) -> None:
        """Take one more block: latencies in seconds, shapes `(n_b,)` and `(n_c,)`.

        The evidence is `(x_c n_b - x_b n_c) / (n_b + n_c)`, x of n latencies being above the
        threshold: for equal n, half the difference of the counts; else the difference of the shares
        with Mantel and Haenszel's weight (1959), which is 0 for a side without latencies.
        """
        candidate = candidate * self._shrink
        both = len(base) + len(candidate)
        if self._pooled.counts.size and both:
            # Just below the bin of the percentile: all latencies of this bin count as above.
            threshold = float(self._pooled.quantile_ns(self._percent / 100)[0]) / _NS * (1 - ERROR)
            above = [int(np.count_nonzero(side > threshold)) for side in (base, candidate)]
            excess = above[1] * len(base) - above[0] * len(candidate)
            self._evidence.add(excess / both)
        for side, latencies in enumerate((base, candidate)):
            self._requests[side] += len(latencies)
            self._pooled.add(np.zeros(len(latencies), np.intp), _ns(latencies))


def _ns(latencies: NDArray[np.float64]) -> NDArray[np.int64]:
    return (latencies * _NS).astype(np.int64)


@dataclass(slots=True)
class _Pair:
    """The rows of the histograms that hold the latencies of a pair."""

    first: int
    blocks: int = 0
    width: int = 1

    @property
    def filled(self) -> int:
        """Number of groups with latencies."""
        return math.ceil(self.blocks / self.width)


class Tails:
    """Both sides' latencies, for estimates: histograms of groups of consecutive blocks.

    The groups of a pair grow so that there are at most 64, which bounds the memory of a duel.
    """

    __slots__ = ("_pairs", "_percent", "_sides")

    def __init__(self, percent: float) -> None:
        self._percent = percent
        self._sides = [Histogram(0), Histogram(0)]
        self._pairs: dict[int, _Pair] = {}

    def add(self, pair: int, base: NDArray[np.float64], candidate: NDArray[np.float64]) -> None:
        """Take one more block of a pair of processes: latencies in seconds."""
        if pair not in self._pairs:
            rows = self._rows
            self._regroup(np.arange(rows), rows + _GROUPS)
            self._pairs[pair] = _Pair(rows)
        kept = self._pairs[pair]
        if kept.blocks == _GROUPS * kept.width:
            group = np.arange(self._rows)
            group[kept.first : kept.first + _GROUPS] = kept.first + np.arange(_GROUPS) // 2
            self._regroup(group, self._rows)
            kept.width *= 2
        row = kept.first + kept.blocks // kept.width
        for side, latencies in zip(self._sides, (base, candidate), strict=True):
            side.add(np.full(len(latencies), row, np.intp), _ns(latencies))
        kept.blocks += 1

    @property
    def _rows(self) -> int:
        return len(self._pairs) * _GROUPS

    def _regroup(self, group: NDArray[np.intp], rows: int) -> None:
        self._sides = [side.grouped(group, rows) for side in self._sides]

    def estimate(self) -> Estimate:
        """The log ratio of the percentiles, with a bootstrap over groups (expanded percentile).

        Whole groups are resampled, the same ones for both sides, 1,000 times with a fixed seed.
        With k groups the interval is widened as `sqrt(k / (k - 1)) t(k - 1)` is wider than the
        normal quantile (Hesterberg 2015); it then covers in about 92 % of simulations of 60 blocks
        with bursts and drift. Unlike the evidence it is not valid at any stopping time: it is for
        the report only. Without latencies of both sides it is 0.
        """
        from scipy.special import ndtr, stdtrit

        point, drawn = self._resampled(np.arange(self._rows))
        if not len(drawn):
            return Estimate(point, point, point)
        k = max(2, sum(kept.filled for kept in self._pairs.values()))
        tail = float(ndtr(math.sqrt(k / (k - 1)) * stdtrit(k - 1, _TAIL)))
        low, high = np.quantile(drawn, [tail, 1 - tail])
        return Estimate(point, min(point, float(low)), max(point, float(high)))

    def effects(self) -> NDArray[np.float64]:
        """The log ratio of the percentiles of each pair, by number, shape `(pairs,)`."""
        return np.array([self._of_pair(pair)[0] for pair in sorted(self._pairs)])

    def errors(self) -> NDArray[np.float64]:
        """The bootstrap's standard error of each pair's effect, by number, shape `(pairs,)`."""
        spreads = (self._of_pair(pair)[1] for pair in sorted(self._pairs))
        return np.array([float(drawn.std()) if len(drawn) else 0.0 for drawn in spreads])

    def _of_pair(self, pair: int) -> tuple[float, NDArray[np.float64]]:
        first = self._pairs[pair].first
        return self._resampled(np.arange(first, first + _GROUPS))

    def _resampled(self, rows: NDArray[np.intp]) -> tuple[float, NDArray[np.float64]]:
        """The log ratio, and that of each resample with latencies of both sides."""
        counts = [side.counts[rows] for side in self._sides]
        if not all(count.any() for count in counts):
            return 0.0, np.empty(0)
        used = counts[0].any(axis=1) | counts[1].any(axis=1)
        k = int(used.sum())
        draws = np.random.default_rng(_SEED).multinomial(k, np.full(k, 1 / k), _RESAMPLES)
        # The first row is the sample itself.
        weights = np.vstack([np.ones(k), draws])
        logs = np.zeros(_RESAMPLES + 1)
        held = np.ones(_RESAMPLES + 1, np.bool_)
        for sign, side, count in zip((-1, 1), self._sides, counts, strict=True):
            filled = count.any(axis=0)
            cumulative = weights @ np.cumsum(count[used][:, filled], axis=1).astype(np.float64)
            total = cumulative[:, -1:]
            place = np.argmax(cumulative > total * (self._percent / 100), axis=1)
            logs += sign * np.log(np.maximum(side.middles_ns[filled][place], 1.0))
            held &= total[:, 0] > 0
        return float(logs[0]), logs[1:][held[1:]]
