"""Screening: trials of single configurations under a short load."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from pytest_dlperf.errors import DlperfError, UsageError
from pytest_dlperf.measure.measure import ready
from pytest_dlperf.metrics import LOAD_METRICS, measured_by
from pytest_dlperf.statistics.estimate import Estimate
from pytest_dlperf.tuning.configuration import setup_of
from pytest_dlperf.tuning.result import TrialResult

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_dlperf.config.budgets import Budget
    from pytest_dlperf.config.plan import Plan
    from pytest_dlperf.measure.prepared import Instruments
    from pytest_dlperf.results.measurement import Measurement
    from pytest_dlperf.tuning.configuration import Configuration, Knob, Setup
    from pytest_dlperf.tuning.goal import Goal
    from pytest_dlperf.tuning.pipeline import ModelFactory

_LONGEST: Final = 300  # characters of a reason


@dataclass(frozen=True, slots=True)
class Study:
    """What is tuned, and how it is measured.

    Attributes:
        test: pytest's node id.
        name: distinguishes several studies of one test.
        goal: objective and constraints.
        knobs: each with its value without tuning first.
        base: the setup without tuning.
        plan: the load; its serving and its budgets are not used.
        seconds: duration of the load on each configuration.
    """

    test: str
    name: str
    goal: Goal
    knobs: tuple[Knob, ...]
    base: Setup
    plan: Plan
    seconds: float

    def setup(self, configuration: Configuration) -> Setup:
        """The setup of a configuration; a UsageError if its values do not go together."""
        return setup_of(self.base, configuration, self.knobs)

    def plan_for(self, setup: Setup, budgets: tuple[Budget, ...]) -> Plan:
        """The load of a setup, with these budgets; a UsageError if it cannot be served under it."""
        # Without trials of padding: two configurations could find different ones faster, and so
        # differ by more than their knobs.
        return replace(self.plan, serving=setup.serving, budgets=budgets, tries_padding=False)


def screened(
    configuration: Configuration, study: Study, make: ModelFactory, instruments: Instruments
) -> TrialResult:
    """Try one configuration; if it cannot be made or measured, the result has the reason."""
    budgets = (study.goal.gain, *study.goal.constraints)
    of_load = tuple(budget for budget in budgets if measured_by(LOAD_METRICS, budget.metric))
    start_ns = instruments.clock.now_ns()
    try:
        setup = study.setup(configuration)
        plan = replace(study.plan_for(setup, of_load), duration=study.seconds)
    except UsageError as error:
        return TrialResult(configuration, skipped=in_words(error))
    try:
        model = make(setup)
        with ready(model.target, model.data, plan, instruments) as prepared:
            measurement = prepared.measure(study.test, study.name, plan.load_seconds)
        failed = _failure(measurement)
    except Exception as error:  # noqa: BLE001 - the user's function and model may raise anything
        failed = in_words(error)
    if failed:
        result = TrialResult(configuration, failed=failed)
    else:
        result = TrialResult(
            configuration,
            metrics=MappingProxyType({**closed(measurement), **model.known}),
            rows=measurement.rows,
            scores=measurement.scores,
            notes=tuple(filter(None, (measurement.invalid,))),
        )
    return replace(result, seconds=(instruments.clock.now_ns() - start_ns) * 1e-9)


def closed(measurement: Measurement) -> Mapping[str, Estimate]:
    """The metrics, those without an upper bound as if it were as far away as the lower one.

    Screening and reports only rank by them.
    """
    return {
        name: Estimate(value.value, value.low, 2 * value.value - value.low)
        if name in measurement.unbounded
        else value
        for name, value in measurement.metrics.items()
    }


def in_words(error: Exception) -> str:
    """The message of an exception on one line; with its type, unless it is ours."""
    text = str(error) if isinstance(error, DlperfError) else f"{type(error).__name__}: {error}"
    lines = (" ".join(line.split()) for line in text.splitlines())
    return "; ".join(filter(None, lines))[:_LONGEST]


def _failure(measurement: Measurement) -> str:
    if measurement.hung:
        return measurement.hung
    if measurement.errors and measurement.metrics["errors"].value > 0:
        worst = measurement.errors[0]
        return f"requests went wrong: {worst.kind}: {worst.example}"[:_LONGEST]
    return ""
