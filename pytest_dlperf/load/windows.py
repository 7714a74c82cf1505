"""Windows: a long run folded into equal stretches of time, whose number is bounded."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_dlperf.load.intervals import Reading, blocks_of, no_stretches
from pytest_dlperf.load.totals import BLOCKS, CountedLatencies, Latencies
from pytest_dlperf.statistics.histogram import Histogram

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_dlperf.load.intervals import Stretches
    from pytest_dlperf.load.samples import Samples

_WINDOWS: Final = 200
_MOST: Final = 2 * _WINDOWS
_POINT_NS: Final = 100_000_000
_FINEST: Final = 8  # a tenth of a second in nanoseconds is divisible by 2^8


class Grid:
    """Equal windows of time, and points of several windows each.

    There are about 200 windows, and ten points a second, or 200 points if that is fewer. Should
    the run last much longer than its time, windows get twice as long, as often as is needed.

    Args:
        started_ns: when the run began.
        seconds: how long it is to last.
    """

    def __init__(self, started_ns: int, seconds: float) -> None:
        planned_ns = max(1, int(seconds * 1e9))
        point_ns = max(_POINT_NS, -(-planned_ns // _WINDOWS))
        self.started_ns = started_ns
        self.windows = _MOST
        # Powers of two, by which a point can be divided, and windows be joined again.
        self._parts = 1 << min(_FINEST, max(0, round(math.log2(point_ns * _WINDOWS / planned_ns))))
        self.window_ns = point_ns // self._parts

    @property
    def point_ns(self) -> int:
        """How long a point is."""
        return self._parts * self.window_ns

    def reach(self, ns: int) -> None:
        """Let the windows reach as far as this time."""
        while ns - self.started_ns > self.windows * self.window_ns:
            self.window_ns *= 2
            self._parts = max(1, self._parts // 2)

    def window(self, ends_ns: NDArray[np.int64]) -> NDArray[np.intp]:
        """The window of what ended then; what ends on a border belongs before it."""
        return self._place(ends_ns, self.window_ns)

    def points(self, span_ns: int) -> int:
        """How many points a run has; a rest of less than half a point joins the last one."""
        return max(1, round(span_ns / self.point_ns))

    def point(self, ends_ns: NDArray[np.int64], span_ns: int) -> NDArray[np.intp]:
        """The point of what ended then, in a run that lasted so long."""
        return np.minimum(self._place(ends_ns, self.point_ns), self.points(span_ns) - 1)

    def point_of_windows(self, span_ns: int) -> NDArray[np.intp]:
        """The point of each window, shape `(windows,)`."""
        return np.minimum(np.arange(self.windows) // self._parts, self.points(span_ns) - 1)

    def _place(self, ends_ns: NDArray[np.int64], width_ns: int) -> NDArray[np.intp]:
        return np.maximum(ends_ns - self.started_ns - 1, 0) // width_ns


@dataclass(frozen=True, slots=True)
class Counted:
    """What calls and queries came to; as in `Tally`."""

    blocks: Stretches
    latencies: Latencies
    longest_ns: int
    points: Stretches
    point_latencies: Histogram
    queue_ns: float
    service_ns: float


class Windows:
    """Counts segments by window.

    Args:
        grid: which windows there are; it may grow between two segments.
        slo: seconds within which an answer counts towards goodput; None counts none.
    """

    def __init__(self, grid: Grid, slo: float | None) -> None:
        self._grid = grid
        self._window_ns = grid.window_ns
        self._reading = Reading(slo)
        self._stretches = no_stretches(grid.windows)
        self._latencies = Histogram(grid.windows)
        self._queue = Histogram(1)
        self._service = Histogram(1)
        self._longest_ns = 0

    def add(self, segment: Samples) -> None:
        """Count the next segment; the grid must reach as far."""
        self._widen()
        answers = self._reading.read(segment)
        window = self._grid.window(segment.done_ns)
        self._stretches = self._stretches.plus(answers.calls.grouped(window, self._grid.windows))
        self._latencies.add(window[answers.call], answers.latency_ns)
        for histogram, ns in ((self._queue, segment.queue_ns), (self._service, segment.service_ns)):
            histogram.add(np.zeros(len(ns), np.intp), ns)
        self._longest_ns = max(self._longest_ns, int(answers.latency_ns.max(initial=0)))

    def counted(self, span_ns: int) -> Counted:
        """What all segments came to, in a run that lasted so long."""
        self._widen()
        grid = self._grid
        filled = np.flatnonzero(self._stretches.calls)
        block = blocks_of(self._stretches.ends_ns[filled], grid.started_ns, BLOCKS)
        blocks = int(block.max()) + 1
        # A window in which no call ended has nothing to count, whichever block it is put in.
        block_of_window = np.zeros(grid.windows, np.intp)
        block_of_window[filled] = block
        point, points = grid.point_of_windows(span_ns), grid.points(span_ns)
        return Counted(
            blocks=self._stretches.grouped(block_of_window, blocks),
            latencies=CountedLatencies(self._latencies.grouped(block_of_window, blocks)),
            longest_ns=self._longest_ns,
            points=self._stretches.grouped(point, points),
            point_latencies=self._latencies.grouped(point, points),
            queue_ns=float(self._queue.quantile_ns(0.5)[0]),
            service_ns=float(self._service.quantile_ns(0.5)[0]),
        )

    def _widen(self) -> None:
        """Join windows, if the grid's have become longer."""
        windows = self._grid.windows
        whole = np.arange(windows) // (self._grid.window_ns // self._window_ns)
        if self._window_ns < self._grid.window_ns:
            self._stretches = self._stretches.grouped(whole, windows)
            self._latencies = self._latencies.grouped(whole, windows)
            self._window_ns = self._grid.window_ns
