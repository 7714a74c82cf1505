"""Report: a study as text of 80 columns: the Pareto front, the effects, and code to paste."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from pytest_dlperf.metrics import in_order, metric_named
from pytest_dlperf.report.tables import LINE, wrap
from pytest_dlperf.tuning.code import marker_code, setup_code
from pytest_dlperf.tuning.result import WEIGHED
from pytest_dlperf.tuning.selection import common_metrics, front, half_width
from pytest_dlperf.units import (
    change_unit,
    format_change,
    format_change_interval,
    format_quantity,
    signed,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_dlperf.statistics.estimate import Estimate
    from pytest_dlperf.tuning.configuration import Configuration
    from pytest_dlperf.tuning.result import Effect, Finalist, TrialResult, Tuned
    from pytest_dlperf.units import Dimension

HEADINGS: Final = {"model_size": "memory", "train.time": "training"}
"""Headings of columns that are not the name of the metric."""

_WIDTHS: Final[dict[Dimension, int]] = {"1/s": 15, "s": 13, "share": 15, "bytes": 9, "1": 14}
_NUMBER: Final = 5  # characters of a trial's number and marks
_SHOWN: Final = 12  # trials
_REASONS: Final = 5  # of failed trials
_LARGE: Final = 0.1  # intervals from here on have no decimals
_SMALL: Final = 0.0005  # intervals up to a twentieth of a percent are left out

_EFFECTS_IN: Final = ("throughput", "p99", "accuracy", "train.time")
_KNOB: Final = 15  # width of the column
_EFFECT: Final = 16  # width of a column
_COLUMNS: Final = 4
_INDENT: Final = "    "
_FARTHEST: Final = 1000.0  # percent; the limits of wider intervals are not shown
_NONE: Final = 0.005  # percent or points


def with_table(tuned: Tuned) -> Tuned:
    """The study with its table."""
    return replace(tuned, table="\n".join(table_lines(tuned)))


def table_lines(tuned: Tuned) -> Iterator[str]:
    """Trials, the front and the recommendation, as plain text."""
    yield from wrap(heading(tuned))
    yield ""
    shown, on_front = shown_trials(tuned), front_numbers(tuned)
    names = columns_of(tuned)
    yield _row("", [HEADINGS.get(name, name) for name in names], names)
    for number, trial in shown:
        yield _row(mark(tuned, number, trial, on_front), cells(trial, names), names)
        role = "  <- recommended" if trial.configuration == tuned.recommended else ""
        differences = f"{words_of(tuned, trial.configuration)}{role}"
        yield from wrap(differences, " " * (_NUMBER + 1), " " * (_NUMBER + 3))
    yield ""
    for line in legend(tuned, len(shown)):
        yield from wrap(line)
    yield ""
    yield from wrap(recommendation(tuned))
    for finalist in tuned.finalists:
        yield from wrap(finalist_line(tuned, finalist), "  ", "    ")


def heading(tuned: Tuned) -> str:
    """Test, goal, load, search, and the number of trials."""
    measured = sum(trial.measured is not None for trial in tuned.trials)
    failed = sum(bool(trial.failed) for trial in tuned.trials)
    skipped = sum(bool(trial.skipped) for trial in tuned.trials)
    parts = [
        f"{measured} configurations measured" if measured != 1 else "1 configuration measured",
        f"{failed} failed" if failed else "",
        f"{skipped} skipped as impossible" if skipped else "",
        f"{tuned.resumed} of them by an earlier run" if tuned.resumed else "",
    ]
    tried = ", ".join(filter(None, parts))
    seconds = format_quantity(tuned.seconds, "s")
    return f"{tuned.test}: {tuned.goal}; {tuned.scenario}; {tuned.search}: {tried}; {seconds}"


def shown_trials(tuned: Tuned) -> tuple[tuple[int, TrialResult], ...]:
    """Numbered trials: without tuning, the finalists, and the best of the front by objective."""
    numbered = [(n, t) for n, t in enumerate(tuned.trials, start=1) if t.measured is not None]
    on_front = front_numbers(tuned)
    compared = {finalist.configuration for finalist in tuned.finalists}
    always = {n for n, t in numbered if n == 1 or t.configuration in compared}
    ranked = sorted(
        (n for n, _ in numbered if n in on_front - always),
        key=lambda n: tuned.goal.cost(tuned.trials[n - 1].metrics),
    )
    kept = always | set(ranked[: max(0, _SHOWN - len(always))])
    return tuple((n, t) for n, t in numbered if n in kept)


def front_numbers(tuned: Tuned) -> frozenset[int]:
    """The numbers of the trials on the front, by the metrics that all of them have."""
    measured = [(n, t) for n, t in enumerate(tuned.trials, start=1) if t.measured is not None]
    points = [trial.metrics for _, trial in measured]
    names = common_metrics(points, dict.fromkeys((*WEIGHED, *tuned.goal.metrics)))
    return frozenset(measured[place][0] for place in front(points, names))


def mark(tuned: Tuned, number: int, trial: TrialResult, on_front: frozenset[int]) -> str:
    """The number of a trial, with a star if it is on the front, an arrow if it is recommended."""
    arrow = ">" if trial.configuration == tuned.recommended else " "
    star = "*" if number in on_front else " "
    return f"{arrow}{star}{number}"


def columns_of(tuned: Tuned) -> tuple[str, ...]:
    """The metrics of the table: those of the goal, then `WEIGHED`, as many as fit.

    Metrics that no trial has measured are left out.
    """
    known = {name for trial in tuned.trials for name in trial.metrics}
    room = LINE - _NUMBER
    kept = set()
    for name in dict.fromkeys((*tuned.goal.metrics, *WEIGHED)):
        room -= _width(name) + 1 if name in known else 0
        if name in known and room >= 0:
            kept.add(name)
    return in_order(kept)


def cells(trial: TrialResult, names: Sequence[str]) -> list[str]:
    """Metrics with intervals; a dash for unknown ones."""
    return [
        with_interval(trial.metrics[name], name) if name in trial.metrics else "-" for name in names
    ]


def with_interval(estimate: Estimate, name: str) -> str:
    """A value and half its interval, the longer side; without it for counted values."""
    unit = metric_named(name).unit
    text, reach = format_quantity(estimate.value, unit), half_width(estimate)
    if unit == "share":
        # With an interval, two decimals would claim a precision that the value does not have.
        short = f"{estimate.value * 100:.1f} %"
        return f"{short} ±{reach * 100:.1f} pt" if reach > _SMALL else text
    relative = reach / abs(estimate.value) if estimate.value else 0.0
    if relative <= _SMALL:
        return text
    return f"{text} ±{relative * 100:.{0 if relative >= _LARGE else 1}f}%"


def words_of(tuned: Tuned, configuration: Configuration) -> str:
    """The values of a configuration that differ from the defaults."""
    changed = configuration.differences(tuned.default)
    if not changed:
        return "without tuning"
    return ", ".join(f"{name}={value}" for name, value in changed.items())


def legend(tuned: Tuned, shown: int) -> Iterator[str]:
    """The meaning of the marks, the number of trials not shown, problems and notes."""
    measured = sum(trial.measured is not None for trial in tuned.trials)
    left = measured - shown
    more = f"; {left} more {'is' if left == 1 else 'are'} not shown" if left else ""
    yield (
        "* nothing measured is as good in all of these and better in one beyond the noise; "
        f"> recommended; ± half a 95 % interval, its longer side{more}"
    )
    yield from problems(tuned)
    yield from (f"note: {note}" for note in tuned.notes)


def problems(tuned: Tuned) -> Iterator[str]:
    """Why trials failed or were skipped, each reason once."""
    trials: dict[tuple[str, str], list[int]] = {}
    for number, trial in enumerate(tuned.trials, start=1):
        for kind, reason in (("failed", trial.failed), ("skipped", trial.skipped)):
            if reason:
                trials.setdefault((kind, reason), []).append(number)
    for (kind, reason), numbers in itertools.islice(trials.items(), _REASONS):
        first = words_of(tuned, tuned.trials[numbers[0] - 1].configuration)
        others = f", and {len(numbers) - 1} more" if len(numbers) > 1 else ""
        yield f"{kind}: #{numbers[0]} ({first}){others}: {reason}"
    if len(trials) > _REASONS:
        left = sum(map(len, list(trials.values())[_REASONS:]))
        yield f"{left} more failed or were skipped for other reasons, which are in the JSON"


def recommendation(tuned: Tuned) -> str:
    """What to use, and why."""
    words = words_of(tuned, tuned.recommended)
    if tuned.winner is None:
        return f"recommended: the setup as it is without tuning: {tuned.reason}"
    return f"recommended: {words}: {gain_words(tuned, tuned.winner)}, {tuned.reason}"


def gain_words(tuned: Tuned, finalist: Finalist) -> str:
    """By how much a finalist is better, with the interval."""
    gain, metric = finalist.gain, tuned.goal.objective
    if gain is None:
        return f"{metric.name} not compared"
    if metric.unit == "share":
        interval = format_change_interval(gain.low, gain.high, metric.unit)
        return f"{metric.name} {format_change(gain.value, metric.unit)} ({interval})"
    return f"{metric.name} {gain.value:.3g} x ({gain.low:.3g} to {gain.high:.3g})"


def finalist_line(tuned: Tuned, finalist: Finalist) -> str:
    """The verdict on a finalist."""
    number = tuned.trials.index(tuned.trial_of(finalist.configuration)) + 1
    reason = f"; {finalist.reason}" if finalist.reason else ""
    gain = gain_words(tuned, finalist)
    return f"{finalist.verdict} #{number} against the setup without tuning: {gain}{reason}"


def _width(name: str) -> int:
    return max(len(HEADINGS.get(name, name)), _WIDTHS[metric_named(name).unit])


def _row(number: str, columns: Sequence[str], names: Sequence[str]) -> str:
    row = (f"{cell:>{_width(name)}}" for cell, name in zip(columns, names, strict=True))
    return " ".join((f"{number:<{_NUMBER}}", *row)).rstrip()


def tuning_lines(tuned: Tuned) -> Iterator[str]:
    """The whole report as plain text of 80 columns."""
    yield from table_lines(tuned)
    yield ""
    yield from effect_lines(tuned)
    for heading, code in (
        ("As code:", setup_code(tuned.setup)),
        ("As a marker:", marker_code(tuned)),
    ):
        yield from ("", heading, "")
        yield from (f"{_INDENT}{line}".rstrip() for line in code.splitlines())


def effect_lines(tuned: Tuned) -> Iterator[str]:
    """The effect of each value of a knob, with its interval, in up to four metrics."""
    columns = effect_metrics(tuned)
    yield "What each knob was worth, all else being equal (95 % intervals):"
    yield ""
    headings = "".join(f"{_heading(name):>{_EFFECT}}" for name in columns)
    yield f"{'':<{_KNOB}}{headings}".rstrip()
    for knob in tuned.knobs:
        effects = [effect for effect in tuned.effects if effect.knob == knob.name]
        if not effects:
            continue
        yield from wrap(f"{knob.name}, instead of {knob.default}")
        for value in dict.fromkeys(effect.value for effect in effects):
            by_metric = {effect.metric: effect for effect in effects if effect.value == value}
            cells_ = "".join(f"{effect_cell(by_metric.get(name)):>{_EFFECT}}" for name in columns)
            label = f"  {value}"
            if len(label) >= _KNOB:
                yield from wrap(label.strip(), "  ", "    ")
                label = ""
            yield f"{label:<{_KNOB}}{cells_}".rstrip()
    yield ""
    yield from wrap(basis_words(tuned.effects))


def effect_metrics(tuned: Tuned) -> tuple[str, ...]:
    """The metrics of the effects: at most four, those of the goal first."""
    known = {effect.metric for effect in tuned.effects}
    names = dict.fromkeys((*tuned.goal.metrics, *_EFFECTS_IN))
    return tuple(name for name in names if name in known)[:_COLUMNS]


def effect_cell(effect: Effect | None) -> str:
    """A change and half its interval, the longer side; a dash if it is unknown."""
    if effect is None:
        return "-"
    unit = metric_named(effect.metric).unit
    text = signed(effect.change.value, unit)
    reach = half_width(effect.change) * 100
    least_squares = "~" if effect.basis == "least squares" else ""
    far = f" ±{reach:.{2 if unit == 'share' else 1}f}" if reach <= _FARTHEST else " ±>1000"
    return f"{least_squares}{text}{far if reach > _NONE else ''}"


def basis_words(effects: Sequence[Effect]) -> str:
    """How the effects were estimated."""
    bases = {effect.basis for effect in effects}
    pairs = (
        "From pairs of trials that differ in this knob alone; the intervals allow for the noise "
        "within trials, and between them where a value has several pairs."
    )
    fitted = "~ from all trials together, by least squares on main effects."
    texts = {"pairs": pairs, "least squares": fitted}
    words = " ".join(text for basis, text in texts.items() if basis in bases)
    return words or "The trials do not tell."


def _heading(name: str) -> str:
    return f"{HEADINGS.get(name, name)}, {change_unit(metric_named(name).unit)}"
