"""Configurations: a value for each knob, and the setup that they make."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from studies import a_knob

from pytest_dlperf.data.normalisation import Normalisation
from pytest_dlperf.errors import UsageError
from pytest_dlperf.load.serving import Serving
from pytest_dlperf.training.compression import NeuronPruning
from pytest_dlperf.training.recipe import Recipe
from pytest_dlperf.tuning import knobs
from pytest_dlperf.tuning.configuration import (
    Configuration,
    Knob,
    Setup,
    anchored,
    configuration_from_texts,
    configured,
    setup_of,
)

if TYPE_CHECKING:
    from pytest_dlperf.data.dataset import Preparation


UNITS = a_knob("units", 64, 32, 16)
LAYERS = a_knob("layers", 1, 2)
BOTH = (UNITS, LAYERS)


def test_defaults_fill_in() -> None:
    """What is not chosen is as it is without tuning."""
    configuration = configured(BOTH, {"layers": 2})

    assert configuration.values == {"units": 64, "layers": 2}
    assert str(configuration) == "units=64, layers=2"
    assert configuration.differences(configured(BOTH)) == {"layers": 2}


def test_configurations_are_equal_by_their_texts() -> None:
    """In whatever order, and whether read back or made; other values make another one."""
    configuration = Configuration({"units": 64, "layers": 2})
    same = Configuration({"layers": "2", "units": 64})

    assert configuration == same
    assert len({configuration, same, configured(BOTH)}) == 2
    assert configuration != "units=64, layers=2"


@given(st.sampled_from(UNITS.values), st.sampled_from(LAYERS.values))
def test_texts_lead_back(units: object, layers: object) -> None:
    """A configuration that was written down is the same when it is read, values and all."""
    configuration = configured(BOTH, {"units": units, "layers": layers})
    back = configuration_from_texts(configuration.texts(), BOTH)

    assert back == configuration
    assert dict(back.values) == dict(configuration.values)


@pytest.mark.parametrize(
    "texts", [{"units": "64"}, {"units": "64", "layers": "3"}, {"units": "64", "depth": "1"}]
)
def test_texts_of_another_study(texts: dict[str, str]) -> None:
    """What is not about these knobs and values is refused."""
    with pytest.raises(ValueError, match="knob"):
        configuration_from_texts(texts, BOTH)


def test_the_setup_of_a_configuration() -> None:
    """Every knob is applied, and all else is the base's."""
    base = Setup(arguments={"dropout": 0.1}, recipe=Recipe(epochs=3))
    setup = setup_of(base, configured(BOTH, {"units": 16}), BOTH)

    assert setup.arguments == {"dropout": 0.1, "units": 16, "layers": 1}
    assert setup.recipe == base.recipe


@pytest.mark.parametrize("order", [1, -1])
def test_the_order_of_knobs_is_no_matter(order: int) -> None:
    """A batch size goes with adam, whichever of them comes first; the base has neither."""
    base = Setup(recipe=Recipe(optimizer="gradient_descent"))
    both = (knobs.batch_size(None, 64), knobs.optimizer("gradient_descent", "adam"))[::order]
    chosen = configured(both, {"batch_size": 64, "optimizer": "adam"})

    assert setup_of(base, chosen, both).recipe == Recipe(batch_size=64, optimizer="adam")


def test_an_impossible_setup() -> None:
    """Values that do not go together are an error that names the knob and the value."""
    both = (knobs.batch_size(None, 64), knobs.optimizer("adam", "gradient_descent"))
    chosen = configured(both, {"batch_size": 64, "optimizer": "gradient_descent"})

    with pytest.raises(UsageError, match=r"optimizer=gradient_descent: .*all rows at once"):
        setup_of(Setup(), chosen, both)


def _raises(setup: Setup, value: object) -> Setup:
    raise KeyError(f"{setup.runtime} {value}")


@pytest.mark.parametrize(
    ("knob", "problem"),
    [
        (Knob("broken", (1, 2), "model", _raises), "broken=1: its apply ended with KeyError"),
        (Knob("empty", (1, 2), "model", lambda _, __: None), "empty=1: its apply made NoneType"),  # type: ignore[arg-type,return-value]
    ],
)
def test_a_knob_of_a_user_that_does_not_work(knob: Knob, problem: str) -> None:
    """It ends in words, and not in a traceback of ours."""
    with pytest.raises(UsageError, match=problem):
        setup_of(Setup(), configured((knob,)), (knob,))


def test_what_is_there_comes_first() -> None:
    """Whatever the order of the values, the setup's own is the default, and none is lost."""
    base = Setup(recipe=Recipe(epochs=7), arguments={"units": 128})
    study = (knobs.units(512, 128), knobs.layers(1, 2), knobs.epochs(5, 10), UNITS)
    knobs_ = anchored(study, base, {"units": 256, "layers": 2})

    assert [knob.values for knob in knobs_] == [(128, 512), (2, 1), (7, 5, 10), (64, 32, 16)]


