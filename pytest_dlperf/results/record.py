"""Record: one measurement with its judgements, as it travels to reports, files and processes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from pytest_dlperf.metrics import definitions_of, read_definitions
from pytest_dlperf.results.codec import estimate_from_json, metrics_from_json, metrics_to_json
from pytest_dlperf.results.environment import Environment
from pytest_dlperf.results.measurement import ErrorCount, Measurement
from pytest_dlperf.results.row_evidence import Rows, RowScores
from pytest_dlperf.results.series import Series
from pytest_dlperf.results.usage import Consumption, GpuUse
from pytest_dlperf.results.verdict import Judgement, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping


SCHEMA: Final = 1
"""Version of the JSON report."""


@dataclass(frozen=True, slots=True)
class Record:
    """What became of one measurement.

    Attributes:
        measurement: what was found.
        judgements: what that says about each budget.
        hints: what the user may want to do next.
        quick: whether this was a smoke run, whose speeds are nothing to go by.
        base: the baseline's commit, if measuring in turn with it would tell more; else empty.
        duel: how the contest of a duel went, as `Course.to_json` has it; None where there was none.
        environment: the software that it ran with; None if that is not known.
        yardstick: seconds a request of the reference model in the same session, if measured.
        kept: whether it became the baseline, or its next session.
        basis: where in the history a baseline was looked for, as `history:main`; empty if it was
            looked for in files.
    """

    measurement: Measurement
    judgements: tuple[Judgement, ...]
    hints: tuple[str, ...]
    quick: bool
    base: str = ""
    duel: Mapping[str, object] | None = None
    environment: Environment | None = None
    yardstick: float | None = None
    kept: Keeping = ""
    basis: str = ""

    @property
    def verdict(self) -> Verdict:
        """The gravest verdict of all budgets."""
        return max((j.verdict for j in self.judgements), key=_GRAVITY.index, default=Verdict.PASS)


_GRAVITY: Final = [
    Verdict.PASS,
    Verdict.NEW,
    Verdict.INCONCLUSIVE,
    Verdict.INVALID,
    Verdict.FAIL,
]


def record_to_json(record: Record) -> dict[str, object]:
    """Plain values: finite numbers, text, lists and dictionaries."""
    found = record.measurement
    return {
        "test": found.test,
        "name": found.name,
        "definitions": definitions_of(_named(record)),
        "target": found.target,
        "scenario": found.scenario,
        "serving": found.serving,
        "slo": found.slo,
        "seconds": found.seconds,
        "requests": found.requests,
        "quick": record.quick,
        "metrics": metrics_to_json(found.metrics),
        "refused": dict(found.refused),
        "missed": dict(found.missed),
        "errors": [
            {"kind": error.kind, "requests": error.requests, "example": error.example}
            for error in found.errors
        ],
        "rows": found.rows.to_json() if found.rows else None,
        "scores": found.scores.to_json() if found.scores else None,
        "invalid": found.invalid,
        "notes": list(found.notes),
        "diagnosis": found.diagnosis,
        "hung": found.hung,
        "intervals": found.intervals,
        "batch_sizes": {str(size): calls for size, calls in found.batch_sizes.items()},
        "utilisation": list(found.utilisation),
        "series": found.series.to_json(),
        "usage": asdict(found.usage) if found.usage else None,
        "gpus": [asdict(gpu) for gpu in found.gpus],
        "seeds": list(found.seeds),
        "verdicts": [judgement_to_json(judgement) for judgement in record.judgements],
        "hints": list(record.hints),
        "duel": dict(record.duel) if record.duel else None,
        "base": record.base,
        "environment": record.environment.to_json() if record.environment else None,
        "yardstick": record.yardstick,
        "kept": record.kept,
        "basis": record.basis,
    }


def _named(record: Record) -> Iterator[str]:
    """The metrics that a record tells of."""
    found = record.measurement
    yield from (*found.metrics, *found.refused, *found.missed)
    yield from (judgement.metric for judgement in record.judgements)


def record_from_json(value: dict[str, Any]) -> Record:
    """The inverse of `record_to_json`.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: if the values are not of this shape.
    """
    others = read_definitions(value.get("definitions", {}))
    judged = others & {verdict["metric"] for verdict in value.get("verdicts", ())}
    if judged:
        raise ValueError(f"metric {min(judged)!r} has another unit or direction here")
    measurement = Measurement(
        test=value["test"],
        name=value["name"],
        target=value["target"],
        scenario=value["scenario"],
        serving=value["serving"],
        slo=value["slo"],
        seconds=float(value["seconds"]),
        requests=int(value["requests"]),
        metrics=metrics_from_json(
            {name: one for name, one in value["metrics"].items() if name not in others}
        ),
        refused=MappingProxyType(dict(value["refused"])),
        errors=tuple(ErrorCount(**error) for error in value["errors"]),
        rows=Rows.from_json(value["rows"]) if value["rows"] else None,
        invalid=value["invalid"],
        notes=tuple(value["notes"]),
        diagnosis=value["diagnosis"],
        **_later_fields(value, others),
    )
    return Record(
        measurement=measurement,
        judgements=tuple(judgement_from_json(verdict) for verdict in value["verdicts"]),
        hints=tuple(value["hints"]),
        quick=bool(value["quick"]),
        **_later_facts(value),
    )


def _later_facts(value: dict[str, Any]) -> dict[str, Any]:
    """What the first reports of this schema did not say of a measurement, as far as it is there."""
    readers: dict[str, Callable[[Any], object]] = {
        "duel": lambda course: course,
        "base": str,
        "environment": lambda found: Environment.from_json(found) if found else None,
        "yardstick": lambda seconds: None if seconds is None else float(seconds),
        "kept": str,
        "basis": str,
    }
    return {name: read(value[name]) for name, read in readers.items() if name in value}


def _later_fields(value: dict[str, Any], others: frozenset[str]) -> dict[str, Any]:
    """Fields that the first reports of this schema did not have, as far as they are there."""
    readers: dict[str, Callable[[Any], object]] = {
        "batch_sizes": lambda calls: MappingProxyType({int(size): calls[size] for size in calls}),
        "utilisation": tuple,
        "series": Series.from_json,
        "hung": str,
        "intervals": str,
        "usage": lambda used: Consumption(**used) if used else None,
        "gpus": lambda gpus: tuple(GpuUse.from_json(gpu) for gpu in gpus),
        "scores": lambda scores: RowScores.from_json(scores).without(others) if scores else None,
        "missed": lambda missed: MappingProxyType(dict(missed)),
        "seeds": lambda seeds: tuple(map(float, seeds)),
    }
    return {name: read(value[name]) for name, read in readers.items() if name in value}


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
        "high": measured.high if measured else None,
        "limit": judgement.limit,
        "baseline": judgement.baseline,
        "baseline_revision": judgement.revision,
        "fails_at": judgement.fails_at,
        "reason": judgement.reason,
        "lasting": judgement.lasting,
        "improved": judgement.improved,
        "change": asdict(judgement.change) if judgement.change else None,
    }


def judgement_from_json(value: dict[str, Any]) -> Judgement:
    """The inverse of `judgement_to_json`.

    Raises:
        KeyError, TypeError, ValueError: if the values are not of this shape.
    """
    change = value.get("change")  # the first reports of this schema did not have it
    return Judgement(
        budget=value["budget"],
        metric=value["metric"],
        verdict=Verdict(value["verdict"]),
        measured=estimate_from_json(value) if value["value"] is not None else None,
        limit=value["limit"],
        baseline=value["baseline"],
        revision=value["baseline_revision"],
        fails_at=value["fails_at"],
        reason=value["reason"],
        lasting=value["lasting"],
        improved=value["improved"],
        change=estimate_from_json(change) if change else None,
    )


Keeping: TypeAlias = Literal["", "follow", "renew"]
"""Not kept, kept as the next session of what is there, or kept as the first of a new baseline."""
