"""How a new baseline differs from the old one: metrics, conditions and software."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_dlperf.metrics import in_order, metric_named
from pytest_dlperf.units import format_change, format_quantity

if TYPE_CHECKING:
    from collections.abc import Collection

    from pytest_dlperf.results.baseline import BaselineEntry


@dataclass(frozen=True, slots=True)
class MetricDiff:
    """One metric before and after, in its base unit; None where it was not measured."""

    metric: str
    old: float | None
    new: float | None

    @property
    def relative(self) -> float | None:
        """The relative change; of shares the difference. None without both, or from 0."""
        if self.old is None or self.new is None:
            return None
        if metric_named(self.metric).unit == "share":
            return self.new - self.old
        return self.new / self.old - 1 if self.old > 0 else None

    @property
    def visible(self) -> bool:
        """Whether the change is as large as the metric's `detect`, in either direction."""
        if self.relative is None:
            return self.old != self.new
        detect = metric_named(self.metric).detect
        if metric_named(self.metric).unit == "share":
            return abs(self.relative) >= detect
        ratio = 1 + self.relative
        return ratio <= 0 or abs(math.log(ratio)) >= math.log1p(detect)


def changes_between(
    old: BaselineEntry, new: BaselineEntry, shown: Collection[str]
) -> tuple[MetricDiff, ...]:
    """The metrics that differ visibly, and those in `shown`, in the order of the metrics table.

    Of several sessions the geometric mean counts, of shares the newest session.
    """
    sessions = (*old.sessions, *new.sessions)
    names = in_order(name for session in sessions for name in session.metrics)
    changes = (MetricDiff(name, _level(old, name), _level(new, name)) for name in names)
    return tuple(
        change
        for change in changes
        if change.visible or (change.metric in shown and change.new is not None)
    )


def _level(entry: BaselineEntry, name: str) -> float | None:
    values = [s.metrics[name].value for s in entry.sessions if name in s.metrics]
    if not values or metric_named(name).unit == "share" or min(values) <= 0:
        return values[-1] if values else None
    if len(values) == 1:
        return values[0]  # exp(log(x)) is not quite x
    return math.exp(sum(map(math.log, values)) / len(values))


def change_lines(old: BaselineEntry, new: BaselineEntry, shown: Collection[str]) -> list[str]:
    """Lines of the changes of metrics (and those in `shown`), conditions and software."""
    environment = new.environment.changes(old.environment)
    return [
        *map(_line, changes_between(old, new, shown)),
        *_conditions(old, new),
        *environment["blocking"],
        *environment["warning"],
    ]


def _line(change: MetricDiff) -> str:
    unit = metric_named(change.metric).unit
    old = format_quantity(change.old, unit) if change.old is not None else ""
    new = format_quantity(change.new, unit) if change.new is not None else ""
    if not new:
        return f"{change.metric} {old} -> not measured"
    if not old:
        return f"{change.metric} not measured -> {new}"
    line = f"{change.metric} {old} -> {new}"
    if change.relative is None:
        return line
    return f"{line} ({format_change(change.relative, unit, digits=1)})"


def _conditions(old: BaselineEntry, new: BaselineEntry) -> list[str]:
    pairs = {
        "scenario": (old.scenario, new.scenario),
        "serving": (old.serving, new.serving),
        "slo": (_limit(old.slo), _limit(new.slo)),
    }
    return [f"{what} {then} -> {now}" for what, (then, now) in pairs.items() if then != now]


def _limit(slo: float | None) -> str:
    return "none" if slo is None else format_quantity(slo, "s")
