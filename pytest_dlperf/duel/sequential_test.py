"""Sequential tests of a duel's budgets, each decided as soon as the evidence suffices.

The tested parameter is `log(cost of the candidate / cost of the base)`, above 0 being worse. A
block's ratio changes its sign with the labels of the sides; so where the sides do not differ, the
random order of the block makes either sign equally likely.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

import numpy as np

from pytest_dlperf.judge.error_rates import SLOTTED
from pytest_dlperf.statistics.e_process import (
    EProcess,
    blocks_needed,
    hodges_lehmann,
    interval,
    lower_bound,
)
from pytest_dlperf.statistics.estimate import SD_OF_MEDIAN, deviation
from pytest_dlperf.statistics.tail_test import Exceedances, Tails, needed_requests

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pytest_dlperf.judge.losses import LossLimits
    from pytest_dlperf.measure.slots import Block, Slot
    from pytest_dlperf.metrics import Metric
    from pytest_dlperf.statistics.estimate import Decision, Estimate


FEWEST_BLOCKS: Final = 6
"""No test is decided on fewer blocks."""

_HALF: Final = 0.5  # added to both counts where one is none, as Haldane (1956) does
_SHORTEST: Final = 1e-9
_POWER: Final = 0.95
_Z: Final = 1.96


@dataclass(frozen=True, slots=True)
class Bounds:
    """The two losses (log ratios) that a test tells apart, and its error rates.

    Attributes:
        alpha: of code that loses no more than `limits.allowed`, the share that may FAIL.
        beta: of code that loses `limits.line` or more, the share that may PASS.
    """

    limits: LossLimits
    alpha: float
    beta: float

    def __post_init__(self) -> None:
        allowed, line = self.limits.allowed, self.limits.line
        if not -math.inf < allowed <= line < math.inf:
            raise ValueError(f"allowed is {allowed} and line {line}: allowed <= line")
        for name, value in (("alpha", self.alpha), ("beta", self.beta)):
            if not 0 < value < 1:
                raise ValueError(f"{name} is {value}: a probability between 0 and 1")


class _TestState(Protocol):
    """Evidence against one side of a line: `EProcess` and `Exceedances`."""

    @property
    def peak(self) -> float: ...


def _decide(loss: _TestState, no_loss: _TestState, bounds: Bounds) -> Decision | None:
    if loss.peak >= math.log(1 / bounds.alpha):
        return "FAIL"
    return "PASS" if no_loss.peak >= math.log(1 / bounds.beta) else None


class RatioTest:
    """A test of a metric that each block has: a log ratio of costs.

    Args:
        cost: the log costs of the base and the candidate in a block.
        bounds: the losses to tell apart.

    Attributes:
        admission: requests so far, as a share of those needed; at most 1.
        decision: final; None while neither FAIL nor PASS is proven.
    """

    admission = 1.0

    def __init__(self, cost: Callable[[Block], tuple[float, float]], bounds: Bounds) -> None:
        self._cost = cost
        self._bounds = bounds
        self._loss = EProcess(bounds.limits.allowed)
        self._no_loss = EProcess(-bounds.limits.line)
        self._ratios: list[float] = []
        self._pairs: list[int] = []
        self.decision: Decision | None = None

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return len(self._ratios)

    @property
    def lacking(self) -> str:
        """Why the test cannot be decided yet, whatever the evidence; empty if it can."""
        return _too_few_blocks(self.blocks)

    @property
    def ratios(self) -> NDArray[np.float64]:
        """The log ratio of each block, shape `(blocks,)`."""
        return np.array(self._ratios)

    def add(self, block: Block) -> None:
        """Take one more block."""
        base, candidate = self._cost(block)
        ratio = candidate - base
        self._ratios.append(ratio)
        self._pairs.append(block.pair)
        self._loss.add(ratio)
        self._no_loss.add(-ratio)
        if self.decision is None and not self.lacking:
            self.decision = _decide(self._loss, self._no_loss, self._bounds)

    def estimate(self) -> Estimate:
        """Hodges and Lehmann's estimate with the interval that holds at any time."""
        return interval(self.ratios)

    def effects(self) -> NDArray[np.float64]:
        """The median of each pair's blocks, ordered by its number, shape `(pairs,)`."""
        return np.array([np.median(ratios) for ratios in self._by_pair()])

    def errors(self) -> NDArray[np.float64]:
        """The standard error of each pair's median, from the spread of its blocks.

        `sqrt(pi / 2) 1.4826 MAD / sqrt(n)`, for blocks whose noise is about normal.
        """
        errors = []
        for ratios in self._by_pair():
            spread = deviation(np.abs(ratios - np.median(ratios)))
            errors.append(SD_OF_MEDIAN * spread / math.sqrt(len(ratios)))
        return np.array(errors)

    def visible(self) -> float:
        """Smallest loss (log ratio) detectable with the blocks so far."""
        return smallest_visible(self.ratios, self._bounds)

    def _by_pair(self) -> list[NDArray[np.float64]]:
        ratios, pairs = self.ratios, np.array(self._pairs)
        return [ratios[pairs == pair] for pair in np.unique(pairs)]


