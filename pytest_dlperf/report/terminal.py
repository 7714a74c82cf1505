"""The section that pytest's summary shows: tables of measurements, remarks and hints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pytest_dlperf.metrics import in_order, metric_named
from pytest_dlperf.report.budget_table import explanations
from pytest_dlperf.report.exports import own_name
from pytest_dlperf.report.tables import Column, limited, styled, table, wrap_message
from pytest_dlperf.results.verdict import Verdict
from pytest_dlperf.units import format_interval, format_quantity

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_dlperf.results.measurement import Measurement
    from pytest_dlperf.results.record import Record

_COLUMNS: Final = ("throughput", "p50", "p99", "accuracy")
_RARE: Final = ("max_rate", "train.throughput", "train.time")
"""Columns that are shown if a measurement has them."""
_NAMED: Final = 4  # tests that a hint lists
COLOURS: Final = {
    Verdict.PASS: "green",
    Verdict.FAIL: "red",
    Verdict.INCONCLUSIVE: "yellow",
    Verdict.INVALID: "yellow",
    Verdict.NEW: "cyan",
}
"""The style of each verdict."""
QUICK: Final = "quick: only errors and absolute budgets on answers were judged"
"""The remark on a smoke run."""


def summary_lines(records: Sequence[Record], width: int, *, colour: bool) -> list[str]:
    """A row for each measurement, then remarks and hints.

    Trainings have a table of their own: with the columns of both, a table would not fit.
    """
    loads = [record for record in records if not record.measurement.of_training]
    trainings = [record for record in records if record.measurement.of_training]
    tables = [_table(rows, width, colour=colour) for rows in (loads, trainings) if rows]
    lines = [line for table_lines in tables for line in ("", *table_lines)]
    return [*lines[1:], *_remarks(records)]


def _table(records: Sequence[Record], width: int, *, colour: bool) -> list[str]:
    names = metrics_shown(records)
    return table(
        summary_columns(names),
        (
            [
                short_title(record),
                *cells(record, names),
                styled(record.verdict.value, COLOURS[record.verdict]),
            ]
            for record in records
        ),
        width,
        colour=colour,
    )


def summary_columns(names: Iterable[str]) -> tuple[Column, ...]:
    """The columns of a summary that shows these metrics."""
    metrics = (Column(name, right=True) for name in names)
    return (Column("measurement", folds=True), *metrics, Column("verdict"))


def metrics_shown(records: Sequence[Record]) -> tuple[str, ...]:
    """The metrics that a summary of these measurements shows."""
    rare = (name for name in _RARE if any(_shows(record, name) for record in records))
    usual = any(not record.measurement.of_training for record in records)
    return (*rare, *(_COLUMNS if usual else _COLUMNS[-1:]))


def _shows(record: Record, name: str) -> bool:
    # A tuned model has a training time too, but it is its load that was measured.
    measurement = record.measurement
    return name in measurement.metrics and metric_named(name).of_training == measurement.of_training


def cells(record: Record, names: Iterable[str]) -> list[str]:
    """The values of these metrics; a dash for those that were not measured."""
    return [_cell(record.measurement, name) for name in names]


def _cell(measurement: Measurement, name: str) -> str:
    unit = metric_named(name).unit
    if name in measurement.at_least:
        return f"> {format_quantity(measurement.at_least[name], unit)}"
    measured = measurement.metrics.get(name)
    return "-" if measured is None else format_quantity(measured.value, unit)


def short_title(record: Record) -> str:
    """The test's own name, with the measurement's name if it has one."""
    measurement = record.measurement
    function = own_name(measurement.test)
    return f"{function} [{measurement.name}]" if measurement.name else function


def other_metrics(record: Record) -> list[str]:
    """Users' metrics and those of a training, which have no column, in lines that fit."""
    metrics = record.measurement.metrics
    parts = []
    for metric in map(metric_named, in_order(metrics)):
        if metric.by_user or (metric.of_training and metric.name not in _RARE):
            estimate, unit = metrics[metric.name], metric.unit
            part = f"{metric.name} {format_quantity(estimate.value, unit)}"
            if estimate.low != estimate.high:
                part += f" ({format_interval(estimate.low, estimate.high, unit)})"
            parts.append(part)
    return wrap_message(", ".join(parts)) if parts else []


def _remarks(records: Sequence[Record]) -> list[str]:
    lines: list[str] = []
    for record in records:
        # The report of a failed test holds all of this.
        failed = record.verdict is Verdict.FAIL
        remarks = [] if failed else other_metrics(record) + explanations(record) + _gaps(record)
        if remarks:
            lines += ["", f"{short_title(record)}:", *(f"  {line}" for line in remarks)]
    titles_by_hint: dict[str, dict[str, None]] = {}
    for record in records:
        for hint in record.hints:
            titles_by_hint.setdefault(hint, {})[short_title(record)] = None
    if titles_by_hint:
        lines.append("")
    for hint, titles in titles_by_hint.items():
        lines += wrap_message(f"{', '.join(limited(list(titles), _NAMED))}: {hint}")
    if any(record.quick for record in records):
        lines += ["", QUICK]
    return lines


def _gaps(record: Record) -> list[str]:
    """Why columns are empty, unless a budget on the metric has said so."""
    judged = {judgement.metric for judgement in record.judgements}
    names_by_reason: dict[str, list[str]] = {}
    for name, reason in record.measurement.refused.items():
        if name in _COLUMNS and name not in judged:
            names_by_reason.setdefault(reason, []).append(name)
    return [
        line
        for reason, names in names_by_reason.items()
        for line in wrap_message(f"{', '.join(names)}: {reason}")
    ]
