"""Sums over intervals of a run: over calls, time buckets, points and blocks."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_dlperf.load.samples import Samples

_NS: Final = 1e-9
_NEVER: Final = np.iinfo(np.int64).min


@dataclass(frozen=True, slots=True)
class Intervals:
    """Counts and sums for each interval of a run; every column has shape `(intervals,)`.

    A call with all its requests belongs to the interval in which it ended.

    Attributes:
        ends_ns: when the last call ended; the least integer if there is none.
        calls: calls of the target.
        requests: requests with an answer or an error.
        good: requests with a good answer.
        within: good requests whose latency was within the `slo`.
        queries: queries whose requests all have good answers.
        latency_ns: sum of the latencies of these queries.
        queue_ns: sum of the queueing times of the requests.
        busy_ns: sum of the service times of the calls.
    """

    ends_ns: NDArray[np.int64]
    calls: NDArray[np.int64]
    requests: NDArray[np.int64]
    good: NDArray[np.int64]
    within: NDArray[np.int64]
    queries: NDArray[np.int64]
    latency_ns: NDArray[np.int64]
    queue_ns: NDArray[np.int64]
    busy_ns: NDArray[np.int64]

    def __post_init__(self) -> None:
        if len({len(getattr(self, column.name)) for column in fields(self)}) > 1:
            raise ValueError("the columns of intervals differ in length")

    def __len__(self) -> int:
        return len(self.calls)

    def seconds(self, started_ns: int) -> NDArray[np.float64]:
        """Length of each interval, from the end of the one before it, shape `(intervals,)`."""
        return np.diff(self.ends_ns, prepend=started_ns).astype(np.float64) * _NS

    def grouped(self, group: NDArray[np.intp], groups: int) -> Intervals:
        """Join intervals into groups, which may be empty; `group` has shape `(intervals,)`."""
        ends = np.full(groups, _NEVER)
        np.maximum.at(ends, group, self.ends_ns)
        sums = []
        for column in _SUMMED:
            total = np.zeros(groups, np.int64)
            np.add.at(total, group, getattr(self, column))
            sums.append(total)
        return Intervals(ends, *sums)

    def plus(self, other: Intervals) -> Intervals:
        """The sums of both, interval by interval."""
        sums = [getattr(self, column) + getattr(other, column) for column in _SUMMED]
        return Intervals(np.maximum(self.ends_ns, other.ends_ns), *sums)


_SUMMED: Final = tuple(column.name for column in fields(Intervals) if column.name != "ends_ns")


def no_intervals(count: int) -> Intervals:
    """Empty intervals."""
    return Intervals(np.full(count, _NEVER), *(np.zeros(count, np.int64) for _ in _SUMMED))


def blocks_of(ends_ns: NDArray[np.int64], started_ns: int, count: int) -> NDArray[np.intp]:
    """The block of each interval; blocks are equally long, and numbered without gaps.

    A block ends with the end of an interval, so it holds whole intervals only. Blocks in which no
    interval ended are left out.

    Args:
        ends_ns: when each interval ended, in any order, shape `(intervals,)`.
        started_ns: start of the run.
        count: the most blocks.
    """
    span = max(1, int(ends_ns.max(initial=started_ns)) - started_ns)
    borders = started_ns + span * np.arange(1, count) / count
    return np.unique(np.searchsorted(borders, ends_ns, side="left"), return_inverse=True)[1]


@dataclass(frozen=True, slots=True)
class Answers:
    """The calls and query latencies of a segment.

    Attributes:
        calls: each call of the segment as an interval.
        latency_ns: latencies of the good queries that ended in the segment, shape `(queries,)`.
        call: index of the call in which each of these queries ended, shape `(queries,)`.
    """

    calls: Intervals
    latency_ns: NDArray[np.int64]
    call: NDArray[np.intp]


class Reading:
    """Evaluates the segments of a run in order; a query may span several segments."""

    def __init__(self, slo: float | None) -> None:
        self._slo_ns = None if slo is None else round(slo * 1e9)
        self._open_latency_ns = np.zeros(0, np.int64)
        self._open_good = np.zeros(0, np.bool_)

    def read(self, segment: Samples) -> Answers:
        """Evaluate the next segment."""
        size, good, latency_ns = segment.size, segment.ok, segment.latency_ns
        starts = segment.stop - size
        ended, call = self._queries(segment, latency_ns, good)
        in_time = good & (latency_ns <= self._slo_ns) if self._slo_ns is not None else None
        summed = np.zeros(len(size), np.int64)
        np.add.at(summed, call, ended)
        calls = Intervals(
            ends_ns=segment.done_ns,
            calls=np.ones(len(size), np.int64),
            requests=size,
            good=_sums(good, starts),
            within=np.zeros(len(size), np.int64) if in_time is None else _sums(in_time, starts),
            queries=np.bincount(call, minlength=len(size)),
            latency_ns=summed,
            queue_ns=_sums(segment.queue_ns, starts),
            busy_ns=segment.service_ns,
        )
        return Answers(calls, ended, call)

    def _queries(
        self, segment: Samples, latency_ns: NDArray[np.int64], good: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int64], NDArray[np.intp]]:
        """Latencies of the good queries that ended in a segment, and the calls they ended in."""
        if segment.per_query == 1:
            call = np.repeat(np.arange(len(segment.stop)), segment.size)
            return latency_ns[good], call[good]
        begun = len(self._open_good)
        latency_ns = np.concatenate([self._open_latency_ns, latency_ns])
        good = np.concatenate([self._open_good, good])
        whole = len(good) // segment.per_query * segment.per_query
        self._open_latency_ns, self._open_good = latency_ns[whole:], good[whole:]
        last = np.arange(segment.per_query - 1, whole, segment.per_query) - begun
        ended, well = whole_queries(latency_ns[:whole], good[:whole], segment.per_query)
        return ended[well], segment.stop.searchsorted(last[well], side="right")


def whole_queries(
    latency_ns: NDArray[np.int64], good: NDArray[np.bool_], per_query: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Latency of each query, its slowest request's, and whether all its requests have good answers.

    Arguments are of the requests of whole queries, shape `(queries * per_query,)`; results have the
    shape `(queries,)`.
    """
    shape = (-1, per_query)
    ended: NDArray[np.int64] = latency_ns.reshape(shape).max(axis=1, initial=0)
    well: NDArray[np.bool_] = np.logical_and.reduce(good.reshape(shape), axis=1)
    return ended, well


def _sums(values: NDArray[np.generic], starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sums of per-request values over each call."""
    if not len(starts):
        return np.zeros(0, np.int64)
    sums: NDArray[np.int64] = np.add.reduceat(values, starts, dtype=np.int64)
    return sums
