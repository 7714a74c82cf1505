"""Pareto front: what nothing else beats in every metric."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from pytest_dlperf.metrics import Metric, metric_named

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pytest_dlperf.statistics.estimate import Estimate

WEIGHED: Final = ("throughput", "p99", "accuracy", "model_size", "train.time")
"""The metrics between which a setup chooses."""


def front(points: Sequence[Mapping[str, Estimate]], metrics: Iterable[str]) -> tuple[int, ...]:
    """The places of the points that no other one dominates, in their order.

    Args:
        points: metrics by name; one that lacks a metric is neither dominated nor dominates.
        metrics: to compare by.
    """
    names = [metric_named(name) for name in metrics]
    return tuple(
        place
        for place, one in enumerate(points)
        if not any(dominates(other, one, names) for other in points if other is not one)
    )


def common_metrics(
    points: Sequence[Mapping[str, Estimate]], metrics: Iterable[str]
) -> tuple[str, ...]:
    """Those of the metrics that every point has."""
    return tuple(name for name in metrics if all(name in point for point in points))


def dominates(
    one: Mapping[str, Estimate], other: Mapping[str, Estimate], metrics: Iterable[Metric]
) -> bool:
    """Whether one is at least as good in every metric, and better in one by more than the noise.

    The noise of a difference is taken from both intervals, as of independent measurements; a
    figure that both share, such as the time of a training they have in common, has none.
    """
    beyond = False
    for metric in metrics:
        if metric.name not in one or metric.name not in other:
            return False
        mine, its = one[metric.name], other[metric.name]
        gain = mine.value - its.value if metric.better == "higher" else its.value - mine.value
        if gain < 0:
            return False
        beyond = beyond or gain > math.hypot(*map(half_width, (mine, its)))
    return beyond


def half_width(estimate: Estimate) -> float:
    """How far an interval reaches, its longer side."""
    return max(estimate.high - estimate.value, estimate.value - estimate.low)
