"""Series: the course of a load over time, for the curves of reports."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from pytest_dlperf.load.totals import LoadTotals

_NS: Final = 1e-9
_DIGITS: Final = 5


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
    """The curves of a load.

    Args:
        totals: of at least one call.
        latencies: whether latencies have a meaning in the scenario.
    """
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
