"""Percentiles of a run: the requests that they need, and intervals where requests are dependent."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_dlperf.statistics.dependence import design_effects, moved_on, reach
from pytest_dlperf.statistics.estimate import CONFIDENCE, NORMAL_REACH, Estimate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_dlperf.statistics.run_values import Values

_CONFIDENCE: Final = 0.99
_TAIL: Final = (1 - CONFIDENCE) / 2

# Levels at which dependence is looked at; percentiles that are asked for are added.
_LEVELS: Final = (
    *(0.01, 0.03, 0.1, 0.25, 0.4, 0.5, 0.6, 0.7, 0.8, 0.87, 0.9, 0.93, 0.95, 0.965, 0.975, 0.983),
    *(0.99, 0.993, 0.995, 0.9965, 0.998, 0.999, 0.9993, 0.9995, 0.9998, 0.9999),
)
_WITNESSES: Final = (0.1, 0.8, 0.95)
"""Levels that tell of memory which a percentile farther out has too few requests to show. In a
queue the fastest tenth did not wait: it shows the machine's speed, which all others depend on."""

_WHITE: Final = 0.6  # prior probability that requests are independent
_WHITE_WITNESS: Final = 0.95
_FAR_BELOW: Final = 0.03
_BLOCKS: Final = 16
_FEWEST_BLOCKS: Final = 8
_BEYOND: Final = 5  # requests beyond the percentile in each block
_NEARLY_STEADY: Final = 0.05


_FAR_BELOW_ALL: Final = 10
_FAR_ABOVE: Final = 5
_FAR_BLOCKS: Final = 20


@cache
def required_requests(percent: float) -> int:
    """The least number of requests for a percentile: MLPerf LoadGen's early-stopping floor.

    The smallest n with `P[Bin(n, 1 - p) <= 1] < 1 - 0.99`: with one request above the
    percentile's estimate, the estimate is still an upper bound at 99 % confidence
    (mlcommons/inference, loadgen/early_stopping.cc).

    >>> [required_requests(p) for p in (50, 90, 95, 99, 99.9)]
    [11, 64, 130, 662, 6636]
    """
    share = percent / 100
    log_share = math.log(share)

    def enough(n: int) -> bool:
        # p^n + n (1 - p) p^(n - 1), in logarithms because p^n underflows.
        return math.exp((n - 1) * log_share) * (share + n * (1 - share)) < 1 - _CONFIDENCE

    high = 2
    while not enough(high):
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


@dataclass(frozen=True, slots=True)
class Percentile:
    """A percentile with the bounds of its 95 % interval.

    Attributes:
        value: the order statistic.
        low: lower bound; a tenth of the least value if the run is too short for one.
        high: upper bound; None if the run is too short for one.
        longer: how many times as long a run needs to be to have both bounds, roughly; 1 if it has.
        far: what the percentile does not exceed even if the run is too short for a bound.
    """

    value: float
    low: float
    high: float | None
    longer: float
    far: float


def percentiles(values: Values, percents: tuple[float, ...]) -> dict[float, Percentile]:
    """Percentiles with intervals that hold the percentile of endless time.

    An interval is found as Woodruff's (1952): the number of values above the percentile is taken
    for binomial, and its 2.5 % and 97.5 % points are the ranks of the bounds. Where values depend
    on one another, n values count as n over the design effect (`dependence.py`). It is looked at
    where the bounds are as well as at the percentile, because a rare burst shows only above it,
    and at lower levels, which show memory that few values beyond the percentile would hide. Where
    the effect is large the upper bound is moved on for the skewness of clusters (Johnson 1978).
    With independent values the effect is about 1.3, and the interval that of order statistics, a
    sixth wider.

    A run too short for these ranks may still be steady. If the percentiles of its blocks differ by
    less than 5 %, even with as much added as their mean may be off, they are the interval.

    Args:
        values: at least one.
        percents: percentiles to compute.
    """
    filled = values.total > 0
    total = values.total[filled]
    requests = int(total.sum())
    levels = np.array(sorted({*_LEVELS, *(percent / 100 for percent in percents)}))
    ranks = _ranks(requests, levels)
    above = values.above(ranks)[:, filled]
    own = design_effects(total, above, _WHITE)
    witness = design_effects(total, above, _WHITE_WITNESS)
    found = {}
    for percent in percents:
        share = percent / 100
        seen = [w for level, w in zip(levels, witness, strict=True) if level in _WITNESSES]
        before = sum(1 for level in _WITNESSES if level <= max(share, 0.8))
        search = _Bounds(share, requests, levels, above.sum(axis=1), own, max(seen[:before]))
        found[percent] = _percentile(values, search)
    return found


def mean(values: Values) -> Estimate:
    """The mean with an interval that holds the mean of endless time.

    As of a percentile, but of the sums of the parts. At least as wide as with the design effect of
    the levels that show memory best; moved on to above for the skewness of clusters.
    """
    total, sums = values.total, values.sums(1)
    filled = total > 0
    total, sums = total[filled], sums[filled]
    requests = float(total.sum())
    value = float(sums.sum()) / requests
    variance = float(values.sums(2).sum()) / requests - value**2
    residuals = sums - value * total
    if variance <= 0 or not residuals.any():
        return Estimate(value, value, value)
    above = values.above(_ranks(int(requests), np.array(_WITNESSES)))[:, filled]
    single = variance / requests  # of the mean of independent requests
    own = (float(reach(residuals[np.newaxis], _WHITE)[0]) / requests / NORMAL_REACH) ** 2 / single
    effect = max(1.0, own, *design_effects(total, above, _WHITE_WITNESS).tolist())
    half = NORMAL_REACH * math.sqrt(single * effect)
    above_it = half * moved_on(effect, requests / effect)
    return Estimate(value, max(0.0, value - half), value + above_it)


