"""Studies whose truth is known: knobs of numbers, and trials that a formula measures."""

from __future__ import annotations

import dataclasses
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from pytest_dlperf.results.verdict import Verdict
from pytest_dlperf.statistics.estimate import NORMAL_REACH, Estimate, counted
from pytest_dlperf.tuning.configuration import Configuration, Knob, Setup, Stage, configured
from pytest_dlperf.tuning.goal import Goal, parse_goal
from pytest_dlperf.tuning.report import with_table
from pytest_dlperf.tuning.result import Finalist, TrialResult, Tuned
from pytest_dlperf.tuning.selection import concluded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pytest_dlperf.tuning.search import Search

GOAL = parse_goal(["maximize throughput", "accuracy >= baseline - 0.5pt", "p99 <= 20ms"])


def a_knob(name: str, *values: object, stage: Stage = "model") -> Knob:
    """A knob that gives the function that builds the model an argument."""

    def apply(setup: Setup, value: object) -> Setup:
        return dataclasses.replace(setup, arguments={**setup.arguments, name: value})

    return Knob(name, values, stage, apply)


def a_trial(
    configuration: Configuration, metrics: Mapping[str, float | Estimate], **fields: object
) -> TrialResult:
    """A trial; plain figures are counted."""
    estimates = {
        name: value if isinstance(value, Estimate) else counted(value)
        for name, value in metrics.items()
    }
    return TrialResult(configuration, MappingProxyType(estimates), **fields)  # type: ignore[arg-type]


def trials_of(
    knobs: Sequence[Knob],
    configurations: Iterable[Mapping[str, object]],
    measure: Callable[[Mapping[str, object]], Mapping[str, float | Estimate]],
) -> list[TrialResult]:
    """A trial of each of these configurations, as a formula measures it."""
    chosen = [configured(knobs, values) for values in configurations]
    return [a_trial(configuration, measure(configuration.values)) for configuration in chosen]


def noisy(value: float, error: float, generator: np.random.Generator) -> Estimate:
    """A measurement with a known relative standard error, and the interval that it has."""
    log = np.log(value) + error * generator.standard_normal()
    ends = np.exp([log, log - NORMAL_REACH * error, log + NORMAL_REACH * error])
    return Estimate(*map(float, ends))


def searched(
    search: Search, measure: Callable[[Configuration], TrialResult], most: int = 1000
) -> list[TrialResult]:
    """All trials that a search asks for."""
    history: list[TrialResult] = []
    while (configuration := search.ask(history)) is not None:
        history.append(measure(configuration))
        assert len(history) <= most
    return history


def a_study(
    trials: Sequence[TrialResult],
    knobs: Sequence[Knob],
    finalists: Sequence[Finalist] = (),
    goal: Goal = GOAL,
    **fields: object,
) -> Tuned:
    """What came of some trials."""
    defaults: dict[str, object] = {
        "test": "tests/test_tuning.py::test_digits",
        "base": Setup(),
        "scenario": "ClosedLoop(clients=64)",
        "search": "random search, seed 0",
        "seconds": 75.0,
    }
    whole = {**defaults, **fields}
    return with_table(
        concluded(goal=goal, knobs=knobs, trials=trials, finalists=finalists, **whole)
    )  # type: ignore[arg-type]


def a_finalist(
    configuration: Configuration, gain: float, verdict: Verdict = Verdict.PASS, reason: str = ""
) -> Finalist:
    """A finalist whose gain is known to a tenth."""
    return Finalist(configuration, Estimate(gain, gain * 0.9, gain * 1.1), verdict, reason=reason)
