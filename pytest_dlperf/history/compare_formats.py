"""Comparison formats: the same table as Markdown for a pull request, as JSON and as CSV."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from pytest_dlperf.history.compare_report import (
    COLUMNS,
    GONE,
    cells,
    headings,
    machines_of,
    remarks,
    some,
    summary,
    verdict_of,
)
from pytest_dlperf.metrics import metric_named
from pytest_dlperf.report.github import code_cell, table, text_cell
from pytest_dlperf.results.codec import rounded
from pytest_dlperf.results.measurement import title_of
from pytest_dlperf.results.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_dlperf.history.compare import Compared, Row
    from pytest_dlperf.history.compare_report import Compare
    from pytest_dlperf.history.sources import Side, Source

SCHEMA: Final = 1
"""Version of the JSON."""

CSV_COLUMNS: Final = (
    *("machine", "test", "name", "metric", "unit", "better"),
    *("base_commit", "base_sessions", "base", "candidate_commit", "candidate_sessions"),
    *("candidate", "change", "change_low", "change_high", "verdict", "improved", "reason"),
)
"""Of the CSV: values in the metric's base unit, changes as ratios minus one, or of shares as
differences."""

_LOUD: Final = frozenset({Verdict.FAIL, Verdict.INCONCLUSIVE})


def comparison_markdown(compare: Compare) -> Iterator[str]:
    """A heading, what was taken, one table, and what is to be said of it."""
    found = compare.found
    base, candidate = code_cell(compare.base.given), code_cell(compare.candidate.given)
    yield f"### dlperf: {candidate} against {base}"
    yield ""
    yield from (f"- {label}: {text_cell(text)}" for label, text in headings(compare))
    yield ""
    several = machines_of(found) > 1
    rows = [
        (_title(one, several=several), *_markdown_cells(row))
        for one in found.measurements
        for row in one.rows
    ]
    left = frozenset({"test", "metric", "verdict"})
    yield from table(("test", *COLUMNS), rows, left)
    said = [
        f"- {_title(one, several=several)}: {text_cell(remark)}"
        for one in found.measurements
        for remark in remarks(one)
    ]
    if said:
        yield from ("", *said)
    if found.gone:
        yield ""
        yield text_cell(f"{GONE.capitalize()}: {', '.join(some(found.gone))}")
    yield ""
    yield text_cell(summary(found))


def comparison_json(compare: Compare) -> dict[str, object]:
    """Plain values: finite numbers, text, lists and dictionaries.

    Values are in the metric's base unit. Changes are ratios minus one, or of shares differences,
    above 0 where the candidate's value is larger.
    """
    found = compare.found
    return {
        "schema": SCHEMA,
        "base": _source(compare.base, compare.base_side),
        "candidate": _source(compare.candidate, compare.side),
        "failed": found.failed,
        "alpha": found.alpha,
        "warnings": list(found.warnings),
        "gone": list(found.gone),
        "measurements": [_measurement(one) for one in found.measurements],
    }


def comparison_csv(compare: Compare) -> Iterator[str]:
    """A line with the names of the columns, then one for each metric of each measurement."""
    yield _csv_line(CSV_COLUMNS)
    for one in compare.found.measurements:
        for row in one.rows:
            yield _csv_line(_csv_row(one, row))


def _title(one: Compared, *, several: bool) -> str:
    title = code_cell(title_of(one.place.test, one.place.name))
    return f"{title} on {text_cell(one.place.machine.slug)}" if several else title


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


def _measurement(one: Compared) -> dict[str, object]:
    return {
        "test": one.place.test,
        "name": one.place.name,
        "machine": one.place.machine.slug,
        "base_commit": one.base.commit if one.base else None,
        "base_sessions": one.base_sessions,
        "candidate_commit": one.candidate.commit,
        "candidate_sessions": one.sessions,
        "note": one.note,
        "metrics": [_row(row) for row in one.rows],
    }


def _row(row: Row) -> dict[str, object]:
    ends = asdict(row.change) if row.change else None
    return {
        "metric": row.metric,
        "unit": metric_named(row.metric).unit,
        "better": metric_named(row.metric).better,
        "base": _figure(row.base),
        "candidate": _figure(row.candidate),
        "change": {end: rounded(value) for end, value in ends.items()} if ends else None,
        "verdict": row.verdict.value,
        "improved": row.improved,
        "reason": row.reason,
        "fails_at": _figure(row.fails_at),
    }


def _csv_row(one: Compared, row: Row) -> tuple[object, ...]:
    metric, change = metric_named(row.metric), row.change
    ends = (change.value, change.low, change.high) if change else (None, None, None)
    return (
        *(one.place.machine.slug, one.place.test, one.place.name),
        *(metric.name, metric.unit, metric.better),
        *(one.base.commit if one.base else "", one.base_sessions, _figure(row.base)),
        *(one.candidate.commit, one.sessions, _figure(row.candidate)),
        *map(_figure, ends),
        *(row.verdict.value, int(row.improved), row.reason),
    )


def _figure(value: float | None) -> float | None:
    return None if value is None else rounded(value)


def _csv_line(values: tuple[object, ...]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(values)
    return line.getvalue()
