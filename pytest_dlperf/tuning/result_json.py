"""JSON of a study: all of it for other programs, and single trials for the journal."""

from __future__ import annotations

from dataclasses import asdict
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from pytest_dlperf.metrics import definitions_of
from pytest_dlperf.results.codec import estimate_of, metrics_to_json, rounded
from pytest_dlperf.results.row_evidence import Rows, RowScores
from pytest_dlperf.tuning.code import marker_code, setup_code
from pytest_dlperf.tuning.configuration import configuration_from_texts
from pytest_dlperf.tuning.report import front_numbers
from pytest_dlperf.tuning.result import TrialResult

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_dlperf.results.verdict import Judgement
    from pytest_dlperf.statistics.estimate import Estimate
    from pytest_dlperf.tuning.configuration import Configuration, Knob
    from pytest_dlperf.tuning.result import Finalist, Tuned

SCHEMA: Final = 1
"""Version of the JSON."""


def tuning_json(tuned: Tuned) -> dict[str, object]:
    """Plain values: finite numbers, text, lists and dictionaries.

    Values are in the metric's base unit. A gain is a ratio to the setup without tuning, the
    change of an effect a ratio minus one; of shares both are differences. Trials are numbered
    from 1, the first being the setup without tuning.
    """
    names = {name for trial in tuned.trials for name in trial.metrics}
    on_front = front_numbers(tuned)
    return {
        "schema": SCHEMA,
        "test": tuned.test,
        "goal": {
            "objective": f"{tuned.goal.verb} {tuned.goal.objective.name}",
            "constraints": [budget.text for budget in tuned.goal.constraints],
        },
        "scenario": tuned.scenario,
        "search": tuned.search,
        "seconds": rounded(tuned.seconds),
        "resumed": tuned.resumed,
        "notes": list(tuned.notes),
        "definitions": definitions_of(names),
        "knobs": [
            {"name": knob.name, "stage": knob.stage, "values": [str(v) for v in knob.values]}
            for knob in tuned.knobs
        ],
        "trials": [
            _trial(number, trial, on_front=number in on_front)
            for number, trial in enumerate(tuned.trials, start=1)
        ],
        "finalists": [_finalist(tuned, finalist) for finalist in tuned.finalists],
        "recommended": {
            "trial": _number(tuned, tuned.recommended),
            "configuration": tuned.recommended.texts(),
            "improved": tuned.improved,
            "reason": tuned.reason,
            "setup": setup_code(tuned.setup),
            "marker": marker_code(tuned),
        },
        "effects": [{**asdict(e), "change": _ends(e.change)} for e in tuned.effects],
    }


def trial_to_json(trial: TrialResult) -> dict[str, object]:
    """Plain values; figures are not rounded, so that a study continues as if not interrupted."""
    return {
        "configuration": trial.configuration.texts(),
        "metrics": {name: [e.value, e.low, e.high] for name, e in trial.metrics.items()},
        "failed": trial.failed,
        "skipped": trial.skipped,
        "seconds": trial.seconds,
        "rows": trial.rows.to_json() if trial.rows else None,
        "scores": trial.scores.to_json() if trial.scores else None,
        "notes": list(trial.notes),
    }


def trial_from_json(value: Mapping[str, Any], knobs: Sequence[Knob]) -> TrialResult:
    """The inverse of `trial_to_json`.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: if the values are not of this shape, or
            of other knobs.
    """
    rows, scores = value["rows"], value["scores"]
    metrics = {str(name): estimate_of(ends) for name, ends in value["metrics"].items()}
    return TrialResult(
        configuration=configuration_from_texts(value["configuration"], knobs),
        metrics=MappingProxyType(metrics),
        failed=str(value["failed"]),
        skipped=str(value["skipped"]),
        seconds=float(value["seconds"]),
        rows=None if rows is None else Rows.from_json(rows),
        scores=None if scores is None else RowScores.from_json(scores),
        notes=tuple(map(str, value["notes"])),
    )


def _number(tuned: Tuned, configuration: Configuration) -> int:
    return [trial.configuration for trial in tuned.trials].index(configuration) + 1


def _trial(number: int, trial: TrialResult, *, on_front: bool) -> dict[str, object]:
    return {
        "number": number,
        "configuration": trial.configuration.texts(),
        "metrics": metrics_to_json(trial.metrics),
        "failed": trial.failed,
        "skipped": trial.skipped,
        "front": on_front,
        "seconds": rounded(trial.seconds),
        "notes": list(trial.notes),
    }


def _finalist(tuned: Tuned, finalist: Finalist) -> dict[str, object]:
    return {
        "trial": _number(tuned, finalist.configuration),
        "verdict": finalist.verdict.value,
        "gain": _ends(finalist.gain),
        "reason": finalist.reason,
        "judgements": [_judgement(judgement) for judgement in finalist.judgements],
        "metrics": metrics_to_json(finalist.metrics),
        "seconds": rounded(finalist.seconds),
    }


def _judgement(judgement: Judgement) -> dict[str, object]:
    return {
        "budget": judgement.budget,
        "metric": judgement.metric,
        "verdict": judgement.verdict.value,
        "measured": _ends(judgement.measured),
        "limit": None if judgement.limit is None else rounded(judgement.limit),
        "change": _ends(judgement.change),
        "reason": judgement.reason,
    }


def _ends(estimate: Estimate | None) -> dict[str, float] | None:
    if estimate is None:
        return None
    return {end: rounded(value) for end, value in asdict(estimate).items()}
