"""The decision by pair effects: FAIL and PASS by rules of the same strength.

The place of a process' memory makes it faster or slower for all its life. So the effect of a pair
of processes, one of each version, is the true log ratio plus noise that no further measuring of
the same pair takes away, and what decides is a number of pairs.

Pairs are looked at after 2, 3, 4, 5, 6, 8, 10, 13, 16 and 20 of them, and later whenever there are
a tenth more. Each look spends a part of the error rate (Lan and DeMets 1983), nine tenths of it by
the twentieth pair and the rest in all later ones, so that a duel may be continued for ever. At each
look the mean of the effects has Student's t-distribution, whose variance a prior supports.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_dlperf.metrics import METRICS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from pytest_dlperf.metrics import Metric
    from pytest_dlperf.statistics.estimate import Decision

PAIR_NOISE: Final = 0.02
"""Prior standard deviation of a pair's log ratio: 1.4 % of each of its two processes.

On a virtual machine with two cores, pairs of the reference model had 1.3 to 3.6 %.
"""

PRIOR_FREEDOM: Final = 4
"""Degrees of freedom that the prior is worth."""

COPY_NOISE: Final = 0.05
"""Prior standard deviation of the log ratio of a pair of copies in one process.

Copies of a table of 51 MB, gathered from, had 2 to 6 %; what is gathered from is not known before.
"""

COPY_FREEDOM: Final = 2
"""Degrees of freedom that this prior is worth: copies of small matrices differ by far less."""

LAYOUT_NOISE: Final = 0.08
"""Prior standard deviation of the log ratio of two targets that cannot be placed anew in memory.

