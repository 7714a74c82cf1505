"""Intervals from blocks: parts of one run, long enough to be nearly independent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_dlperf.statistics.estimate import CONFIDENCE, Estimate

if TYPE_CHECKING:
    from numpy.typing import NDArray

MIN_BLOCKS: Final = 10
"""Fewer blocks say too little about how the run varied."""

_RESAMPLES: Final = 1000
_PARTS: Final = 20  # of the resamples, one in memory at a time
_SEED: Final = 0  # fixed: the same latencies must have the same interval
_TAIL: Final = (1 - CONFIDENCE) / 2


def ratio_of_sums(numerators: NDArray[np.float64], denominators: NDArray[np.float64]) -> Estimate:
    """Sum over sum, such as requests over seconds, with a Student interval over the blocks.

    The standard error is the linearised one of a ratio estimator (Cochran, Sampling Techniques,
    1977, 6.4): `sd(n_i - R d_i) / (sqrt(k) mean(d))`, here with k - 1 degrees of freedom.

    Args:
        numerators: shape `(k,)`, k >= 2.
        denominators: shape `(k,)`, positive sum.
    """
    from scipy.special import stdtrit

    k = len(numerators)
    value = float(numerators.sum() / denominators.sum())
    spread = float(np.std(numerators - value * denominators, ddof=1))
    error = spread / (k**0.5 * float(denominators.mean()))
    reach = float(stdtrit(k - 1, 1 - _TAIL)) * error
    return Estimate(value, max(0.0, value - reach), value + reach)


def block_percentiles(
    values: NDArray[np.float64], block: NDArray[np.intp], percents: tuple[float, ...]
) -> dict[float, Estimate]:
    """Percentiles with a bootstrap over blocks (percentile method).

    Whole blocks are drawn again with replacement, so that dependence inside a block (a queue, a
    burst of other work) widens the interval as it should. The point estimate is the order statistic
    of all values; resampled percentiles are read off a histogram whose bins are 0.2 % wide, joined
    to the point so that it always lies within.

    Args:
        values: positive numbers, shape `(n,)`.
        block: block of each value, shape `(n,)`, 0 to k - 1.
        percents: percentiles to compute.
    """
    k = int(block.max()) + 1
    edges = _geometric_edges(float(values.min()), float(values.max()))
    column = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    counts = np.bincount(block * (len(edges) - 1) + column, minlength=k * (len(edges) - 1))
    middles = np.sqrt(edges[:-1] * edges[1:])
    ordered: NDArray[np.float64] = np.sort(values)
    # Not interpolated: an order statistic is a latency that was measured.
    points = {
        percent: float(ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))])
        for percent in percents
    }
    return _with_intervals(points, counts.reshape(k, -1), middles)


def binned_percentiles(
    counts: NDArray[np.int64], middles: NDArray[np.float64], percents: tuple[float, ...]
) -> dict[float, Estimate]:
    """`block_percentiles` of values of which only a histogram was kept.

    The point estimate is the middle of the bin that holds the order statistic. `counts` has shape
    `(k, bins)` and at least one value; `middles` are increasing, shape `(bins,)`.
    """
    cumulative = np.cumsum(counts.sum(axis=0))
    total = int(cumulative[-1])
    points = {
        percent: float(
            middles[cumulative.searchsorted(min(total - 1, int(total * percent / 100)), "right")]
        )
        for percent in percents
    }
    return _with_intervals(points, counts, middles)


def _with_intervals(
    points: dict[float, float], counts: NDArray[np.int64], middles: NDArray[np.float64]
) -> dict[float, Estimate]:
    used = counts.any(axis=0)
    cumulative = np.cumsum(counts[:, used], axis=1).astype(np.float64)
    middles = middles[used]
    k = len(counts)
    draws = np.random.default_rng(_SEED).multinomial(k, np.full(k, 1 / k), _RESAMPLES)
    resampled: dict[float, list[NDArray[np.float64]]] = {percent: [] for percent in points}
    # A few resamples at a time: all of them would be a thousand times the histogram.
    for drawn in np.array_split(draws.astype(np.float64), _PARTS):
        counted = drawn @ cumulative
        for percent, drawn_percentiles in resampled.items():
            wanted = counted[:, -1:] * (percent / 100)
            drawn_percentiles.append(middles[np.argmax(counted > wanted, axis=1)])
    estimates = {}
    for percent, value in points.items():
        low, high = np.quantile(np.concatenate(resampled[percent]), [_TAIL, 1 - _TAIL])
        estimates[percent] = Estimate(value, min(value, float(low)), max(value, float(high)))
    return estimates


def _geometric_edges(low: float, high: float) -> NDArray[np.float64]:
    bins = max(1, int(np.ceil(np.log(high / low) / np.log(1.002)))) if high > low else 1
    edges: NDArray[np.float64] = np.geomspace(low, max(high, low * 1.002), bins + 1)
    return edges
