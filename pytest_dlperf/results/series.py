"""Series: the course of a load over time, for the curves of reports, and its summary."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pytest_dlperf.results.codec import rounded
from pytest_dlperf.statistics.blocks import MIN_BLOCKS
from pytest_dlperf.statistics.estimate import deviation

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from pytest_dlperf.load.totals import LoadTotals

_NS: Final = 1e-9
_DIGITS: Final = 5
_SHAPE: Final = '{"count": 50, "spread": 0.02}'


@dataclass(frozen=True, slots=True)
class Series:
    """Points over time, ten a second or, in a load of more than 20 s, about 200; all columns alike.

    Attributes:
        seconds: when each point begins, from the start of the load.
        rate: good answers a second.
        p50: median latency in seconds; None where there is no good answer, or where the scenario
            gives latencies no meaning.
        p99: 99th percentile of the latency in seconds; as `p50`.
        queue: mean time that requests queued, in seconds; as `p50`, of all requests.
    """

    seconds: tuple[float, ...] = ()
    rate: tuple[float, ...] = ()
    p50: tuple[float | None, ...] = ()
    p99: tuple[float | None, ...] = ()
    queue: tuple[float | None, ...] = ()

    def __post_init__(self) -> None:
        if len({len(getattr(self, column.name)) for column in fields(self)}) > 1:
            raise ValueError("the columns of a series differ in length")


NO_SERIES: Final = Series()


def series_of(totals: LoadTotals, *, latencies: bool) -> Series:
    """The curves of a load with at least one call; `latencies` says whether they have a meaning."""
    points = totals.points
    starts = np.arange(len(points)) * totals.point_ns
    lengths = np.diff(starts, append=max(totals.span_ns, int(starts[-1]) + 1))
    nothing = np.full(len(points), np.nan)
    with np.errstate(invalid="ignore"):
        queue = points.queue_ns / points.requests
    by_share = {
        share: totals.point_latencies.quantile_ns(share) if latencies else nothing
        for share in (0.5, 0.99)
    }
    return Series(
        seconds=tuple((starts * _NS).tolist()),
        rate=tuple(_rounded(points.good / (lengths * _NS))),
        p50=_known(by_share[0.5] * _NS),
        p99=_known(by_share[0.99] * _NS),
        queue=_known(queue * _NS if latencies else nothing),
    )


def _known(values: NDArray[np.float64]) -> tuple[float | None, ...]:
    return tuple(None if math.isnan(value) else value for value in _rounded(values))


def _rounded(values: NDArray[np.float64]) -> Iterable[float]:
    """Five digits: more would be noise, and make reports larger."""
    return (float(f"{value:.{_DIGITS}g}") for value in values.tolist())


@dataclass(frozen=True, slots=True)
class BlockSummary:
    """How much the answer rate varied between the blocks of a session.

    Attributes:
        count: number of blocks, each as long as a point of the session's series.
        spread: robust standard deviation of the log rates: 0.02 is about 2 %.
    """

    count: int
    spread: float

    def __post_init__(self) -> None:
        if self.count < 1 or not 0 <= self.spread < math.inf:
            raise ValueError(
                f"{self.count} blocks with a spread of {self.spread}: expected at least 1 and 0"
            )

    def to_json(self) -> dict[str, object]:
        """Plain values."""
        return {"count": self.count, "spread": rounded(self.spread)}

    @classmethod
    def from_json(cls, value: Any) -> BlockSummary:  # noqa: ANN401 - of a file
        """The inverse of `to_json`."""
        match value:
            case {"count": int(count), "spread": int() | float() as spread}:
                return cls(count, float(spread))
        raise ValueError(f"{value!r:.80} is no summary of blocks: expected such as {_SHAPE}")


def block_summary(series: Series) -> BlockSummary | None:
    """The summary of a session's blocks; None if there are too few for one.

    `spread = 1.4826 median |log r - median(log r)|` over the rates `r` of the blocks in which
    anything was answered.
    """
    rates = np.array([rate for rate in series.rate if rate > 0])
    if len(rates) < MIN_BLOCKS:
        return None
    costs = np.log(rates)
    return BlockSummary(len(rates), deviation(np.abs(costs - np.median(costs))))
