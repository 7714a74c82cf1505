"""The second look at an absolute budget on speed: a FAIL counts if a second measurement agrees."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from pytest_dlperf.metrics import metric_named
from pytest_dlperf.results.verdict import Judgement, Verdict
from pytest_dlperf.units import format_interval, format_quantity

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_dlperf.config.budgets import Budget
    from pytest_dlperf.results.measurement import Measurement

_ONCE: Final = frozenset({"compile_time"})
"""Metrics that a process can measure only once: what is compiled stays so."""


def to_confirm(
    measurement: Measurement, budgets: Iterable[Budget], judgements: Sequence[Judgement]
) -> tuple[Budget, ...]:
    """The absolute budgets on speed that are a FAIL, and that a second measurement can confirm.

    None of these are a goal that was never reached, and the time to compile, which the same process
    would not need again.

    Args:
        measurement: the first one.
        budgets: of the test.
        judgements: of the first measurement.
    """
    failed = {judgement.budget for judgement in judgements if judgement.verdict is Verdict.FAIL}
    return tuple(
        budget
        for budget in budgets
        if budget.text in failed
        and not budget.relative
        and budget.metric.is_speed
        and budget.metric.name not in _ONCE
        and budget.metric.name not in measurement.missed
    )


def with_second_look(
    judgements: Iterable[Judgement], second: Iterable[Judgement]
) -> tuple[Judgement, ...]:
    """The judgements of the first measurement, where a FAIL needs the second one's agreement.

    The figures stay those of the first measurement, whose verdict was not known when it was
    chosen: the better or the worse of two would be biased. At the line a measurement is wrongly a
    FAIL with a probability of 2.5 %, and so both are with one of 0.06 %.

    Args:
        judgements: of the first measurement.
        second: of the second one, on the budgets of `to_confirm`.
    """
    by_budget = {judgement.budget: judgement for judgement in second}
    return tuple(
        _confirmed(judgement, by_budget[judgement.budget])
        if judgement.budget in by_budget
        else judgement
        for judgement in judgements
    )


def _confirmed(first: Judgement, second: Judgement) -> Judgement:
    figures = f"{_figure(first)}, then {_figure(second)}"
    if second.verdict is Verdict.FAIL:
        return replace(first, reason=f"measured twice: {figures}")
    doubt = f"beyond the limit in only one of two measurements: {figures}"
    reason = second.reason if second.measured is not None else ""  # else it is in the figures
    return replace(
        first,
        verdict=Verdict.INCONCLUSIVE,
        reason="; ".join(filter(None, (doubt, reason))),
        lasting=False,
    )


def _figure(judgement: Judgement) -> str:
    """The value with its interval; of one that was not measured, what is known instead."""
    measured, unit = judgement.measured, metric_named(judgement.metric).unit
    if measured is None:
        return judgement.reason or judgement.verdict.value
    value = format_quantity(measured.value, unit)
    if measured.low == measured.high:
        return value
    return f"{value} ({format_interval(measured.low, measured.high, unit)})"


def second_look_note(budgets: Iterable[Budget], second: Measurement) -> str:
    """Why there was a second measurement, and how long it took."""
    broken = ", ".join(budget.text for budget in budgets)
    seconds = format_quantity(second.seconds, "s")
    return f"measured again for {seconds}, to confirm what broke {broken}; shown is the first load"
