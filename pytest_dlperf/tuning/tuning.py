"""Tuning: the table of a study, what to paste, and what each knob was worth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pytest_dlperf.history.compare_report import interval, signed, sized
from pytest_dlperf.metrics import metric_named
from pytest_dlperf.report.github import code_cell, table, text_cell
from pytest_dlperf.tuning.code import setup_code
from pytest_dlperf.tuning.pareto import half_width
from pytest_dlperf.tuning.report import (
    HEADINGS,
    cells,
    columns_of,
    filled,
    finalist_line,
    front_numbers,
    heading,
    headings,
    legend,
    mark,
    recommendation,
    shown_trials,
    table_lines,
    words_of,
)
from pytest_dlperf.tuning.tuning_marker import marker_code

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_dlperf.tuning.effects import Effect
    from pytest_dlperf.tuning.result import Tuned

_TOLD: Final = ("throughput", "p99", "accuracy", "train.time")
_KNOB: Final = 15
_EFFECT: Final = 16
_COLUMNS: Final = 4
_INDENT: Final = "    "
_FARTHEST: Final = 1000.0  # percent
_NONE: Final = 0.005


def tuning_lines(tuned: Tuned) -> Iterator[str]:
    """All of it as plain text of 80 columns."""
    yield from table_lines(tuned)
    yield ""
    yield from effect_lines(tuned)
    yield ""
    yield "As code:"
    yield ""
    yield from (f"{_INDENT}{line}".rstrip() for line in setup_code(tuned.setup).splitlines())
    yield ""
    yield "As a marker:"
    yield ""
    yield from (f"{_INDENT}{line}".rstrip() for line in marker_code(tuned).splitlines())


def effect_lines(tuned: Tuned) -> Iterator[str]:
    """What each value of a knob was worth, with its interval, in four metrics."""
    columns = told_metrics(tuned)
    yield "What each knob was worth, all else being equal (95 % intervals):"
    yield ""
    headings = "".join(f"{_heading(name):>{_EFFECT}}" for name in columns)
    yield f"{'':<{_KNOB}}{headings}".rstrip()
    for knob in tuned.knobs:
        effects = [one for one in tuned.effects if one.knob == knob.name]
        if not effects:
            continue
        yield from filled(f"{knob.name}, instead of {knob.default}")
        for value in dict.fromkeys(one.value for one in effects):
            by_metric = {one.metric: one for one in effects if one.value == value}
            told = "".join(f"{effect_cell(by_metric.get(name)):>{_EFFECT}}" for name in columns)
            label = f"  {value}"
            if len(label) < _KNOB:
                yield f"{label:<{_KNOB}}{told}".rstrip()
            else:
                yield from filled(label.strip(), "  ")
                yield f"{'':<{_KNOB}}{told}".rstrip()
    yield ""
    yield from filled(basis_words(tuned.effects))


def told_metrics(tuned: Tuned) -> tuple[str, ...]:
    """The metrics that effects are told of: at most four, those of the goal first."""
    found = {one.metric for one in tuned.effects}
    wanted = dict.fromkeys((*tuned.goal.metrics, *_TOLD))
    return tuple(name for name in wanted if name in found)[:_COLUMNS]


def effect_cell(effect: Effect | None) -> str:
    """A change and how far its interval reaches, the longer side; a dash if it cannot be told."""
    if effect is None:
        return "-"
    unit = metric_named(effect.metric).unit
    text = signed(effect.change.value, unit)
    reach = half_width(effect.change) * 100
    least_squares = "~" if effect.basis == "least squares" else ""
    far = f" ±{reach:.{2 if unit == 'share' else 1}f}" if reach <= _FARTHEST else " ±>1000"
    return f"{least_squares}{text}{far if reach > _NONE else ''}"


def basis_words(effects: Sequence[Effect]) -> str:
    """Where the effects come from."""
    bases = {one.basis for one in effects}
    pairs = (
        "From pairs of trials that differ in this knob alone; the intervals allow for the noise "
        "within trials, and between them where a value has several pairs."
    )
    fitted = "~ from all trials together, by least squares on main effects."
    said = [text for basis, text in (("pairs", pairs), ("least squares", fitted)) if basis in bases]
    return " ".join(said) or "The trials do not tell."


def _heading(name: str) -> str:
    unit = "pt" if metric_named(name).unit == "share" else "%"
    return f"{HEADINGS.get(name, name)}, {unit}"


def tuning_markdown(tuned: Tuned) -> Iterator[str]:
    """All of it as Markdown for a pull request or a page."""
    yield f"### dlperf tune: {code_cell(tuned.test)}"
    yield ""
    yield text_cell(heading(tuned))
    yield ""
    shown, names, on_front = shown_trials(tuned), columns_of(tuned), front_numbers(tuned)
    rows = [
        (
            text_cell(mark(tuned, number, trial, on_front).strip()),
            code_cell(words_of(tuned, trial.configuration)),
            *map(text_cell, cells(trial, names)),
        )
        for number, trial in shown
    ]
    header = ("", "configuration", *headings(names))
    yield from table(header, rows, frozenset({"", "configuration"}))
    yield ""
    yield from (f"- {text_cell(line)}" for line in legend(tuned, len(shown)))
    yield ""
    yield f"**{text_cell(recommendation(tuned))}**"
    yield ""
    yield from (f"- {text_cell(finalist_line(tuned, one))}" for one in tuned.finalists)
    yield ""
    yield from _effect_table(tuned)
    for code in (setup_code(tuned.setup), marker_code(tuned)):
        yield from ("", "```python", *code.splitlines(), "```")


def _effect_table(tuned: Tuned) -> Iterator[str]:
    rows = [
        (
            code_cell(f"{one.knob}={one.value}"),
            code_cell(one.default),
            one.metric,
            sized(one.change.value, unit := metric_named(one.metric).unit),
            interval(one.change, unit),
            f"{one.count} pair{'s' if one.count > 1 else ''}"
            if one.basis == "pairs"
            else f"least squares, {one.count} trials",
        )
        for one in tuned.effects
    ]
    if not rows:
        return
    header = ("knob", "instead of", "metric", "change", "95 % interval", "from")
    yield from table(header, rows, frozenset({"knob", "instead of", "metric", "from"}))