Identical tables of 51 MB, gathered from, differed by 8 % (root mean square), at most 21 %.
"""

LOOKS: Final = (2, 3, 4, 5, 6, 8, 10, 13, 16, 20)
"""Numbers of pairs after which a decision may be made; later ones are each a tenth larger."""

_BY_THE_LAST: Final = 0.9  # of an error rate, by the last of `LOOKS`
_MORE: Final = 1.1
_OF_DETECT: Final = 0.4
_OF_LATENCIES: Final = 0.6
_MOST_LEARNT: Final = 12  # degrees of freedom: pairs of other days may have been quieter


def next_look(pairs: int) -> int:
    """The number of pairs at the first look after `pairs` of them.

    >>> [next_look(pairs) for pairs in (0, 2, 6, 20, 27)]
    [2, 3, 8, 22, 28]
    """
    for look in LOOKS:
        if look > pairs:
            return look
    look = LOOKS[-1]
    while look <= pairs:
        look = math.ceil(look * _MORE)
    return look


def share_of_look(pairs: int) -> float:
    """The part of an error rate that the look after `pairs` of them spends; 0 if it is none."""
    if pairs < LOOKS[0]:
        return 0.0
    before = 0
    while next_look(before) < pairs:
        before = next_look(before)
    return _spent(pairs) - _spent(before) if next_look(before) == pairs else 0.0


def _spent(pairs: int) -> float:
    last = LOOKS[-1]
    if pairs <= last:
        return _BY_THE_LAST * pairs / last
    return 1 - (1 - _BY_THE_LAST) * last / pairs


@dataclass(frozen=True, slots=True)
class Spread:
    """The standard deviation between pairs, before any of a duel's own is measured.

    Attributes:
        noise: as a log ratio, or in shares of one; above 0.
        freedom: degrees of freedom that it is worth.
    """

    noise: float = PAIR_NOISE
    freedom: int = PRIOR_FREEDOM

    def __post_init__(self) -> None:
        if not (0 < self.noise < math.inf and self.freedom > 0):
            raise ValueError(f"a spread of {self.noise} with {self.freedom} degrees of freedom")

    def reach(self, effects: NDArray[np.float64], tail: float, error: float = 0.0) -> float:
        """One-sided reach, with error probability `tail`, of the interval of the mean of P pairs.

        `t(1 - tail, freedom + P - 1) sqrt(s^2 / P + error^2)`; `s^2` is the mean of the variances
        of the prior and of the pairs, weighted by the degrees of freedom, as a scaled inverse
        chi-square prior has it (Gelman et al., Bayesian Data Analysis, 2013, 2.6).

        Args:
            effects: shape `(P,)`, at least one.
            tail: between 0 and 1.
            error: standard error that all pairs share.
        """
        from scipy.special import stdtrit

        pairs = len(effects)
        freedom = self.freedom + pairs - 1
        seen = (pairs - 1) * float(np.var(effects, ddof=1)) if pairs > 1 else 0.0
        variance = (self.freedom * self.noise**2 + seen) / freedom
        error = math.sqrt(variance / pairs + error**2)
        return float(stdtrit(freedom, 1 - tail)) * error

    def learnt_from(self, duels: Iterable[Sequence[float]]) -> Spread:
        """This prior together with the pairs of earlier duels, of any versions.

        The variances are weighted by their degrees of freedom; all duels together count for at most
        12, since pairs of another day may have been quieter.

        Args:
            duels: the effects of each one's pairs.
        """
        squares, freedom = 0.0, 0
        for effects in duels:
            if len(effects) > 1:
                squares += float(np.var(effects)) * len(effects)
                freedom += len(effects) - 1
        if not freedom:
            return self
        weight = min(freedom, _MOST_LEARNT)
        total = self.freedom + weight
        variance = (self.freedom * self.noise**2 + weight * squares / freedom) / total
        return Spread(math.sqrt(variance), total)


def spread_of(metric: Metric) -> Spread:
    """The prior spread of a metric's pairs: two fifths of its `detect`, of latencies three.

    At least 2 %. A queue amplifies what processes differ by: 2 % of the service time are 7 % of p95
    where a target is 70 % busy.
    """
    share = _OF_LATENCIES if metric.latency else _OF_DETECT
    return Spread(max(PAIR_NOISE, share * METRICS[metric.name].detect))


def spread_of_copies(metric: Metric) -> Spread:
    """The prior spread of a metric's pairs where each is copies in one process.

    Simulated: where pairs have a standard deviation of 1.4, 5, 8 and 12 %, unchanged code fails in
    0, 0.3, 0.6 and 0.9 % of duels; with the prior of processes in 0, 2, 5 and 8 %.
    """
    return Spread(COPY_NOISE / PAIR_NOISE * spread_of(metric).noise, COPY_FREEDOM)


def spread_of_layouts(metric: Metric) -> Spread:
    """The prior spread of a metric between targets that stay where they are in memory."""
    return Spread(LAYOUT_NOISE / PAIR_NOISE * spread_of(metric).noise)


@dataclass(frozen=True, slots=True)
class PairBounds:
    """The two losses that pairs tell apart, and the error rates.

    Attributes:
        allowed: FAIL when more is proven.
        line: PASS when this loss is excluded; at least `allowed`.
        alpha: of code that loses no more than `allowed`, the share that may FAIL.
        beta: of code that loses `line` or more, the share that may PASS.
    """

    allowed: float
    line: float
    alpha: float
    beta: float

    def __post_init__(self) -> None:
        if not -math.inf < self.allowed <= self.line < math.inf:
            raise ValueError(f"allowed is {self.allowed} and line {self.line}: allowed <= line")
        for name, value in (("alpha", self.alpha), ("beta", self.beta)):
            if not 0 < value < 1:
                raise ValueError(f"{name} is {value}: a probability between 0 and 1")


@dataclass(frozen=True, slots=True)
class PairDecision:
    """What a look at pairs proves.

    Attributes:
        decision: None if neither FAIL nor PASS is proven.
        mean: of the effects.
        low: the loss that is surely reached, at the rate that the look spends of `alpha`.
        high: the loss that is excluded, at that of `beta`.
    """

    decision: Decision | None
    mean: float
    low: float
    high: float


def look_at(
    effects: NDArray[np.float64], bounds: PairBounds, spread: Spread, error: float = 0.0
) -> PairDecision:
    """Decide by the effects of P pairs, shape `(P,)`, at least one.

    FAIL if the lower end of the interval of their mean exceeds `allowed`, PASS if the upper end is
    below `line`; at a number of pairs that is no look nothing is decided, and the ends are those of
    the look that comes next.

    Simulated with the prior of 2 %: where pairs have a standard deviation of 1.4, 2.0, 2.8 and
    3.5 %, unchanged code fails in 0, 0.02, 0.25 and 0.7 % of duels (promised: 1 %), code that loses
    5 % passes in as many, and a decision takes 4.7, 5.3, 6.5 and 7.8 pairs on average.

    Args:
        effects: the log ratio of each pair, or its loss in shares of one.
        bounds: of the budget.
        spread: prior of the standard deviation between pairs.
        error: standard error that all pairs share, as that of the rows that all of them answer.
    """
    share = share_of_look(len(effects))
    ends = share or share_of_look(next_look(len(effects)))
    mean = float(effects.mean())
    low = mean - spread.reach(effects, bounds.alpha * ends, error)
    high = mean + spread.reach(effects, bounds.beta * ends, error)
    decision = _decision(low, high, bounds) if share else None
    return PairDecision(decision, mean, low, high)


def look_once(
    effect: float, bounds: PairBounds, spread: Spread, error: float = 0.0
) -> PairDecision:
    """Decide by the only pair that there can be, at the whole of the error rates.

    Nothing but the prior tells how far two places in memory may be from each other: FAIL is for a
    loss, and PASS for a gain, that no place makes.

    Args:
        effect: the log ratio of the pair.
        bounds: of the budget.
        spread: prior of the standard deviation between pairs, were they placed anew.
        error: standard error of the effect.
    """
    effects = np.array([effect])
    low = effect - spread.reach(effects, bounds.alpha, error)
    high = effect + spread.reach(effects, bounds.beta, error)
    return PairDecision(_decision(low, high, bounds), effect, low, high)


def _decision(low: float, high: float, bounds: PairBounds) -> Decision | None:
    if low > bounds.allowed:
        return "FAIL"
    return "PASS" if high < bounds.line else None
