"""Contest: which budgets blocks of a duel can decide, and with which errors."""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import TYPE_CHECKING

import pytest
from builders import estimate, make_measurement

from pytest_dlperf.config.budgets import parse_budget
from pytest_dlperf.config.detect import parse_detect
from pytest_dlperf.config.options import Options
from pytest_dlperf.config.plan import plan
from pytest_dlperf.duel.questions import (
    budget_tests,
    default_note,
    duel_budgets,
    needs_whole_load,
    opening_seconds,
)
from pytest_dlperf.judge.error_rates import ALPHA, ErrorRates
from pytest_dlperf.statistics.estimate import counted

if TYPE_CHECKING:
    from pytest_dlperf.config.plan import Plan
    from pytest_dlperf.results.measurement import Measurement

RATES = ErrorRates(1)


def planned(*budgets: str, **options: object) -> Plan:
    """A plan with these budgets."""
    return plan([Options(budgets=budgets, **options)])  # type: ignore[arg-type]


def measured(**metrics: float) -> Measurement:
    """A measurement of these values."""
    return make_measurement({name: estimate(value) for name, value in metrics.items()})


def texts(the_plan: Plan, found: Measurement) -> list[str]:
    """What a test is judged by."""
    return [budget.text for budget in duel_budgets(the_plan, found)]


ALL = measured(throughput=1000.0, p95=0.02, errors=0.0, accuracy=0.97)


def test_relative_budgets_are_what_is_judged() -> None:
    """A test that says what it may lose is asked just that, and for errors as always."""
    asked = planned("throughput >= 0.95 * baseline", "p99 <= 1s")

    assert texts(asked, ALL) == ["throughput >= 0.95 * baseline", "p99 <= 1s", "errors == 0"]


@pytest.mark.parametrize("absolute", [(), ("p99 <= 1s",)])
def test_without_a_relative_budget_no_loss_is_asked_for(absolute: tuple[str, ...]) -> None:
    """Of throughput, p95 and accuracy, beside the absolute budgets that there are."""
    assert texts(planned(*absolute), ALL) == [
        *absolute,
        "errors == 0",
        "throughput >= baseline",
        "p95 <= baseline",
        "accuracy >= baseline",
    ]


def test_no_loss_is_asked_for_of_what_is_measured() -> None:
    """Without labels there is no accuracy; a p95 that was refused is asked for all the same."""
    found = make_measurement(
        {"throughput": counted(1000.0)}, refused=MappingProxyType({"p95": "too few requests"})
    )

    assert texts(planned(), found)[1:] == ["throughput >= baseline", "p95 <= baseline"]


@pytest.mark.parametrize(
    ("budgets", "metrics", "asked", "note"),
    [
        ((), {"loss": 0.5}, ["loss <= baseline"], "read as a regression; the loss is judged"),
        ((), {}, [], "the data has no labels, or none that give an accuracy"),
        ((), {"loss": 0.5, "accuracy": 0.9}, ["accuracy >= baseline"], ""),
        (("throughput >= baseline",), {"loss": 0.5}, [], ""),
    ],
)
def test_the_accuracy_is_not_dropped_in_silence(
    budgets: tuple[str, ...], metrics: dict[str, float], asked: list[str], note: str
) -> None:
    """The loss takes its place where there is one, and a note says why it is not judged."""
    the_plan, found = planned(*budgets), measured(throughput=1000.0, p95=0.02, **metrics)

    of_answers = {"accuracy >= baseline", "loss <= baseline"}
    assert [text for text in texts(the_plan, found) if text in of_answers] == asked
    said = default_note(the_plan, found)
    assert note in said
    assert bool(said) == bool(note)


def test_the_loss_to_find_is_the_plans() -> None:
    """`detect=` holds for the budgets that nobody wrote, too."""
    asked = planned(detect=parse_detect("throughput 2%", "dlperf_detect"))

    found = {budget.metric.name: budget.metric.detect for budget in duel_budgets(asked, ALL)}

    assert found["throughput"] == pytest.approx(0.02)
    assert found["p95"] == pytest.approx(0.10)


