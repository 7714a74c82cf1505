"""Comparison of the sessions of one commit, branch or run with those of another.

Each metric is judged as by a budget that allows no loss (`throughput >= baseline`, `p99 <=
baseline`): FAIL if a loss is proven, PASS if a loss of the metric's `detect` is excluded.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from pytest_dlperf.history.entries import condition_changes
from pytest_dlperf.judge.conditions import ALIKE
from pytest_dlperf.judge.contrasts import contrast_of, loss_on_rows, unpaired, values_of
from pytest_dlperf.judge.error_rates import ALPHA, BETA
from pytest_dlperf.judge.losses import (
    VERDICTS,
    CountedLoss,
    LossEvidence,
    LossLimits,
    MeasuredLoss,
    SessionLoss,
    change_by,
    changed_by,
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
    from pytest_dlperf.results.baseline import BaselineEntry, Revision
    from pytest_dlperf.results.environment import MachineClass
    from pytest_dlperf.statistics.estimate import Estimate

COMPARED: Final = (
    *("throughput", "goodput", "max_rate", "p50", "p95", "p99", "accuracy", "peak_memory"),
    *("train.time", "train.throughput", "train.peak_memory"),
)
"""Metrics compared by default, with users' metrics, those with a goal, and errors above zero."""

_NOTABLE_CHANGE: Final = 0.02  # of the machine's speed
_HIDDEN: Final = "the noise hides a loss of this size"


@dataclass(frozen=True, slots=True)
class Row:
    """One metric of one measurement.

    Attributes:
        metric: name.
        base: geometric mean of the base's sessions in the metric's base unit; of a share, the
            newest session's; None if it has none.
        candidate: the same of the candidate.
        change: from base to candidate with its interval, above 0 if the value is larger: a ratio
            minus one, or of shares the difference. None if they cannot be compared.
        verdict: as of a budget that allows no loss.
        improved: whether a gain is proven.
        reason: why the verdict is neither PASS nor FAIL.
        fails_at: the change that would be a FAIL, if the verdict is open because of noise.
    """

    metric: str
    base: float | None
    candidate: float | None
    change: Estimate | None
    verdict: Verdict
    improved: bool = False
    reason: str = ""
    fails_at: float | None = None


