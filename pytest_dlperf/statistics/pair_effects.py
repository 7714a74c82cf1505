"""Launches: what pairs of processes differ by, however long each of them is measured.

Where a process' memory happens to lie makes it faster or slower for all its life. So a pair of
processes, one of each commit, measures that pair: its effect is the true log ratio plus noise
that no further block of the same pair takes away.
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
"""As many degrees of freedom the prior is worth."""

LOOKS: Final = (3, 5, 8)
"""So many fresh pairs there are when it is looked at what they say."""

_SHARES: Final = (0.6, 0.25, 0.15)  # of the error rates, that each look may spend
_OF_DETECT: Final = 0.4
_MISSED: Final = 0.05
_SCREENING: Final = range(1, 9)
_TAIL: Final = (1 - CONFIDENCE) / 2


@dataclass(frozen=True, slots=True)
class Spread:
    """What pairs differ by, from a prior and from the pairs that there are.

    Their variance is the mean of the prior's and the sample's, weighted by the degrees of freedom,
    as a scaled inverse chi-square prior has it (Gelman et al., Bayesian Data Analysis, 2013, 2.6).

    Attributes:
        noise: prior standard deviation between pairs, as a log ratio.
        freedom: degrees of freedom that it is worth; 0 where nothing is known before.
    """

    noise: float = PAIR_NOISE
    freedom: int = PRIOR_FREEDOM

    def reach(self, effects: NDArray[np.float64], tail: float) -> float:
        """How far the mean of these pairs is from the truth, except in a share `tail` of cases.

        `t(1 - tail, freedom + P - 1) s / sqrt(P)`, one-sided; infinite for one pair without a
        prior.

        Args:
            effects: the log ratio of each pair, shape `(P,)`, P >= 1.
            tail: probability.
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
"""For losses of which nothing is known before, such as those of models that are trained anew."""


def spread_of(metric: Metric, errors: NDArray[np.float64]) -> Spread:
    """What the measured effects of pairs differ by.

    Launches: two fifths of what the metric shall find, 2 % at the least, since tails of latencies
    differ more from launch to launch than the middle. And the noise that measuring left in each.

    Args:
        metric: what is measured.
        errors: the standard error of each pair's effect, shape `(P,)`, P >= 1.
    """
    launches = max(PAIR_NOISE, _OF_DETECT * METRICS[metric.name].detect)
    return Spread(math.hypot(launches, float(np.sqrt(np.mean(errors**2)))))


def excludes(effects: NDArray[np.float64], line: float, beta: float, spread: Spread) -> bool:
    """Whether pairs exclude a loss of `line`, what launches differ by included.

    Args:
        effects: the log ratio of each pair, shape `(P,)`, P >= 1.
        line: the loss, as a log ratio.
        beta: how often pairs with such a loss may seem to exclude it.
        spread: what pairs differ by.
    """
    return float(effects.mean()) + spread.reach(effects, beta) < line


def second_opinion(  # noqa: PLR0913 - what was seen, and what it is held against
    fresh: NDArray[np.float64],
    first: NDArray[np.float64],
    *,
    allowed: float,
    line: float,
    alpha: float,
    beta: float,
    spread: Spread,
) -> Decision | None:
    """What fresh pairs say of what the first ones could not settle by themselves.

    FAIL if the fresh pairs alone prove a loss beyond `allowed`: what the first ones showed was a
    reason to look again, so that it is no evidence any more. PASS if all together exclude a loss
    of `line`. It is looked at after 3, 5 and 8 fresh pairs, which spend 60, 25 and 15 % of either
    error rate; between these looks nothing is said.

    Simulated with blocks of 6 % noise, two first pairs and a `line` of 5 %: where pairs have a
    standard deviation of 1.4, 2.0 and 2.8 %, unchanged code fails in 12, 65 and 220 of 20,000
    sessions, and a loss of 5 % in 19,810, 19,347 and 18,121.

    Args:
        fresh: the log ratio of each fresh pair, shape `(P,)`.
        first: those of the pairs before.
        allowed: the loss that is allowed.
        line: the loss that must be found.
        alpha: how often pairs without a loss beyond `allowed` may FAIL.
        beta: how often pairs with a loss of `line` may PASS.
        spread: what pairs differ by.
    """
    if len(fresh) not in LOOKS:
        return None
    share = _SHARES[LOOKS.index(len(fresh))]
    if float(fresh.mean()) - spread.reach(fresh, alpha * share) > allowed:
        return "FAIL"
    every = np.concatenate([first, fresh])
    return "PASS" if excludes(every, line, beta * share, spread) else None


def pairs_needed(detect: float, noise: float = PAIR_NOISE) -> int:
    """How many pairs a screen is spread over: from 1 to 8.

    So many that unchanged code which seems slower by one standard deviation of their mean still
    excludes a loss of `detect` at 5 %. With two pairs and 5 %, one session in five needs fresh
    ones; with one it would be every second, with three one in eleven (simulated, as for
    `second_opinion`, with a standard deviation of 2 %).

    Args:
        detect: the loss to see beyond what is allowed, as a log ratio, positive.
        noise: standard deviation between pairs, as a log ratio.

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
    """The interval over blocks, widened by what pairs differ by.

    Each side is joined by squares with that of the mean over pairs (MOVER: Zou and Donner 2008).

    Args:
        interval: of the log ratio, from the blocks alone.
        effects: the log ratio of each pair, shape `(P,)`, P >= 1.
        spread: what pairs differ by.
    """
    reach = spread.reach(effects, _TAIL)
    return Estimate(
        interval.value,
        interval.value - math.hypot(interval.value - interval.low, reach),
        interval.value + math.hypot(interval.high - interval.value, reach),
    )


def between_pair_spread(effects: NDArray[np.float64], errors: NDArray[np.float64]) -> float:
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
