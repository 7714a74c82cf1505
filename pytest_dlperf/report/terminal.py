"""Terminal: the section that pytest's summary shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pytest_dlperf.metrics import in_order, metric_named
from pytest_dlperf.report.budget_table import explanations, wrapped
from pytest_dlperf.report.exports import own_name
from pytest_dlperf.report.tables import render
from pytest_dlperf.results.verdict import Verdict
from pytest_dlperf.units import format_quantity

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_dlperf.results.record import Record

_COLUMNS: Final = ("throughput", "p50", "p99", "accuracy")
_RARE: Final = ("max_rate", "train.throughput", "train.time")
"""Columns that are there when a measurement has them."""
_NAMED: Final = 4  # tests that a hint lists
COLOURS: Final = {
    Verdict.PASS: "green",
    Verdict.FAIL: "red",
    Verdict.INCONCLUSIVE: "yellow",
    Verdict.INVALID: "yellow",
    Verdict.NEW: "cyan",
}
"""How each verdict is shown, where there are colours."""


def summary_lines(records: Sequence[Record], width: int, *, colour: bool) -> list[str]:
    """One row a measurement, then what is to be said about it and the hints.

    Trainings have a table of their own: the columns of both beside each other take a whole line.
    """
    loads = [record for record in records if not record.measurement.of_training]
    trainings = [record for record in records if record.measurement.of_training]
    tables = [_table(some, width, colour=colour) for some in (loads, trainings) if some]
    lines = [line for one in tables for line in ("", *one)]
    return [*lines[1:], *_remarks(records)]


def _table(records: Sequence[Record], width: int, *, colour: bool) -> list[str]:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("measurement", ratio=1, overflow="fold")
    names = columns(records)
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for record in records:
        verdict = Text(record.verdict.value, style=COLOURS[record.verdict])
        table.add_row(short_title(record), *cells(record, names), verdict)
    return render(table, width, colour=colour)


def columns(records: Sequence[Record]) -> tuple[str, ...]:
    """The metrics that a summary of these measurements shows."""
    rare = (name for name in _RARE if any(_shows(record, name) for record in records))
    usual = any(not record.measurement.of_training for record in records)
    return (*rare, *(_COLUMNS if usual else _COLUMNS[-1:]))


def _shows(record: Record, name: str) -> bool:
    """What was tuned knows its training time too, but it is the load that was measured."""
    found = record.measurement
    return name in found.metrics and metric_named(name).of_training == found.of_training


def cells(record: Record, names: Iterable[str]) -> list[str]:
    """What a measurement came to in each of these metrics."""
    metrics = record.measurement.metrics
    return [
        format_quantity(metrics[name].value, metric_named(name).unit) if name in metrics else "-"
        for name in names
    ]


def short_title(record: Record) -> str:
    """The test's own name, with the measurement's name if it has one."""
    found = record.measurement
    function = own_name(found.test)
    return f"{function} [{found.name}]" if found.name else function


def figure_lines(record: Record) -> list[str]:
    """What has no column in the summary: users' metrics, and those of a training."""
    metrics = record.measurement.metrics
    told = []
    for one in map(metric_named, in_order(metrics)):
        if one.by_user or (one.of_training and one.name not in _RARE):
            ends = (getattr(metrics[one.name], end) for end in ("value", "low", "high"))
            value, low, high = (format_quantity(end, one.unit) for end in ends)
            told.append(f"{one.name} {value}" + (f" ({low} to {high})" if low != high else ""))
    return wrapped(", ".join(told)) if told else []


def _remarks(records: Sequence[Record]) -> list[str]:
    lines: list[str] = []
    for record in records:
        # A failed test has said all this in its own report.
        failed = record.verdict is Verdict.FAIL
        said = [] if failed else figure_lines(record) + explanations(record) + _gaps(record)
        if said:
            lines += ["", f"{short_title(record)}:", *(f"  {line}" for line in said)]
    titles_by_hint: dict[str, dict[str, None]] = {}
    for record in records:
        for hint in record.hints:
            titles_by_hint.setdefault(hint, {})[short_title(record)] = None
    if titles_by_hint:
        lines.append("")
    for hint, titles in titles_by_hint.items():
        named = ", ".join(list(titles)[:_NAMED])
        more = f" and {len(titles) - _NAMED} more" if len(titles) > _NAMED else ""
        lines += wrapped(f"{named}{more}: {hint}")
    if any(record.quick for record in records):
        lines += ["", "quick: only errors and absolute budgets on answers were judged"]
    return lines


def _gaps(record: Record) -> list[str]:
    """Why a column is empty, where no budget has said it already."""
    judged = {judgement.metric for judgement in record.judgements}
    names_by_reason: dict[str, list[str]] = {}
    for name, reason in record.measurement.refused.items():
        if name in _COLUMNS and name not in judged:
            names_by_reason.setdefault(reason, []).append(name)
    return [
        line
        for reason, names in names_by_reason.items()
        for line in wrapped(f"{', '.join(names)}: {reason}")
    ]
