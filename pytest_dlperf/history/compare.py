"""Comparison of the sessions of one commit, branch or run with those of another.

Each metric is judged as by a budget that allows no loss (`throughput >= baseline`, `p99 <=
baseline`): FAIL if a loss is proven, PASS if a loss of the metric's `detect` is excluded. All share
one error rate (`holm`), in which metrics that say the same have one part.
"""

from __future__ import annotations

import dataclasses
import math
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeAlias

from pytest_dlperf.history.compare_decisions import OpenRow, decide
from pytest_dlperf.history.comparison import Compared, Comparison, Row
from pytest_dlperf.history.entries import condition_changes
from pytest_dlperf.judge.conditions import ALIKE
from pytest_dlperf.judge.contrasts import contrast_of, loss_on_rows, unpaired, values_of
from pytest_dlperf.judge.error_rates import ALPHA
from pytest_dlperf.judge.loss_evidence import (
    CountedLoss,
    LossEvidence,
    MeasuredLoss,
    SessionLoss,
    excursions_of_mean,
)
from pytest_dlperf.metrics import in_order, is_usual, metric_named
from pytest_dlperf.results.verdict import Verdict
from pytest_dlperf.statistics.prediction import Session, reference_change
from pytest_dlperf.statistics.session_noise import EXPECTED_EXCURSIONS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from pytest_dlperf.history.entries import MeasurementId
    from pytest_dlperf.history.sources import Side
    from pytest_dlperf.metrics import Metric
    from pytest_dlperf.results.baseline import BaselineEntry
    from pytest_dlperf.results.environment import MachineClass

COMPARED: Final = (
    *("throughput", "goodput", "max_rate", "p50", "p95", "p99", "accuracy", "peak_memory"),
    *("train.time", "train.throughput", "train.peak_memory"),
)
"""Metrics compared by default, with users' metrics, those with a goal, and errors above zero."""

_NOTABLE_CHANGE: Final = 0.02  # of the machine's speed


Unbounded: TypeAlias = "Mapping[MeasurementId, Collection[str]]"
"""By measurement, the metrics that some session was too short to bound from above."""

_NONE: Final[Unbounded] = MappingProxyType({})


def compare_sides(  # noqa: PLR0913 - both sides, and what is known of their sessions
    base: Side,
    candidate: Side,
    metrics: Collection[str] | None = None,
    noise: Mapping[MeasurementId, str] = MappingProxyType({}),
    *,
    base_unbounded: Unbounded = _NONE,
    unbounded: Unbounded = _NONE,
) -> Comparison:
    """Compare each metric of each measurement of the candidate.

    Args:
        base: what to compare with.
        candidate: what to compare.
        metrics: names of the metrics to compare; None for the default ones.
        noise: why speeds of a measurement cannot be compared.
        base_unbounded: of the base's sessions.
        unbounded: of the candidate's.
    """
    drafts: list[tuple[Compared, list[Row | OpenRow]]] = []
    warnings: dict[str, None] = {}
    base_by_machine: dict[tuple[str, str], dict[MachineClass, BaselineEntry]] = {}
    for key, entry in base.items():
        base_by_machine.setdefault((key.test, key.name), {})[key.machine] = entry
    for key in sorted(candidate, key=_order):
        new = candidate[key]
        on_machines = base_by_machine.get((key.test, key.name), {})
        old = on_machines.get(key.machine)
        obstacle = _obstacle(new, old, key.machine, on_machines)
        speed_changed, note = _machine_speed(new, old)
        of_speeds = noise.get(key, "") or speed_changed
        if old is not None:
            software = new.environment.changes(old.environment)["warning"]
            if software:
                warnings[f"since the base: {', '.join(software)}"] = None
        too_short = base_unbounded.get(key, ()), unbounded.get(key, ())
        rows: list[Row | OpenRow] = [
            _row(metric, new, old, obstacle or (of_speeds if metric.is_speed else ""), too_short)
            if on_machines
            else _new(metric, new, "only the candidate has this measurement")
            for metric in map(metric_named, _names(new, old, too_short[1], metrics))
        ]
        compared = Compared(
            key=key,
            base=old.revision if old else None,
            candidate=new.revision,
            base_sessions=len(old.sessions) if old else 0,
            sessions=len(new.sessions),
            rows=(),
            note=note,
            scenario=new.scenario,
        )
        drafts.append((compared, rows))
    decided = iter(decide(drafts))
    return Comparison(
        measurements=tuple(
            dataclasses.replace(
                compared,
                rows=tuple(next(decided) if isinstance(row, OpenRow) else row for row in rows),
            )
            for compared, rows in drafts
        ),
        gone=_gone(base, candidate, metrics, base_unbounded, unbounded),
        warnings=tuple(warnings),
        alpha=ALPHA,
    )


def _order(key: MeasurementId) -> tuple[str, str, str]:
    return key.test, key.name, key.machine.slug


def _names(
    new: BaselineEntry,
    old: BaselineEntry | None,
    unbounded: Collection[str],
    metrics: Collection[str] | None,
) -> Iterator[str]:
    """The metrics of the candidate that are compared, in the order of the table of metrics."""
    sessions = (*new.sessions, *(old.sessions if old else ()))
    for name in _metrics_of(new, unbounded):
        if metrics is not None:
            wanted = name in metrics
        elif name == "errors":
            wanted = any(s.metrics[name].value for s in sessions if name in s.metrics)
        else:
            wanted = is_compared(name)
        if wanted:
            yield name


def is_compared(name: str) -> bool:
    """Whether a metric is compared unless others are named."""
    return name in COMPARED or is_usual(name)