class TailTest:
    """A test of a percentile for which a single block has too few latencies.

    Decided on exceedances of a common threshold, once each side has had enough latencies.

    Args:
        percent: of the percentile, between 0 and 100.
        bounds: the losses to tell apart.

    Attributes:
        blocks: number of blocks.
        decision: final; None while neither FAIL nor PASS is proven.
    """

    def __init__(self, percent: float, bounds: Bounds) -> None:
        self._bounds = bounds
        self._percent = percent
        self._loss = Exceedances(percent, bounds.limits.allowed)
        # With base and candidate exchanged, it is evidence against theta >= line.
        self._no_loss = Exceedances(percent, -bounds.limits.line)
        self._tails = Tails(percent)
        self.blocks = 0
        self.decision: Decision | None = None

    @property
    def admission(self) -> float:
        """Requests so far, as a share of those needed; at most 1."""
        return self._loss.admission

    @property
    def lacking(self) -> str:
        """Why the test cannot be decided yet, whatever the evidence; empty if it can."""
        if not self._loss.admitted:
            return f"p{self._percent:g} needs {needed_requests(self._percent)} requests of a side"
        return _too_few_blocks(self.blocks)

    def add(self, block: Block) -> None:
        """Take one more block."""
        base, candidate = block.base.latencies, block.candidate.latencies
        self._loss.add(base, candidate)
        self._no_loss.add(candidate, base)
        self._tails.add(block.pair, base, candidate)
        self.blocks += 1
        if self.decision is None and not self.lacking:
            self.decision = _decide(self._loss, self._no_loss, self._bounds)

    def estimate(self) -> Estimate:
        """The log ratio of the percentiles with a bootstrap interval over stretches of blocks."""
        return self._tails.estimate()

    def effects(self) -> NDArray[np.float64]:
        """The log ratio of each pair's percentiles, ordered by its number, shape `(pairs,)`."""
        return self._tails.effects()

    def errors(self) -> NDArray[np.float64]:
        """The bootstrap's standard error of each pair's effect, shape `(pairs,)`."""
        return self._tails.errors()

    def visible(self) -> float:
        """Smallest loss (log ratio) detectable with the blocks so far."""
        # From the standard error, and the blocks that an e-process needs for such a loss.
        estimate = self.estimate()
        error = (estimate.high - estimate.low) / (2 * _Z)
        return self._bounds.limits.allowed + error * math.sqrt(
            blocks_needed(self._bounds.alpha, _POWER)
        )


SequentialTest: TypeAlias = "RatioTest | TailTest"
"""A test of one budget, block by block."""


def _too_few_blocks(blocks: int) -> str:
    few = f"{blocks} block{'' if blocks == 1 else 's'}, at least {FEWEST_BLOCKS} needed"
    return "" if blocks >= FEWEST_BLOCKS else few


def smallest_visible(d: NDArray[np.float64], bounds: Bounds) -> float:
    """The smallest loss (log ratio) at which blocks with this noise would have been a FAIL.

    The allowed loss plus the distance from the point estimate down to the always-valid bound at
    `alpha`: blocks shifted by the difference would have their bound just at `allowed`.

    Args:
        d: log ratios of the blocks in the order of time, shape `(blocks,)`, at least one.
        bounds: of the test.
    """
    return bounds.limits.allowed + max(0.0, hodges_lehmann(d) - lower_bound(d, bounds.alpha))


def _seconds_per_good(block: Block) -> tuple[float, float]:
    return _seconds_per(block, block.base.good, block.candidate.good)


def _seconds_per_within(block: Block) -> tuple[float, float]:
    return _seconds_per(block, block.base.within, block.candidate.within)


def _seconds_per(block: Block, base: int, candidate: int) -> tuple[float, float]:
    """Log seconds per request; half a request is added to both sides if one has none."""
    more = 0.0 if base and candidate else _HALF
    return (
        math.log(block.base.seconds / (base + more)),
        math.log(block.candidate.seconds / (candidate + more)),
    )


def _mean_latency(block: Block) -> tuple[float, float]:
    return _latency(block.base, np.mean), _latency(block.candidate, np.mean)


def _median_latency(block: Block) -> tuple[float, float]:
    return _latency(block.base, np.median), _latency(block.candidate, np.median)


def _latency(
    slot: Slot, of: Callable[[NDArray[np.float64]], np.floating | NDArray[np.floating]]
) -> float:
    """The log latency of a side; without a good answer, of the whole slot."""
    seconds = float(of(slot.latencies)) if len(slot.latencies) else slot.seconds
    return math.log(max(seconds, _SHORTEST))


_COSTS: Final = {
    "throughput": _seconds_per_good,
    "goodput": _seconds_per_within,
    "mean": _mean_latency,
    "p50": _median_latency,
}


def log_ratio(metric: Metric, block: Block) -> float:
    """`log(candidate's / base's cost)` of a metric in one block.

    Raises:
        KeyError: if a single block does not have the metric.
    """
    base, candidate = _COSTS[metric.name](block)
    return candidate - base


def sequential_test_for(metric: Metric, bounds: Bounds) -> SequentialTest:
    """The test that decides a metric.

    Raises:
        ValueError: if the metric is not one of `SLOTTED`.
    """
    if metric.name in _COSTS:
        return RatioTest(_COSTS[metric.name], bounds)
    if metric.name not in SLOTTED or metric.percentile is None:
        wanted = ", ".join(sorted(SLOTTED))
        raise ValueError(f"slots cannot decide {metric.name}: expected one of {wanted}")
    return TailTest(metric.percentile, bounds)
