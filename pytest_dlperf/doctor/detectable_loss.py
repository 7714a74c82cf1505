"""The smallest losses of speed that duels on a machine find, and how long that takes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_dlperf.judge.error_rates import ALPHA
from pytest_dlperf.metrics import METRICS
from pytest_dlperf.statistics.pair_effects import next_look, share_of_look, spread_of

if TYPE_CHECKING:
    from collections.abc import Iterator

POWER: Final = 0.95
"""Probability with which these losses are found."""

SECONDS: Final = (10.0, 30.0, 60.0)
"""Lengths of wall time that are reported."""

LOSSES: Final = (math.log1p(0.05), math.log1p(0.03))
"""Losses for which the time to find them is reported, as log ratios."""

_MOST_PAIRS: Final = 1000
_POINTS: Final = 200  # of the distribution of what a duel sees of the deviation
_HALVINGS: Final = 50
_FAR: Final = 6.0
_TINY: Final = 1e-9


@dataclass(frozen=True, slots=True)
class PairSeconds:
    """The wall time of a duel's pairs, in seconds.

    Attributes:
        first: until the first pair is ready to be measured, the import of frameworks included.
        further: until a further one is.
        measuring: for which one is measured.
    """

    first: float
    further: float
    measuring: float

    def needed(self, pairs: int) -> float:
        """Of so many pairs, at least one."""
        return self.first + (pairs - 1) * self.further + pairs * self.measuring

    def pairs_in(self, seconds: float) -> int:
        """How many pairs fit."""
        left = seconds - self.first + self.further
        return max(0, math.floor(left / (self.further + self.measuring)))


@dataclass(frozen=True, slots=True)
class DetectableLoss:
    """The smallest loss that is found in some time.

    Attributes:
        seconds: wall time of a duel.
        pairs: that fit.
        loss: as a log ratio; None if too few pairs fit for a decision.
        loss_at_most: the same where pairs differ by as much as is compatible with the measurement.
    """

    seconds: float
    pairs: int
    loss: float | None
    loss_at_most: float | None


@dataclass(frozen=True, slots=True)
class TimeToFind:
    """How long it takes until a loss is found.

    Attributes:
        loss: as a log ratio.
        pairs: after which it is found; None if a thousand are too few.
        seconds: of wall time; None likewise.
    """

    loss: float
    pairs: int | None
    seconds: float | None


def detectable_loss(
    seconds: float, each: PairSeconds, deviation: float, deviation_high: float
) -> DetectableLoss:
    """The smallest loss that is found in `seconds`; deviations as those of `smallest_loss`."""
    pairs = each.pairs_in(seconds)
    return DetectableLoss(
        seconds, pairs, _found_by(pairs, deviation), _found_by(pairs, deviation_high)
    )


def _found_by(pairs: int, deviation: float) -> float | None:
    """The smallest loss that is found at any of the looks; None if there is none."""
    return min((smallest_loss(deviation, look) for look in _looks(pairs)), default=None)


def time_to_find(loss: float, each: PairSeconds, deviation: float) -> TimeToFind:
    """How long it takes until a loss is found, a log ratio as the `deviation` between pairs."""
    for look in _looks(_MOST_PAIRS):
        if smallest_loss(deviation, look) <= loss:
            return TimeToFind(loss, look, each.needed(look))
    return TimeToFind(loss, None, None)


def _looks(pairs: int) -> Iterator[int]:
    look = next_look(0)
    while look <= pairs:
        yield look
        look = next_look(look)


def smallest_loss(deviation: float, pairs: int) -> float:
    """The smallest loss that one look fails with the probability `POWER`, as a log ratio.

    A duel does not know the deviation: the reach of its interval is that of the prior and of the
    deviation that it sees, which varies as a chi-square variable does. So the power is a mean
    over these.

    Args:
        deviation: standard deviation of the effects of pairs, as a log ratio.
        pairs: at a look, so two at least.
    """
    from scipy.special import chdtri, ndtr

    prior, freedom = spread_of(METRICS["throughput"]), pairs - 1
    chances = (np.arange(_POINTS) + 0.5) / _POINTS
    seen = deviation * np.sqrt(chdtri(freedom, chances) / freedom)
    effects = np.linspace(-1.0, 1.0, pairs)
    effects /= effects.std(ddof=1)
    tail = ALPHA * share_of_look(pairs)
    reaches = np.array([prior.reach(each * effects, tail) for each in seen])
    error = max(deviation / math.sqrt(pairs), _TINY)
    low, high = 0.0, float(reaches.max()) + _FAR * error
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if float(ndtr((middle - reaches) / error).mean()) < POWER:
            low = middle
        else:
            high = middle
    return high
