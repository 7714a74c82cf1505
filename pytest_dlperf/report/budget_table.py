"""Budgets: the table of one measurement's budgets, and what to do about them."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Final

from pytest_dlperf.metrics import metric_named
from pytest_dlperf.report.tables import render
from pytest_dlperf.results.verdict import Judgement, Verdict
from pytest_dlperf.units import Dimension, format_quantity

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_dlperf.results.record import Record
    from pytest_dlperf.statistics.estimate import Estimate

_COMMIT: Final = re.compile(r"[0-9a-f]{7,40}")
_UNBOUNDED: Final = 1000  # percent
_WORD: Final = 13  # columns, so that no metric with its comparison is broken
WIDTH: Final = 72
"""Columns of a failure: pytest puts eight in front of it."""


def failure_text(record: Record, broken: Sequence[Judgement]) -> str:
    """Why a test fails: its budgets, where the time went, and what to run next."""
    found = record.measurement
    asked = "steps" if found.of_training else "requests"
    intervals = "intervals" if found.of_training else "percentile intervals"
    lines = [
        headline(broken),
        f"{found.title}",
        "",
        *budget_table(record.judgements, WIDTH),
        "",
        *explanations(record),
        *wrapped(f"{found.target}; {found.scenario}, {found.serving}"),
        *wrapped(f"{found.requests:,} {asked} in {found.seconds:.1f} s: {found.diagnosis}"),
        *(wrapped(f"{intervals}: {found.intervals}") if found.intervals else ()),
    ]
    steps = list(next_steps(record))
    return "\n".join([*lines, *(["", *steps] if steps else [])])


def budget_table(judgements: Iterable[Judgement], width: int) -> list[str]:
    """One row a budget: measured with its interval, limit, baseline with commit and date."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="")
    table.add_column("budget", ratio=1, overflow="fold", min_width=_WORD)
    for column in ("measured", "limit", "baseline"):
        table.add_column(column, no_wrap=True, justify="right")
    table.add_column("verdict", no_wrap=True)
    for judgement in judgements:
        table.add_row(judgement.budget, *budget_cells(judgement), judgement.verdict.value)
    return render(table, width, colour=False)


def budget_cells(judgement: Judgement) -> tuple[str, str, str]:
    """Measured with its interval, limit, and baseline with commit and date; each of some lines."""
    unit = metric_named(judgement.metric).unit
    limit = "-" if judgement.limit is None else format_quantity(judgement.limit, unit)
    return _measured(judgement, unit), limit, _baseline(judgement, unit)


def judged_line(judgement: Judgement) -> str:
    """One budget in one line."""
    named = zip(("measured", "limit", "baseline"), budget_cells(judgement), strict=True)
    facts = [f"{name} {cell.replace(chr(10), ', ')}" for name, cell in named if cell != "-"]
    return "; ".join([f"{judgement.budget}: {judgement.verdict}", *facts])


def explanations(record: Record) -> list[str]:
    """What a reader must know beside the figures: errors by kind, and each open verdict."""
    found = record.measurement
    lines: list[str] = []
    for error in found.errors:
        share = f"{error.requests:,} of {found.requests:,} requests"
        lines += wrapped(f"error: {error.kind}, {share}: {error.example}")
    metrics_by_reason: dict[str, list[str]] = {}
    for judgement in record.judgements:
        if judgement.reason:
            metrics_by_reason.setdefault(reason_of(judgement), []).append(judgement.metric)
    for reason, metrics in metrics_by_reason.items():
        lines += wrapped(f"{', '.join(metrics)}: {reason}")
    for note in found.notes:
        lines += wrapped(f"note: {note}")
    return lines


def headline(broken: Iterable[Judgement]) -> str:
    """The broken budgets in one line, with what was measured.

    What pytest's short summary shows of a failure.
    """
    parts = []
    for judgement in broken:
        unit = metric_named(judgement.metric).unit
        measured = judgement.measured
        was = f", was {format_quantity(measured.value, unit)}" if measured else ""
        if measured is None and judgement.verdict is Verdict.FAIL:
            was = f", {judgement.reason}"  # a goal that was never reached
        kind = "" if judgement.verdict is Verdict.FAIL else f"{judgement.verdict}: "
        parts.append(f"{kind}{judgement.budget}{was}")
    return "; ".join(parts)


