"""Exceedances: evidence about a percentile of the latency, from who is above a common threshold.

The threshold of a block is the percentile of both sides' latencies together in the blocks before
it. It does not know which side a latency was of; so where the sides do not differ, either is as
likely as the other to have more latencies above it, and the sign of the difference is the fair
coin that `EProcess` needs.
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
_FEWEST: Final = 100  # latencies of a side beyond the percentile, as expected
_STRETCHES: Final = 64  # of one pair; a longer duel has longer ones
_RESAMPLES: Final = 1000
_SEED: Final = 0
_TAIL: Final = (1 - CONFIDENCE) / 2


def needed_requests(percent: float) -> int:
    """How many latencies of a side make a percentile worth judging: 100 expected beyond it.

    >>> [needed_requests(percent) for percent in (90, 95, 99, 99.9)]
    [1000, 2000, 10000, 100000]
    """
    return math.ceil(round(100 * _FEWEST / (100 - percent), 3))


class Exceedances:
    """Evidence against `theta <= theta0`, theta being the log ratio of a percentile.

    The candidate's latencies are divided by `exp(theta0)`; then both sides' percentiles are alike
    where the loss is `theta0`. With the sides, and the sign of `theta0`, exchanged it is evidence
    against `theta >= theta0`. The first block only sets the threshold.

    Args:
        percent: of the percentile, between 0 and 100.
        theta0: the largest difference that is still innocent.
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
        """How many blocks were bet on."""
        return self._evidence.blocks

    @property
    def needed(self) -> int:
        """How many latencies of each side it takes to be admitted."""
        return needed_requests(self._percent)

    @property
    def admission(self) -> float:
        """The latencies of the side that has fewer, as a share of those needed; 1 at the most."""
        return min(1.0, min(self._requests) / self.needed)

    @property
    def admitted(self) -> bool:
        """Whether each side has had enough latencies for the percentile to be judged."""
        return self.admission == 1

    def add(self, base: NDArray[np.float64], candidate: NDArray[np.float64]) -> None:
        """Take one more block.

        What is bet on is `(x_c n_b - x_b n_c) / (n_b + n_c)`, x of n latencies being above the
        threshold: for equal n, half the difference of the counts; else the difference of the
        shares with Mantel and Haenszel's weight (1959), which is nothing for a side without
        latencies.

        Args:
            base: its latencies in seconds, shape `(n_b,)`.
            candidate: its latencies in seconds, shape `(n_c,)`.
        """
        candidate = candidate * self._shrink
        both = len(base) + len(candidate)
        if self._pooled.counts.size and both:
            # Just below the bin of the percentile: what is in one bin with it counts as above.
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
    """Where the latencies of a pair are kept."""

    first: int
    blocks: int = 0
    width: int = 1

    @property
    def filled(self) -> int:
        """How many stretches it has."""
        return math.ceil(self.blocks / self.width)


class Tails:
    """Both sides' latencies, for estimates: counted in bins of 0.2 %, in stretches of each pair.

    A stretch is as many consecutive blocks of a pair as keep its stretches to 64; so a long duel
    takes no more memory than a short one.

    Args:
        percent: of the percentile, between 0 and 100.
    """

    __slots__ = ("_pairs", "_percent", "_sides")

    def __init__(self, percent: float) -> None:
        self._percent = percent
        self._sides = [Histogram(0), Histogram(0)]
        self._pairs: dict[int, _Pair] = {}

    def add(self, pair: int, base: NDArray[np.float64], candidate: NDArray[np.float64]) -> None:
        """Take one more block.

        Args:
            pair: number of the pair of processes.
            base: its latencies in seconds, shape `(n_b,)`.
            candidate: its latencies in seconds, shape `(n_c,)`.
        """
        if pair not in self._pairs:
            rows = self._rows
            self._regroup(np.arange(rows), rows + _STRETCHES)
            self._pairs[pair] = _Pair(rows)
        kept = self._pairs[pair]
        if kept.blocks == _STRETCHES * kept.width:
            group = np.arange(self._rows)
            group[kept.first : kept.first + _STRETCHES] = kept.first + np.arange(_STRETCHES) // 2
            self._regroup(group, self._rows)
            kept.width *= 2
        row = kept.first + kept.blocks // kept.width
        for side, latencies in zip(self._sides, (base, candidate), strict=True):
            side.add(np.full(len(latencies), row, np.intp), _ns(latencies))
        kept.blocks += 1

    @property
    def _rows(self) -> int:
        return len(self._pairs) * _STRETCHES

    def _regroup(self, group: NDArray[np.intp], rows: int) -> None:
        self._sides = [side.grouped(group, rows) for side in self._sides]

    def estimate(self) -> Estimate:
        """The log ratio of the percentiles, with a bootstrap over stretches (expanded percentile).

        Whole stretches are drawn again with replacement, the same ones for both sides, 1,000
        times and always the same draws. With k stretches the interval is widened as
        `sqrt(k / (k - 1)) t(k - 1)` is wider than the normal quantile (Hesterberg 2015); about
        92 % of intervals hold the truth then, in simulations of 60 blocks with bursts and drift.
        Not valid at any time, as the evidence is: it is for people to read. Without latencies of
        both sides it is 0.
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
        return self._resampled(np.arange(first, first + _STRETCHES))

    def _resampled(self, rows: NDArray[np.intp]) -> tuple[float, NDArray[np.float64]]:
        """The log ratio, and that of each resample that holds latencies of both sides."""
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
