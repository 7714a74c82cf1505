"""A setup as Python to paste, and a marker that holds it."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from builders import estimate
from studies import a_finalist, a_knob, a_study, a_trial

from pytest_dlperf.config.budgets import parse_budget
from pytest_dlperf.config.options import Options
from pytest_dlperf.config.plan import plan
from pytest_dlperf.data.cleaning import Cleaning
from pytest_dlperf.load.serving import Serving
from pytest_dlperf.targets.conversion import Quantisation
from pytest_dlperf.training.compression import Distillation, NeuronPruning
from pytest_dlperf.training.graph_layers import Augmentation, InGraphNormalisation
from pytest_dlperf.training.recipe import PiecewiseConstant, Recipe
from pytest_dlperf.tuning import knobs
from pytest_dlperf.tuning.catalogue import BUILT_IN
from pytest_dlperf.tuning.code import answers_code, marker_code, setup_code
from pytest_dlperf.tuning.configuration import Setup, configured
from pytest_dlperf.tuning.goal import parse_goal

if TYPE_CHECKING:
    from pytest_dlperf.statistics.estimate import Estimate
    from pytest_dlperf.tuning.result import Tuned

UNITS = a_knob("units", 512, 128)


@dataclass(frozen=True)
class Shuffled:
    """A user's own preparation.

    Attributes:
        seed: of the order.
        names: of columns.
    """

    seed: int
    names: tuple[str, ...] = ()


def made_by(code: str) -> dict[str, Any]:
    """What running the code leaves behind."""
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102 - our own, as a user would paste it
    return names


FULL = Setup(
    preparations=(Cleaning(outliers=("clip", 1.5)), Shuffled(3, ("one", 'with "quotes"'))),  # type: ignore[arg-type]
    fronts=(InGraphNormalisation("min-max"), Augmentation.image(shift=0.1, shape=(8, 8))),
    arguments={"units": 64, "activation": "relu", "dropout": np.float64(0.25), "deep": [1, (2,)]},
    recipe=Recipe(
        epochs=7,
        optimizer="sgd",
        learning_rate=PiecewiseConstant((100, 200), (0.1, 0.01, 0.001)),
        momentum=0.9,
    ),
    finishes=(Distillation({"units": 8}), NeuronPruning(0.5), Quantisation()),
    runtime="xla",
    serving=Serving(max_batch_size=16, batch_timeout=0.002, allowed_batch_sizes=(1, 16)),
)


def test_known_code() -> None:
    """What is as it is by default is left out, and long calls are broken."""
    setup = Setup(
        arguments={"units": 64, "activation": "relu"},
        recipe=Recipe(epochs=10, optimizer="adamw", learning_rate=0.003, weight_decay=0.01),
    )

    assert setup_code(setup).splitlines() == [
        "from pytest_dlperf import Recipe, Setup",
        "",
        "setup = Setup(",
        '    arguments={"units": 64, "activation": "relu"},',
        "    recipe=Recipe(",
        "        epochs=10,",
        '        optimizer="adamw",',
        "        learning_rate=0.003,",
        "        weight_decay=0.01,",
        "    ),",
        ")",
    ]
    assert setup_code(Setup()) == "from pytest_dlperf import Setup\n\nsetup = Setup()"


def test_the_code_makes_the_setup() -> None:
    """Every part of it, in lines that fit."""
    code = setup_code(FULL)

    assert made_by(code)["setup"] == FULL
    assert max(map(len, code.splitlines())) <= 79


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_built_in_value_is_written(name: str) -> None:
    """Whatever the catalogue recommends can be pasted."""
    knob = BUILT_IN[name]()
    for value in knob.values:
        setup = knob.apply(Setup(), value)

        assert made_by(setup_code(setup))["setup"] == setup


def test_what_python_cannot_write() -> None:
    """Three dots, and a comment that says what they stand for: the code is Python all the same."""
    setup = Setup(arguments={"initializer": lambda shape: shape, "optimizer": object()})
    code = setup_code(setup)

    assert ast.parse(code)
    assert made_by(code)["setup"].arguments == {"initializer": ..., "optimizer": ...}
    assert code.count("# ... stands for <") == 2


def test_a_function_is_imported() -> None:
    """One that a module has is written by its name."""
    setup = Setup(arguments={"make": made_by})

    assert f"from {made_by.__module__} import made_by" in setup_code(setup)
    assert '"make": made_by' in setup_code(setup)


def study(goal: str, metrics: dict[str, Estimate], **fields: Any) -> Tuned:  # noqa: ANN401 - any field
    """A study whose second trial is recommended; nothing but what was measured matters."""
    best = configured((UNITS,), {"units": 128})
    trials = [a_trial(configured((UNITS,)), metrics), a_trial(best, metrics)]
    return a_study(trials, (UNITS,), [a_finalist(best, 1.5)], parse_goal([goal]), **fields)


def budgets_of(code: str) -> tuple[Any, ...]:
    """The marker that the code puts on a test."""
    names = made_by(f"{code}\ndef test_it(): ...")
    (mark,) = names["test_it"].pytestmark
    return mark.args, mark.kwargs


def test_known_marker() -> None:
    """A tenth below what was measured, the constraints, the traffic and the serving."""
    tuned = study(
        "maximize throughput subject to accuracy >= baseline - 0.5pt, p99 <= 20ms",
        {"throughput": estimate(61_235.0)},
        base=Setup(serving=Serving(max_batch_size=16)),
    )

    assert marker_code(tuned).splitlines() == [
        "import pytest",
        "",
        "from pytest_dlperf import ClosedLoop, Serving",
        "",
        "@pytest.mark.dlperf(",
        '    "throughput >= 55700/s",',
        '    "accuracy >= baseline - 0.5pt",',
        '    "p99 <= 20ms",',
        "    scenario=ClosedLoop(clients=64),",
        "    serving=Serving(max_batch_size=16),",
        ")",
    ]


@pytest.mark.parametrize(
    ("options", "written", "comment"),
    [
        (Options(), {}, ""),
        (Options(output="Click"), {"output": "Click"}, ""),
        (
            Options(output="click", task="regression", allow_nan=True),
            {"output": "click", "task": "regression", "allow_nan": True},
            "",
        ),
        (Options(output=len), {}, "# output= is that of the test that was tuned"),
    ],
)
def test_the_marker_says_what_is_scored(
    options: Options, written: dict[str, object], comment: str
) -> None:
    """As the marker of the test that was tuned does; of a function it says that there is one."""
    answers = answers_code(plan([options]))
    code = marker_code(study("maximize throughput", {"throughput": estimate(9.0)}, answers=answers))

    _, arguments = budgets_of(code)
    assert {name: arguments[name] for name in arguments if name != "scenario"} == written
    assert comment in code


@pytest.mark.parametrize(
    ("goal", "value", "budget"),
    [
        ("maximize throughput", 61_235.0, "throughput >= 55700/s"),
        ("maximize throughput", 3.456, "throughput >= 3.14/s"),
        ("minimize p99", 0.0021, "p99 <= 2.62ms"),
        ("minimize p99", 2.1, "p99 <= 2.62s"),
        ("minimize mean", 0.0000333, "mean <= 0.0366ms"),
        ("maximize accuracy", 0.9722, "accuracy >= 96.2%"),
        ("maximize accuracy", 0.005, "accuracy >= 0%"),
        ("minimize loss", 0.1234, "loss <= 0.136"),
        ("minimize peak_memory", 123.4 * 2**20, "peak_memory <= 136MiB"),
        ("minimize peak_memory", 12.34 * 2**30, "peak_memory <= 13.6GiB"),
    ],
)
def test_the_budget_of_the_objective(goal: str, value: float, budget: str) -> None:
    """In the metric's own unit and direction; of a share a point less, else what is to be seen."""
    name = goal.split()[1]
    (text,), _ = budgets_of(marker_code(study(goal, {name: estimate(value)})))

    assert text == budget
    assert parse_budget(text).metric.name == name