def reason_of(judgement: Judgement) -> str:
    """Why a verdict is open, with the value at which it would have been a FAIL."""
    if judgement.fails_at is None:
        return judgement.reason
    unit, better = metric_named(judgement.metric).unit, metric_named(judgement.metric).better
    worse = "below" if better == "higher" else "above"
    at = f"{format_quantity(judgement.fails_at, unit)}{_change(judgement, unit)}"
    return f"{judgement.reason}; {worse} {at} it would have been a FAIL"


def next_steps(record: Record) -> Iterable[str]:
    """What to run next, if that is known: sentences, and below each its command."""
    test = shlex.quote(record.measurement.test)
    lost = [
        judgement
        for judgement in record.judgements
        if judgement.verdict is Verdict.FAIL and judgement.baseline is not None
    ]
    if any(judgement.change is not None for judgement in lost):
        commit = lost[0].revision.partition(",")[0]
        if _COMMIT.fullmatch(commit):
            yield "next: see what has changed since the base:"
            yield f"  git diff {commit}"
    elif lost:
        if record.base:
            yield "next: measure both commits in turn, which tells it from a slower machine:"
            yield f"  pytest {test} --dlperf-against={record.base[:8]}"
        else:
            yield "next: measure again, alone, to see whether it stays:"
            yield f"  pytest {test}"
        where = " where its sessions are recorded" if record.basis else ""
        yield f"or accept it as the new baseline{where}:"
        yield f"  pytest {test} --dlperf-update=all"
    elif not record.basis and any(j.verdict is Verdict.NEW for j in record.judgements):
        known = any(j.baseline is not None for j in record.judgements)
        yield "next: record a baseline:"
        yield f"  pytest {test} --dlperf-update={'all' if known else 'new'}"
    elif record.base:
        yield "next: measure both commits in turn:"
        yield f"  pytest {test} --dlperf-against={record.base[:8]}"


def _measured(judgement: Judgement, unit: Dimension) -> str:
    """The value with its interval; in a duel also what it is beside the base."""
    value = _with_interval(judgement.measured, unit) if judgement.measured else "-"
    change = judgement.change
    if change is None:
        return value
    if unit == "share":
        parts = [f"{end * 100:+.1f}" for end in (change.value, change.low, change.high)]
        return f"{value}\n{parts[0]} pt\n{parts[1]} to {parts[2]}"
    parts = [_percent(end) for end in (change.value, change.low, change.high)]
    return f"{value}\n{parts[0]} %\n{parts[1]} to {parts[2]}"


def _percent(ratio: float) -> str:
    """A ratio as a change; one that few blocks could not bound is only said to be great."""
    change = (ratio - 1) * 100
    return f"{change:+.1f}" if change < _UNBOUNDED else f">{_UNBOUNDED:+d}"


def _with_interval(measured: Estimate, unit: Dimension) -> str:
    value = format_quantity(measured.value, unit)
    if measured.low == measured.high:
        return value
    low, high = format_quantity(measured.low, unit), format_quantity(measured.high, unit)
    return f"{value}\n{_without_repeated_unit(low, high)}"


def _split(quantity: str) -> tuple[str, str]:
    number = quantity.rstrip("/ %ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
    return number, quantity[len(number) :]


def _without_repeated_unit(low: str, high: str) -> str:
    number, unit = _split(low)
    return f"{number if unit == _split(high)[1] else low} to {high}"


def _baseline(judgement: Judgement, unit: Dimension) -> str:
    if judgement.baseline is None:
        return "-"
    value = format_quantity(judgement.baseline, unit)
    return "\n".join([value, *judgement.revision.split(", ")])


def _change(judgement: Judgement, unit: Dimension) -> str:
    base, at = judgement.baseline, judgement.fails_at
    if not base or at is None:
        return ""
    if unit == "share":
        return f" ({(at - base) * 100:+.1f} pt)"
    return f" ({(at / base - 1) * 100:+.0f} %)"


def wrapped(text: str) -> list[str]:
    """A sentence in lines that fit, the further ones indented.

    What follows it in lines of its own is indented too; commands stay whole, so that they can be
    copied.
    """
    import textwrap

    sentence, *further = text.split("\n")
    lines = textwrap.wrap(sentence, WIDTH, subsequent_indent="  ", break_on_hyphens=False)
    for line in further:
        if line.startswith("pytest"):
            lines.append(f"  {line}")
        else:
            lines += textwrap.wrap(
                line.strip(),
                WIDTH,
                initial_indent="  ",
                subsequent_indent="    ",
                break_on_hyphens=False,
            )
    return lines
