"""A checkup as text and as plain values."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Final

from pytest_dlperf.doctor.detectable_loss import POWER
from pytest_dlperf.judge.error_rates import ALPHA
from pytest_dlperf.report.tables import Column, table, wrap, wrap_labelled
from pytest_dlperf.units import format_percent, format_quantity, signed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_dlperf.doctor.checkup import Checkup

SCHEMA: Final = 2
"""Of `doctor_json`."""

_WIDTH: Final = 80
_LABEL: Final = 11
_PLACES: Final = {
    True: "the model gains from more than one: both sides of a pair have all",
    False: "the model gains nothing from more than one: both sides of a pair are kept on one, "
    "drawn for each pair",
    None: "there is no choice: both sides of a pair have all",
}
"""Whether the model gains from more processors than one -> where sides are measured."""


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
        f"smallest loss of speed that is found with {power} at {alarms}:",
        *_losses(checkup, colour=colour),
        *wrap("; ".join(_times(checkup)), "", "", _WIDTH),
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
    """The same as plain values; losses and the noise are log ratios, times are seconds."""
    return {"schema": SCHEMA, **dataclasses.asdict(checkup)}


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
    yield "starting", _starting(checkup)
    yield "processors", _PLACES[checkup.gains]
    yield from _pairs(checkup)


def _starting(checkup: Checkup) -> str:
    each = checkup.pair_seconds
    first, further = format_quantity(each.first, "s"), format_quantity(each.further, "s")
    how = (
        f"started as new programs ({checkup.spawned})"
        if checkup.spawned
        else "forked from a process that has imported TensorFlow"
    )
    return f"sides are {how}: the first pair takes {first}, each further one {further}"


def _pairs(checkup: Checkup) -> Iterator[tuple[str, str]]:
    noise = checkup.noise
    slot, takes = (
        format_quantity(value, "s")
        for value in (noise.slot_seconds, checkup.pair_seconds.measuring)
    )
    blocks = f"{noise.blocks / noise.pairs:.0f} blocks of four slots of {slot} in {takes}"
    of_block, left = _size(noise.block_noise), _size(noise.block_error)
    yield (
        "blocks",
        f"a pair is measured for {blocks}; one varies by {of_block}, their median by {left}",
    )
    deviation, bound = _size(noise.deviation), _size(noise.deviation_high)
    mean = signed(math.expm1(noise.mean), "s", 2)
    zero = "0 is within it" if noise.holds_zero else "0 is NOT within it"
    reach = _size(noise.mean_reach)
    yield (
        "pairs",
        (
            f"{noise.pairs} pairs of identical code have a standard deviation of {deviation} "
            f"(95 % sure: below {bound}) and a mean of {mean} % +- {reach}: {zero}"
        ),
    )


def _losses(checkup: Checkup, *, colour: bool) -> list[str]:
    bound = _size(checkup.noise.deviation_high)
    names = ("wall time", "pairs", "loss", f"if pairs vary by {bound}")
    rows = [
        (
            format_quantity(row.seconds, "s"),
            str(row.pairs),
            *("-" if loss is None else _loss(loss) for loss in (row.loss, row.loss_at_most)),
        )
        for row in checkup.detectable
    ]
    return table([Column(name, right=True) for name in names], rows, _WIDTH, colour=colour)


def _times(checkup: Checkup) -> Iterator[str]:
    for time in checkup.times:
        loss = f"a loss of {_loss(time.loss)}"
        if time.seconds is None:
            yield f"{loss} is not found by a thousand pairs"
        else:
            yield f"{loss} takes {format_quantity(time.seconds, 's')} ({time.pairs} pairs)"


def _loss(ratio: float) -> str:
    """A log ratio of costs as the increase of the time per request."""
    return format_percent(math.expm1(ratio))


def _size(ratio: float) -> str:
    """The same with two decimals."""
    return format_quantity(math.expm1(ratio), "share")
