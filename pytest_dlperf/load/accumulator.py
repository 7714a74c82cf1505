"""The accumulator: turns the segments of a run into its totals, in bounded memory.

Up to `EXACT` requests every sample is kept. Beyond, samples are counted in time buckets, with
histograms of their latencies.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_dlperf.load.intervals import Reading, blocks_of, no_intervals
from pytest_dlperf.load.quality import LATE_NS
from pytest_dlperf.load.totals import (
    BLOCKS,
    PARTS,
    CountedLatencies,
    EachLatency,
    Latencies,
    LoadTotals,
    ReplicaUse,
    TimerLateness,
)
from pytest_dlperf.statistics.histogram import Histogram

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pytest_dlperf.load.intervals import Intervals
    from pytest_dlperf.load.samples import Samples


EXACT: Final = 1 << 20
"""The most requests whose samples are kept; beyond, latencies are counted in bins of 0.2 %."""

_BUCKETS: Final = 200
_MOST: Final = 2 * _BUCKETS
_POINT_NS: Final = 100_000_000
_FINEST: Final = 8  # a tenth of a second in nanoseconds is divisible by 2^8


class Accumulator:
    """Takes the segments of a run, in order, and returns their totals.

    Requests arrive for `seconds`. An answer within `slo` seconds counts towards goodput; None
    counts none. The samples of at most `exact` requests are kept. Replicas beyond `replicas`, as
    coroutines are, are added as they are used.
    """

    def __init__(  # noqa: PLR0913 - the plan of the run
        self,
        *,
        started_ns: int,
        seconds: float,
        replicas: int,
        open_loop: bool,
        slo: float | None,
        exact: int,
    ) -> None:
        self._started_ns = started_ns
        self._open_loop = open_loop
        self._seconds = seconds
        self._slo = slo
        self._exact = exact
        self._totals = _CallTotals(started_ns, seconds, replicas)
        self._buckets = TimeBuckets(started_ns, seconds)
        self._kept: list[Samples] = []
        self._bucketed: BucketedCounts | None = None

    def add(self, segment: Samples) -> None:
        """Add the next segment, with its real outcomes."""
        self._totals.add(segment)
        self._buckets.reach(self._totals.ended_ns)
        if self._bucketed is None and self._totals.requests > self._exact:
            self._bucketed = BucketedCounts(self._buckets, self._slo)
        self._kept.append(segment)
        if self._bucketed is not None:
            for kept in self._kept:
                self._bucketed.add(kept)
            self._kept.clear()

    def totals(self) -> LoadTotals:
        """What all segments so far come to."""
        totals = self._totals
        span_ns = totals.ended_ns - self._started_ns
        if self._bucketed is not None:
            counted = self._bucketed.counted(span_ns)
        else:
            counted = _count_each(self._kept, self._buckets, span_ns, self._slo)
        return LoadTotals(
            started_ns=self._started_ns,
            seconds=self._seconds,
            slo=self._slo,
            blocks=counted.blocks,
            latencies=counted.latencies,
            longest_ns=counted.longest_ns,
            points=counted.points,
            point_ns=self._buckets.point_ns,
            point_latencies=counted.point_latencies,
            queue_ns=counted.queue_ns,
            service_ns=counted.service_ns,
            batch_sizes=totals.batch_sizes,
            replicas=totals.replicas,
            wake_ups=totals.wake_ups,
            in_time=totals.in_time,
            sent_late=totals.sent_late,
            sent_in_time=totals.sent_in_time,
            in_flight_half_way=totals.in_flight_half_way,
            open_loop=self._open_loop,
            unfinished=totals.unfinished,
            rejected=totals.rejected,
        )


class _CallTotals:
    """Sums that do not depend on where segments are cut."""

    def __init__(self, started_ns: int, seconds: float, replicas: int) -> None:
        self.requests = 0
        self.ended_ns = started_ns
        self.in_time = 0
        self.sent_in_time = 0
        self.in_flight_half_way = 0
        self.sent_late = 0
        self.unfinished = 0
        self.rejected = 0
        self.wake_ups = TimerLateness(0, 0, 0)
        self._half_ns = started_ns + int(seconds * 0.5e9)
        self._end_ns = started_ns + int(seconds * 1e9)
        self._calls_by_size = np.zeros(0, np.int64)
        self._work = np.zeros((3, replicas), np.int64)

    @property
    def batch_sizes(self) -> MappingProxyType[int, int]:
        """Calls by size."""
        sizes = np.flatnonzero(self._calls_by_size)
        return MappingProxyType({int(size): int(self._calls_by_size[size]) for size in sizes})

    @property
    def replicas(self) -> tuple[ReplicaUse, ...]:
        """Use of each replica."""
        return tuple(ReplicaUse(*each) for each in self._work.T.tolist())

    def add(self, segment: Samples) -> None:
        """Add the next segment."""
        size = segment.size
        self.requests += len(segment.outcome)
        self.ended_ns = max(self.ended_ns, int(segment.done_ns.max(initial=self.ended_ns)))
        self.in_time += int(size[segment.done_ns <= self._end_ns].sum())
        first = segment.stop - size
        self.sent_late += int(
            np.count_nonzero(segment.dispatched_ns - segment.intended_ns[first] > LATE_NS)
        )
        self.sent_in_time += int(size[segment.dispatched_ns <= self._end_ns].sum())
        half_ns = self._half_ns
        in_flight = (segment.dispatched_ns <= half_ns) & (segment.done_ns > half_ns)
        self.in_flight_half_way += int(size[in_flight].sum())
        self.unfinished += segment.unfinished
        self.rejected += segment.rejected
        late_ns = segment.late_ns
        self.wake_ups = TimerLateness(
            count=self.wake_ups.count + len(late_ns),
            late=self.wake_ups.late + int((late_ns > LATE_NS).sum()),
            worst_ns=max(self.wake_ups.worst_ns, int(late_ns.max(initial=0))),
        )
        by_size = np.bincount(size, minlength=len(self._calls_by_size))
        by_size[: len(self._calls_by_size)] += self._calls_by_size
        self._calls_by_size = by_size
        more = int(segment.replica.max(initial=-1)) + 1 - self._work.shape[1]
        self._work = np.pad(self._work, ((0, 0), (0, max(0, more))))
        done = (segment.service_ns, np.ones_like(size), size)
        for total, each in zip(self._work, done, strict=True):
            np.add.at(total, segment.replica, each)


def _count_each(
    segments: Sequence[Samples], buckets: TimeBuckets, span_ns: int, slo: float | None
) -> RequestCounts:
    """Count segments whose samples were kept: block borders and percentiles are exact."""
    reading = Reading(slo)
    ends_ns = _joined([segment.done_ns for segment in segments])
    block_of_call = blocks_of(ends_ns, buckets.started_ns, BLOCKS)
    part_of_call = blocks_of(ends_ns, buckets.started_ns, PARTS)
    blocks = no_intervals(int(block_of_call.max(initial=-1)) + 1)
    points = no_intervals(buckets.points(span_ns))
    point_latencies = Histogram(len(points))
    latencies, latency_blocks, latency_parts = [], [], []
    for segment in segments:
        answers = reading.read(segment)
        block, block_of_call = np.split(block_of_call, [len(segment.stop)])
        part, part_of_call = np.split(part_of_call, [len(segment.stop)])
        point = buckets.point(segment.done_ns, span_ns)
        blocks = blocks.plus(answers.calls.grouped(block, len(blocks)))
        points = points.plus(answers.calls.grouped(point, len(points)))
        point_latencies.add(point[answers.call], answers.latency_ns)
        latencies.append(answers.latency_ns)
        latency_blocks.append(block[answers.call])
        latency_parts.append(part[answers.call])
    each = EachLatency(_joined(latencies), _joined(latency_blocks), _joined(latency_parts))
    return RequestCounts(
        blocks=blocks,
        latencies=each,
        longest_ns=int(each.ns.max(initial=0)),
        points=points,
        point_latencies=point_latencies,
        queue_ns=_median([segment.queue_ns for segment in segments]),
        service_ns=_median([segment.service_ns for segment in segments]),
    )


def _joined(columns: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    return np.concatenate([np.zeros(0, np.int64), *columns])


def _median(columns: Sequence[NDArray[np.int64]]) -> float:
    values = _joined(columns)
    return float(np.median(values)) if len(values) else 0.0


class TimeBuckets:
    """Equal time buckets, and points of the curves over time, of several buckets each.

    A run of its planned length (`seconds`) has about 200 buckets, and ten points a second but at
    most 200. If it lasts longer, buckets double in width as often as needed.
    """

    def __init__(self, started_ns: int, seconds: float) -> None:
        planned_ns = max(1, int(seconds * 1e9))
        point_ns = max(_POINT_NS, -(-planned_ns // _BUCKETS))
        self.started_ns = started_ns
        self.count = _MOST
        # A power of two, so that buckets can be joined in pairs.
        self._parts = 1 << min(_FINEST, max(0, round(math.log2(point_ns * _BUCKETS / planned_ns))))
        self.width_ns = point_ns // self._parts

    @property
    def point_ns(self) -> int:
        """Width of a point."""
        return self._parts * self.width_ns

    def reach(self, ns: int) -> None:
        """Widen the buckets until they cover this time."""
        while ns - self.started_ns > self.count * self.width_ns:
            self.width_ns *= 2
            self._parts = max(1, self._parts // 2)

    def bucket(self, ends_ns: NDArray[np.int64]) -> NDArray[np.intp]:
        """Bucket of each time; a time on a border belongs to the earlier bucket."""
        return self._place(ends_ns, self.width_ns)

    def points(self, span_ns: int) -> int:
        """Number of points of a run; a rest of less than half a point joins the last point."""
        return max(1, round(span_ns / self.point_ns))

    def point(self, ends_ns: NDArray[np.int64], span_ns: int) -> NDArray[np.intp]:
        """Point of each time in a run of length `span_ns`."""
        return np.minimum(self._place(ends_ns, self.point_ns), self.points(span_ns) - 1)

    def point_of_buckets(self, span_ns: int) -> NDArray[np.intp]:
        """Point of each bucket, shape `(buckets,)`."""
        return np.minimum(np.arange(self.count) // self._parts, self.points(span_ns) - 1)

    def _place(self, ends_ns: NDArray[np.int64], width_ns: int) -> NDArray[np.intp]:
        return np.maximum(ends_ns - self.started_ns - 1, 0) // width_ns


@dataclass(frozen=True, slots=True)
class RequestCounts:
    """Counts of calls and queries; attributes as in `LoadTotals`."""

    blocks: Intervals
    latencies: Latencies
    longest_ns: int
    points: Intervals
    point_latencies: Histogram
    queue_ns: float
    service_ns: float


class BucketedCounts:
    """Counts segments by time bucket; the buckets may widen between two segments."""

    def __init__(self, buckets: TimeBuckets, slo: float | None) -> None:
        self._buckets = buckets
        self._width_ns = buckets.width_ns
        self._reading = Reading(slo)
        self._intervals = no_intervals(buckets.count)
        self._latencies = Histogram(buckets.count)
        self._queue = Histogram(1)
        self._service = Histogram(1)
        self._longest_ns = 0

    def add(self, segment: Samples) -> None:
        """Count the next segment; the buckets must cover it."""
        self._widen()
        answers = self._reading.read(segment)
        bucket = self._buckets.bucket(segment.done_ns)
        self._intervals = self._intervals.plus(answers.calls.grouped(bucket, self._buckets.count))
        self._latencies.add(bucket[answers.call], answers.latency_ns)
        for histogram, ns in ((self._queue, segment.queue_ns), (self._service, segment.service_ns)):
            histogram.add(np.zeros(len(ns), np.intp), ns)
        self._longest_ns = max(self._longest_ns, int(answers.latency_ns.max(initial=0)))

    def counted(self, span_ns: int) -> RequestCounts:
        """Counts of all segments, in a run of length `span_ns`."""
        self._widen()
        buckets = self._buckets
        filled = np.flatnonzero(self._intervals.calls)
        block = blocks_of(self._intervals.ends_ns[filled], buckets.started_ns, BLOCKS)
        blocks = int(block.max()) + 1
        # Empty buckets add nothing, so block 0 can have them.
        block_of_bucket = np.zeros(buckets.count, np.intp)
        block_of_bucket[filled] = block
        point, points = buckets.point_of_buckets(span_ns), buckets.points(span_ns)
        return RequestCounts(
            blocks=self._intervals.grouped(block_of_bucket, blocks),
            latencies=CountedLatencies(
                self._latencies.grouped(block_of_bucket, blocks), self._latencies
            ),
            longest_ns=self._longest_ns,
            points=self._intervals.grouped(point, points),
            point_latencies=self._latencies.grouped(point, points),
            queue_ns=float(self._queue.quantile_ns(0.5)[0]),
            service_ns=float(self._service.quantile_ns(0.5)[0]),
        )

    def _widen(self) -> None:
        """Join counts if the buckets have widened."""
        buckets = self._buckets.count
        whole = np.arange(buckets) // (self._buckets.width_ns // self._width_ns)
        if self._width_ns < self._buckets.width_ns:
            self._intervals = self._intervals.grouped(whole, buckets)
            self._latencies = self._latencies.grouped(whole, buckets)
            self._width_ns = self._buckets.width_ns
