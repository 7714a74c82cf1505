"""Record: one measurement with its judgements, and the JSON of reports and worker processes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from pytest_dlperf.metrics import definitions_of, read_definitions
from pytest_dlperf.results.codec import (
    MisplacedValueError,
    as_text,
    at,
    estimate_from_json,
    fields_from_json,
    fields_to_json,
    metrics_from_json,
    metrics_to_json,
    number_or_none,
    pace_from_json,
    pace_to_json,
)
from pytest_dlperf.results.environment import Environment
from pytest_dlperf.results.measurement import ErrorCount, Measurement
from pytest_dlperf.results.row_evidence import Rows, RowScores
from pytest_dlperf.results.series import Series
from pytest_dlperf.results.usage import Consumption, GpuUse
from pytest_dlperf.results.verdict import Judgement, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pytest_dlperf.statistics.pace import Pace


SCHEMA: Final = 1
"""Version of the JSON report."""

Keeping: TypeAlias = Literal["", "follow", "renew"]
"""Not kept, kept as the next session of the baseline, or kept as the first of a new one."""

_GRAVITY: Final = (
    Verdict.PASS,
    Verdict.NEW,
    Verdict.INCONCLUSIVE,
    Verdict.INVALID,
    Verdict.FAIL,
)


@dataclass(frozen=True, slots=True)
class Record:
    """One measurement with its verdicts.

    Attributes:
        measurement: metrics and evidence.
        judgements: the verdict of each budget.
        hints: next steps for the user.
        quick: whether this was a smoke run, whose speeds mean nothing.
        base: the baseline's commit, if a duel with it would settle more; else empty.
        duel: statistics of a duel, as JSON; None without one.
        environment: the software that it ran with; None if unknown.
        yardstick: the machine's pace around the load, if measured.
        kept: whether it became the baseline, or its next session.
        basis: source of the baseline in the history, such as `history:main`; empty for files.
    """

    measurement: Measurement
    judgements: tuple[Judgement, ...]
    hints: tuple[str, ...]
    quick: bool
    base: str = ""
    duel: Mapping[str, object] | None = None
    environment: Environment | None = None
    yardstick: Pace | None = None
    kept: Keeping = ""
    basis: str = ""

    @property
    def verdict(self) -> Verdict:
        """The gravest verdict of all budgets."""
        return max((j.verdict for j in self.judgements), key=_GRAVITY.index, default=Verdict.PASS)


def with_judged(measurement: Measurement, judgements: Iterable[Judgement]) -> Measurement:
    """The measurement with the values that slots have measured."""
    judged = {
        judgement.metric: judgement.measured
        for judgement in judgements
        if judgement.change is not None and judgement.measured is not None
    }
    metrics = {name: judged.get(name, estimate) for name, estimate in measurement.metrics.items()}
    return replace(measurement, metrics=MappingProxyType(metrics))


def record_to_json(record: Record) -> dict[str, object]:
    """Plain values: finite numbers, text, lists and dictionaries."""
    measurement = record.measurement
    return {
        "test": measurement.test,
        "name": measurement.name,
        "definitions": definitions_of(_named(record)),
        "target": measurement.target,
        "scenario": measurement.scenario,
        "serving": measurement.serving,
        "slo": measurement.slo,
        "seconds": measurement.seconds,
        "requests": measurement.requests,
        "quick": record.quick,
        "metrics": metrics_to_json(measurement.metrics),
        "refused": dict(measurement.refused),
        "unbounded": dict(measurement.unbounded),
        "at_least": dict(measurement.at_least),
        "missed": dict(measurement.missed),
        "errors": [fields_to_json(error) for error in measurement.errors],
        "rows": measurement.rows.to_json() if measurement.rows else None,
        "scores": measurement.scores.to_json() if measurement.scores else None,
        "invalid": measurement.invalid,
        "notes": list(measurement.notes),
        "diagnosis": measurement.diagnosis,
        "hung": measurement.hung,
        "intervals": measurement.intervals,
        "batch_sizes": {str(size): calls for size, calls in measurement.batch_sizes.items()},
        "utilisation": list(measurement.utilisation),
        "series": fields_to_json(measurement.series),
        "usage": fields_to_json(measurement.usage) if measurement.usage else None,
        "gpus": [fields_to_json(gpu) for gpu in measurement.gpus],
        "seeds": list(measurement.seeds),
        "verdicts": [judgement_to_json(judgement) for judgement in record.judgements],
        "hints": list(record.hints),
        "duel": dict(record.duel) if record.duel else None,
        "base": record.base,
        "environment": record.environment.to_json() if record.environment else None,
        "yardstick": pace_to_json(record.yardstick) if record.yardstick else None,
        "kept": record.kept,
        "basis": record.basis,
    }


def _named(record: Record) -> Iterator[str]:
    """The metrics that occur in a record."""
    measurement = record.measurement
    yield from (*measurement.metrics, *measurement.refused, *measurement.missed)
    yield from (judgement.metric for judgement in record.judgements)


def record_from_json(value: dict[str, Any]) -> Record:
    """The inverse of `record_to_json`.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: if the values are not of this shape.
    """
    test, name = as_text(value["test"]), as_text(value["name"])
    redefined = read_definitions(value["definitions"])
    judged = redefined & {as_text(verdict["metric"]) for verdict in value["verdicts"]}
    if judged:
        raise ValueError(f"metric {min(judged)!r} has another unit or direction here")
    scores = RowScores.from_json(value["scores"]) if value["scores"] else None
    unbounded = MappingProxyType(dict(value["unbounded"]))
    measured = value["metrics"]
    with at("metrics"):
        metrics = metrics_from_json(
            {name: metric for name, metric in measured.items() if name not in redefined}
        )
        for open_ in sorted(name for name, it in metrics.items() if not it.bounded):
            if open_ not in unbounded:
                raise MisplacedValueError("expected a number, not null", (open_, "high"))
    measurement = Measurement(
        test=test,
        name=name,
        target=as_text(value["target"]),
        scenario=as_text(value["scenario"]),
        serving=as_text(value["serving"]),
        seconds=float(value["seconds"]),
        requests=int(value["requests"]),
        metrics=metrics,
        refused=MappingProxyType(dict(value["refused"])),
        errors=tuple(fields_from_json(ErrorCount, error) for error in value["errors"]),
        rows=Rows.from_json(value["rows"]) if value["rows"] else None,
        invalid=as_text(value["invalid"]),
        notes=tuple(map(as_text, value["notes"])),
        diagnosis=as_text(value["diagnosis"]),
        hung=as_text(value["hung"]),
        intervals=as_text(value["intervals"]),
        slo=number_or_none(value["slo"]),
        batch_sizes=MappingProxyType(
            {int(size): calls for size, calls in value["batch_sizes"].items()}
        ),
        utilisation=tuple(value["utilisation"]),
        series=fields_from_json(Series, value["series"]),
        usage=fields_from_json(Consumption, value["usage"]) if value["usage"] else None,
        gpus=tuple(fields_from_json(GpuUse, gpu) for gpu in value["gpus"]),
        scores=scores.without(redefined) if scores else None,
        missed=MappingProxyType(dict(value["missed"])),
        unbounded=unbounded,
        at_least=MappingProxyType(
            {name: float(least) for name, least in value["at_least"].items()}
        ),
        seeds=tuple(map(float, value["seeds"])),
    )
    environment, yardstick = value["environment"], value["yardstick"]
    return Record(
        measurement=measurement,
        judgements=tuple(judgement_from_json(verdict) for verdict in value["verdicts"]),
        hints=tuple(map(as_text, value["hints"])),
        quick=bool(value["quick"]),
        base=value["base"],
        duel=value["duel"],
        environment=Environment.from_json(environment) if environment else None,
        yardstick=pace_from_json(yardstick),
        kept=value["kept"],
        basis=value["basis"],
    )


def report_to_json(
    records: Iterable[Record],
    machine: dict[str, object],
    environment: dict[str, str],
    commit: str,
) -> dict[str, object]:
    """The content of `--dlperf-json`."""
    return {
        "schema": SCHEMA,
        "machine": machine,
        "environment": environment,
        "commit": commit,
        "measurements": [record_to_json(record) for record in records],
    }


def judgement_to_json(judgement: Judgement) -> dict[str, object]:
    """Plain values."""
    measured = judgement.measured
    return {
        "budget": judgement.budget,
        "metric": judgement.metric,
        "verdict": judgement.verdict.value,
        "value": measured.value if measured else None,
        "low": measured.low if measured else None,
        "high": measured.high if measured and measured.bounded else None,
        "limit": judgement.limit,
        "baseline": judgement.baseline,
        "baseline_revision": judgement.revision,
        "fails_at": judgement.fails_at,
        "reason": judgement.reason,
        "lasting": judgement.lasting,
        "improved": judgement.improved,
        "change": fields_to_json(judgement.change) if judgement.change else None,
        "excluded": judgement.excluded,
        "proven": judgement.proven,
        "base_broken": judgement.base_broken,
        "suspected": judgement.suspected,
    }


def judgement_from_json(value: dict[str, Any]) -> Judgement:
    """The inverse of `judgement_to_json`."""
    change = value["change"]
    return Judgement(
        budget=as_text(value["budget"]),
        metric=as_text(value["metric"]),
        verdict=Verdict(value["verdict"]),
        measured=estimate_from_json(value) if value["value"] is not None else None,
        limit=number_or_none(value["limit"]),
        baseline=number_or_none(value["baseline"]),
        revision=as_text(value["baseline_revision"]),
        fails_at=number_or_none(value["fails_at"]),
        reason=as_text(value["reason"]),
        lasting=value["lasting"],
        improved=value["improved"],
        change=estimate_from_json(change) if change else None,
        excluded=number_or_none(value["excluded"]),
        proven=number_or_none(value["proven"]),
        base_broken=value["base_broken"],
        suspected=bool(value.get("suspected", False)),  # the first reports do not have it
    )
