"""The comparison of two sources as Markdown for a pull request, as JSON and as CSV."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from pytest_dlperf.history.compare_report import (
    COLUMNS,
    cells,
    gone,
    headings,
    machines_of,
    remarks,
    summary,
    verdict_of,
)
from pytest_dlperf.metrics import metric_named
from pytest_dlperf.report.github import code_cell, text_cell
from pytest_dlperf.report.tables import Column, markdown_table
from pytest_dlperf.results.codec import rounded
from pytest_dlperf.results.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_dlperf.history.compare_report import ComparedSources
    from pytest_dlperf.history.comparison import Compared, Row
    from pytest_dlperf.history.sources import Side, Source

SCHEMA: Final = 1
"""Version of the JSON."""

CSV_COLUMNS: Final = (
    *("machine", "test", "name", "metric", "unit", "better"),
    *("base_commit", "base_sessions", "base", "candidate_commit", "candidate_sessions"),
    *("candidate", "change", "change_low", "change_high", "verdict", "improved", "reason"),
    *("alpha", "provable"),
)
"""Of the CSV: values in the metric's base unit, changes as ratios minus one, or of shares as
differences."""

_LOUD: Final = frozenset({Verdict.FAIL, Verdict.INCONCLUSIVE})


def comparison_markdown(compared: ComparedSources) -> Iterator[str]:
    """A heading, both sources, one table, remarks and a summary."""
    comparison = compared.comparison
    base, candidate = code_cell(compared.base.given), code_cell(compared.candidate.given)
    yield f"### dlperf: {candidate} against {base}"
    yield ""
    yield from (f"- {label}: {text_cell(text)}" for label, text in headings(compared))
    yield ""
    several = machines_of(comparison) > 1
    rows = [
        (_title(measurement, several=several), *_markdown_cells(row))
        for measurement in comparison.measurements
        for row in measurement.rows
    ]
    yield from markdown_table((Column("test"), *COLUMNS), rows)
    notes = [
        f"- {_title(measurement, several=several)}: {text_cell(remark)}"
        for measurement in comparison.measurements
        for remark in remarks(measurement)
    ]
    if notes:
        yield from ("", *notes)
    if comparison.gone:
        yield ""
        text = gone(comparison)
        yield text_cell(f"{text[0].upper()}{text[1:]}")
    yield ""
    yield text_cell(summary(comparison))


def comparison_json(compared: ComparedSources) -> dict[str, object]:
    """Plain values: finite numbers, text, lists and dictionaries.

    Values are in the metric's base unit. Changes are ratios minus one, or of shares differences,
    above 0 where the candidate's value is larger.
    """
    comparison = compared.comparison
    return {
        "schema": SCHEMA,
        "base": _source(compared.base, compared.base_side),
        "candidate": _source(compared.candidate, compared.side),
        "failed": comparison.failed,
        "alpha": comparison.alpha,
        "provable": {name: rounded(change) for name, change in comparison.provable.items()},
        "warnings": list(comparison.warnings),
        "gone": list(comparison.gone),
        "measurements": [_measurement(measurement) for measurement in comparison.measurements],
    }


def comparison_csv(compared: ComparedSources) -> list[str]:
    """A line with the names of the columns, then one for each metric of each measurement."""
    text = io.StringIO()
    writer = csv.DictWriter(text, CSV_COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for measurement in compared.comparison.measurements:
        shared = _measurement(measurement)
        for row in measurement.rows:
            values = {**shared, **_row(row), "improved": int(row.improved)}
            if row.change:
                values["change"] = rounded(row.change.value)
                values["change_low"] = rounded(row.change.low)
                values["change_high"] = rounded(row.change.high)
            writer.writerow(values)
    return text.getvalue().removesuffix("\n").split("\n")


def _title(measurement: Compared, *, several: bool) -> str:
    title = code_cell(measurement.key.title)
    return f"{title} on {text_cell(measurement.key.machine.slug)}" if several else title


def _markdown_cells(row: Row) -> tuple[str, ...]:
    verdict = verdict_of(row)
    loud = row.verdict in _LOUD or row.improved
    return (*map(text_cell, cells(row)), f"**{verdict}**" if loud else verdict)


def _source(source: Source, side: Side) -> dict[str, object]:
    counts = [len(accepted.sessions) for accepted in side.values()]
    revision = source.entries[0].run.revision
    return {
        "given": source.given,
        "kind": source.kind,
        "commit": revision.commit,
        "branch": revision.branch,
        "date": revision.date,
        "sessions": {"least": min(counts), "most": max(counts)},
        "left_out": list(source.left_out),
    }


def _measurement(measurement: Compared) -> dict[str, object]:
    return {
        "test": measurement.key.test,
        "name": measurement.key.name,
        "machine": measurement.key.machine.slug,
        "base_commit": measurement.base.commit if measurement.base else None,
        "base_sessions": measurement.base_sessions,
        "candidate_commit": measurement.candidate.commit,
        "candidate_sessions": measurement.sessions,
        "note": measurement.note,
        "metrics": [_row(row) for row in measurement.rows],
    }


def _row(row: Row) -> dict[str, object]:
    ends = asdict(row.change) if row.change else None
    return {
        "metric": row.metric,
        "unit": metric_named(row.metric).unit,
        "better": metric_named(row.metric).better,
        "base": _rounded(row.base),
        "candidate": _rounded(row.candidate),
        "change": {end: rounded(value) for end, value in ends.items()} if ends else None,
        "verdict": row.verdict.value,
        "improved": row.improved,
        "reason": row.reason,
        "fails_at": _rounded(row.fails_at),
        "alpha": _rounded(row.alpha),
        "provable": _rounded(row.provable),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else rounded(value)