def test_what_a_load_does_not_measure_is_left_out() -> None:
    """A marker with a budget on training would fail the test that it is pasted above."""
    code = marker_code(study("minimize train.time, p99 <= 1s", {"train.time": estimate(3.0)}))

    assert budgets_of(code)[0] == ("p99 <= 1s",)


def test_a_trace_is_not_written_out() -> None:
    """Its text is no code; a comment says what is missing, and of goodput its limit too."""
    tuned = study(
        "maximize goodput", {"goodput": estimate(900.0)}, scenario="Trace(9 requests, 0abc)"
    )
    code = marker_code(tuned)

    assert budgets_of(code) == (("goodput >= 818/s",), {})
    assert "# scenario= is the trace" in code
    assert "# slo= is that" in code


def test_other_scenarios_are_imported() -> None:
    """With all that is in them."""
    tuned = study(
        "maximize throughput",
        {"throughput": estimate(1000.0)},
        scenario="ClosedLoop(clients=64, think_time=Exponential(mean=0.01))",
    )

    assert "from pytest_dlperf import ClosedLoop, Exponential" in marker_code(tuned)
    assert str(budgets_of(marker_code(tuned))[1]["scenario"]) == tuned.scenario


def test_knobs_make_the_arguments() -> None:
    """What a study recommends is what its knobs were set to."""
    knob = knobs.units(512, 128)
    best = configured((knob,), {"units": 128})
    metrics = {"throughput": estimate(1.0)}
    trials = [a_trial(configured((knob,)), metrics), a_trial(best, metrics)]
    tuned = a_study(trials, (knob,), [a_finalist(best, 1.5)])

    assert made_by(setup_code(tuned.setup))["setup"].arguments == {"units": 128}
