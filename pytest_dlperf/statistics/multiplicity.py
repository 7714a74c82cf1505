"""One error rate for many tests at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass(frozen=True, slots=True)
class Levels:
    """At which level each hypothesis was tested, and which are rejected.

    Attributes:
        first: before any was rejected; their sum is the error rate of all.
        last: of one that is rejected, the level that rejected it; of the others, what the rejected
            ones have left to it.
        rejected: whether each is.
    """

    first: tuple[float, ...]
    last: tuple[float, ...]
    rejected: tuple[bool, ...]


def holm(weights: Sequence[float], alpha: float, rejects: Callable[[int, float], bool]) -> Levels:
    """Weighted step-down test of Holm (1979).

    Each hypothesis that is not rejected has its weight's share of `alpha` among those that are not;
    what one leaves when it is rejected goes to the others, until no more are rejected. With a
    probability of at most `alpha` any true hypothesis is rejected, however tests depend on each
    other.

    Args:
        weights: of the hypotheses, above 0.
        alpha: error rate of all of them.
        rejects: whether the test of a hypothesis, by index, rejects it at a level; if so, at every
            higher level too.
    """
    first = [alpha * weight / sum(weights) for weight in weights]
    last = list(first)
    pending = set(range(len(weights)))
    while True:
        found = {number for number in pending if rejects(number, last[number])}
        pending -= found
        if not found or not pending:
            break
        left = sum(weights[number] for number in sorted(pending))
        for number in pending:
            last[number] = alpha * weights[number] / left
    rejected = tuple(number not in pending for number in range(len(weights)))
    return Levels(tuple(first), tuple(last), rejected)
