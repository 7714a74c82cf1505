"""One error rate for many tests at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence


_LEADING: Final = 0.9  # of a group's part


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


def holm(groups: Sequence[Hashable], alpha: float, rejects: Callable[[int, float], bool]) -> Levels:
    """Step-down test of Holm (1979), of groups of hypotheses that say nearly the same.

    Groups share `alpha` equally. The first of a group has nine tenths of its part, the others the
    rest; what is rejected leaves its level to the rest of its group, and a group of which all are
    rejected to the other groups, until no more are rejected (Bretz et al. 2009). The levels of any
    hypotheses that are left sum up to `alpha`; so with a probability of at most that any true one
    is rejected, however tests depend on each other.

    Args:
        groups: which group each hypothesis is of.
        alpha: error rate of all of them.
        rejects: whether the test of a hypothesis, by index, rejects it at a level; if so, at every
            higher level too.
    """
    pending: dict[Hashable, list[int]] = {}
    for number, group in enumerate(groups):
        pending.setdefault(group, []).append(number)
    shares = [0.0] * len(groups)
    for numbers in pending.values():
        leading, *others = numbers
        shares[leading] = _LEADING if others else 1.0
        for number in others:
            shares[number] = (1 - _LEADING) / len(others)
    last = [0.0] * len(groups)
    first: tuple[float, ...] = ()
    rejected: set[int] = set()
    while True:
        for numbers in pending.values():
            left = sum(shares[number] for number in numbers)
            for number in numbers:
                last[number] = alpha / len(pending) * shares[number] / left
        first = first or tuple(last)
        waiting = [number for numbers in pending.values() for number in numbers]
        found = {number for number in waiting if rejects(number, last[number])}
        if not found:
            break
        rejected |= found
        rest = {group: [n for n in them if n not in found] for group, them in pending.items()}
        pending = {group: them for group, them in rest.items() if them}
    return Levels(first, tuple(last), tuple(n in rejected for n in range(len(groups))))
