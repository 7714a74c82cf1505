"""Who draws what each session is given, and tells only afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from live.variants import FINE, SAME, SAME_ACCURACY, SAME_FINE, Plant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_KINDS: Final = ("width", "calls", "preprocessing")
_SAME_OF_EIGHT: Final = 5
_EIGHT: Final = 8


@dataclass(frozen=True, slots=True)
class Counts:
    """Sessions of each kind.

    Attributes:
        same: on unchanged code.
        planted: on losses of 5 %.
        fine: on losses of 3 %, which are to be found, and as many on unchanged code.
        others: on each of the other sizes, and on unchanged and changed accuracy.
    """

    same: int
    planted: int
    fine: int
    others: int


class Draw:
    """Draws a variant for each session, from a seed.

    Sessions come in groups of eight, in an order by chance; a group is drawn when its first
    session begins, so that what it needs can be calibrated before.

    Args:
        seed: of the order.
        counts: of the sessions.
        commit_of: finds or makes the commit of a variant by its name.
    """

    def __init__(self, seed: int, counts: Counts, commit_of: Callable[[str], str]) -> None:
        self._seed = seed
        self._groups = list(_groups(counts))
        self._commit_of = commit_of
        self.sessions = sum(map(len, self._groups))

    def commit(self, session: int) -> str:
        """What this session is given; says nothing about what it is."""
        group = self._group(session)
        commits = {name: self._commit_of(name) for name in dict.fromkeys(group)}
        return commits[self._label(session)]

    def accuracy(self, session: int) -> bool:
        """Whether this session is to be asked for accuracy."""
        return "accuracy" in self._label(session)

    def fine(self, session: int) -> bool:
        """Whether this session is to find a loss of 3 %, if there is one."""
        return self._label(session).endswith(FINE)

    def reveal(self, session: int) -> str:
        """What it was, once its verdict is written down."""
        return self._label(session)

    def _group(self, session: int) -> list[str]:
        return self._located(session)[0]

    def _label(self, session: int) -> str:
        group, place, number = self._located(session)
        order = np.random.default_rng([self._seed, number]).permutation(len(group))
        return group[int(order[place])]

    def _located(self, session: int) -> tuple[list[str], int, int]:
        for number, group in enumerate(self._groups):
            if session < len(group):
                return group, session, number
            session -= len(group)
        raise IndexError("all sessions are done")


def _groups(counts: Counts) -> Iterator[list[str]]:
    """The variants' names, group by group: unchanged code and 5 % first."""
    # The first three are of one kind, so that the first group need not wait for all.
    kinds = ["width"] * 3 + ["calls", "preprocessing"] * 3
    kinds += [_KINDS[number % 3] for number in range(counts.planted)]
    plants = [str(Plant(kind, 5)) for kind in kinds[: counts.planted]]
    left = counts.same
    while left or plants:
        now = min(left, _SAME_OF_EIGHT) if plants else min(left, _EIGHT)
        left -= now
        room = _EIGHT - now
        yield [SAME] * now + plants[:room]
        plants = plants[room:]
    for number in range(counts.fine):
        yield [str(Plant(_KINDS[number % 3], 3)), SAME_FINE]
    others = counts.others
    rest = [str(Plant("accuracy", 1, number)) for number in range(others)]
    rest += [SAME_ACCURACY] * others
    rest += [
        str(Plant(_KINDS[number % 3], percent))
        for percent in (10, 2, 1)
        for number in range(others)
    ]
    # Three sizes at a time: they are mixed, and what comes first is done first.
    for first in range(0, len(rest), max(1, 3 * others)):
        yield rest[first : first + 3 * others]
