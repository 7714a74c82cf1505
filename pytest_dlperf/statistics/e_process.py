"""A sign-flip e-process: evidence on a log ratio that stays valid at every look.

Each block of a duel has a ratio `d = log(cost of the candidate / cost of the base)`, and a random
order. So where the true difference is `theta0`, either sign of `d - theta0` is equally likely given
its size, whatever the machine's noise: drift, bursts, heavy tails, autocorrelation. A bet on the
signs is then a fair game, and by Ville's inequality its capital ever reaches 1 / alpha with
probability alpha at most (Ville 1939; e-processes of symmetry: Koning 2023, arXiv 2310.01153). For
differences below `theta0` the same holds if the noise of a block is symmetric and unimodal.
"""

from __future__ import annotations

import math
from bisect import insort
from statistics import NormalDist
from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_dlperf.statistics.estimate import CONFIDENCE, SCALE, Estimate

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


FARTHEST: Final = math.log(1e6)
"""Distance from the point estimate to an end that the evidence does not bound: a millionfold."""

_STAKES: Final[NDArray[np.float64]] = np.geomspace(0.08, 4.0, 16)
_MOST: Final = 2.5  # robust standard deviations that a block counts for at most
_FLOOR: Final = 1e-9  # differences of this size are rounding
_PRECISION: Final = 1e-4  # of an end of an interval, relative to its distance from the point
_HALVINGS: Final = 60
_MIXTURE: Final = 1.0  # cost of not knowing the best stake and the scale; by simulation


class EProcess:
    """Evidence against `theta <= theta0`, block by block.

    The capital is the mean of 16 bettors', each with a stake lambda of its own, from 0.08 to 4: a
    block multiplies it by `2 exp(x) / (exp(x) + exp(-x))` with `x = lambda psi`, where
    `psi = (d - theta0) / s`, at most 2.5 in size, and `s` is the robust standard deviation of the
    blocks so far. `s` depends on sizes only, not on signs, so the game stays fair.

    Args:
        theta0: the largest difference under the null hypothesis.

    Attributes:
        blocks: number of blocks.
        log_e: the log capital now.
        peak: the greatest log capital so far, at least 0.
    """

    __slots__ = ("_capital", "_psi", "_theta0", "blocks", "log_e", "peak")

    def __init__(self, theta0: float) -> None:
        self._theta0 = theta0
        self._psi = _Standardised()
        self._capital = np.full(len(_STAKES), -math.log(len(_STAKES)))
        self.blocks: int = 0
        self.log_e: float = 0.0
        self.peak: float = 0.0

    def add(self, d: float) -> None:
        """Take the log ratio of one more block, candidate over base; finite."""
        self._capital += _gain(self._psi.of(d - self._theta0))
        top = float(self._capital.max())
        self.log_e = top + math.log(float(np.exp(self._capital - top).sum()))
        self.peak = max(self.peak, self.log_e)
        self.blocks += 1


