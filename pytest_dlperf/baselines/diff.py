"""Changes: how what is accepted now differs from what was accepted before, metric by metric."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_dlperf.metrics import in_order, metric_named

if TYPE_CHECKING:
    from collections.abc import Collection

    from pytest_dlperf.results.baseline import Accepted


@dataclass(frozen=True, slots=True)
class Change:
    """One metric before and after.

    Attributes:
        metric: its name.
        old: what it was, in its base unit; None if it was not measured.
        new: what it is; None if it is not measured any more.
    """

    metric: str
    old: float | None
    new: float | None

    @property
    def relative(self) -> float | None:
        """The change, as a share of what it was; of shares in shares of one.

        None where there is nothing to relate it to.
        """
        if self.old is None or self.new is None:
            return None
        if metric_named(self.metric).unit == "share":
            return self.new - self.old
        return self.new / self.old - 1 if self.old > 0 else None

    @property
    def visible(self) -> bool:
        """Whether it is as large as what a relative budget must find, in either direction."""
        if self.relative is None:
            return self.old != self.new
        detect = metric_named(self.metric).detect
        if metric_named(self.metric).unit == "share":
            return abs(self.relative) >= detect
        ratio = 1 + self.relative
        return ratio <= 0 or abs(math.log(ratio)) >= math.log1p(detect)


def changes_between(old: Accepted, new: Accepted, about: Collection[str]) -> tuple[Change, ...]:
    """What differs visibly, and what people ask about though it does not.

    Args:
        old: what was accepted before; of several sessions the geometric mean counts, of shares
            the newest session.
        new: what is accepted now; likewise.
        about: metrics that are told in any case.

    Returns:
        In the order of the table of metrics.
    """
    sessions = (*old.sessions, *new.sessions)
    names = in_order(name for session in sessions for name in session.metrics)
    both = (Change(name, _level(old, name), _level(new, name)) for name in names)
    return tuple(
        change
        for change in both
        if change.visible or (change.metric in about and change.new is not None)
    )


def _level(accepted: Accepted, name: str) -> float | None:
    values = [s.metrics[name].value for s in accepted.sessions if name in s.metrics]
    if not values or metric_named(name).unit == "share" or min(values) <= 0:
        return values[-1] if values else None
    if len(values) == 1:
        return values[0]  # exp(log(x)) is not quite x
    return math.exp(sum(map(math.log, values)) / len(values))
