"""Screening: one configuration made, put under load for a moment, and written down."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from pytest_dlperf.errors import DlperfError, UsageError
from pytest_dlperf.measure.measure import ready
from pytest_dlperf.metrics import LOAD_METRICS, measured_by
from pytest_dlperf.tuning.configuration import setup_of
from pytest_dlperf.tuning.result import TrialResult

if TYPE_CHECKING:
    from pytest_dlperf.config.budgets import Budget
    from pytest_dlperf.config.plan import Plan
    from pytest_dlperf.measure.prepared import Instruments
    from pytest_dlperf.results.measurement import Measurement
    from pytest_dlperf.tuning.configuration import Configuration, Knob, Setup
    from pytest_dlperf.tuning.goal import Goal
    from pytest_dlperf.tuning.pipeline import ModelFactory

_LEAST: Final = 1e-9  # of a gain: none is too small to be one
_LONGEST: Final = 300


@dataclass(frozen=True, slots=True)
class Study:
    """What is to be tuned, and how it is measured.

    Attributes:
        test: pytest's node id.
        name: tells several studies of one test apart.
        goal: what it is for.
        knobs: what is tried, each with what is there without tuning first.
        base: the setup without tuning.
        plan: the load; its serving and its budgets are not used.
        seconds: how long each configuration is under load.
    """

    test: str
    name: str
    goal: Goal
    knobs: tuple[Knob, ...]
    base: Setup
    plan: Plan
    seconds: float

    def setup(self, configuration: Configuration) -> Setup:
        """What a configuration means.

        Raises:
            UsageError: if there is no such setup.
        """
        return setup_of(self.base, configuration, self.knobs)

    def plan_for(self, setup: Setup, budgets: tuple[Budget, ...]) -> Plan:
        """The load of a setup, with what is asked of it.

        Raises:
            UsageError: if it cannot be served so.
        """
        # Two configurations could find differently what is faster, and so differ by more than
        # their knobs.
        return replace(self.plan, serving=setup.serving, budgets=budgets, tries_padding=False)


def gain(goal: Goal) -> Budget:
    """The objective as a budget on a duel: better than the base, by however little.

    A demanded gain passes only when it is proven (`LossLimits`).
    """
    from pytest_dlperf.config.budgets import Budget

    metric = goal.objective
    higher = metric.better == "higher"
    return Budget(
        text=f"{metric.name} {'>' if higher else '<'} baseline",
        metric=metric,
        operator=">" if higher else "<",
        factor=1 + _LEAST if higher else 1 - _LEAST,
        offset=0.0,
    )


def screened(
    configuration: Configuration, study: Study, make: ModelFactory, bench: Instruments
) -> TrialResult:
    """Try one configuration.

    One that cannot be made, or goes wrong, is a result too, with the reason: a study of many must
    not end with the first bad one.

    Args:
        configuration: what is tried.
        study: what it belongs to.
        make: makes what a setup describes.
        bench: what comes from outside.
    """
    wanted = [gain(study.goal), *study.goal.constraints]
    loads = tuple(budget for budget in wanted if measured_by(LOAD_METRICS, budget.metric))
    begun_ns = bench.clock.now_ns()
    try:
        setup = study.setup(configuration)
        plan = replace(study.plan_for(setup, loads), duration=study.seconds)
    except UsageError as error:
        return TrialResult(configuration, skipped=in_words(error))
    try:
        served = make(setup)
        with ready(served.target, served.data, plan, bench) as subject:
            found = subject.measure(study.test, study.name, plan.load_seconds)
    except Exception as error:  # noqa: BLE001 - the user's function and model may raise anything
        result = TrialResult(configuration, failed=in_words(error))
    else:
        known = MappingProxyType({**found.metrics, **served.known})
        result = TrialResult(
            configuration,
            metrics=known,
            failed=_trouble(found),
            rows=found.rows,
            scores=found.scores,
            notes=tuple(filter(None, (found.invalid,))),
        )
    seconds = (bench.clock.now_ns() - begun_ns) * 1e-9
    if result.failed:
        return TrialResult(configuration, failed=result.failed, seconds=seconds)
    return dataclasses.replace(result, seconds=seconds)


def _trouble(found: Measurement) -> str:
    if found.hung:
        return found.hung
    if found.errors and found.metrics["errors"].value > 0:
        worst = found.errors[0]
        return f"requests went wrong: {worst.kind}: {worst.example}"[:_LONGEST]
    return ""


def in_words(error: Exception) -> str:
    """What went wrong, on one line."""
    text = str(error) if isinstance(error, DlperfError) else f"{type(error).__name__}: {error}"
    return " ".join(text.split())[:_LONGEST]
