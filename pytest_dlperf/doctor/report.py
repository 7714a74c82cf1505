"""A checkup as text and as plain values."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Final

from pytest_dlperf.doctor.detectable_loss import PAIRS, POWER
from pytest_dlperf.judge.error_rates import ALPHA
from pytest_dlperf.report.tables import Column, styled, table, wrap, wrap_labelled
from pytest_dlperf.units import format_percent, format_quantity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_dlperf.doctor.checkup import Checkup

SCHEMA: Final = 1
"""Of `doctor_json`."""

_KEYS: Final = {"detectable": "findable", "pair_limits": "launches"}
"""Keys of the JSON that are not the name of the field."""
_WIDTH: Final = 80
_LABEL: Final = 11


def doctor_lines(checkup: Checkup, *, colour: bool) -> list[str]:
    """The whole report, in lines of at most 80 columns.

    Args:
        checkup: the result.
        colour: whether to emit ANSI colours.
    """
    power, alarms = f"{POWER * 100:.0f} % power", f"{ALPHA * 100:.0f} % false alarms"
    lines = [
        line
        for label, text in _facts(checkup)
        for line in wrap_labelled(label, text, _LABEL, _WIDTH)
    ]
    lines += [
        "",
        "noise of a block of four slots, by the length of a slot:",
        *_lengths(checkup, colour=colour),
        f"best: slots of {format_quantity(checkup.best, 's')}",
        "",
        f"smallest loss of speed that is found with {power} at {alarms}:",
        *_losses(checkup, colour=colour),
        "",
    ]
    if checkup.advice:
        lines.append("to find smaller ones:")
        for advice in checkup.advice:
            lines += wrap(advice, "- ", "  ", _WIDTH)
    else:
        lines.append("nothing that was measured needs a change")
    return [*lines, "", f"measured in {checkup.seconds:.0f} s"]


def doctor_json(checkup: Checkup) -> dict[str, object]:
    """The same as plain values; losses and the spread are log ratios, times are seconds."""
    values = dataclasses.asdict(checkup)
    return {"schema": SCHEMA, **{_KEYS.get(name, name): value for name, value in values.items()}}


def _facts(checkup: Checkup) -> Iterator[tuple[str, str]]:
    host, timer = checkup.host, checkup.timer
    quota = "no quota" if host.quota is None else f"quota {host.quota:.3g}"
    count = f"{host.cores} of {host.processors} processors"
    yield "machine", f"{host.cpu}: {count}, {quota}, load {host.load:.2f} before"
    governors = ", ".join(host.governors) or "not shown"
    turbo = {True: "on", False: "off", None: "not shown"}[host.turbo]
    yield "frequency", f"governor {governors}, turbo {turbo}"
    stolen, others = (
        "unknown" if share is None else format_percent(share)
        for share in (checkup.stolen, checkup.others)
    )
    yield "others", f"host {stolen}, other processes {others} of the processors"
    step, late, p99 = (
        format_quantity(value, "s") for value in (timer.step, timer.late, timer.late_p99)
    )
    yield "timer", f"steps of {step}; a sleep of 1 ms ends {late} late, one in a hundred {p99}"
    handover = format_quantity(checkup.handover, "s")
    yield "hand-over", f"{handover} of a slot are not measured, guard time included"
    differ = f"{checkup.pairs} fresh pairs of identical processes differ by {_loss(checkup.spread)}"
    bound = f"95 % sure: by less than {_loss(checkup.spread_high)}"
    assumed = ""
    if checkup.spread_counted > checkup.spread:
        assumed = f", so that {_loss(checkup.spread_counted)} is assumed"
    start = f"a pair took {format_quantity(checkup.starting, 's')} to start"
    yield "launches", f"{differ} beyond the noise of their blocks ({bound}){assumed}; {start}"


def _lengths(checkup: Checkup, *, colour: bool) -> list[str]:
    names = ("slot", "blocks", "takes", "noise", "figure S", "95 % interval of S")
    rows = []
    for noise in checkup.lengths:
        cells = (
            format_quantity(noise.length, "s"),
            str(noise.blocks),
            format_quantity(noise.block_seconds, "s"),
            format_quantity(noise.sigma, "share"),
            f"{noise.figure:.2g} s",
            f"{noise.low:.2g} to {noise.high:.2g} s",
        )
        style = "bold" if noise.length == checkup.best else ""
        rows.append([styled(cell, style) for cell in cells])
    return table([Column(name, right=True) for name in names], rows, _WIDTH, colour=colour)


def _losses(checkup: Checkup, *, colour: bool) -> list[str]:
    pairs = (f"{count} pair{'s' if count > 1 else ''}" for count in PAIRS)
    names = ("measured for", *pairs, "blocks alone")
    rows = [
        (format_quantity(row.seconds, "s"), *map(_loss, (*row.by_pairs, row.blocks)))
        for row in checkup.detectable
    ]
    rows.append(("for ever", *map(_loss, checkup.pair_limits), "-"))
    return table([Column(name, right=True) for name in names], rows, _WIDTH, colour=colour)


def _loss(ratio: float) -> str:
    """A log ratio of costs as the increase of the time per request."""
    return format_percent(math.expm1(ratio))
