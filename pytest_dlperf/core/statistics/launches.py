"""Launches: what pairs of processes differ by, however long each of them is measured.

Where a process' memory happens to lie makes it faster or slower for all its life. So a pair of
processes, one of each commit, measures that pair: its effect is the true log ratio plus noise
that no further block of the same pair takes away.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_dlperf.core.statistics.estimate import CONFIDENCE, Estimate

if TYPE_CHECKING:
    from numpy.typing import NDArray

PAIR_NOISE: Final = 0.014
"""Prior standard deviation of a pair's log ratio: 1 % of each of its two processes."""

ENOUGH_PAIRS: Final = 4
"""From here on the pairs' own effects say what pairs differ by, and the prior is dropped."""

_MISSED: Final = 0.01
_SCREENING: Final = range(1, 9)
_CONFIRMING: Final = range(3, 13)
_TAIL: Final = (1 - CONFIDENCE) / 2


def confirms(effects: NDArray[np.float64], allowed: float, alpha: float) -> bool:
    """Whether fresh pairs confirm a loss beyond what is allowed: a one-sided t-test.

    True if `mean - t(1 - alpha, P - 1) sd / sqrt(P) > allowed` (Student 1908).

    Args:
        effects: the log ratio of each pair, shape `(P,)`, P >= 2.
        allowed: the loss that is allowed, as a log ratio.
        alpha: how often pairs without a loss beyond it may seem to confirm one.

    Raises:
        ValueError: if there are fewer than two pairs.
    """
    from scipy.special import stdtrit

    pairs = len(effects)
    if pairs < 2:  # noqa: PLR2004 - one value has no spread
        raise ValueError(f"{pairs} pair cannot confirm a loss: expected at least two")
    error = float(np.std(effects, ddof=1)) / math.sqrt(pairs)
    return float(effects.mean()) - float(stdtrit(pairs - 1, 1 - alpha)) * error > allowed


def pairs_needed(detect: float, noise: float = PAIR_NOISE) -> int:
    """How many pairs a screen is spread over: from 1 to 8.

    The smallest P for which the mean effect of P pairs is below half of a true loss of `detect`
    with a probability of 1 % at most: `z(0.99) noise / sqrt(P) <= detect / 2`. With half of the
    loss left, the screen still sees it, for four times the blocks; with less, launches and not
    blocks would decide what is missed. The same P keeps launches of unchanged code from seeming
    to lose half of `detect`.

    Args:
        detect: the loss to see beyond what is allowed, as a log ratio, positive.
        noise: standard deviation between pairs, as a log ratio.

    >>> [pairs_needed(math.log1p(loss)) for loss in (0.02, 0.03, 0.05, 0.10)]
    [8, 5, 2, 1]
    """
    reach = NormalDist().inv_cdf(1 - _MISSED) * noise
    enough = math.ceil((2 * reach / detect) ** 2)
    return min(max(enough, _SCREENING.start), _SCREENING.stop - 1)


def confirming_pairs(
    detect: float, noise: float = PAIR_NOISE, alpha: float = 0.05, power: float = 0.98
) -> int:
    """How many fresh pairs `confirms` needs to see a loss: from 3 to 12.

    The smallest P whose one-sided t-test at `alpha` has that power: under the loss its statistic
    is noncentral t with P - 1 degrees of freedom and noncentrality `detect sqrt(P) / noise`
    (Johnson, Kotz, Balakrishnan: Continuous Univariate Distributions 2, 1995, 31). 12, where not
    even so many have it.

    Args:
        detect: the loss to see beyond what is allowed, as a log ratio, positive.
        noise: standard deviation between the effects of pairs, as a log ratio, positive.
        alpha: of the test.
        power: how often a loss of `detect` shall be confirmed.
    """
    from scipy.special import nctdtr, stdtrit

    for pairs in _CONFIRMING:
        line = float(stdtrit(pairs - 1, 1 - alpha))
        missed = float(nctdtr(pairs - 1, detect * math.sqrt(pairs) / noise, line))
        if 1 - missed >= power:
            return pairs
    return _CONFIRMING.stop - 1


def with_launches(
    interval: Estimate, effects: NDArray[np.float64], prior: float = PAIR_NOISE
) -> Estimate:
    """The interval over blocks, widened by what pairs differ by.

    With fewer than four pairs, by the prior: each side is joined by squares with
    `1.96 prior / sqrt(P)` (MOVER: Zou and Donner 2008). With more, the t-interval over the
    pairs' own effects is laid over it. The point stays, and no side becomes narrower.

    Args:
        interval: of the log ratio, from the blocks alone.
        effects: the log ratio of each pair, shape `(P,)`, P >= 1.
        prior: standard deviation between pairs, as a log ratio.
    """
    from scipy.special import ndtri, stdtrit

    pairs = len(effects)
    if pairs < ENOUGH_PAIRS:
        reach = float(ndtri(1 - _TAIL)) * prior / math.sqrt(pairs)
        return Estimate(
            interval.value,
            interval.value - math.hypot(interval.value - interval.low, reach),
            interval.value + math.hypot(interval.high - interval.value, reach),
        )
    reach = float(stdtrit(pairs - 1, 1 - _TAIL) * np.std(effects, ddof=1)) / math.sqrt(pairs)
    middle = float(effects.mean())
    return Estimate(
        interval.value, min(interval.low, middle - reach), max(interval.high, middle + reach)
    )


def launch_spread(effects: NDArray[np.float64], errors: NDArray[np.float64]) -> float:
    """The standard deviation between pairs beyond their own errors.

    `sqrt(max(0, var(effects) - mean(errors^2)))`, the moment estimate of a random effect
    (DerSimonian, Laird 1986, with equal weights); 0 for one pair.

    Args:
        effects: the log ratio of each pair, shape `(P,)`.
        errors: the standard error of each, shape `(P,)`.
    """
    if len(effects) < 2:  # noqa: PLR2004 - one value has no spread
        return 0.0
    beyond = float(np.var(effects, ddof=1)) - float(np.mean(errors**2))
    return math.sqrt(max(0.0, beyond))
