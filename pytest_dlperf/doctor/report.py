"""Doctor: what a checkup found, as text and as plain values."""

from __future__ import annotations

import dataclasses
import math
import textwrap
from typing import TYPE_CHECKING, Final

from pytest_dlperf.doctor.detectable_loss import PAIRS, POWER
from pytest_dlperf.judge.error_rates import ALPHA
from pytest_dlperf.report.tables import render
from pytest_dlperf.units import format_quantity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.table import Table

    from pytest_dlperf.doctor.checkup import Checkup

SCHEMA: Final = 1
"""Of `doctor_json`."""

_WIDTH: Final = 80
_LABEL: Final = 10


def doctor_lines(found: Checkup, *, colour: bool) -> list[str]:
    """The whole report, in lines of 80 columns at the most.

    Args:
        found: by the doctor.
        colour: whether to emit ANSI colours.
    """
    lines = []
    for label, text in _facts(found):
        lines += textwrap.wrap(
            text,
            _WIDTH,
            initial_indent=f"{label:<{_LABEL}} ",
            subsequent_indent=" " * (_LABEL + 1),
            break_on_hyphens=False,
        )
    lines += ["", "noise of a block of four slots, by the length of a slot:"]
    lines += render(_lengths(found), _WIDTH, colour=colour)
    lines += [f"best: slots of {format_quantity(found.best, 's')}", ""]
    power, alarms = f"{POWER * 100:.0f} % power", f"{ALPHA * 100:.0f} % false alarms"
    lines.append(f"smallest loss of speed that is found with {power} at {alarms}:")
    lines += render(_losses(found), _WIDTH, colour=colour)
    if found.advice:
        lines += ["", "to find smaller ones:"]
        for advice in found.advice:
            lines += _bullet(advice)
    else:
        lines += ["", "nothing was measured that should be changed"]
    return [*lines, "", f"measured in {found.seconds:.0f} s"]


def doctor_json(found: Checkup) -> dict[str, object]:
    """The same as plain values; losses and the spread are log ratios, times are seconds."""
    return {"schema": SCHEMA, **dataclasses.asdict(found)}


def _facts(found: Checkup) -> Iterator[tuple[str, str]]:
    host, timer = found.host, found.timer
    quota = "no quota" if host.quota is None else f"quota {host.quota:.3g}"
    count = f"{host.cores} of {host.processors} processors"
    yield "machine", f"{host.cpu}: {count}, {quota}, load {host.load:.2f} before"
    governors = ", ".join(host.governors) or "not shown"
    turbo = {True: "on", False: "off", None: "not shown"}[host.turbo]
    yield "frequency", f"governor {governors}, turbo {turbo}"
    yield (
        "others",
        f"host {_share(found.stolen)}, other processes {_share(found.others)} of the processors",
    )
    step, late, rarely = (
        format_quantity(value, "s") for value in (timer.step, timer.late, timer.late_p99)
    )
    yield "timer", f"steps of {step}; a sleep of 1 ms ends {late} late, one in a hundred {rarely}"
    yield (
        "hand-over",
        f"{format_quantity(found.handover, 's')} of a slot are not measured, guard time included",
    )
    differ = f"{found.pairs} fresh pairs of identical processes differ by {_loss(found.spread)}"
    sure = f"95 % sure: by less than {_loss(found.spread_high)}"
    counted = (
        f", so that {_loss(found.spread_counted)} is counted, as if nothing were known"
        if found.spread_counted > found.spread
        else ""
    )
    start = f"a pair took {format_quantity(found.starting, 's')} to start"
    yield "launches", f"{differ} beyond the noise of their blocks ({sure}){counted}; {start}"


def _lengths(found: Checkup) -> Table:
    table = _table("slot", "blocks", "takes", "noise", "figure S", "95 % interval of S")
    for one in found.lengths:
        table.add_row(
            format_quantity(one.length, "s"),
            str(one.blocks),
            format_quantity(one.block_seconds, "s"),
            f"{one.sigma * 100:.2f} %",
            f"{one.figure:.2g} s",
            f"{one.low:.2g} to {one.high:.2g} s",
            style="bold" if one.length == found.best else "",
        )
    return table


def _losses(found: Checkup) -> Table:
    pairs = [f"{count} pair{'s' if count > 1 else ''}" for count in PAIRS]
    table = _table("measured for", *pairs, "blocks alone")
    for row in found.findable:
        losses = (*row.by_pairs, row.blocks)
        table.add_row(format_quantity(row.seconds, "s"), *map(_loss, losses))
    table.add_row("for ever", *map(_loss, found.launches), "-")
    return table


def _table(*columns: str) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _loss(ratio: float) -> str:
    """A log ratio of costs as how much longer a request takes."""
    return f"{math.expm1(ratio) * 100:.1f} %"


def _share(share: float | None) -> str:
    return "unknown" if share is None else f"{share * 100:.1f} %"


def _bullet(text: str) -> list[str]:
    return textwrap.wrap(
        text, _WIDTH, initial_indent="- ", subsequent_indent="  ", break_on_hyphens=False
    )
