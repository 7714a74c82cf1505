"""The comparison of two sources as text for a terminal."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_dlperf.judge.error_rates import ALPHA
from pytest_dlperf.metrics import metric_named
from pytest_dlperf.report.tables import (
    Column,
    limited,
    styled,
    table,
    wrap_labelled,
    wrap_message,
)
from pytest_dlperf.report.terminal import COLOURS
from pytest_dlperf.results.baseline_session import short
from pytest_dlperf.results.verdict import Verdict
from pytest_dlperf.units import (
    change_unit,
    format_change,
    format_change_interval,
    format_quantity,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_dlperf.history.comparison import Compared, Comparison, Row
    from pytest_dlperf.history.sources import Side, Source

COLUMNS: Final = (
    Column("metric", folds=True, min_width=11),  # some have long names
    Column("base", right=True, min_width=10),
    Column("candidate", right=True, min_width=10),
    Column("change", right=True, min_width=8),
    Column("95 % interval", right=True, min_width=16),
    Column("verdict", min_width=12),
)
"""Of the tables of text and of Markdown."""

_GONE: Final = "gone, only the base has it"
_NAMED: Final = 5
_LABEL: Final = 11


@dataclass(frozen=True, slots=True)
class ComparedSources:
    """Two sources and their comparison.

    Attributes:
        base: what was compared with.
        candidate: what was compared.
        base_side: the baselines made of the base's entries, by measurement.
        side: those of the candidate.
        comparison: of the two sides.
    """

    base: Source
    candidate: Source
    base_side: Side
    side: Side
    comparison: Comparison


def comparison_lines(compared: ComparedSources, width: int, *, colour: bool) -> Iterator[str]:
    """Both sources, a table for each measurement with its remarks, and a summary.

    Args:
        compared: with at least one measurement.
        width: columns.
        colour: whether to emit ANSI colours.
    """
    comparison = compared.comparison
    for label, text in headings(compared):
        yield from wrap_labelled(label, text, _LABEL)
    several = machines_of(comparison) > 1
    for number, measurement in enumerate(comparison.measurements):
        yield ""
        key = measurement.key
        yield from wrap_message(f"{key.title} on {key.machine.slug}" if several else key.title)
        rows = (
            (
                *cells(row),
                styled(verdict_of(row), "bold green" if row.improved else COLOURS[row.verdict]),
            )
            for row in measurement.rows
        )
        yield from table(COLUMNS, rows, width, colour=colour, header=not number)
        for remark in remarks(measurement):
            yield from (f"  {line}" for line in wrap_message(remark))
    if comparison.gone:
        yield ""
        yield from wrap_message(gone(comparison))
    yield ""
    yield from wrap_message(summary(comparison))


def headings(compared: ComparedSources) -> Iterator[tuple[str, str]]:
    """Both sources, the machine, changed software, what can be proven, what was left out."""
    yield "base", described(compared.base, compared.base_side)
    yield "candidate", described(compared.candidate, compared.side)
    comparison = compared.comparison
    if machines_of(comparison) == 1:
        yield "machine", comparison.measurements[0].key.machine.slug
    for warning in comparison.warnings:
        yield "software", warning
    if comparison.provable:
        yield "provable", _provable(comparison)
    for left_out in (*compared.base.left_out, *compared.candidate.left_out):
        yield "left out", left_out


def _provable(comparison: Comparison) -> str:
    """The change of each metric from which on a loss is proven, with these rows and sessions."""
    changes = (
        f"{name} {format_change(change, metric_named(name).unit)}"
        for name, change in comparison.provable.items()
    )
    several = len(comparison.measurements) > 1
    return f"a loss beyond {', '.join(changes)}{' (medians of the tests)' if several else ''}"


def described(source: Source, side: Side) -> str:
    """The kind of a source, its number of sessions, and their code.

    Args:
        source: one of the two.
        side: the baselines made of its entries.
    """
    counts = {len(accepted.sessions) for accepted in side.values()}
    least, most = min(counts), max(counts)
    number = str(most) if least == most else f"{least} to {most}"
    revision = source.entries[0].run.revision
    code = ", ".join(filter(None, (short(revision.commit), revision.date)))
    since = " up to " if source.kind == "branch" else " of "
    sessions = f"{number} session{'s' if most > 1 else ''}"
    return f"{source.given}: {source.kind}, {sessions}{since + code if code else ''}"


def machines_of(comparison: Comparison) -> int:
    """The number of machine classes."""
    return len({measurement.key.machine for measurement in comparison.measurements})


def gone(comparison: Comparison) -> str:
    """What only the base has; of many the first few."""
    return f"{_GONE}: {', '.join(limited(comparison.gone, _NAMED))}"


def cells(row: Row) -> tuple[str, str, str, str, str]:
    """The cells of a row before its verdict."""
    unit = metric_named(row.metric).unit
    base, candidate = (
        "-" if value is None else format_quantity(value, unit)
        for value in (row.base, row.candidate)
    )
    change = row.change
    if change is None:
        return row.metric, base, candidate, "-", "-"
    interval = "-"  # of counted values there is none
    if change.low != change.high:
        interval = format_change_interval(change.low, change.high, unit)
    return row.metric, base, candidate, format_change(change.value, unit), interval


def verdict_of(row: Row) -> str:
    """The verdict, and whether it is better."""
    return f"{row.verdict} better" if row.improved else row.verdict.value


def remarks(measurement: Compared) -> Iterator[str]:
    """Why verdicts are open, each reason once, and the note."""
    rows_by_reason: dict[str, list[Row]] = {}
    for row in measurement.rows:
        if row.reason:
            rows_by_reason.setdefault(row.reason, []).append(row)
    for reason, rows in rows_by_reason.items():
        all_of_them = len(rows) == len(measurement.rows) > 1
        names = "all" if all_of_them else ", ".join(row.metric for row in rows)
        yield "; it would have been a FAIL beyond ".join(
            filter(None, (f"{names}: {reason}", ", ".join(_limits(rows))))
        )
    if measurement.note:
        yield f"note: {measurement.note}"


def _limits(rows: Sequence[Row]) -> Iterator[str]:
    for row in rows:
        unit = metric_named(row.metric).unit
        if row.fails_at is not None:
            limit = format_change(row.fails_at, unit)
            yield f"{limit} ({row.metric})" if len(rows) > 1 else limit


def summary(comparison: Comparison) -> str:
    """The number of verdicts of each kind, and what a FAIL and a PASS mean."""
    rows = [row for measurement in comparison.measurements for row in measurement.rows]
    counts = Counter(row.verdict for row in rows)
    better = sum(row.improved for row in rows)
    parts = []
    for verdict in (Verdict.FAIL, Verdict.PASS, Verdict.INCONCLUSIVE, Verdict.NEW):
        if counts[verdict]:
            more = f" ({better} better)" if verdict is Verdict.PASS and better else ""
            parts.append(f"{counts[verdict]} {verdict}{more}")
    return (
        f"{', '.join(parts)}. A FAIL is a proven loss: unchanged code has one in about "
        f"{ALPHA * 100:g} % of comparisons, however many metrics there are. A PASS excludes a "
        f"loss of {_detectable(rows)}."
    )


def _detectable(rows: Iterable[Row]) -> str:
    """The losses that a PASS excludes, by metric."""
    names_by_loss: dict[str, list[str]] = {}
    for name in dict.fromkeys(row.metric for row in rows if row.verdict is not Verdict.NEW):
        metric = metric_named(name)
        loss = f"{metric.detect * 100:g} {change_unit(metric.unit)}"
        names_by_loss.setdefault(loss, []).append(name)
    parts = [f"{loss} ({', '.join(names)})" for loss, names in names_by_loss.items()]
    return ", ".join(parts) or "nothing"
