"""Intervals from blocks: stretches of one run, long enough to be nearly independent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_dlperf.core.statistics.estimate import CONFIDENCE, Estimate

if TYPE_CHECKING:
    from numpy.typing import NDArray

MIN_BLOCKS: Final = 10
"""Fewer blocks say too little about how the run varied."""

_RESAMPLES: Final = 1000
_SEED: Final = 0
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
    burst of other work) widens the interval as it should. The point estimate is the order
    statistic of all values; resampled percentiles are read off a histogram whose bins are 0.2 %
    wide, joined to the point so that it always lies within.

    Args:
        values: positive numbers, shape `(n,)`.
        block: block of each value, shape `(n,)`, 0 to k - 1.
        percents: percentiles wanted, in percent.
    """
    k = int(block.max()) + 1
    edges = _geometric_edges(float(values.min()), float(values.max()))
    column = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    counts = np.bincount(block * (len(edges) - 1) + column, minlength=k * (len(edges) - 1))
    draws = np.random.default_rng(_SEED).multinomial(k, np.full(k, 1 / k), _RESAMPLES)
    resampled = draws.astype(np.float64) @ counts.reshape(k, -1).astype(np.float64)
    cumulative: NDArray[np.float64] = np.cumsum(resampled, axis=1)
    middles = np.sqrt(edges[:-1] * edges[1:])
    ordered: NDArray[np.float64] = np.sort(values)
    return {
        percent: _percentile(ordered, cumulative, middles, percent / 100) for percent in percents
    }


def _percentile(
    ordered: NDArray[np.float64],
    cumulative: NDArray[np.float64],
    middles: NDArray[np.float64],
    share: float,
) -> Estimate:
    # Not interpolated: an order statistic is a latency that somebody really had.
    value = float(ordered[min(len(ordered) - 1, int(len(ordered) * share))])
    wanted = cumulative[:, -1:] * share
    resampled = middles[np.argmax(cumulative > wanted, axis=1)]
    low, high = np.quantile(resampled, [_TAIL, 1 - _TAIL])
    return Estimate(value, min(value, float(low)), max(value, float(high)))


def _geometric_edges(low: float, high: float) -> NDArray[np.float64]:
    bins = max(1, int(np.ceil(np.log(high / low) / np.log(1.002)))) if high > low else 1
    edges: NDArray[np.float64] = np.geomspace(low, max(high, low * 1.002), bins + 1)
    return edges
