"""Knobs by name, and which of them suit a function that builds models."""

from __future__ import annotations

from functools import partial

import pytest
from studies import a_knob

from pytest_dlperf.errors import UsageError
from pytest_dlperf.training.graph_layers import Augmentation
from pytest_dlperf.training.recipe import Recipe
from pytest_dlperf.tuning import knobs
from pytest_dlperf.tuning.catalogue import (
    BUILT_IN,
    USUAL,
    Parameters,
    catalogue,
    chosen,
    parameters_of,
    problem_of,
    suitable,
)
from pytest_dlperf.tuning.configuration import Setup

KNOWN = catalogue()
WIDTH = a_knob("width", 1, 2, 3)


def build(units: int = 128, *, activation: str = "relu") -> object:
    """A model."""
    return units, activation


def test_the_issue_is_covered() -> None:
    """Every knob that the guide speaks of is there by its name."""
    assert set(BUILT_IN) == {
        *("cleaning", "normalisation", "normalisation_in_graph", "augmentation"),
        *("units", "layers", "activation", "distillation", "pruning", "quantisation"),
        *("optimizer", "learning_rate", "batch_size", "epochs", "precision"),
        *("steps_per_execution", "max_batch_size", "batch_timeout", "replicas"),
        *("intra_op_threads", "runtime"),
    }
    assert all(knob.name == name for name, knob in KNOWN.items())


def test_a_users_knob_takes_the_place_of_the_built_in_one() -> None:
    """So that a project can say which values are worth a try in it."""
    own = knobs.units(8, 4)

    assert catalogue([own, WIDTH])["units"] is own
    assert catalogue([own, WIDTH])["width"] is WIDTH


@pytest.mark.parametrize(
    ("users", "problem"),
    [([WIDTH, WIDTH], "two knobs are named width"), (["width"], "'width' is no knob")],
)
def test_what_users_cannot_add(users: list[object], problem: str) -> None:
    """Two of one name could not be told apart."""
    with pytest.raises(UsageError, match=problem):
        catalogue(users)  # type: ignore[arg-type]  # the mistake


def test_knobs_are_asked_for_in_three_ways() -> None:
    """By name, by name with values, and as they are."""
    found = chosen(["layers", "units=64, 32", WIDTH], KNOWN)

    assert [(knob.name, knob.values) for knob in found] == [
        ("layers", (1, 2, 3)),
        ("units", (64, 32)),
        ("width", (1, 2, 3)),
    ]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("units=7", (7,)),
        ("units=512,7", (512, 7)),
        ("learning_rate=None,1e-3,0.1", (None, 0.001, 0.1)),
        ("batch_timeout=0.0,2ms", (0.0, "2ms")),
        ("runtime=xla,litert", ("xla", "litert")),
        ("augmentation=None,Augmentation.noise(deviation=0.2)", None),
        ("activation=relu,tanh", ("relu", "tanh")),
    ],
)
def test_values_from_text(text: str, values: tuple[object, ...] | None) -> None:
    """Numbers are numbers, names are text, and what a knob has is known by its text."""
    (knob,) = chosen([text], KNOWN)

    assert knob.values == (values or (None, Augmentation.noise(deviation=0.2)))


def test_a_users_knob_is_applied_with_values_from_text() -> None:
    """Its own function makes the setup, whatever its name."""
    own = a_knob("units", 8, 4)
    (knob,) = chosen(["units=8,2"], catalogue([own]))

    assert knob.apply is own.apply
    assert knob.values == (8, 2)


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        (["unitz"], "unknown knob 'unitz'"),
        (["units", "units=1,2"], "units is requested twice"),
        ([], "there are no knobs"),
        ([3], "knob 3"),
        (["units="], "has no value ''"),
        (["units=1,,2"], "has no value ''"),
        (["pruning=0.5"], "pruning has no value '0.5'"),
    ],
)
def test_what_cannot_be_asked_for(asked: list[object], problem: str) -> None:
    """It is said what is known instead."""
    with pytest.raises(UsageError, match=problem):
        chosen(asked, KNOWN)


def test_the_parameters_of_a_function() -> None:
    """Those with defaults, those without, and whether anything goes."""

    def needs(units: int, **more: object) -> object:
        return units, more

    assert parameters_of(build) == Parameters("build", {"units": 128, "activation": "relu"})
    assert parameters_of(needs) == Parameters("needs", {}, ("units",), any_name=True)
    assert parameters_of(partial(build, units=64)).defaults["units"] == 64


def test_functions_that_cannot_build() -> None:
    """What is no function, or wants arguments by position, is refused in words."""

    def positional(units: int, /) -> object:
        return units

    with pytest.raises(UsageError, match="needs an argument by position"):
        parameters_of(positional)
    with pytest.raises(UsageError, match="expected a function that builds a model"):
        parameters_of("build")  # type: ignore[arg-type]  # the mistake


def test_a_knob_that_does_not_suit() -> None:
    """A function that takes no `layers` cannot be given any; what it takes is said."""
    parameters = parameters_of(build)

    assert problem_of(knobs.layers(), parameters, Setup()) == (
        "build() takes no layers; it takes units, activation"
    )
    assert problem_of(knobs.units(), parameters, Setup()) == ""
    assert problem_of(knobs.runtime(), parameters, Setup()) == ""
    with pytest.raises(UsageError, match="knob layers: build"):
        suitable([knobs.layers()], KNOWN, parameters, Setup())


def test_the_usual_knobs() -> None:
    """Where nobody says what to try: the usual ones that suit, from what is there."""
    found = suitable(None, KNOWN, parameters_of(build), Setup(arguments={"units": 64}))

    assert [knob.name for knob in found] == [name for name in USUAL if name != "layers"]
    assert found[0].values == (64, 512, 256, 128, 32)


def test_a_single_value_joins_what_is_there() -> None:
    """`units=7` tries 7 against the function's own 128."""
    asked = chosen(["units=7"], KNOWN)
    (knob,) = suitable(asked, KNOWN, parameters_of(build), Setup())

    assert knob.values == (128, 7)


def test_one_value_is_no_choice() -> None:
    """If it is what is there already, there is nothing to try."""
    asked = chosen(["units=128"], KNOWN)

    with pytest.raises(UsageError, match="units: 128 is its value without tuning"):
        suitable(asked, KNOWN, parameters_of(build), Setup())
    with pytest.raises(UsageError, match="expected at least two"):
        chosen(["width=2"], {"width": WIDTH})


def test_an_impossible_value_does_not_make_a_knob_unsuitable() -> None:
    """Batch sizes go with another optimizer, though not with the base's."""
    base = Setup(recipe=Recipe(optimizer="gradient_descent"))

    assert problem_of(knobs.batch_size(), parameters_of(build), base) == ""
