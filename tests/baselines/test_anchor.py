"""Anchor: gradual losses are reported, and unchanged code hardly ever."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from builders import ENVIRONMENT, REVISION, estimate, make_accepted, pace

from pytest_dlperf.baselines.anchor import GradualLoss, gradual_loss, gradual_loss_note
from pytest_dlperf.config.budgets import parse_budget
from pytest_dlperf.judge.conditions import UNKNOWN_CONDITIONS, MachineConditions
from pytest_dlperf.metrics import METRICS
from pytest_dlperf.results.baseline_session import BaselineSession, Revision
from pytest_dlperf.statistics.estimate import Estimate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_dlperf.results.baseline import BaselineEntry

BUDGETS = [parse_budget("throughput >= baseline")]
STEP = -math.log(0.98)  # what a change of 2 % costs
ACCEPTED = 10
OWN_ERROR = 0.008  # half of the interval of a session, as a ratio


def _session(cost: float, yardstick: float | None = None) -> BaselineSession:
    throughput = estimate(1000 * math.exp(-cost), OWN_ERROR)
    return BaselineSession({"throughput": throughput}, ENVIRONMENT, REVISION, pace(yardstick))


def _present(
    costs: Sequence[float], anchor: float, yardsticks: Sequence[float] | None = None
) -> BaselineEntry:
    """Sessions of these log costs, oldest first, and an anchor."""
    given: Sequence[float | None] = yardsticks or [None] * (len(costs) + 1)
    first, *of_session = given
    sessions = [_session(*pair) for pair in zip(costs, of_session, strict=True)]
    newest = sessions[-1]
    return make_accepted(
        newest.metrics,
        earlier=tuple(sessions[:-1]),
        yardstick=newest.yardstick,
        anchor=_session(anchor, first),
        changes=ACCEPTED,
    )


def _share(trial: Callable[[np.random.Generator], bool], trials: int) -> float:
    generator = np.random.default_rng(7)
    return sum(trial(generator) for _ in range(trials)) / trials


def test_ten_changes_of_two_percent() -> None:
    """Each was too small to see or was accepted; together they are reported, by their size."""
    present = _present([ACCEPTED * STEP, ACCEPTED * STEP], 0.0)

    (loss,) = gradual_loss(present, BUDGETS, UNKNOWN_CONDITIONS)

    assert loss.metric == "throughput"
    assert loss.loss == pytest.approx(ACCEPTED * STEP)
    assert str(loss) == "throughput is 18 % below"


@pytest.mark.parametrize(("noise", "power"), [(0.01, 0.98), (0.02, 0.9), (0.05, 0.4)])
def test_power_after_the_tenth_change(noise: float, power: float) -> None:
    """One run after the tenth accepted change it is seen, nearly always on a quiet machine."""

    def trial(generator: np.random.Generator) -> bool:
        costs = generator.normal(ACCEPTED * STEP, noise, 2).tolist()
        return bool(
            gradual_loss(_present(costs, generator.normal(0, noise)), BUDGETS, UNKNOWN_CONDITIONS)
        )

    assert _share(trial, 300) >= power


def test_gradual_loss_within_the_sessions() -> None:
    """It is seen too where each session was so like the others that it joined them."""

    def trial(generator: np.random.Generator) -> bool:
        costs = generator.normal(0, 0.01, ACCEPTED + 1) + STEP * np.arange(ACCEPTED + 1)
        return bool(gradual_loss(_present(costs.tolist(), costs[0]), BUDGETS, UNKNOWN_CONDITIONS))

    assert _share(trial, 300) >= 0.99


@pytest.mark.parametrize(
    ("sessions", "apart", "most"),
    [(1, False, 0.002), (7, False, 0.006), (2, True, 0.01), (8, True, 0.01), (29, True, 0.01)],
)
def test_false_alarms(sessions: int, most: float, *, apart: bool) -> None:
    """Unchanged code whose sessions differ by 5 % is reported once in some hundred sessions."""

    def trial(generator: np.random.Generator) -> bool:
        anchor, *costs = generator.normal(0, 0.05, sessions + 1)
        costs = costs if apart else [anchor, *costs]
        return bool(gradual_loss(_present(costs, anchor), BUDGETS, UNKNOWN_CONDITIONS))

    assert _share(trial, 1500) <= most


def test_false_alarms_in_sixty_nights() -> None:
    """Of tests of unchanged code run each night, about one in a hundred is reported."""

    def trial(generator: np.random.Generator) -> bool:
        anchor = generator.normal(0, 0.05)
        costs = [anchor]
        for now in generator.normal(0, 0.05, 60):
            if gradual_loss(_present([*costs, now], anchor), BUDGETS, UNKNOWN_CONDITIONS):
                return True
            if len(costs) < 8:
                costs.append(now)
        return False

    assert _share(trial, 300) <= 0.03


def test_a_slower_machine_is_no_gradual_loss() -> None:
    """What the yardstick lost as well is the machine's, where all sessions have one."""
    conditions = MachineConditions(yardstick=pace(1.2e-5), scaled=frozenset({"throughput"}))
    costs = [math.log(1.22), math.log(1.22)]

    slower = _present(costs, 0.0, [1.0e-5, 1.22e-5, 1.22e-5])

    assert not gradual_loss(slower, BUDGETS, conditions)
    assert gradual_loss(slower, BUDGETS, dataclasses.replace(conditions, scaled=frozenset()))
    assert gradual_loss(_present(costs, 0.0), BUDGETS, conditions)


