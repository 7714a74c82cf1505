"""The effect of a pair: the log ratio of a metric between its two sides, from its blocks.

The log ratio is `log(cost of the candidate / cost of the base)`, above 0 being worse. It changes
its sign with the labels of the sides; so where the sides do not differ, the random order of a block
makes either sign equally likely.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_dlperf.judge.error_rates import SLOTTED
from pytest_dlperf.statistics.estimate import (
    SD_OF_HODGES_LEHMANN,
    deviation,
    hodges_lehmann,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from pytest_dlperf.measure.slots import Block, Slot
    from pytest_dlperf.metrics import Metric

_HALF: Final = 0.5  # added to both counts where one is none, as Haldane (1956) does
_SHORTEST: Final = 1e-9
_EXCEEDANCES: Final = 10
_SYSTEMATIC: Final = 3.0


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


def log_costs(metric: Metric, block: Block) -> tuple[float, float]:
    """The log cost of the base and of the candidate in one block.

    Raises:
        KeyError: if a single block does not have the metric.
    """
    return _COSTS[metric.name](block)


def log_ratio(metric: Metric, block: Block) -> float:
    """`log(candidate's / base's cost)` of a metric in one block; raises as `log_costs` does."""
    base, candidate = log_costs(metric, block)
    return candidate - base


def needed_requests(metric: Metric) -> int:
    """Requests that each side of a pair needs: for a percentile, ten beyond it.

    >>> [needed_requests(METRICS[name]) for name in ("throughput", "p90", "p99", "p99.9")]
    [1, 100, 1000, 10000]
    """
    if metric.name in _COSTS:
        return 1
    return round(_EXCEEDANCES / (1 - _percent(metric) / 100))


def lacking(metric: Metric, blocks: Sequence[Block]) -> int:
    """Requests of a side that a pair lacks for a metric; 0 if it has an effect."""
    if metric.name in _COSTS:
        return 0 if blocks else 1
    fewest = min(sum(len(side.latencies) for side in sides) for sides in _sides(blocks))
    return max(0, needed_requests(metric) - fewest)


def pair_effects(metric: Metric, pairs: Sequence[Sequence[Block]]) -> NDArray[np.float64]:
    """The effect of each pair, as a log ratio, shape `(pairs,)`.

    Of a percentile it is the ratio of the percentiles of all latencies of either side. Of all else
    it is the middle of the blocks, as Hodges and Lehmann have it, after `without_waiting`.

    Args:
        metric: one of `SLOTTED`.
        pairs: the blocks of each; none of them `lacking` requests.
    """
    if not pairs:
        return np.zeros(0)
    if metric.name not in _COSTS:
        percent = _percent(metric)
        return np.array([_log_ratio_of_percentiles(percent, blocks) for blocks in pairs])
    ratios = [np.array([log_ratio(metric, block) for block in blocks]) for blocks in pairs]
    waited = [np.array([waiting(block) for block in blocks]) for blocks in pairs]
    return np.array([hodges_lehmann(pair) for pair in without_waiting(ratios, waited)])


def waiting(block: Block) -> float:
    """By how much more of its time the candidate waited for a processor than the base."""
    base, candidate = block.base, block.candidate
    return candidate.waited / candidate.seconds - base.waited / base.seconds


def without_waiting(
    ratios: Sequence[NDArray[np.float64]], waited: Sequence[NDArray[np.float64]]
) -> list[NDArray[np.float64]]:
    """The log ratios of blocks without what the waiting for a processor explains.

    A control variate: `d - b x` with the slope `b` of a regression of all blocks, each about the
    mean of its pair; not below 0, as waiting makes nothing cheaper. Exchanging the labels of the
    sides turns the signs of `d` and `x` and leaves `b`, so that neither is favoured. Where one side
    waits longer throughout, by three standard errors, the waiting is its own, as of threads that it
    has too many of, and nothing is taken away.

    Args:
        ratios: `d` of each pair's blocks.
        waited: `x` of each pair's blocks.
    """
    every = np.concatenate(waited)
    systematic = abs(float(every.sum())) > _SYSTEMATIC * math.sqrt(float((every * every).sum()))
    d, x = (np.concatenate([pair - pair.mean() for pair in pairs]) for pairs in (ratios, waited))
    squares = float((x * x).sum())
    if systematic or not squares:
        return list(ratios)
    slope = max(0.0, float((d * x).sum()) / squares)
    return [pair - slope * delays for pair, delays in zip(ratios, waited, strict=True)]


def noise_of_blocks(ratios: NDArray[np.float64]) -> float:
    """What the noise of one block leaves in a pair's effect: `sqrt(pi / 3) 1.4826 MAD`.

    For blocks whose noise is about normal; shape `(n,)`, at least one.
    """
    return SD_OF_HODGES_LEHMANN * deviation(np.abs(ratios - np.median(ratios)))


def pair_error(ratios: NDArray[np.float64]) -> float:
    """The standard error of a pair's effect: `noise_of_blocks / sqrt(n)`, of shape `(n,)`."""
    return noise_of_blocks(ratios) / math.sqrt(len(ratios))


def effect_error(metric: Metric, blocks: Sequence[Block]) -> float:
    """The standard error of a pair's effect; 0 for a percentile, which no single block has."""
    if metric.name not in _COSTS:
        return 0.0
    return pair_error(np.array([log_ratio(metric, block) for block in blocks]))


def _percent(metric: Metric) -> float:
    if metric.name not in SLOTTED or metric.percentile is None:
        wanted = ", ".join(sorted(SLOTTED))
        raise ValueError(f"slots cannot decide {metric.name}: expected one of {wanted}")
    return metric.percentile


def _sides(blocks: Sequence[Block]) -> tuple[list[Slot], list[Slot]]:
    return [block.base for block in blocks], [block.candidate for block in blocks]


def _log_ratio_of_percentiles(percent: float, blocks: Sequence[Block]) -> float:
    base, candidate = (
        math.log(max(_SHORTEST, float(np.percentile(np.concatenate(latencies), percent))))
        for latencies in ([side.latencies for side in sides] for sides in _sides(blocks))
    )
    return candidate - base
