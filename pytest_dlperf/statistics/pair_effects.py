"""Pair effects: the variance between pairs of processes, which longer measuring does not reduce.

The place of a process' memory makes it faster or slower for all its life. So the effect of a pair
of processes, one of each commit, is the true log ratio plus noise that no further block of the
same pair takes away.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_dlperf.metrics import METRICS
from pytest_dlperf.statistics.estimate import CONFIDENCE, Estimate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_dlperf.metrics import Metric
    from pytest_dlperf.statistics.estimate import Decision

PAIR_NOISE: Final = 0.02
"""Prior standard deviation of a pair's log ratio: 1.4 % of each of its two processes.

On a virtual machine with two cores, sets of eight processes of one model had 0.4 to 3 %, most of
them 1.5 to 2.5 % where nothing else ran.
"""

PRIOR_FREEDOM: Final = 4
"""Degrees of freedom that the prior is worth."""

LOOKS: Final = (3, 5, 8)
"""Numbers of fresh pairs after which a decision is made."""

_SHARES: Final = (0.6, 0.25, 0.15)  # of the error rates, by look
_OF_DETECT: Final = 0.4
_MISSED: Final = 0.05
_SCREENING: Final = range(1, 9)
_TAIL: Final = (1 - CONFIDENCE) / 2


@dataclass(frozen=True, slots=True)
class Spread:
    """The spread between pairs, from a prior and the pairs measured.

    The variance is the mean of the prior's and the sample's, weighted by the degrees of freedom,
    as a scaled inverse chi-square prior has it (Gelman et al., Bayesian Data Analysis, 2013, 2.6).

    Attributes:
        noise: prior standard deviation between pairs, as a log ratio.
        freedom: degrees of freedom that it is worth; 0 without a prior.
    """

    noise: float = PAIR_NOISE
    freedom: int = PRIOR_FREEDOM

    def reach(self, effects: NDArray[np.float64], tail: float) -> float:
        """One-sided reach, with error probability `tail`, of the interval of the mean of P pairs.

        `t(1 - tail, freedom + P - 1) s / sqrt(P)`; infinite for one pair without a prior.
        """
        from scipy.special import stdtrit

        pairs = len(effects)
        freedom = self.freedom + pairs - 1
        if not freedom:
            return math.inf
        seen = (pairs - 1) * float(np.var(effects, ddof=1)) if pairs > 1 else 0.0
        spread = math.sqrt((self.freedom * self.noise**2 + seen) / freedom)
        return float(stdtrit(freedom, 1 - tail)) * spread / math.sqrt(pairs)


NOTHING_KNOWN: Final = Spread(0.0, 0)
"""For losses without a prior, such as those of models that are trained anew."""


def spread_of(metric: Metric, errors: NDArray[np.float64]) -> Spread:
    """The prior spread of measured pair effects, from the standard error of each, shape `(P,)`.

    That of the pairs themselves is two fifths of the metric's `detect`, at least 2 %, since tails
    of latencies vary more from process to process than the middle. The error of each is added.
    """
    between = max(PAIR_NOISE, _OF_DETECT * METRICS[metric.name].detect)
    return Spread(math.hypot(between, float(np.sqrt(np.mean(errors**2)))))


def excludes(effects: NDArray[np.float64], line: float, beta: float, spread: Spread) -> bool:
    """Whether pairs exclude a loss of `line`, the variance between them included."""
    return float(effects.mean()) + spread.reach(effects, beta) < line


def second_opinion(  # noqa: PLR0913 - two sets of pairs, two limits, two rates
    fresh: NDArray[np.float64],
    first: NDArray[np.float64],
    *,
    allowed: float,
    line: float,
    alpha: float,
    beta: float,
    spread: Spread,
) -> Decision | None:
    """The decision of fresh pairs on a budget that the first ones did not settle.

    FAIL if the fresh pairs alone prove a loss beyond `allowed`: the loss of the first ones was the
    reason to measure again, and so it is no evidence. PASS if all together exclude a loss of
    `line`. The looks after 3, 5 and 8 fresh pairs spend 60, 25 and 15 % of either error rate;
    between them nothing is decided. `alpha` is the rate of a FAIL for pairs that lose no more than
    `allowed`, `beta` that of a PASS for pairs that lose `line`.

    Simulated with blocks of 6 % noise, two first pairs and a `line` of 5 %: where pairs have a
    standard deviation of 1.4, 2.0 and 2.8 %, unchanged code fails in 12, 65 and 220 of 20,000
    sessions, and a loss of 5 % in 19,810, 19,347 and 18,121.
    """
    if len(fresh) not in LOOKS:
        return None
    share = _SHARES[LOOKS.index(len(fresh))]
    if float(fresh.mean()) - spread.reach(fresh, alpha * share) > allowed:
        return "FAIL"
    every = np.concatenate([first, fresh])
    return "PASS" if excludes(every, line, beta * share, spread) else None


def pairs_needed(detect: float, noise: float = PAIR_NOISE) -> int:
    """Number of pairs of a duel's first stage: from 1 to 8.

    Unchanged code that seems slower by one standard deviation of their mean then still excludes a
    loss of `detect` (a positive log ratio) at 5 %. With two pairs and 5 %, one session in five
    needs fresh ones; with one it would be every second, with three one in eleven (simulated, as for
    `second_opinion`, with a standard deviation of 2 %).

    >>> [pairs_needed(math.log1p(loss)) for loss in (0.02, 0.03, 0.05, 0.10)]
    [8, 4, 2, 1]
    """
    from scipy.special import stdtrit

    for pairs in _SCREENING:
        quantile = float(stdtrit(PRIOR_FREEDOM + pairs - 1, 1 - _MISSED))
        if (1 + quantile) * noise / math.sqrt(pairs) <= detect:
            return pairs
    return _SCREENING.stop - 1


def with_pair_effects(interval: Estimate, effects: NDArray[np.float64], spread: Spread) -> Estimate:
    """The interval over blocks, widened by the variance between P >= 1 pairs.

    Each side is added in quadrature to that of the mean over pairs (MOVER: Zou and Donner 2008).
    """
    reach = spread.reach(effects, _TAIL)
    return Estimate(
        interval.value,
        interval.value - math.hypot(interval.value - interval.low, reach),
        interval.value + math.hypot(interval.high - interval.value, reach),
    )


def between_pair_spread(effects: NDArray[np.float64], errors: NDArray[np.float64]) -> float:
    """The standard deviation between pairs beyond their own standard errors; 0 for one pair.

    `sqrt(max(0, var(effects) - mean(errors^2)))`, the moment estimate of a random effect
    (DerSimonian, Laird 1986, with equal weights).
    """
    if len(effects) < 2:  # noqa: PLR2004 - one value has no spread
        return 0.0
    beyond = float(np.var(effects, ddof=1)) - float(np.mean(errors**2))
    return math.sqrt(max(0.0, beyond))
