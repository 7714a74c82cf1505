"""The table of one measurement's budgets, and what to do about them."""

from __future__ import annotations

import re
import shlex
from math import ceil, floor
from typing import TYPE_CHECKING, Final

from pytest_dlperf.metrics import metric_named
from pytest_dlperf.report.hints import GO_ON_WITHOUT_BASE
from pytest_dlperf.report.tables import MESSAGE, Column, table, wrap_message
from pytest_dlperf.results.verdict import Judgement, Verdict
from pytest_dlperf.units import (
    format_change,
    format_change_interval,
    format_interval,
    format_loss,
    format_quantity,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_dlperf.results.record import Record
    from pytest_dlperf.units import Dimension

_LEAST_PERCENT: Final = 0.001  # less would be shown as 0.0 %
_LEAST_POINTS: Final = 0.0001
_COMMIT: Final = re.compile(r"[0-9a-f]{7,40}")
COLUMNS: Final = (
    Column("budget", folds=True, min_width=13),  # no metric with its comparison is broken
    *(Column(name, right=True) for name in ("measured", "limit", "baseline")),
    Column("verdict"),
)


def failure_text(record: Record, broken: Sequence[Judgement]) -> str:
    """Why a test fails: its budgets, where the time went, and what to run next."""
    measurement = record.measurement
    of_training = measurement.of_training
    unit, intervals = (
        ("steps", "intervals") if of_training else ("requests", "percentile intervals")
    )
    lines = [
        headline(broken),
        measurement.title,
        "",
        *budget_table(record.judgements, MESSAGE),
        "",
        *explanations(record),
        *wrap_message(f"{measurement.target}; {measurement.scenario}, {measurement.serving}"),
        *wrap_message(
            f"{measurement.requests:,} {unit} in {measurement.seconds:.1f} s: "
            f"{measurement.diagnosis}"
        ),
    ]
    if measurement.intervals:
        lines += wrap_message(f"{intervals}: {measurement.intervals}")
    steps = list(next_steps(record))
    return "\n".join([*lines, *(["", *steps] if steps else [])])


def budget_table(judgements: Iterable[Judgement], width: int) -> list[str]:
    """A row for each budget: measured with its interval, limit, baseline with commit and date."""
    rows = (
        (judgement.budget, *budget_cells(judgement), judgement.verdict.value)
        for judgement in judgements
    )
    return table(COLUMNS, rows, width, colour=False)


def budget_cells(judgement: Judgement) -> tuple[str, str, str]:
    """Measured with its interval, limit, and baseline with commit and date, as lines of text."""
    unit = metric_named(judgement.metric).unit
    limit = "-" if judgement.limit is None else format_quantity(judgement.limit, unit)
    baseline = "-"
    if judgement.baseline is not None:
        value = format_quantity(judgement.baseline, unit)
        baseline = "\n".join([value, *judgement.revision.split(", ")])
    return _measured(judgement, unit), limit, baseline


def judged_line(judgement: Judgement) -> str:
    """A budget and its verdict in one line."""
    named = zip(("measured", "limit", "baseline"), budget_cells(judgement), strict=True)
    values = [f"{name} {cell.replace(chr(10), ', ')}" for name, cell in named if cell != "-"]
    bound = "".join(bound_of(judgement) or ())
    return "; ".join([f"{judgement.budget}: {judgement.verdict}", *values, *filter(None, [bound])])


def explanations(record: Record) -> list[str]:
    """Errors by kind, the reason for each open verdict, and notes."""
    return [line for message in explanation_messages(record) for line in wrap_message(message)]


def explanation_messages(record: Record) -> Iterator[str]:
    """The same as messages, which are not wrapped yet."""
    measurement = record.measurement
    for error in measurement.errors:
        share = f"{error.requests:,} of {measurement.requests:,} requests"
        yield f"error: {error.kind}, {share}: {error.example}"
    metrics_by_reason: dict[str, list[str]] = {}
    for judgement in record.judgements:
        if judgement.reason:
            metrics_by_reason.setdefault(reason_of(judgement), []).append(judgement.metric)
    for reason, metrics in metrics_by_reason.items():
        yield f"{', '.join(metrics)}: {reason}"
    bounds = bounds_of(record.judgements)
    if bounds:
        yield bounds
    yield from (f"note: {note}" for note in measurement.notes)


def bounds_of(judgements: Iterable[Judgement]) -> str:
    """What the verdicts on relative budgets prove, in one line; empty if there are none."""
    figures: dict[tuple[str, str], dict[str, str]] = {}
    for judgement in judgements:
        phrase = bound_of(judgement)
        if phrase:
            before, figure, after = phrase
            figures.setdefault((before, after), {})[judgement.metric] = figure
    return "; ".join(
        ", ".join(
            f"{metric}: {figure}" if number else f"{metric}: {before}{figure}{after}"
            for number, (metric, figure) in enumerate(by_metric.items())
        )
        for (before, after), by_metric in figures.items()
    )


def bound_of(judgement: Judgement) -> tuple[str, str, str] | None:
    """The loss that a PASS excludes or a FAIL proves: a figure, and the words around it.

    Rounded to the safe side, so that it holds as it reads.
    """
    failed = judgement.proven is not None
    loss = judgement.proven if failed else judgement.excluded
    if loss is None:
        return None
    unit = metric_named(judgement.metric).unit
    at_least = not loss or (loss > 0) is failed
    if at_least and abs(loss) < (_LEAST_POINTS if unit == "share" else _LEAST_PERCENT):
        return "a loss is proven" if failed else "nothing was lost", "", ""
    figure = format_loss(abs(loss), unit, floor if at_least else ceil)
    if at_least:
        return "at least ", figure, " was lost" if failed else " was gained"
    if failed:
        return "less than ", figure, " was gained"
    return "a loss of ", figure, " or more is excluded"


def headline(broken: Iterable[Judgement]) -> str:
    """The broken budgets in one line, with what was measured: for pytest's short summary."""
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
    metric = metric_named(judgement.metric)
    worse = "below" if metric.better == "higher" else "above"
    at = format_quantity(judgement.fails_at, metric.unit)
    if judgement.baseline:
        at += f" ({_change_to(judgement.fails_at, judgement.baseline, metric.unit)})"
    return f"{judgement.reason}; {worse} {at} it would have been a FAIL"


def _change_to(value: float, baseline: float, unit: Dimension) -> str:
    if unit == "share":
        return format_change(value - baseline, unit, digits=1)
    return format_change(value / baseline - 1, unit, digits=0)


def next_steps(record: Record) -> Iterable[str]:
    """What to run next, if that is known: sentences, and below each its command."""
    test = shlex.quote(record.measurement.test)
    lost = [
        judgement
        for judgement in record.judgements
        if judgement.verdict is Verdict.FAIL and judgement.baseline is not None
    ]
    if lost and record.duel is not None:
        commit = lost[0].revision.partition(",")[0]
        if _COMMIT.fullmatch(commit):
            yield "next: see what has changed since the base:"
            yield f"  git diff {commit}"
    elif lost:
        if not any(metric_named(judgement.metric).is_speed for judgement in lost):
            if record.base:
                yield "next: see what has changed since the baseline:"
                yield f"  git diff {record.base[:8]}"
        elif record.base:
            yield "next: measure both commits in turn, which tells it from a slower machine:"
            yield f"  pytest {test} --dlperf-against={record.base[:8]}"
        else:
            yield "next: measure again, alone, to see whether it stays:"
            yield f"  pytest {test}"
        where = " where its sessions are recorded" if record.basis else ""
        yield f"or accept it as the new baseline{where}:"
        yield f"  pytest {test} --dlperf-update=all"
    elif any(judgement.base_broken for judgement in record.judgements):
        yield f"next: mend that, or {GO_ON_WITHOUT_BASE}"
    elif not (record.basis or record.duel) and any(
        j.verdict is Verdict.NEW for j in record.judgements
    ):
        known = any(j.baseline is not None for j in record.judgements)
        yield "next: record a baseline:"
        yield f"  pytest {test} --dlperf-update={'all' if known else 'new'}"
    elif record.base:
        yield "next: measure both commits in turn:"
        yield f"  pytest {test} --dlperf-against={record.base[:8]}"


def _measured(judgement: Judgement, unit: Dimension) -> str:
    """The value with its interval; of a relative budget its change with the interval that decided.

    The interval of the value itself is about this run alone, and decides nothing there.
    """
    measured, change = judgement.measured, judgement.change
    lines = [format_quantity(measured.value, unit) if measured else "-"]
    if measured and change is None and measured.low != measured.high:
        lines.append(format_interval(measured.low, measured.high, unit))
    if change is not None:
        # The change of a share is a difference already, that of all else a ratio.
        value, low, high = (
            end if unit == "share" else end - 1 for end in (change.value, change.low, change.high)
        )
        lines += [
            format_change(value, unit, digits=1),
            format_change_interval(low, high, unit, digits=1),
        ]
    return "\n".join(lines)
