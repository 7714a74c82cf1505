"""Comparison: the table of two sides, for people who read a terminal."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_dlperf.judge.error_rates import ALPHA
from pytest_dlperf.metrics import metric_named
from pytest_dlperf.report.budget_table import wrapped
from pytest_dlperf.report.tables import render
from pytest_dlperf.report.terminal import COLOURS
from pytest_dlperf.results.baseline import short
from pytest_dlperf.results.measurement import title_of
from pytest_dlperf.results.verdict import Verdict
from pytest_dlperf.units import format_quantity

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rich.table import Table

    from pytest_dlperf.history.compare import Compared, Comparison, Row
    from pytest_dlperf.history.sources import Side, Source
    from pytest_dlperf.statistics.estimate import Estimate
    from pytest_dlperf.units import Dimension

COLUMNS: Final = ("metric", "base", "candidate", "change", "95 % interval", "verdict")
"""Of the tables of text and of Markdown."""

_WIDTHS: Final = (11, 10, 10, 8, 16, 12)
GONE: Final = "gone, only the base has it"
_NAMED: Final = 5
_LABEL: Final = 11
_HEADING: Final = 79
_UNBOUNDED: Final = 10.0  # as a ratio minus one: what is more is only said to be great


@dataclass(frozen=True, slots=True)
class Compare:
    """What was compared, and what came of it.

    Attributes:
        base: what was compared with.
        candidate: what was compared.
        base_side: what of the base counts, by measurement.
        side: the same of the candidate.
        found: what came of it.
    """

    base: Source
    candidate: Source
    base_side: Side
    side: Side
    found: Comparison


def comparison_lines(compare: Compare, width: int, *, colour: bool) -> Iterator[str]:
    """What was taken, then a table for each measurement, then what is to be said of it all.

    Args:
        compare: what was compared.
        width: columns.
        colour: whether to emit ANSI colours.
    """
    found = compare.found
    yield from heading_lines(compare)
    several = machines_of(found) > 1
    for number, one in enumerate(found.measurements):
        yield ""
        title = title_of(one.place.test, one.place.name)
        yield from wrapped(f"{title} on {one.place.machine.slug}" if several else title)
        yield from render(_table(one, header=not number), width, colour=colour)
        for line in remarks(one):
            yield from (f"  {part}" for part in wrapped(line))
    if found.gone:
        yield ""
        yield from wrapped(f"{GONE}: {', '.join(some(found.gone))}")
    yield ""
    yield from wrapped(summary(found))


def heading_lines(compare: Compare) -> Iterator[str]:
    """What was taken of each side, where it was measured, and what else changed."""
    import textwrap

    for label, text in headings(compare):
        yield from textwrap.wrap(
            text,
            _HEADING,
            initial_indent=f"{label:<{_LABEL}}",
            subsequent_indent=" " * _LABEL,
            break_on_hyphens=False,
        )


def headings(compare: Compare) -> Iterator[tuple[str, str]]:
    """The same, each with its label."""
    yield "base", described(compare.base, compare.base_side)
    yield "candidate", described(compare.candidate, compare.side)
    found = compare.found
    if machines_of(found) == 1:
        yield "machine", found.measurements[0].place.machine.slug
    for warning in found.warnings:
        yield "software", warning
    for left_out in (*compare.base.left_out, *compare.candidate.left_out):
        yield "left out", left_out


def described(source: Source, side: Side) -> str:
    """What a source was taken for, and how many sessions of what code there are.

    Args:
        source: one of the two.
        side: what of it counts.
    """
    counts = {len(accepted.sessions) for accepted in side.values()}
    least, most = min(counts), max(counts)
    number = str(most) if least == most else f"{least} to {most}"
    revision = source.entries[0].run.revision
    code = ", ".join(filter(None, (short(revision.commit), revision.date)))
    since = " up to " if source.kind == "branch" else " of "
    sessions = f"{number} session{'s' if most > 1 else ''}"
    return f"{source.given}: {source.kind}, {sessions}{since + code if code else ''}"


def machines_of(found: Comparison) -> int:
    """How many machine classes there are measurements of."""
    return len({one.place.machine for one in found.measurements})


def some(titles: Sequence[str]) -> Iterator[str]:
    """The first few, and how many more there are."""
    yield from titles[:_NAMED]
    if len(titles) > _NAMED:
        yield f"and {len(titles) - _NAMED} more"


def cells(row: Row) -> tuple[str, str, str, str, str]:
    """What stands in a row before its verdict."""
    unit = metric_named(row.metric).unit
    base, candidate = (
        "-" if value is None else format_quantity(value, unit)
        for value in (row.base, row.candidate)
    )
    change = row.change
    if change is None:
        return row.metric, base, candidate, "-", "-"
    return row.metric, base, candidate, sized(change.value, unit), interval(change, unit)


def interval(change: Estimate, unit: Dimension) -> str:
    """The ends of a change, in percent or points; a dash, if it was counted."""
    if change.low == change.high:
        return "-"
    return f"{signed(change.low, unit)} to {signed(change.high, unit)}"


def signed(change: float, unit: Dimension) -> str:
    """A change in percent, or of a share in points."""
    if change > _UNBOUNDED:
        return f">{_UNBOUNDED * 100:+.0f}"
    digits = 2 if unit == "share" else 1
    # Plus 0, so that nothing is shown as -0.
    return f"{round(change * 100, digits) + 0.0:+.{digits}f}"


def sized(change: float, unit: Dimension) -> str:
    """A change with its sign and unit: percent, or of a share points."""
    return f"{signed(change, unit)} {'pt' if unit == 'share' else '%'}"


def verdict_of(row: Row) -> str:
    """The verdict, and whether it is better."""
    return f"{row.verdict} better" if row.improved else row.verdict.value


def remarks(one: Compared) -> Iterator[str]:
    """Why verdicts are open, the same reason once, and what was allowed for."""
    rows_by_reason: dict[str, list[Row]] = {}
    for row in one.rows:
        if row.reason:
            rows_by_reason.setdefault(row.reason, []).append(row)
    for reason, rows in rows_by_reason.items():
        all_of_them = len(rows) == len(one.rows) > 1
        names = "all" if all_of_them else ", ".join(row.metric for row in rows)
        yield "; it would have been a FAIL beyond ".join(
            filter(None, (f"{names}: {reason}", ", ".join(_limits(rows))))
        )
    if one.note:
        yield f"note: {one.note}"


def _limits(rows: Sequence[Row]) -> Iterator[str]:
    for row in rows:
        unit = metric_named(row.metric).unit
        if row.fails_at is not None:
            at = sized(row.fails_at, unit)
            yield f"{at} ({row.metric})" if len(rows) > 1 else at


def summary(found: Comparison) -> str:
    """How many verdicts there are of each kind, and how often a FAIL is a false alarm."""
    rows = [row for one in found.measurements for row in one.rows]
    counts = Counter(row.verdict for row in rows)
    better = sum(row.improved for row in rows)
    said = []
    for verdict in (Verdict.FAIL, Verdict.PASS, Verdict.INCONCLUSIVE, Verdict.NEW):
        if counts[verdict]:
            more = f" ({better} better)" if verdict is Verdict.PASS and better else ""
            said.append(f"{counts[verdict]} {verdict}{more}")
    return (
        f"{', '.join(said)}. A FAIL is a proven loss: unchanged code has one in about "
        f"{ALPHA * 100:g} % of comparisons, however many metrics there are. A PASS excludes a "
        f"loss of {_detected(rows)}."
    )


def _detected(rows: Iterable[Row]) -> str:
    """The losses that a PASS excludes, by metric."""
    names_by_loss: dict[str, list[str]] = {}
    for name in dict.fromkeys(row.metric for row in rows if row.verdict is not Verdict.NEW):
        metric = metric_named(name)
        share = metric.unit == "share"
        loss = f"{metric.detect * 100:g} {'pt' if share else '%'}"
        names_by_loss.setdefault(loss, []).append(name)
    parts = [f"{loss} ({', '.join(names)})" for loss, names in names_by_loss.items()]
    return ", ".join(parts) or "nothing"


def _table(one: Compared, *, header: bool) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(
        box=None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
        header_style="bold",
        show_header=header,
    )
    for column, width in zip(COLUMNS, _WIDTHS, strict=True):
        left = column in {"metric", "verdict"}
        table.add_column(
            column,
            justify="left" if left else "right",
            no_wrap=column != "metric",  # some have long names
            overflow="fold",
            min_width=width,
        )
    for row in one.rows:
        style = "bold green" if row.improved else COLOURS[row.verdict]
        table.add_row(*cells(row), Text(verdict_of(row), style=style))
    return table
