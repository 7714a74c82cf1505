"""Whether the sides of a duel gain from more processors than one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np

from pytest_dlperf.duel.pair_effect import log_costs

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_dlperf.measure.slots import Block
    from pytest_dlperf.metrics import Metric

_WORTHWHILE: Final = math.log(1.1)


class GainFromMore:
    """Compares what a request costs on one processor and on all, whichever side it is of.

    Exchanging the labels of the sides changes nothing: the look is blind to which of them is the
    candidate, and so is what follows from it.

    Args:
        metric: whose cost is compared.
    """

    ROUNDS: ClassVar = 4

    def __init__(self, metric: Metric) -> None:
        self._metric = metric
        self._gains: list[tuple[float, float]] = []

    def add(self, on_one: Block, on_all: Block) -> None:
        """Take a block on one processor, and one on all."""
        one, every = log_costs(self._metric, on_one), log_costs(self._metric, on_all)
        self._gains.append((one[0] - every[0], one[1] - every[1]))

    @property
    def worthwhile(self) -> bool:
        """Whether one of the sides is faster on all by more than a tenth."""
        return bool(np.median(self._gains, axis=0).max() > _WORTHWHILE)


def gains_from_more(
    metric: Metric,
    processors: frozenset[int],
    rng: np.random.Generator,
    block_on: Callable[[frozenset[int]], Block],
) -> bool:
    """Measure blocks on one processor and on all of them, in random order, and compare.

    Args:
        metric: whose cost is compared.
        processors: at least two.
        rng: chooses processors and orders.
        block_on: measures a block on some processors.
    """
    gain = GainFromMore(metric)
    for _ in range(gain.ROUNDS):
        ways = (drawn_processor(processors, rng), processors)
        blocks = {int(number): block_on(ways[number]) for number in rng.permutation(len(ways))}
        gain.add(blocks[0], blocks[1])
    return gain.worthwhile


def drawn_processor(processors: frozenset[int], rng: np.random.Generator) -> frozenset[int]:
    """One of some processors, with equal chances."""
    return frozenset({int(rng.choice(sorted(processors)))})
