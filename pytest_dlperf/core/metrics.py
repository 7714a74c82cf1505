"""What can be measured: one table of names, units, directions and judging constants."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from pytest_dlperf.core.units import Dimension

Better: TypeAlias = Literal["higher", "lower"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One thing that is measured.

    Attributes:
        name: as written in budgets.
        unit: dimension of its values.
        better: which direction is an improvement.
        detect: the loss that a relative budget must be able to see: a ratio minus one for
            speeds (0.05 is 5 %), an absolute difference for shares (0.01 is one point).
        run_noise: prior standard deviation, as a ratio, between sessions that measure unchanged
            code on one machine, beyond their own errors; what stored sessions show takes its
            place by and by. Of a loss: what kernels that add in another order, or training again
            from the same seed, make of it.
        percentile: which percentile of the latency it is, in percent, if it is one.
        latency: whether it says how long a request took.
    """

    name: str
    unit: Dimension
    better: Better
    detect: float
    run_noise: float = 0.0
    percentile: float | None = None
    latency: bool = False


def _percentile(percent: float, detect: float) -> Metric:
    return Metric(f"p{percent:g}", "s", "lower", detect, max(0.05, detect), percent, latency=True)


METRICS: Final = MappingProxyType(
    {
        metric.name: metric
        for metric in (
            Metric("throughput", "1/s", "higher", 0.05, 0.05),
            Metric("goodput", "1/s", "higher", 0.05, 0.05),
            Metric("max_rate", "1/s", "higher", 0.10, 0.10),
            _percentile(50, 0.05),
            _percentile(90, 0.10),
            _percentile(95, 0.10),
            _percentile(99, 0.25),
            _percentile(99.9, 0.25),
            Metric("mean", "s", "lower", 0.05, 0.05, latency=True),
            Metric("max", "s", "lower", 0.25, 0.25, latency=True),
            Metric("errors", "share", "lower", 0.001),
            Metric("accuracy", "share", "higher", 0.01),
            Metric("loss", "1", "lower", 0.05, 0.01),
            Metric("peak_memory", "bytes", "lower", 0.05, 0.05),
            Metric("compile_time", "s", "lower", 0.25, 0.25),
        )
    }
)
"""Every metric that a budget may name."""

ANSWER_METRICS: Final = frozenset({"accuracy", "loss"})
"""Metrics of the answers, not of the machine: they need labels, and hold in a smoke run too."""

RATE_METRICS: Final = ANSWER_METRICS | {"max_rate", "errors", "peak_memory", "compile_time"}
"""What a search for the highest rate measures: its loads differ, so they have no one latency."""

LOAD_METRICS: Final = frozenset(METRICS) - {"max_rate"}
"""What one load measures."""