def _metrics_of(entry: BaselineEntry, unbounded: Collection[str]) -> tuple[str, ...]:
    measured = (name for session in entry.sessions for name in session.metrics)
    return in_order((*measured, *unbounded))


def _gone(
    base: Side,
    candidate: Side,
    metrics: Collection[str] | None,
    base_unbounded: Unbounded,
    unbounded: Unbounded,
) -> tuple[str, ...]:
    """What only the base has: whole measurements, or metrics of one."""
    titles = {key.title for key in candidate}
    gone = dict.fromkeys(key.title for key in sorted(base, key=_order) if key.title not in titles)
    for key in sorted(candidate.keys() & base.keys(), key=_order):
        kept = _metrics_of(candidate[key], unbounded.get(key, ()))
        for name in _metrics_of(base[key], base_unbounded.get(key, ())):
            wanted = is_compared(name) if metrics is None else name in metrics
            if wanted and name not in kept:
                gone[f"{name} of {key.title}"] = None
    return tuple(gone)


def _obstacle(
    new: BaselineEntry,
    old: BaselineEntry | None,
    machine: MachineClass,
    on_machines: Mapping[MachineClass, BaselineEntry],
) -> str:
    """Why two measurements cannot be compared; empty if they can."""
    if old is None:
        nearest = machine.nearest(on_machines)
        if nearest is None:
            return ""
        return f"the base was measured on another machine class: {machine.differs(nearest)}"
    for name, before, after in condition_changes(old, new):
        if name != "slo":  # which only goodput depends on
            return f"the base's {name} was {before}, the candidate's is {after}"
    blocking = new.environment.changes(old.environment)["blocking"]
    return f"since the base: {', '.join(blocking)}" if blocking else ""


def _machine_speed(new: BaselineEntry, old: BaselineEntry | None) -> tuple[str, str]:
    """Why the machine's speed leaves speeds undecided, and a note on what was allowed for."""
    if old is None:
        return "", ""
    sides = [
        [Session(0.0, 0.0, session.yardstick) for session in side.sessions] for side in (old, new)
    ]
    change = reference_change(sides[0], *sides[1])
    if change is None or abs(change - 1) < _NOTABLE_CHANGE:
        return "", ""
    took = f"the yardstick took {change:.2f} times as long as with the base"
    least, most = ALIKE
    if least <= change <= most:
        return "", f"{took}, which was allowed for"
    return f"the machine is not what it was: {took}", ""


def _row(
    metric: Metric,
    new: BaselineEntry,
    old: BaselineEntry | None,
    obstacle: str,
    too_short: tuple[Collection[str], Collection[str]],
) -> Row | OpenRow:
    name = metric.name
    sides = ("base", old, too_short[0]), ("candidate", new, too_short[1])
    incomplete = ""
    short = [side for side, _, names in sides if name in names]
    open_ = [side for side, entry, _ in sides if side in short and not _has(entry, name)]
    if open_:
        whose = " and ".join(f"the {side}'s" for side in open_)
        obstacle = obstacle or f"{whose} runs were too short to bound it from above"
    elif short:
        whose = " and ".join(f"the {side}'s" for side in short)
        incomplete = f"without those of {whose} sessions that were too short to bound it"
    elif old is not None and not _has(old, name):
        return _new(metric, new, f"the base has no {name}")
    row = Row(
        metric=name,
        base=_value(metric, old),
        candidate=_value(metric, new),
        change=None,
        verdict=Verdict.INCONCLUSIVE,
    )
    if old is not None and name == "goodput" and new.slo != old.slo:
        obstacle = obstacle or "the base's goodput was for another slo"
    if obstacle or old is None:
        return dataclasses.replace(row, reason=obstacle)
    evidence, remark = _evidence(metric, new, old)
    reason = "; ".join(filter(None, (remark, incomplete)))
    return OpenRow(dataclasses.replace(row, reason=reason), metric, evidence)


def _new(metric: Metric, new: BaselineEntry, reason: str) -> Row:
    return Row(metric.name, None, _value(metric, new), None, Verdict.NEW, reason=reason)


def _has(side: BaselineEntry | None, name: str) -> bool:
    return side is not None and any(name in session.metrics for session in side.sessions)


def _value(metric: Metric, side: BaselineEntry | None) -> float | None:
    values = [one.measured.value for one in values_of(metric, side)] if side else []
    if not values:
        return None
    if metric.unit == "share":
        return values[-1]
    if min(values) == max(values):
        return values[0]
    if min(values) <= 0:
        return math.fsum(values) / len(values)
    return math.exp(math.fsum(map(math.log, values)) / len(values))


def _evidence(metric: Metric, new: BaselineEntry, old: BaselineEntry) -> tuple[LossEvidence, str]:
    """The sessions' evidence of a loss, and a remark on it."""
    if metric.name == "errors":
        before, now = (values_of(metric, side)[-1].measured.value for side in (old, new))
        return CountedLoss(now - before, metric.detect), ""
    if metric.is_speed:
        values = values_of(metric, new)
        days = len({value.day or number for number, value in enumerate(values)})
        excursions = excursions_of_mean(EXPECTED_EXCURSIONS, days)
        return SessionLoss(contrast_of(metric, old, new), excursions), ""
    if metric.unit != "share":
        return MeasuredLoss(contrast_of(metric, old, new)), ""
    on_rows = loss_on_rows(metric, new, old)
    if on_rows is not None:
        return on_rows, ""
    return MeasuredLoss(unpaired(metric, old, new)), "not of the same rows"