@dataclass(frozen=True, slots=True)
class Compared:
    """One measurement of both sides, on one machine class.

    Attributes:
        key: which measurement.
        base: revision of the base's newest session; None if it has none.
        candidate: revision of the candidate's newest session.
        base_sessions: number of the base's sessions.
        sessions: number of the candidate's sessions.
        rows: one for each metric.
        note: by how much the machine's speed changed, if that was allowed for.
    """

    key: MeasurementId
    base: Revision | None
    candidate: Revision
    base_sessions: int
    sessions: int
    rows: tuple[Row, ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """All measurements of two sides.

    Attributes:
        measurements: the candidate's, sorted by test, name and machine class.
        gone: titles of measurements and metrics that only the base has.
        warnings: changes of software between them.
        alpha: error rate of a FAIL for each metric, 1 % in total.
    """

    measurements: tuple[Compared, ...]
    gone: tuple[str, ...]
    warnings: tuple[str, ...]
    alpha: float

    @property
    def failed(self) -> bool:
        """Whether any loss is proven."""
        return any(
            row.verdict is Verdict.FAIL
            for measurement in self.measurements
            for row in measurement.rows
        )


@dataclass(frozen=True, slots=True)
class _Open:
    """A row to be decided when the number of such rows, and so the error rate, is known."""

    row: Row
    metric: Metric
    evidence: LossEvidence


def compare_sides(
    base: Side,
    candidate: Side,
    metrics: Collection[str] | None = None,
    noise: Mapping[MeasurementId, str] = MappingProxyType({}),
) -> Comparison:
    """Compare each metric of each measurement of the candidate.

    Args:
        base: what to compare with.
        candidate: what to compare.
        metrics: names of the metrics to compare; None for the default ones.
        noise: why speeds of a measurement cannot be compared.
    """
    drafts: list[tuple[Compared, list[Row | _Open]]] = []
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
        rows: list[Row | _Open] = [
            _row(metric, new, old, obstacle or (of_speeds if metric.is_speed else ""))
            if on_machines
            else _new(metric, new, "only the candidate has this measurement")
            for metric in map(metric_named, _names(new, old, metrics))
        ]
        compared = Compared(
            key=key,
            base=old.revision if old else None,
            candidate=new.revision,
            base_sessions=len(old.sessions) if old else 0,
            sessions=len(new.sessions),
            rows=(),
            note=note,
        )
        drafts.append((compared, rows))
    judged = sum(isinstance(row, _Open) and row.evidence.errs for _, rows in drafts for row in rows)
    alpha = ALPHA / max(1, judged)
    return Comparison(
        measurements=tuple(
            dataclasses.replace(compared, rows=tuple(_decided(row, alpha) for row in rows))
            for compared, rows in drafts
        ),
        gone=_gone(base, candidate, metrics),
        warnings=tuple(warnings),
        alpha=alpha,
    )


def _order(key: MeasurementId) -> tuple[str, str, str]:
    return key.test, key.name, key.machine.slug


def _names(
    new: BaselineEntry, old: BaselineEntry | None, metrics: Collection[str] | None
) -> Iterator[str]:
    """The metrics of the candidate that are compared, in the order of the table of metrics."""
    sessions = (*new.sessions, *(old.sessions if old else ()))
    for name in _metrics_of(new):
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


def _metrics_of(entry: BaselineEntry) -> tuple[str, ...]:
    return in_order(name for session in entry.sessions for name in session.metrics)


def _gone(base: Side, candidate: Side, metrics: Collection[str] | None) -> tuple[str, ...]:
    """What only the base has: whole measurements, or metrics of one."""
    titles = {key.title for key in candidate}
    gone = dict.fromkeys(key.title for key in sorted(base, key=_order) if key.title not in titles)
    for key in sorted(candidate.keys() & base.keys(), key=_order):
        kept = _metrics_of(candidate[key])
        for name in _metrics_of(base[key]):
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
        [Session(0.0, 0.0, math.log(s.yardstick) if s.yardstick else None) for s in side.sessions]
        for side in (old, new)
    ]
    change = reference_change(sides[0], *sides[1])
    if change is None or abs(change - 1) < _NOTABLE_CHANGE:
        return "", ""
    took = f"the reference model took {change:.2f} times as long as with the base"
    least, most = ALIKE
    if least <= change <= most:
        return "", f"{took}, which was allowed for"
    return f"the machine is not what it was: {took}", ""


def _row(
    metric: Metric, new: BaselineEntry, old: BaselineEntry | None, obstacle: str
) -> Row | _Open:
    name = metric.name
    if old is not None and not any(name in session.metrics for session in old.sessions):
        return _new(metric, new, f"the base has no {name}")
    row = Row(
        metric=name,
        base=_value(metric, old) if old is not None else None,
        candidate=_value(metric, new),
        change=None,
        verdict=Verdict.INCONCLUSIVE,
    )
    if old is not None and name == "goodput" and new.slo != old.slo:
        obstacle = obstacle or "the base's goodput was for another slo"
    if obstacle or old is None:
        return dataclasses.replace(row, reason=obstacle)
    evidence, remark = _evidence(metric, new, old)
    return _Open(dataclasses.replace(row, reason=remark), metric, evidence)


def _new(metric: Metric, new: BaselineEntry, reason: str) -> Row:
    return Row(metric.name, None, _value(metric, new), None, Verdict.NEW, reason=reason)


def _value(metric: Metric, side: BaselineEntry) -> float:
    values = [s.metrics[metric.name].value for s in side.sessions if metric.name in s.metrics]
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
        return CountedLoss(_value(metric, new) - _value(metric, old), metric.detect), ""
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


def _decided(draft: Row | _Open, alpha: float) -> Row:
    if isinstance(draft, Row):
        return draft
    row, evidence, metric = draft.row, draft.evidence, draft.metric
    verdict = VERDICTS[evidence.decision(LossLimits.allowing(metric, 0.0), alpha, BETA)]
    is_open = verdict is Verdict.INCONCLUSIVE
    visible = evidence.visible(alpha) if is_open else None
    possible = visible is not None and (metric.unit != "share" or visible <= 1)
    return dataclasses.replace(
        row,
        change=change_by(metric, evidence.loss),
        verdict=verdict,
        improved=evidence.improved(alpha),
        reason="; ".join(filter(None, (row.reason, _HIDDEN if is_open else ""))),
        fails_at=changed_by(metric, visible) if visible is not None and possible else None,
    )
