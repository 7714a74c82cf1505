"""Totals of a run, whose size does not depend on the length of the run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from pytest_dlperf.statistics.run_values import BinnedValues, EachValue

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from pytest_dlperf.load.intervals import Intervals
    from pytest_dlperf.statistics.histogram import Histogram
    from pytest_dlperf.statistics.run_values import Values

BLOCKS: Final = 20
"""Number of blocks of whole calls that a run is cut into, to estimate its noise."""

PARTS: Final = 256
"""The most parts that a run is cut into, to see for how long its latencies are alike."""

_NS: Final = 1e-9
_KEPT_UP: Final = 0.99
_SIGMAS: Final = 3
_MOST_SIZES: Final = 32


class Latencies(Protocol):
    """Latencies of the good queries of a run, by block."""

    def seconds(self, unanswered: Unanswered) -> Values:
        """The latencies, in parts of the run, with the least ones of unanswered queries."""
        ...

    @property
    def median_ns(self) -> float:
        """Median latency; NaN without queries."""
        ...

    def within(self, ns: float, blocks: int) -> NDArray[np.int64]:
        """Number of queries in each block whose latency is at most `ns`, shape `(blocks,)`."""
        ...


@dataclass(frozen=True, slots=True)
class Unanswered:
    """Queries without an answer when the run ended, and how long each had waited at the least."""

    queries: int
    waited_ns: int


@dataclass(frozen=True, slots=True)
class EachLatency:
    """Every latency of the run.

    Attributes:
        ns: latencies, shape `(queries,)`.
        block: block in which each query ended, shape `(queries,)`.
        part: part of the run in which each query ended, of at most `PARTS`, shape `(queries,)`.
    """

    ns: NDArray[np.int64]
    block: NDArray[np.intp]
    part: NDArray[np.intp]

    def seconds(self, unanswered: Unanswered) -> EachValue:
        """See `Latencies`; at most as many unanswered queries as there are others."""
        # With as many without an answer as with one the median is beyond all; more take memory.
        without = min(unanswered.queries, len(self.ns))
        ns = np.append(self.ns, np.full(without, unanswered.waited_ns))
        last = np.full(without, self.part.max(initial=0))
        # Parts without a good answer have no latencies: number the others without gaps.
        part = np.unique(np.append(self.part, last), return_inverse=True)[1]
        order = np.argsort(ns)
        seconds = np.maximum(ns[order].astype(np.float64) * _NS, _NS)
        return EachValue(seconds, part[order])

    @property
    def median_ns(self) -> float:
        """Exact median."""
        return float(np.median(self.ns)) if len(self.ns) else math.nan

    def within(self, ns: float, blocks: int) -> NDArray[np.int64]:
        """Exact counts."""
        return np.bincount(self.block[self.ns <= ns], minlength=blocks)


@dataclass(frozen=True, slots=True)
class CountedLatencies:
    """Latencies counted in bins, exact to 0.1 %: histograms with a row per block, and per part."""

    by_block: Histogram
    by_part: Histogram

    def seconds(self, unanswered: Unanswered) -> BinnedValues:
        """See `Latencies`."""
        histogram, waited = self.by_part, max(unanswered.waited_ns * _NS, _NS)
        filled = int(np.flatnonzero(histogram.counts.any(axis=1)).max(initial=0)) + 1
        seconds = np.maximum(histogram.middles_ns * _NS, _NS)
        return BinnedValues(histogram.counts[:filled], seconds, unanswered.queries, waited)

    @property
    def median_ns(self) -> float:
        """Median, exact to 0.1 %."""
        rows = np.zeros(len(self.by_block.counts), np.intp)
        return float(self.by_block.grouped(rows, 1).quantile_ns(0.5)[0])

    def within(self, ns: float, blocks: int) -> NDArray[np.int64]:
        """Counts of the bins whose middle is at most `ns`."""
        fast: NDArray[np.int64] = self.by_block.counts[:blocks, self.by_block.middles_ns <= ns].sum(
            axis=1
        )
        return fast


@dataclass(frozen=True, slots=True)
class ReplicaUse:
    """Use of one replica: service time, number, and requests of its calls."""

    busy_ns: int
    calls: int
    requests: int


@dataclass(frozen=True, slots=True)
class TimerLateness:
    """Number of wake-ups of idle replicas, of those later than `quality.LATE_NS`, and the worst."""

    count: int
    late: int
    worst_ns: int


@dataclass(frozen=True, slots=True)
class LoadTotals:
    """Totals of a run.

    Attributes:
        started_ns: clock reading at the start of the run.
        seconds: how long requests were planned to arrive.
        slo: seconds within which an answer counts towards goodput; None if there is no limit.
        blocks: at most `BLOCKS` intervals in which calls ended, in order of time.
        latencies: latencies of the good queries, by block.
        longest_ns: the longest of them; 0 if there are none.
        points: equal intervals, for a curve over time; may be empty of calls.
        point_ns: width of a point; the last one ends with the run, up to half a width earlier or
            later.
        point_latencies: latencies of the good queries, a row per point.
        queue_ns: median queueing time of a request.
        service_ns: median service time of a call.
        batch_sizes: calls by batch size.
        replicas: use of each replica.
        wake_ups: lateness of the load generator.
        in_time: requests with an answer or an error within `seconds`.
        sent_late: calls later than `quality.LATE_NS` after the first of their requests was due.
        sent_in_time: requests sent to the target within `seconds`.
        in_flight_half_way: requests in the target after half of `seconds`.
        open_loop: whether requests came independently of answers.
        unfinished: requests that were due but not answered when the run ended.
        rejected: requests that found the queue full.
        spoiled: answers that count as good in the blocks, and were found to be wrong after the run.
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
    sent_late: int
    sent_in_time: int
    in_flight_half_way: int
    open_loop: bool
    unfinished: int
    rejected: int
    spoiled: int = 0

    @property
    def calls(self) -> int:
        """All calls of the target."""
        return int(self.blocks.calls.sum())

    @property
    def answered(self) -> int:
        """Requests with an answer or an error."""
        return int(self.blocks.requests.sum())

    @property
    def good(self) -> int:
        """Requests with a good answer."""
        return int(self.blocks.good.sum()) - self.spoiled

    @property
    def queries(self) -> int:
        """Queries whose requests all have good answers."""
        return int(self.blocks.queries.sum())

    @property
    def total(self) -> int:
        """All requests that became due."""
        return self.answered + self.unfinished + self.rejected

    @property
    def unanswered(self) -> Unanswered:
        """Requests that were due and not answered.

        Each was due within `seconds`, so it has waited since. Requests are sent in the order in
        which they are due: those that were not answered are later than the answered ones.
        """
        waited_ns = self.span_ns - int(self.seconds / _NS)
        return Unanswered(self.unfinished, max(self.longest_ns, waited_ns))

    @property
    def span_ns(self) -> int:
        """From the start of the run to the end of the last call; 0 without calls."""
        return int(self.blocks.ends_ns.max(initial=self.started_ns)) - self.started_ns

    @property
    def kept_up(self) -> bool:
        """Whether answers kept up with the arrivals of an open loop; true for a closed loop.

        Requests in flight are no backlog: by Little's law (1961) they are the arrivals within one
        latency. So their number must have grown from the middle of the run to its end, by more
        than arrivals vary by chance.
        """
        if not self.open_loop:
            return True
        largest = max(self.batch_sizes, default=0)
        share = (1 - _KEPT_UP) * self.total
        # Requests that arrive just before the end may be sent just after it.
        if self.total - self.sent_in_time > largest + share:
            return False
        in_flight = self.sent_in_time - self.in_time
        chance = _SIGMAS * math.sqrt(in_flight + self.in_flight_half_way)
        calls = (largest - 1) * len(self.replicas)  # a replica is idle, or answers a whole batch
        return in_flight - self.in_flight_half_way <= share / 2 + chance + calls

    @property
    def counted_ns(self) -> int:
        """Time over which answers are counted as a rate.

        That in which requests came, if an open loop kept up with them; else the whole run.
        """
        return int(self.seconds / _NS) if self.open_loop and self.kept_up else self.span_ns

    @property
    def utilisation(self) -> tuple[float, ...]:
        """Share of the run that each replica spent in calls of the target."""
        return tuple(work.busy_ns / max(1, self.span_ns) for work in self.replicas)


def few_sizes(calls_by_size: Mapping[int, int]) -> dict[int, int]:
    """Calls by batch size; with more than 32 sizes by powers of two.

    Each power then stands for the sizes up to it and above the power before it.
    """
    if len(calls_by_size) <= _MOST_SIZES:
        return dict(calls_by_size)
    folded: dict[int, int] = {}
    for size, calls in calls_by_size.items():
        power = 1 << (size - 1).bit_length()
        folded[power] = folded.get(power, 0) + calls
    return folded
