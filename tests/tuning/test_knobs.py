"""The built-in knobs: each does to a setup what it says."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from pytest_dlperf.data.cleaning import Cleaning
from pytest_dlperf.data.normalisation import Normalisation
from pytest_dlperf.errors import UsageError
from pytest_dlperf.load.serving import Serving
from pytest_dlperf.targets.conversion import Quantisation
from pytest_dlperf.training.compression import Distillation, MagnitudePruning, NeuronPruning
from pytest_dlperf.training.graph_layers import Augmentation, InGraphNormalisation
from pytest_dlperf.training.recipe import CosineDecay, Recipe
from pytest_dlperf.tuning import knobs
from pytest_dlperf.tuning.catalogue import BUILT_IN
from pytest_dlperf.tuning.configuration import Setup

if TYPE_CHECKING:
    from pytest_dlperf.tuning.configuration import Knob

CLEAN = Cleaning(duplicates="drop")
NOISE = Augmentation.noise(deviation=0.1)
DISTILLED = Distillation({"units": 8})
SCHEDULE = CosineDecay(0.01, 100)


@pytest.mark.parametrize(
    ("knob", "value", "stage", "expected"),
    [
        (knobs.cleaning(), CLEAN, "data", Setup(preparations=(CLEAN,))),
        (knobs.normalisation(), "min-max", "data", Setup(preparations=(Normalisation("min-max"),))),
        (
            knobs.normalisation_in_graph(),
            "standard",
            "data",
            Setup(fronts=(InGraphNormalisation("standard"),)),
        ),
        (knobs.augmentation(), NOISE, "data", Setup(fronts=(NOISE,))),
        (knobs.units(), 64, "model", Setup(arguments={"units": 64})),
        (knobs.layers(), 3, "model", Setup(arguments={"layers": 3})),
        (knobs.activation(), "gelu", "model", Setup(arguments={"activation": "gelu"})),
        (knobs.argument("width", 1, 2), 2, "model", Setup(arguments={"width": 2})),
        (knobs.distillation(), DISTILLED, "model", Setup(finishes=(DISTILLED,))),
        (knobs.pruning(), NeuronPruning(0.5), "model", Setup(finishes=(NeuronPruning(0.5),))),
        (knobs.quantisation(), Quantisation(), "model", Setup(finishes=(Quantisation(),))),
        (knobs.optimizer(), "adamw", "training", Setup(recipe=Recipe(optimizer="adamw"))),
        (knobs.learning_rate(), SCHEDULE, "training", Setup(recipe=Recipe(learning_rate=SCHEDULE))),
        (knobs.batch_size(), 256, "training", Setup(recipe=Recipe(batch_size=256))),
        (knobs.epochs(), 10, "training", Setup(recipe=Recipe(epochs=10))),
        (
            knobs.precision(),
            "mixed_bfloat16",
            "training",
            Setup(recipe=Recipe(precision="mixed_bfloat16")),
        ),
        (knobs.steps_per_execution(), 8, "training", Setup(recipe=Recipe(steps_per_execution=8))),
        (knobs.max_batch_size(), 16, "serving", Setup(serving=Serving(max_batch_size=16))),
        (knobs.batch_timeout(), 0.001, "serving", Setup(serving=Serving(batch_timeout=0.001))),
        (knobs.batch_timeout(), "1ms", "serving", Setup(serving=Serving(batch_timeout=0.001))),
        (knobs.replicas(), 2, "serving", Setup(serving=Serving(replicas=2))),
        (knobs.intra_op_threads(), 2, "serving", Setup(serving=Serving(intra_op_threads=2))),
        (knobs.runtime(), "litert", "serving", Setup(runtime="litert")),
    ],
    ids=lambda item: item.name if hasattr(item, "apply") else "",
)
def test_what_a_knob_does(knob: Knob, value: object, stage: str, expected: Setup) -> None:
    """It changes this one thing, and belongs to this stage."""
    assert knob.apply(Setup(), value) == expected
    assert knob.stage == stage


@pytest.mark.parametrize("name", BUILT_IN)
def test_its_own_values_work(name: str) -> None:
    """Every value that it brings along makes a setup, and the setup tells it back."""
    knob = BUILT_IN[name]()
    for value in knob.values:
        changed = knob.apply(Setup(), value)

        assert knob.read is not None
        assert str(knob.read(changed)) == str(value)


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_knob_takes_back_what_it_did(name: str) -> None:
    """From any value to any other one it is as if the first had never been tried."""
    knob = BUILT_IN[name]()
    for first in knob.values:
        for second in knob.values:
            there = knob.apply(knob.apply(Setup(), first), second)

            assert there == knob.apply(Setup(), second)


@pytest.mark.parametrize("name", BUILT_IN)
def test_what_serves_only_shares_the_training(name: str) -> None:
    """A knob of serving leaves the trained model as it is; any other one makes another model."""
    knob = BUILT_IN[name]()
    trained = {knob.apply(Setup(), value).trained for value in knob.values}

    assert len(trained) == (1 if knob.stage == "serving" else len(knob.values))


def test_given_values_win() -> None:
    """Values of a call are tried instead of those that the knob brings along."""
    assert knobs.units(7, 5).values == (7, 5)
    assert knobs.batch_timeout("2ms", 0.5).values == (0.002, 0.5)


def test_the_order_of_preparations_and_fronts() -> None:
    """Cleaning before normalisation; normalisation in the graph before augmentation."""
    setup = Setup()
    for knob, value in (
        (knobs.normalisation(), "standard"),
        (knobs.cleaning(), CLEAN),
    ):
        setup = knob.apply(setup, value)
    assert setup.preparations == (CLEAN, Normalisation("standard"))

    setup = Setup()
    for knob, value in ((knobs.augmentation(), NOISE), (knobs.normalisation_in_graph(), "min-max")):
        setup = knob.apply(setup, value)
    assert setup.fronts == (InGraphNormalisation("min-max"), NOISE)


def test_the_order_of_finishes() -> None:
    """A smaller model first, then pruning, then 8 bits, whatever order they were chosen in."""
    setup = Setup()
    for knob, value in (
        (knobs.quantisation(), Quantisation()),
        (knobs.pruning(), MagnitudePruning(0.5)),
        (knobs.distillation(), DISTILLED),
    ):
        setup = knob.apply(setup, value)

    assert setup.finishes == (DISTILLED, MagnitudePruning(0.5), Quantisation())


def test_rows_are_normalised_once() -> None:
    """Ahead of time and in the graph would do it twice."""
    ahead = knobs.normalisation().apply(Setup(), "standard")
    in_graph = knobs.normalisation_in_graph().apply(Setup(), "standard")

    with pytest.raises(UsageError, match="normalised twice"):
        knobs.normalisation_in_graph().apply(ahead, "min-max")
    with pytest.raises(UsageError, match="normalised twice"):
        knobs.normalisation().apply(in_graph, "min-max")
    assert knobs.normalisation_in_graph().apply(ahead, "none") == ahead


def test_another_optimizer_leaves_momentum_behind() -> None:
    """What belongs to one optimizer only goes with it."""
    base = Setup(recipe=Recipe(optimizer="sgd", momentum=0.9, learning_rate=0.1))
    changed = knobs.optimizer().apply(base, "adam")

    assert changed.recipe == Recipe(optimizer="adam", learning_rate=0.1)
    assert knobs.optimizer().apply(base, "rmsprop").recipe.momentum == 0.9


def test_allowed_batch_sizes_end_with_the_largest() -> None:
    """Sizes beyond it go, and it becomes the last one."""
    base = Setup(serving=Serving(max_batch_size=64, allowed_batch_sizes=(1, 8, 64)))
    knob = knobs.max_batch_size()

    assert knob.apply(base, 16).serving.allowed_batch_sizes == (1, 8, 16)
    assert knob.apply(base, 256).serving.allowed_batch_sizes == (1, 8, 64, 256)
    assert knob.apply(base, 64) == base


@pytest.mark.parametrize(
    ("make", "values"),
    [
        (knobs.cleaning, ("median",)),
        (knobs.augmentation, (None, 0.5)),
        (knobs.distillation, (None, 32)),
        (knobs.pruning, (None, 0.5)),
        (knobs.quantisation, (None, "int8")),
    ],
)
def test_values_of_another_kind(make: object, values: tuple[object, ...]) -> None:
    """What is no such value is refused where it is written, with what was expected."""
    with pytest.raises(UsageError, match="expected one of") as caught:
        make(*values)  # type: ignore[operator]  # one of the makers

    assert f"({values[-1]!r})" in str(caught.value)


@pytest.mark.parametrize(
    ("knob", "value"),
    [
        (knobs.batch_size(), -1),
        (knobs.epochs(), "many"),
        (knobs.optimizer(), "magic"),
        (knobs.max_batch_size(), 0),
        (knobs.replicas(), None),
        (knobs.runtime(), "abacus"),
        (knobs.normalisation(), "bold"),
    ],
    ids=lambda item: item.name if hasattr(item, "apply") else str(item),
)
def test_values_that_make_no_setup(knob: Knob, value: object) -> None:
    """They are refused by what they would be a part of."""
    with pytest.raises(UsageError):
        knob.apply(Setup(), value)


def test_a_users_own_steps_stay() -> None:
    """Knobs take out and put in their own kind only."""
    own = object()
    base = dataclasses.replace(Setup(), preparations=(own,), fronts=(own,), finishes=(own,))  # type: ignore[arg-type]
    for name in ("cleaning", "normalisation_in_graph", "pruning"):
        knob = BUILT_IN[name]()
        changed = knob.apply(base, knob.values[1])

        for steps in (changed.preparations, changed.fronts, changed.finishes):
            assert own in steps
