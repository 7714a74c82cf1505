"""Changes: what an accepted change replaces, as the lines of a diff."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_dlperf.baselines.diff import changes_between
from pytest_dlperf.metrics import metric_named
from pytest_dlperf.units import format_quantity

if TYPE_CHECKING:
    from collections.abc import Collection

    from pytest_dlperf.baselines.diff import Change
    from pytest_dlperf.results.baseline import Accepted


def change_lines(old: Accepted, new: Accepted, about: Collection[str]) -> list[str]:
    """What differs: metrics, the conditions of the measurement, and the software.

    Args:
        old: what was accepted before.
        new: what is accepted now.
        about: metrics that are told though they do not differ visibly.
    """
    environment = new.environment.changes(old.environment)
    return [
        *map(_line, changes_between(old, new, about)),
        *_conditions(old, new),
        *environment["blocking"],
        *environment["warning"],
    ]


def _line(change: Change) -> str:
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
    by = f"{change.relative * 100:+.1f} {'pt' if unit == 'share' else '%'}"
    return f"{line} ({by})"


def _conditions(old: Accepted, new: Accepted) -> list[str]:
    pairs = {
        "scenario": (old.scenario, new.scenario),
        "serving": (old.serving, new.serving),
        "slo": (_limit(old.slo), _limit(new.slo)),
    }
    return [f"{what} {then} -> {now}" for what, (then, now) in pairs.items() if then != now]


def _limit(slo: float | None) -> str:
    return "none" if slo is None else format_quantity(slo, "s")