@pytest.mark.parametrize(
    ("text", "allowed", "line"),
    [
        ("throughput >= baseline", 0.0, math.log(1.05)),
        ("throughput >= 0.95 * baseline", -math.log(0.95), -math.log(0.95)),
        ("throughput >= 0.99 * baseline", -math.log(0.99), math.log(1.05)),
        ("throughput >= baseline - 100/s", -math.log(0.9), -math.log(0.9)),
        ("throughput >= 1.1 * baseline", -math.log(1.1), -math.log(1.1)),
        ("p95 <= 1.02 * baseline", math.log(1.02), math.log(1.10)),
        ("p95 <= baseline + 10ms", math.log(1.5), math.log(1.5)),
        ("p95 < 0.5 * baseline", -math.log(2), -math.log(2)),
    ],
)
def test_what_is_allowed_and_what_must_be_found(text: str, allowed: float, line: float) -> None:
    """The limit as a log ratio of costs; the larger of it and `detect`, but a gain stays one."""
    (question,) = budget_tests([parse_budget(text)], ALL, RATES)

    assert question.budget.text == text
    assert question.bounds.allowed == pytest.approx(allowed, abs=1e-12)
    assert question.bounds.line == pytest.approx(line)
    # A gain that is demanded is claimed by a PASS, and so as seldom wrong as a FAIL is.
    beta = RATES.stored if allowed < 0 else RATES.missed
    assert (question.bounds.alpha, question.bounds.beta) == (RATES.stored, beta)


@pytest.mark.parametrize(
    "text",
    [
        "throughput >= 900/s",
        "accuracy >= baseline",
        "accuracy == baseline",
        "errors <= baseline",
        "peak_memory <= baseline",
        "compile_time <= baseline",
        "max <= baseline",
        "throughput >= baseline - 1000/s",
        "throughput >= baseline - 2000/s",
        "p99 <= baseline + 1ms",
    ],
)
def test_what_blocks_cannot_decide(text: str) -> None:
    """Absolute, not of the slots, without a limit, or a limit that nobody knows."""
    assert budget_tests([parse_budget(text)], ALL, RATES) == ()


def test_a_multiple_needs_no_value() -> None:
    """A percentile that the base's opening was too short for is decided by slots all the same."""
    (question,) = budget_tests([parse_budget("p99 <= 1.1 * baseline")], ALL, RATES)

    assert question.bounds.allowed == pytest.approx(math.log(1.1))


def test_the_order_stays() -> None:
    """The questions come in the order of the budgets."""
    asked = [parse_budget(text) for text in ("p95 <= baseline", "mean <= baseline")]

    assert [question.budget for question in budget_tests(asked, ALL, RATES)] == asked


@pytest.mark.parametrize("budgets", [1, 2, 3, 10, 100])
def test_error_rates_are_for_the_whole_run(budgets: int) -> None:
    """All budgets together fail wrongly at `ALPHA` at most; a loss passes as rarely in each."""
    rates = ErrorRates(budgets)

    assert budgets * rates.stored == pytest.approx(ALPHA)
    assert rates.missed == ALPHA


def test_no_budget_is_as_one() -> None:
    """A run that has counted none yet divides by nothing."""
    assert ErrorRates(0).stored == ErrorRates(1).stored


@pytest.mark.parametrize(
    ("options", "seconds"),
    [({"duration": 5.0}, 0.3), ({"duration": 0.2}, 0.2), ({"duration": 5.0, "quick": True}, 0.3)],
)
def test_the_opening_is_brief(options: dict[str, object], seconds: float) -> None:
    """Three tenths of a second, or less if the whole load is shorter."""
    assert opening_seconds(planned(**options)) == seconds


@pytest.mark.parametrize(
    ("budget", "whole"),
    [
        ("p99 <= 20ms", True),
        ("throughput >= 900/s", True),
        ("peak_memory <= 1GiB", True),
        ("accuracy >= 97%", False),
        ("errors <= 1%", False),
        ("compile_time <= 1s", False),
        ("p99 <= baseline", False),
        ("peak_memory <= 1.1 * baseline", False),
    ],
)
def test_absolute_budgets_on_speed_need_the_whole_load(budget: str, whole: bool) -> None:  # noqa: FBT001 - a case
    """What is counted, timed apart, or relative does not."""
    assert needs_whole_load(planned(budget)) is whole
    assert needs_whole_load(planned("throughput >= baseline", budget)) is whole


def test_a_smoke_run_never_needs_the_whole_load() -> None:
    """It judges answers only."""
    assert not needs_whole_load(planned("p99 <= 20ms", quick=True))
