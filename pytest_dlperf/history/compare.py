"""Comparison: what sessions of one commit, branch or run say beside those of another.

Each metric is judged as by a budget that allows no loss (`throughput >= baseline`, `p99 <=
baseline`): FAIL when a loss is proven, PASS when one of the metric's `detect` is excluded.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_dlperf.judge.conditions import ALIKE
from pytest_dlperf.judge.contrasts import contrast_of, loss_on_rows, unpaired
from pytest_dlperf.judge.error_rates import ALPHA, BETA
from pytest_dlperf.judge.losses import (
    VERDICTS,
    CountedLoss,
    LossEvidence,
    LossLimits,
    MeasuredLoss,
    change_by,
    changed_by,
)
from pytest_dlperf.metrics import in_order, is_usual, metric_named
from pytest_dlperf.results.measurement import title_of
from pytest_dlperf.results.verdict import Verdict
from pytest_dlperf.statistics.prediction import Session, reference_change

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
"""Metrics that are compared unless others are named; users' metrics, those with a goal, and errors
above zero are compared too."""

_WORTH_SAYING: Final = 0.02
_HIDDEN: Final = "the noise hides a loss of this size"


@dataclass(frozen=True, slots=True)
class Row:
    """One metric of one measurement.

    Attributes:
        metric: its name.
        base: the geometric mean of the base's sessions in the metric's base unit, or the newest
            share; None if it has none.
        candidate: the same of the candidate.
        change: from base to candidate, above 0 where the value is larger: a ratio minus one, or
            of shares the difference; with its interval. None if they cannot be compared.
        verdict: as of a budget that allows no loss.
        improved: whether it is proven to be better.
        reason: why the verdict is neither PASS nor FAIL.
        fails_at: the change at which it would have been a FAIL; None unless the noise hides it.
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
        place: which.
        base: code of the base's newest session; None if it has none.
        candidate: code of the candidate's newest session.
        base_sessions: how many the base has.
        sessions: how many the candidate has.
        rows: a row for each metric.
        note: what the machine's speed was allowed for; may be empty.
    """

    place: MeasurementId
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
        measurements: of the candidate, in the order of tests, names and machine classes.
        gone: measurements and metrics that only the base has, for people.
        warnings: software that changed in between.
        alpha: of metrics that did not change, the share that may have a FAIL, each: 1 % for all.
    """

    measurements: tuple[Compared, ...]
    gone: tuple[str, ...]
    warnings: tuple[str, ...]
    alpha: float

    @property
    def failed(self) -> bool:
        """Whether any loss is proven."""
        return any(row.verdict is Verdict.FAIL for one in self.measurements for row in one.rows)


@dataclass(frozen=True, slots=True)
class _Open:
    """A row that has yet to be decided: the error rate depends on how many there are."""

    row: Row
    metric: Metric
    evidence: LossEvidence


def compare_sides(
    base: Side, candidate: Side, metrics: Collection[str] | None = None
) -> Comparison:
    """Compare each metric of each measurement that the candidate has.

    Args:
        base: what is compared with.
        candidate: what is compared.
        metrics: names of the metrics to compare; None takes the usual ones.
    """
    drafts: list[tuple[Compared, list[Row | _Open]]] = []
    gone = _gone(base, candidate, metrics)
    warnings: dict[str, None] = {}
    old_by_machine: dict[tuple[str, str], dict[MachineClass, BaselineEntry]] = {}
    for place, accepted in base.items():
        old_by_machine.setdefault((place.test, place.name), {})[place.machine] = accepted
    for place in sorted(candidate, key=_order):
        found = candidate[place]
        elsewhere = old_by_machine.get((place.test, place.name), {})
        old = elsewhere.get(place.machine)
        obstacle = _obstacle(found, old, place.machine, elsewhere)
        change, note = _machine_change(found, old)
        if old is not None:
            warnings.update(dict.fromkeys(_warnings(found, old)))
        rows: list[Row | _Open] = [
            _row(metric, found, old, obstacle or (change if metric.is_speed else ""))
            if elsewhere
            else _new(metric, found, "only the candidate has this measurement")
            for metric in map(metric_named, _names(found, old, metrics))
        ]
        compared = Compared(
            place=place,
            base=old.revision if old else None,
            candidate=found.revision,
            base_sessions=len(old.sessions) if old else 0,
            sessions=len(found.sessions),
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
        gone=gone,
        warnings=tuple(warnings),
        alpha=alpha,
    )


def _order(place: MeasurementId) -> tuple[str, str, str]:
    return place.test, place.name, place.machine.slug


def _title(place: MeasurementId) -> str:
    return title_of(place.test, place.name)