class _Standardised:
    """Differences in robust standard deviations of those so far, the newest included."""

    __slots__ = ("_sizes",)

    def __init__(self) -> None:
        self._sizes: list[float] = []

    def of(self, e: float) -> float:
        sizes = self._sizes
        insort(sizes, abs(e))
        n = len(sizes)
        scale = SCALE * (sizes[(n - 1) // 2] + sizes[n // 2]) / 2
        return max(-_MOST, min(_MOST, e / max(scale, _FLOOR)))


def _gain(psi: float | NDArray[np.float64]) -> NDArray[np.float64]:
    """The log capital that one block adds for each stake."""
    gain: NDArray[np.float64] = math.log(2) - np.logaddexp(0.0, -2 * _STAKES * psi)
    return gain


def lower_bound(d: NDArray[np.float64], alpha: float) -> float:
    """A lower confidence bound with one-sided error `alpha`, valid at any stopping time.

    The largest `theta` against which the capital after the last block is `1 / alpha`. Below that,
    the capital is larger. Where it is too small even at `FARTHEST` below the point estimate (with
    fewer than about ten blocks), the bound is there. `d` holds the log ratios of at least one block
    in the order of time.
    """
    enough = math.log(1 / alpha)
    ratios = d.tolist()

    def refuted(theta: float) -> bool:
        standardised = _Standardised()
        psi = np.array([standardised.of(ratio - theta) for ratio in ratios])
        capital = _gain(psi[:, np.newaxis]).sum(axis=0)
        top = float(capital.max())
        mean = float(np.exp(capital - top).sum()) / len(_STAKES)
        return top + math.log(mean) >= enough

    step = max(float(np.ptp(d)) / len(d) ** 0.5, _FLOOR)
    return _edge(refuted, hodges_lehmann(d), min(step, FARTHEST))


def _edge(refuted: Callable[[float], bool], point: float, step: float) -> float:
    """The refuted end of a narrow bracket of the point where `refuted` becomes false."""
    if refuted(point):
        # The evidence refutes the point estimate itself: the edge is above it.
        low, high = point, point + step
        while refuted(high) and high - point < FARTHEST:
            low, step = high, step * 2
            high = low + step
    else:
        low, high = point - step, point
        while not refuted(low):
            high, step = low, step * 2
            if point - low >= FARTHEST:
                return point - FARTHEST
            low = max(high - step, point - FARTHEST)
    while high - low > max(_PRECISION * abs(point - low), _FLOOR):
        middle = (low + high) / 2
        low, high = (middle, high) if refuted(middle) else (low, middle)
    return low


def interval(d: NDArray[np.float64], confidence: float = CONFIDENCE) -> Estimate:
    """The log ratio with a two-sided interval that is valid at any stopping time.

    The interval holds each `theta` that the evidence refutes neither from above nor from below, at
    half of the error probability each (a confidence sequence: Howard et al. 2021). The point is
    Hodges and Lehmann's; an end without a bound is `FARTHEST` from it. `d` holds the log ratios of
    one block or more in the order of time, shape `(blocks,)`.
    """
    alpha = (1 - confidence) / 2
    low, high = sorted((lower_bound(d, alpha), -lower_bound(-d, alpha)))
    return Estimate(min(max(hodges_lehmann(d), low), high), low, high)


def hodges_lehmann(d: NDArray[np.float64]) -> float:
    """The median of the means of all pairs, each value with itself too (Hodges, Lehmann 1963).

    The means are not computed: the number of means below a value is counted in the ordered values,
    and the value is found by bisection, in n log n. `d` has shape `(n,)`, n >= 1.
    """
    ordered = np.sort(d)
    # The mean of two values may be rounded past both, so the range is a hair wider.
    hair = 1e-12 * max(abs(float(ordered[0])), abs(float(ordered[-1])))
    n = len(ordered)
    pairs = n * (n + 1) // 2
    place = np.arange(n)

    def ranked(rank: int) -> float:
        low, high = float(ordered[0]) - hair, float(ordered[-1]) + hair
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            partners = ordered.searchsorted(2 * middle - ordered, "right") - place
            below = int(np.maximum(partners, 0).sum())
            low, high = (low, middle) if below >= rank else (middle, high)
        return high

    first = ranked((pairs + 1) // 2)
    return first if pairs % 2 else (first + ranked(pairs // 2 + 1)) / 2


def blocks_needed(alpha: float, power: float) -> float:
    """The factor K of the `K (sigma / loss)^2` blocks that prove a loss.

    A bettor with the right stake wins `r^2 / 2` a block, give or take `r`, where `r` is the loss
    over sigma. So it has `log(1 / alpha) + c` after n blocks with probability `power` where
    `n r^2 = K = (z + sqrt(z^2 + 2 (log(1 / alpha) + c)))^2`, z being the normal quantile of
    `power`. `c = 1` is fitted to simulations of `EProcess` with normal blocks (1,000 sessions for
    each of 16 settings): of K for alpha 0.001 to 0.05 and power 0.9 to 0.95 it gives 91 to 125 %
    at losses of 0.35 to 0.7 sigma. At one sigma a block is so clear that clipping costs: up to a
    sixth more blocks are needed; and no loss at all is proven in fewer than about ten.
    """
    z = NormalDist().inv_cdf(power)
    return float((z + math.sqrt(z * z + 2 * (math.log(1 / alpha) + _MIXTURE))) ** 2)


def smallest_loss(
    seconds: float, noise_figure: float, alpha: float = 0.01, power: float = 0.95
) -> float:
    """The smallest loss beyond the allowed one, a log ratio, that is proven in a time of measuring.

    `sqrt(K S / seconds)`, with the noise figure S in seconds and K of `blocks_needed`.
    """
    return math.sqrt(blocks_needed(alpha, power) * noise_figure / seconds)
