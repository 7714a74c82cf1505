"""Blocks: four slots of two players, of whom one works at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from pytest_dlperf.measure.slots import Block

if TYPE_CHECKING:
    import numpy as np

    from pytest_dlperf.clock import Clock
    from pytest_dlperf.measure.slots import Slot

_NS: Final = 1e-9


class Player(Protocol):
    """One side, ready to be measured."""

    def slot(self, seconds: float, number: int) -> Slot:
        """Be under load for so long; slots of one number ask for the same rows."""
        ...


class Blocks:
    """Plays blocks, in the order ABBA or BAAB by a fair coin each.

    Args:
        clock: of this process.
        coins: choose the orders.

    Attributes:
        played: how many there were.
    """

    def __init__(self, clock: Clock, coins: np.random.Generator) -> None:
        self._clock = clock
        self._coins = coins
        self.played = 0

    def play(self, base: Player, candidate: Player, pair: int, length: float) -> Block:
        """One block.

        Args:
            base: one side.
            candidate: the other one.
            pair: number of the two.
            length: of a slot, in seconds.
        """
        base_first = bool(self._coins.integers(2))
        first, second = (base, candidate) if base_first else (candidate, base)
        number = self.played
        begun_ns = self._clock.now_ns()
        outer = first.slot(length, number)
        inner = second.slot(length, number).joined(second.slot(length, number))
        outer = outer.joined(first.slot(length, number))
        self.played += 1
        return Block(
            base=outer if base_first else inner,
            candidate=inner if base_first else outer,
            pair=pair,
            seconds=(self._clock.now_ns() - begun_ns) * _NS,
        )
