"""The slot length with the least noise figure, chosen while measuring.

The noise figure of a slot length is `S = sigma_block^2 * t_block`, in seconds: the time to a
verdict is proportional to it. Short slots follow the drift of a machine's speed; too short ones
consist mostly of hand-overs.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_dlperf.duel.sequential_test import log_ratio
from pytest_dlperf.statistics.estimate import noise_figure

if TYPE_CHECKING:
    from pytest_dlperf.config.plan import Plan
    from pytest_dlperf.measure.slots import Block
    from pytest_dlperf.metrics import Metric
    from pytest_dlperf.results.measurement import Measurement

FACTORS: Final = (1, 2, 4)
"""Lengths that are tried, as multiples of the shortest."""

TRIED: Final = 6
"""Blocks of each length before one is chosen."""

_SLOTS: Final = 4  # of a block
_TRYING_SECONDS: Final = 10.0
_SHORTEST: Final = 0.005
_SHORTEST_OPEN: Final = 0.05
_CALLS: Final = 8
_BLOCKS_IN_TIME: Final = 24
_ARRIVALS: Final = 40
_LONGEST: Final = 5.0


class SlotLengths:
    """Tries slot lengths in turn, and then keeps the one with the least noise figure.

    The choice depends on the sizes of differences only, not on their signs. So it favours neither
    side, and the blocks that it was made from are evidence like all others.
    """

    def __init__(self, shortest: float, noise_metric: Metric) -> None:
        # Hand-overs are a small part of slots so long that trying them would take this long.
        lengths = [shortest * factor for factor in FACTORS]
        brief = _SLOTS * TRIED * sum(lengths) <= _TRYING_SECONDS
        self._lengths = lengths if brief else lengths[:1]
        self._noise_metric = noise_metric
        self._seconds: dict[float, list[float]] = {length: [] for length in self._lengths}
        self._ratios: dict[float, list[float]] = {length: [] for length in self._lengths}
        self._chosen: float | None = None

    @property
    def next(self) -> float:
        """Slot length of the next block, in seconds."""
        if self._chosen is not None:
            return self._chosen
        return min(self._lengths, key=lambda length: len(self._seconds[length]))

    def add(self, length: float, block: Block) -> None:
        """Take a block with slots of this length."""
        self._seconds[length].append(block.seconds)
        self._ratios[length].append(log_ratio(self._noise_metric, block))
        if self._chosen is None and min(map(len, self._seconds.values())) >= TRIED:
            self._chosen = min(self._lengths, key=lambda tried: self._figure(tried, 0.0))

    @property
    def figure(self) -> float | None:
        """The noise figure of the current length, in seconds; None with too few blocks."""
        length = self.next
        if len(self._ratios[length]) < TRIED:
            return None
        return self._figure(length, float(np.median(self._ratios[length])))

    @property
    def block_noise(self) -> float | None:
        """The standard deviation of a block's log ratio; None with too few blocks."""
        figure = self.figure
        return None if figure is None else math.sqrt(figure / self.block_seconds)

    @property
    def block_seconds(self) -> float:
        """Seconds of a block, hand-overs included; after at least one block."""
        every = [seconds for tried in self._seconds.values() for seconds in tried]
        return float(np.median(self._seconds[self.next] or every))

    def _figure(self, length: float, middle: float) -> float:
        sizes = np.abs(np.array(self._ratios[length]) - middle)
        return noise_figure(sizes, np.array(self._seconds[length]))


def shortest_slot(plan: Plan, opening: Measurement) -> float:
    """The shortest slot that is worth a hand-over, in seconds.

    Eight calls of the target, 5 ms at least; fewer calls, but one at least, where the time would be
    too short for 24 blocks. In an open loop, whose latencies are judged by their tails: forty
    arrivals, 50 ms at least.
    """
    if plan.open_loop:
        rate = opening.requests / max(opening.seconds, _SHORTEST)
        return min(max(_SHORTEST_OPEN, _ARRIVALS / rate), _LONGEST)
    calls = max(1, sum(opening.batch_sizes.values()))
    busy = sum(opening.utilisation) * opening.seconds
    call = busy / calls / max(1, plan.lanes)
    room = plan.budget_time / (_SLOTS * _BLOCKS_IN_TIME)
    return min(max(_SHORTEST, min(_CALLS * call, max(call, room))), _LONGEST)