def _names(
    found: BaselineEntry, old: BaselineEntry | None, metrics: Collection[str] | None
) -> Iterator[str]:
    """The metrics of the candidate that are compared, in the order of the table of metrics."""
    for name in in_order(name for session in found.sessions for name in session.metrics):
        values = [
            session.metrics[name].value
            for side in (found, old)
            if side is not None
            for session in side.sessions
            if name in session.metrics
        ]
        wanted = is_compared(name) or (name == "errors" and any(values))
        if wanted if metrics is None else name in metrics:
            yield name


def is_compared(name: str) -> bool:
    """Whether a metric is compared unless others are named."""
    return name in COMPARED or is_usual(name)


def _has(side: BaselineEntry, name: str) -> bool:
    return any(name in session.metrics for session in side.sessions)


def _gone(base: Side, candidate: Side, metrics: Collection[str] | None) -> tuple[str, ...]:
    """What the base alone has: whole measurements, or metrics of one."""
    there = {_title(place) for place in candidate}
    lost = dict.fromkeys(_title(p) for p in sorted(base, key=_order) if _title(p) not in there)
    for place in sorted(candidate, key=_order):
        old = base.get(place)
        if old is None:
            continue
        for name in in_order(name for session in old.sessions for name in session.metrics):
            wanted = is_compared(name) if metrics is None else name in metrics
            if wanted and not _has(candidate[place], name):
                lost[f"{name} of {_title(place)}"] = None
    return tuple(lost)


def _obstacle(
    found: BaselineEntry,
    old: BaselineEntry | None,
    machine: MachineClass,
    elsewhere: Mapping[MachineClass, BaselineEntry],
) -> str:
    """Why nothing of two measurements can be compared; empty if it can."""
    if old is None:
        nearest = machine.nearest(elsewhere)
        if nearest is None:
            return ""
        return f"the base was measured on another machine class: {machine.differs(nearest)}"
    for what, now, then in (
        ("scenario", found.scenario, old.scenario),
        ("serving", found.serving, old.serving),
    ):
        if now != then:
            return f"the base's {what} was {then}, the candidate's is {now}"
    blocking = found.environment.changes(old.environment)["blocking"]
    return f"since the base: {', '.join(blocking)}" if blocking else ""


def _warnings(found: BaselineEntry, old: BaselineEntry) -> Iterator[str]:
    changes = found.environment.changes(old.environment)["warning"]
    if changes:
        yield f"since the base: {', '.join(changes)}"


def _machine_change(found: BaselineEntry, old: BaselineEntry | None) -> tuple[str, str]:
    """Why speeds cannot be compared, and what was allowed for; of the machine's own speed."""
    if old is None:
        return "", ""
    sides = [
        [Session(0.0, 0.0, math.log(s.yardstick) if s.yardstick else None) for s in side.sessions]
        for side in (old, found)
    ]
    change = reference_change(sides[0], *sides[1])
    if change is None or abs(change - 1) < _WORTH_SAYING:
        return "", ""
    said = f"the reference model took {change:.2f} times as long as with the base"
    least, most = ALIKE
    if least <= change <= most:
        return "", f"{said}, which was allowed for"
    return f"the machine is not what it was: {said}", ""


def _row(
    metric: Metric, found: BaselineEntry, old: BaselineEntry | None, obstacle: str
) -> Row | _Open:
    name = metric.name
    if old is not None and not _has(old, name):
        return _new(metric, found, f"the base has no {name}")
    row = Row(
        metric=name,
        base=_value(metric, old) if old is not None else None,
        candidate=_value(metric, found),
        change=None,
        verdict=Verdict.INCONCLUSIVE,
    )
    if old is not None and name == "goodput" and found.slo != old.slo:
        obstacle = obstacle or "the base's goodput was for another slo"
    if obstacle or old is None:
        return dataclasses.replace(row, reason=obstacle)
    evidence, remark = _evidence(metric, found, old)
    return _Open(dataclasses.replace(row, reason=remark), metric, evidence)


def _new(metric: Metric, found: BaselineEntry, reason: str) -> Row:
    return Row(metric.name, None, _value(metric, found), None, Verdict.NEW, reason=reason)


def _value(metric: Metric, side: BaselineEntry) -> float:
    values = [s.metrics[metric.name].value for s in side.sessions if metric.name in s.metrics]
    if metric.unit == "share":
        return values[-1]
    if min(values) == max(values):
        return values[0]
    if min(values) <= 0:
        return math.fsum(values) / len(values)
    return math.exp(math.fsum(map(math.log, values)) / len(values))


def _evidence(metric: Metric, found: BaselineEntry, old: BaselineEntry) -> tuple[LossEvidence, str]:
    """What the sessions say of a loss, and what to know of it."""
    if metric.name == "errors":
        return CountedLoss(_value(metric, found) - _value(metric, old), metric.detect), ""
    if metric.unit != "share":
        return MeasuredLoss(contrast_of(metric, old, found)), ""
    on_rows = loss_on_rows(metric, found, old)
    if on_rows is not None:
        return on_rows, ""
    return MeasuredLoss(unpaired(metric, old, found)), "not of the same rows"


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