def test_an_argument_without_a_default() -> None:
    """Where neither the setup nor the function says, the first value given is the default."""
    assert anchored((knobs.units(32, 16),), Setup(), {})[0].values == (32, 16)


def test_the_default_changes_nothing() -> None:
    """With every anchored knob at its default, the setup serves and trains as the base does."""

    class Shuffled:
        """A user's own preparation."""

        def __call__(self, split: object) -> object:
            return split

    own: Preparation = Shuffled()  # type: ignore[assignment]  # enough of one
    base = dataclasses.replace(
        Setup(),
        preparations=(own,),
        arguments={"units": 8},
        recipe=Recipe(optimizer="sgd", momentum=0.5),
    )
    study = anchored(
        (
            *(knobs.cleaning(), knobs.normalisation(), knobs.normalisation_in_graph()),
            *(knobs.augmentation(), knobs.units(), knobs.distillation(), knobs.pruning()),
            *(knobs.quantisation(), knobs.optimizer(), knobs.learning_rate(), knobs.batch_size()),
            *(knobs.epochs(), knobs.precision(), knobs.steps_per_execution(), knobs.replicas()),
            *(knobs.max_batch_size(), knobs.batch_timeout(), knobs.intra_op_threads()),
            knobs.runtime(),
        ),
        base,
        {},
    )

    assert setup_of(base, configured(study), study) == base


def test_the_first_value_is_the_default() -> None:
    """What is there without tuning is the first value."""
    assert a_knob("units", 64, 32).default == 64


def test_values_are_found_by_their_texts() -> None:
    """A journal keeps texts; they lead back to the very values."""
    knob = a_knob("units", None, 32, "32.5")

    assert [knob.value_of(text) for text in ("None", "32", "32.5")] == [None, 32, "32.5"]
    with pytest.raises(ValueError, match="no value '16'"):
        knob.value_of("16")


@pytest.mark.parametrize(
    ("name", "values", "stage", "problem"),
    [
        pytest.param("two words", (1, 2), "model", "Python identifier", id="name"),
        pytest.param("units", (1,), "model", "at least two", id="one value"),
        pytest.param("units", (), "model", "at least two", id="no value"),
        pytest.param("units", (1, "1"), "model", "all different", id="the same text"),
        pytest.param(
            "units", (1, 2), "cooking", "one of data, model, training, serving", id="stage"
        ),
    ],
)
def test_what_is_no_knob(name: str, values: tuple[object, ...], stage: str, problem: str) -> None:
    """A knob that could not be told apart from others, or tried, is refused in words."""
    with pytest.raises(UsageError, match=problem):
        Knob(name, values, stage, lambda setup, _: setup)  # type: ignore[arg-type]  # the mistake


def test_serving_does_not_touch_the_trained_model() -> None:
    """Setups that differ in serving only share one training."""
    base = Setup(arguments={"units": 64})
    others = (
        dataclasses.replace(base, serving=Serving(max_batch_size=8)),
        dataclasses.replace(base, runtime="litert"),
    )

    assert {setup.trained for setup in others} == {base.trained}


@pytest.mark.parametrize(
    "change",
    [
        {"preparations": (Normalisation(),)},
        {"fronts": (Normalisation(),)},
        {"arguments": {"units": 32}},
        {"recipe": Recipe(epochs=6)},
        {"finishes": (NeuronPruning(0.5),)},
    ],
    ids=str,
)
def test_all_else_makes_another_model(change: dict[str, object]) -> None:
    """Every part that training depends on is in its identity."""
    base = Setup(arguments={"units": 64})

    assert dataclasses.replace(base, **change).trained != base.trained  # type: ignore[arg-type]


def test_a_setup_does_not_change_with_what_it_was_made_of() -> None:
    """Arguments are copied: a dictionary that is changed later changes no setup."""
    arguments = {"units": 64}
    setup = Setup(arguments=arguments)
    arguments["units"] = 32

    assert setup.arguments == {"units": 64}


def test_what_does_not_go_together() -> None:
    """Only a tf.function can be sent to a process with threads of its own."""
    for runtime in ("xla", "litert", "onnx"):
        with pytest.raises(UsageError, match="intra_op_threads=2"):
            Setup(runtime=runtime, serving=Serving(intra_op_threads=2))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"one of tf\.function, xla, litert, onnx"):
        Setup(runtime="abacus")  # type: ignore[arg-type]  # the mistake
    assert Setup(serving=Serving(intra_op_threads=2)).runtime == "tf.function"
