"""Tally: what a run came to, in as many numbers for a long run as for a short one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from pytest_dlperf.statistics.block_bootstrap import binned_percentiles, block_percentiles
from pytest_dlperf.statistics.percentiles import independent, percentile_interval

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from pytest_dlperf.load.intervals import Intervals
    from pytest_dlperf.statistics.estimate import Estimate
    from pytest_dlperf.statistics.histogram import Histogram

BLOCKS: Final = 20
"""Stretches that a run is cut into, so that its noise shows; each holds whole calls."""

_NS: Final = 1e-9
_MOST_SIZES: Final = 32
_BOOTSTRAP: Final = "a bootstrap over blocks"


class Latencies(Protocol):
    """The latencies of a run's good queries, by block."""

    def percentiles(self, percents: tuple[float, ...]) -> dict[float, Estimate]:
        """Percentiles in seconds, with intervals; there is at least one query."""
        ...

    @property
    def method(self) -> str:
        """Where the intervals come from, in words."""
        ...

    @property
    def median_ns(self) -> float:
        """The median latency; NaN if there is no query."""
        ...

    def within(self, ns: float, blocks: int) -> NDArray[np.int64]:
        """How many queries that took so long at the most ended in each block.

        Args:
            ns: the longest latency that counts.
            blocks: in which queries may have ended.

        Returns:
            Shape `(blocks,)`.
        """
        ...


@dataclass(frozen=True, slots=True)
class EachLatency:
    """Every single latency.

    Attributes:
        ns: shape `(queries,)`.
        block: in which each query ended, shape `(queries,)`.
        separate: whether each query had calls of its own and waited for none; if they are
            independent then, their intervals need no blocks.
    """

    ns: NDArray[np.int64]
    block: NDArray[np.intp]
    separate: bool

    @property
    def method(self) -> str:
        """Exact for independent queries, from blocks for those that queued."""
        return "order statistics" if self._independent else _BOOTSTRAP

    @property
    def _independent(self) -> bool:
        return self.separate and independent(self.ns.astype(np.float64))

    def percentiles(self, percents: tuple[float, ...]) -> dict[float, Estimate]:
        """Percentiles that are order statistics: latencies that somebody really had."""
        if self._independent:
            ordered = np.sort(np.maximum(self.ns.astype(np.float64) * _NS, _NS))
            return {percent: percentile_interval(ordered, percent) for percent in percents}
        # A block without a good answer has no latencies; the others are numbered anew.
        _, dense = np.unique(self.block, return_inverse=True)
        seconds = np.maximum(self.ns.astype(np.float64) * _NS, _NS)
        return block_percentiles(seconds, dense, percents)

    @property
    def median_ns(self) -> float:
        """The middle one."""
        return float(np.median(self.ns)) if len(self.ns) else math.nan

    def within(self, ns: float, blocks: int) -> NDArray[np.int64]:
        """Counted one by one."""
        return np.bincount(self.block[self.ns <= ns], minlength=blocks)


@dataclass(frozen=True, slots=True)
class CountedLatencies:
    """How many latencies were how long, to 0.1 %.

    Attributes:
        by_block: a row each block.
    """

    by_block: Histogram

    @property
    def method(self) -> str:
        """From blocks, whose order is kept."""
        return _BOOTSTRAP

    def percentiles(self, percents: tuple[float, ...]) -> dict[float, Estimate]:
        """Percentiles that are at most 0.1 % from an order statistic."""
        counts = self.by_block.counts
        seconds = np.maximum(self.by_block.middles_ns * _NS, _NS)
        return binned_percentiles(counts[counts.any(axis=1)], seconds, percents)

    @property
    def median_ns(self) -> float:
        """To 0.1 %."""
        rows = np.zeros(len(self.by_block.counts), np.intp)
        return float(self.by_block.grouped(rows, 1).quantile_ns(0.5)[0])

    def within(self, ns: float, blocks: int) -> NDArray[np.int64]:
        """Bins whose middle is within."""
        fast: NDArray[np.int64] = self.by_block.counts[:blocks, self.by_block.middles_ns <= ns].sum(
            axis=1
        )
        return fast


@dataclass(frozen=True, slots=True)
class ReplicaUse:
    """What one replica did.

    Attributes:
        busy_ns: time that its calls took.
        calls: of its copy of the target.
        requests: that these calls carried.
    """

    busy_ns: int
    calls: int
    requests: int


@dataclass(frozen=True, slots=True)
class TimerLateness:
    """How idle replicas woke for the next request.

    Attributes:
        count: how often.
        late: how often that was later than `lateness.LATE_NS`.
        worst_ns: the latest.
    """

    count: int
    late: int
    worst_ns: int


@dataclass(frozen=True, slots=True)
class LoadTotals:
    """What a run came to.

    Attributes:
        started_ns: clock reading when it began.
        seconds: for how long requests were to come.
        slo: seconds within which an answer counts towards goodput; None if none was asked for.
        blocks: at most `BLOCKS` intervals in which calls ended, in the order of time.
        latencies: of the good queries, by block.
        longest_ns: the longest of them; 0 if there are none.
        points: equal intervals, for a curve over time; calls may have ended in none of them.
        point_ns: how long each point is; the last one ends with the run, up to a half sooner or
            later.
        point_latencies: of the good queries, a row each point.
        queue_ns: median time that a request queued.
        service_ns: median time that a call took.
        batch_sizes: calls by the number of requests that they carried.
        replicas: what each did.
        wake_ups: how punctual the load generator was.
        in_time: requests that were answered, or went wrong, within `seconds`.
        unfinished: requests that were due but not answered when the run's time was up.
        rejected: requests that found the queue full.
    """

    started_ns: int
    seconds: float
    slo: float | None
    blocks: Intervals
    latencies: Latencies
    longest_ns: int
    points: Intervals
    point_ns: int
    point_latencies: Histogram
    queue_ns: float
    service_ns: float
    batch_sizes: Mapping[int, int]
    replicas: tuple[ReplicaUse, ...]
    wake_ups: TimerLateness
    in_time: int
    unfinished: int
    rejected: int

    @property
    def calls(self) -> int:
        """All calls of the target."""
        return int(self.blocks.calls.sum())

    @property
    def answered(self) -> int:
        """Requests that were answered or went wrong."""
        return int(self.blocks.requests.sum())

    @property
    def good(self) -> int:
        """Requests that were answered well."""
        return int(self.blocks.good.sum())

    @property
    def queries(self) -> int:
        """Queries whose requests were all answered well."""
        return int(self.blocks.queries.sum())

    @property
    def total(self) -> int:
        """All requests that became due."""
        return self.answered + self.unfinished + self.rejected

    @property
    def span_ns(self) -> int:
        """From the beginning to the end of the last call; 0 without a call."""
        return int(self.blocks.ends_ns.max(initial=self.started_ns)) - self.started_ns

    @property
    def utilisation(self) -> tuple[float, ...]:
        """The share of the run that each replica spent in the target."""
        return tuple(work.busy_ns / max(1, self.span_ns) for work in self.replicas)


def few_sizes(calls_by_size: Mapping[int, int]) -> dict[int, int]:
    """Calls by size, as few numbers as a report can show.

    Returns:
        The same if there are at most 32 sizes; else each key is a power of two, and stands for
        the sizes up to it and above the one before it.
    """
    if len(calls_by_size) <= _MOST_SIZES:
        return dict(calls_by_size)
    folded: dict[int, int] = {}
    for size, calls in calls_by_size.items():
        power = 1 << (size - 1).bit_length()
        folded[power] = folded.get(power, 0) + calls
    return folded
