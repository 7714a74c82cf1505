"""The section that pytest's summary shows: tables of measurements, remarks and hints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pytest_dlperf.metrics import in_order, metric_named
from pytest_dlperf.report.budget_table import explanation_messages
from pytest_dlperf.report.exports import own_name
from pytest_dlperf.report.tables import Column, limited, styled, table, wrap_message
from pytest_dlperf.results.usage import UNQUIET
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
    # The report of a failed test holds all of this.
    open_records = [record for record in records if record.verdict is not Verdict.FAIL]
    noisy = _noisy(open_records)
    messages = {
        id(record): [*explanation_messages(record), *_gaps(record)] for record in open_records
    }
    if len(noisy) > 1:
        for record in noisy:
            messages[id(record)] = [m for m in messages[id(record)] if UNQUIET not in m]
    titles_by_message = _titles(
        (message, record) for record in open_records for message in messages[id(record)]
    )
    for record in open_records:
        own = [m for m in messages[id(record)] if len(titles_by_message[m]) == 1]
        remarks = [*other_metrics(record), *(line for m in own for line in wrap_message(m))]
        if remarks:
            lines += ["", f"{short_title(record)}:", *(f"  {line}" for line in remarks)]
    shared = {m: titles for m, titles in titles_by_message.items() if len(titles) > 1}
    hints = _titles((hint, record) for record in records for hint in record.hints)
    for by_message in (_unquiet(noisy) if len(noisy) > 1 else {}, shared, hints):
        if by_message:
            lines.append("")
        for message, titles in by_message.items():
            lines += wrap_message(f"{', '.join(limited(titles, _NAMED))}: {message}")
    if any(record.quick for record in records):
        lines += ["", QUICK]
    return lines


def _titles(messages: Iterable[tuple[str, Record]]) -> dict[str, list[str]]:
    """The measurements that have the same message, each once."""
    titles: dict[str, dict[str, None]] = {}
    for message, record in messages:
        titles.setdefault(message, {})[short_title(record)] = None
    return {message: list(each) for message, each in titles.items()}


def _noisy(records: Iterable[Record]) -> list[Record]:
    """The measurements on a machine that was not quiet."""
    return [
        record
        for record in records
        if any(UNQUIET in message for message in explanation_messages(record))
    ]


def _unquiet(records: Sequence[Record]) -> dict[str, list[str]]:
    """One message for all of them, and which verdicts their noise has left open."""
    tests = list(dict.fromkeys(own_name(record.measurement.test) for record in records))
    used = [usage for record in records if (usage := record.measurement.usage)]
    others = _highest(use.others for use in used)
    stolen = _highest(use.stolen for use in used)
    lost = _highest(use.lost for use in used)
    parts = (
        f"other processes took up to {others} of its processors" if others else "",
        f"its host up to {stolen}" if stolen else "",
        f"others had up to {lost} of the processor time that a run wanted" if lost else "",
    )
    message = ": ".join(filter(None, (UNQUIET, " and ".join(filter(None, parts)))))
    left_open = dict.fromkeys(
        judgement.metric
        for record in records
        for judgement in record.judgements
        if judgement.reason.startswith(UNQUIET)
    )
    if left_open:
        message += f"; left open for that: {', '.join(in_order(left_open))}"
    return {message: tests}


def _highest(shares: Iterable[float | None]) -> str:
    """The largest share; empty if it is less than a percent."""
    most = max((share for share in shares if share is not None), default=0.0)
    return f"{most:.0%}" if most >= 0.01 else ""  # noqa: PLR2004


def _gaps(record: Record) -> list[str]:
    """Why columns are empty, unless a budget on the metric has said so."""
    judged = {judgement.metric for judgement in record.judgements}
    names_by_reason: dict[str, list[str]] = {}
    for name, reason in record.measurement.refused.items():
        if name in _COLUMNS and name not in judged:
            names_by_reason.setdefault(reason, []).append(name)
    return [f"{', '.join(names)}: {reason}" for reason, names in names_by_reason.items()]
