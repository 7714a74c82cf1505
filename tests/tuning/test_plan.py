"""What `@pytest.mark.dlperf_sweep(...)` and a command line ask for."""

from __future__ import annotations

from typing import Any

import pytest
from studies import a_knob

from pytest_dlperf.errors import BudgetSyntaxError, UsageError
from pytest_dlperf.tuning.catalogue import catalogue
from pytest_dlperf.tuning.plan import Overrides, TuningPlan, tuning_plan

KNOWN = catalogue([a_knob("colour", "red", "green")])
GOAL = ("maximize throughput", "accuracy >= baseline - 0.5pt")


def read(*args: object, **kwargs: object) -> TuningPlan:
    """A marker with these arguments."""
    return tuning_plan(args, kwargs, KNOWN)


def test_what_is_said_is_read() -> None:
    """Goal, knobs by name, by text and as they are, search, numbers."""
    own = a_knob("own", 1, 2)
    plan = read(
        *GOAL,
        knobs=("colour", "units=512,64", own),
        search="grid",
        trials=5,
        finalists=1,
        seed=3,
    )

    assert str(plan.goal) == "maximize throughput subject to accuracy >= baseline - 0.5pt"
    assert plan.knobs is not None
    assert [knob.name for knob in plan.knobs] == ["colour", "units", "own"]
    assert plan.knobs[1].values == (512, 64)
    assert plan.knobs[2] is own
    assert (plan.search, plan.trials, plan.finalists, plan.seed) == ("grid", 5, 1, 3)


def test_what_is_not_said_has_defaults() -> None:
    """Twenty trials by Bayesian search, three finalists, and the knobs that suit."""
    plan = read("minimize p99")

    assert plan.knobs is None
    assert (plan.search, plan.trials, plan.finalists, plan.seed) == ("bayesian", 20, 3, 0)


@pytest.mark.parametrize(
    ("kwargs", "problem"),
    [
        ({"trails": 5}, "takes no argument 'trails'"),
        ({"scenario": 5}, "belong to the dlperf marker"),
        ({"trials": 1}, "trials=1"),
        ({"trials": True}, "trials=True"),
        ({"trials": "20"}, "trials='20'"),
        ({"finalists": 0}, "finalists=0"),
        ({"seed": -1}, "seed=-1"),
        ({"search": "greedy"}, "one of grid, random, bayesian"),
        ({"knobs": 5}, "expected several"),
        ({"knobs": ()}, "there are no knobs"),
        ({"knobs": ("unit",)}, "unknown knob 'unit'"),
        ({"knobs": ("units", "units")}, "twice"),
    ],
)
def test_what_makes_no_sense_is_refused(kwargs: dict[str, Any], problem: str) -> None:
    """The message names what was given, or what there is."""
    with pytest.raises(UsageError, match=problem):
        read(*GOAL, **kwargs)


@pytest.mark.parametrize(
    "budget",
    ["max_rate >= 10/s", "train.time_to_accuracy(95%) <= 10s", "train.peak_memory <= 1GiB"],
)
def test_what_tuning_does_not_measure_is_no_constraint(budget: str) -> None:
    """It would be judged by nothing; what a load measures, and training, may be."""
    with pytest.raises(UsageError, match="tuning does not measure"):
        read("maximize throughput", budget)

    read("minimize train.time", "train.throughput >= 10/s", "p99 <= 20ms", "peak_memory <= 2GiB")


def test_a_goal_that_cannot_be_read_marks_the_place() -> None:
    """As a budget's error does."""
    with pytest.raises(BudgetSyntaxError, match=r"p99 is better when lower") as caught:
        read("maximize p99")

    assert "\n    ^^^^^^^^" in str(caught.value)


def test_a_command_line_wins_over_the_test() -> None:
    """Numbers and the search are replaced; knobs of the same name too, others are added."""
    plan = read(*GOAL, knobs=("colour", "units=512,64"), trials=5)
    overrides = Overrides("random", 9, 4, ("units=512,32,16", "replicas=1,2"))
    overridden = overrides.on(plan, KNOWN)

    assert (overridden.search, overridden.trials, overridden.seed) == ("random", 9, 4)
    assert overridden.knobs is not None
    assert [(knob.name, knob.values) for knob in overridden.knobs] == [
        ("colour", ("red", "green")),
        ("units", (512, 32, 16)),
        ("replicas", (1, 2)),
    ]


def test_a_command_line_that_says_nothing_changes_nothing() -> None:
    """The plan is the test's."""
    plan = read(*GOAL, trials=5)

    assert Overrides().on(plan, KNOWN) == plan


def test_a_command_line_names_a_tests_own_knob_by_its_values() -> None:
    """`--knob colour=green,red`: values are known by their texts."""
    overridden = Overrides(knobs=("colour=green,red",)).on(read(*GOAL, knobs=("colour",)), KNOWN)

    assert overridden.knobs is not None
    assert overridden.knobs[0].values == ("green", "red")
    with pytest.raises(UsageError, match="unknown knob 'color'"):
        Overrides(knobs=("color=green,red",)).on(read(*GOAL), KNOWN)