def _ranks(requests: int, shares: NDArray[np.float64]) -> NDArray[np.intp]:
    # Rounded, as 100 * 0.29 is less than 29.
    ranks: NDArray[np.intp] = np.floor(np.round(requests * shares, 6)).astype(np.intp)
    return np.minimum(ranks, requests - 1)


@dataclass(frozen=True, slots=True)
class _Bounds:
    """Search for the ranks of the bounds, level by level; arrays have the shape `(levels,)`."""

    share: float
    requests: int
    levels: NDArray[np.float64]
    above: NDArray[np.float64]
    effects: NDArray[np.float64]
    witnessed: float

    @property
    def start(self) -> int:
        """Index of the percentile's level."""
        return int(self.levels.searchsorted(self.share))

    def low(self) -> int | None:
        """Rank of the lower bound; None if there is none."""
        rank = None
        effect = self.witnessed
        for place in range(self.start, -1, -1):
            effect = max(effect, self.effects[place])
            rank = self._rank(effect, _TAIL)
            if rank is None or self.requests - self.above[place] <= rank:
                break
        return self._far_below() if rank is None else max(0, math.ceil(rank) - 1)

    def _far_below(self) -> int | None:
        """Rank of a level that is far below for certain: an overload has hardly a fast request."""
        for place in range(int(self.levels.searchsorted(_FAR_BELOW)), -1, -1):
            rank = self._rank(float(self.effects[place]), _TAIL)
            if rank is not None and self.requests - self.above[place] <= rank:
                return max(0, int(self.requests - self.above[place]) - 1)
        return None

    def high(self) -> tuple[int | None, float]:
        """Rank of the upper bound, None if there is none, and the design effect there."""
        rank: float | None = None
        skewed = effect = self.witnessed
        for place in range(self.start, len(self.levels)):
            effect = max(effect, self.effects[place])
            skewed = self._skewed(effect)
            rank = self._rank(skewed, 1 - _TAIL)
            if rank is None or self.requests - self.above[place] >= rank:
                break
        if rank is None or math.ceil(rank) >= self.requests:
            return None, skewed
        return math.ceil(rank), skewed

    def lasting(self, effect: float) -> float:
        """How many times as long a run has a value beyond the bounds with 97.5 %."""
        rarer = max(self.share, 1 - self.share)
        return effect * math.log(_TAIL) / math.log(rarer) / self.requests

    def _skewed(self, effect: float) -> float:
        beyond = self.requests / effect * min(self.share, 1 - self.share)
        return float(effect * moved_on(effect, beyond) ** 2)

    def _rank(self, effect: float, probability: float) -> float | None:
        """Point of the binomial distribution of the effective requests, as a rank of all."""
        from scipy.special import bdtrik

        effective = self.requests / effect
        beyond = self.share if probability > _TAIL else 1 - self.share
        if beyond**effective > _TAIL:
            return None
        return float(bdtrik(probability, effective, self.share)) * effect


def _percentile(values: Values, search: _Bounds) -> Percentile:
    value = values.at(int(_ranks(search.requests, np.array([search.share]))[0]))
    low, (high, effect) = search.low(), search.high()
    lowest = values.at(0) / _FAR_BELOW_ALL if low is None else min(value, values.at(low))
    if low is not None and high is not None:
        highest = max(value, values.at(high))
        return Percentile(value, lowest, highest, 1.0, highest)
    steady = _steady(values, search.share, value)
    if steady is not None:
        return steady
    longer = max(1.0, search.lasting(effect))
    return Percentile(value, lowest, None, longer, _far(values, search.share))


def _far(values: Values, share: float) -> float:
    """Five times the largest percentile of 20 blocks.

    By simulation (queues M/M/1 and M/D/1 at 50 to 95 % and 2 to 30 s, one with services whose
    variance is infinite, one whose speed wanders; 200 runs each) the percentile of endless time
    exceeds three times that in up to 13 % of the runs, and five times that in none of ten loads and
    in 0.5 % of the eleventh. The longest value would do as well in a queue, but any pause of a
    machine is one.
    """
    return _FAR_ABOVE * float(values.of_blocks(_blocks(values.total, _FAR_BLOCKS), share).max())


def _blocks(total: NDArray[np.float64], most: int) -> NDArray[np.intp]:
    """The block of each part: at most so many blocks, with about equally many values each."""
    block = ((total.cumsum() - total / 2) / total.sum() * most).astype(np.intp)
    return np.unique(np.minimum(block, most - 1), return_inverse=True)[1].astype(np.intp)


def _steady(values: Values, share: float, value: float) -> Percentile | None:
    """The interval from the percentiles of blocks, if these hardly differ."""
    total = values.total
    rarer = min(share, 1 - share)
    blocks = min(_BLOCKS, int(total.sum() * rarer / _BEYOND), int((total > 0).sum()))
    if blocks < _FEWEST_BLOCKS or value <= 0:
        return None
    logs = np.log(values.of_blocks(_blocks(total, blocks), share))
    middle = float(logs.mean())
    around = float(reach((logs - middle)[np.newaxis], _WHITE)[0]) / len(logs) if np.ptp(logs) else 0
    low, high = float(logs.min()) - around, float(logs.max()) + around
    if high - low > _NEARLY_STEADY:
        return None
    highest = max(value, math.exp(high))
    return Percentile(value, min(value, math.exp(low)), highest, 1.0, highest)