@pytest.mark.parametrize(
    "conditions",
    [
        MachineConditions(noisy="the machine was not quiet"),
        MachineConditions(speed_changed="the machine is not what it was"),
        MachineConditions(yardstick=pace(1.3e-5)),
        MachineConditions(yardstick=pace(0.79e-5)),
    ],
)
def test_a_changed_machine_reports_nothing(conditions: MachineConditions) -> None:
    """A machine that is not what it was says nothing about the code."""
    present = _present([1.0, 1.0], 0.0, [1.0e-5, 1.0e-5, 1.0e-5])
    same = dataclasses.replace(UNKNOWN_CONDITIONS, yardstick=pace(1.0e-5))

    assert gradual_loss(present, BUDGETS, same)
    assert not gradual_loss(present, BUDGETS, conditions)


@pytest.mark.parametrize("budget", ["throughput >= 100/s", "p50 <= baseline", "errors <= baseline"])
def test_only_metrics_with_relative_budgets(budget: str) -> None:
    """Metrics without a relative budget, and those that were not measured, are left out."""
    assert not gradual_loss(_present([1.0, 1.0], 0.0), [parse_budget(budget)], UNKNOWN_CONDITIONS)


def test_a_gain_is_no_gradual_loss() -> None:
    """Faster than the anchor is as it should be."""
    assert not gradual_loss(_present([-1.0, -1.0], 0.0), BUDGETS, UNKNOWN_CONDITIONS)


def test_less_than_detect_is_not_reported() -> None:
    """However well it is known, a loss that no budget had to find is not worth a warning."""
    sessions = 30
    just_below = math.log1p(METRICS["throughput"].detect) * 0.99
    quiet = _present([just_below] * sessions, 0.0)

    assert not gradual_loss(quiet, BUDGETS, UNKNOWN_CONDITIONS)


def test_without_an_anchor() -> None:
    """Nothing is reported where there is none, or where the newest session is it."""
    present = _present([1.0, 1.0], 0.0)

    assert not gradual_loss(dataclasses.replace(present, anchor=None), BUDGETS, UNKNOWN_CONDITIONS)
    assert not gradual_loss(present.anchored(), BUDGETS, UNKNOWN_CONDITIONS)


@pytest.mark.parametrize(
    ("then", "now", "reported"),
    [
        (Estimate(0.97, 0.95, 0.98), Estimate(0.90, 0.88, 0.92), True),
        (Estimate(0.97, 0.95, 0.98), Estimate(0.94, 0.92, 0.96), False),
        (Estimate(0.97, 0.97, 0.97), Estimate(0.965, 0.965, 0.965), False),
    ],
)
def test_accuracy(then: Estimate, now: Estimate, *, reported: bool) -> None:
    """An accuracy that crept down by more than both intervals explain, and by a point at least."""
    anchor = BaselineSession({"accuracy": then}, ENVIRONMENT, REVISION)
    present = make_accepted({"accuracy": now}, anchor=anchor)

    losses = gradual_loss(present, [parse_budget("accuracy >= baseline")], UNKNOWN_CONDITIONS)

    assert bool(losses) is reported
    assert [str(loss) for loss in losses] == (["accuracy is 7.0 pt below"] if reported else [])


def test_the_note() -> None:
    """It says how much, since when, over how many changes, and what to run."""
    anchor = dataclasses.replace(
        _session(0.0), revision=Revision("abc1234567890", "main", "2026-01-02")
    )
    present = dataclasses.replace(_present([0.2], 0.0), anchor=anchor)
    lost = [GradualLoss("throughput", 0.2, 0.01), GradualLoss("p50", 0.2, 0.01)]

    message, *commands = gradual_loss_note(lost, present, "t.py::test_it[a b]", "big").splitlines()

    assert message == (
        "throughput is 18 % below and p50 is 22 % above the anchor of abc12345, 2026-01-02, after "
        "10 accepted changes: look for where it came from, or accept it by moving the anchor:"
    )
    assert commands == [
        "pytest-dlperf history 't.py::test_it[a b]'",
        "pytest-dlperf baselines anchor 't.py::test_it[a b]' --name big",
    ]


@pytest.mark.parametrize(
    ("changes", "message"), [(0, "2026-11-23:"), (1, "after 1 accepted change:")]
)
def test_the_note_counts(changes: int, message: str) -> None:
    """One change is singular, and none is left out."""
    present = dataclasses.replace(_present([0.2], 0.0), changes=changes)

    assert message in gradual_loss_note([GradualLoss("throughput", 0.2, 0.01)], present, "t", "")
