"""Setups: one whole way to prepare data, build and train a model, and serve it."""

from __future__ import annotations

import dataclasses

import pytest

from pytest_dlperf.data.normalisation import Normalisation
from pytest_dlperf.errors import UsageError
from pytest_dlperf.load.serving import Serving
from pytest_dlperf.training.compression import NeuronPruning
from pytest_dlperf.training.recipe import Recipe
from pytest_dlperf.tuning.configuration import Setup


def test_serving_does_not_touch_the_trained_model() -> None:
    """Setups that differ in serving only share one training."""
    base = Setup(arguments={"units": 64})
    others = (
        dataclasses.replace(base, serving=Serving(max_batch_size=8)),
        dataclasses.replace(base, runtime="litert"),
    )

    assert {one.trained for one in others} == {base.trained}


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
    given = {"units": 64}
    setup = Setup(arguments=given)
    given["units"] = 32

    assert setup.arguments == {"units": 64}


def test_what_does_not_go_together() -> None:
    """Only a tf.function can be sent to a process with threads of its own."""
    for runtime in ("xla", "litert", "onnx"):
        with pytest.raises(UsageError, match="intra_op_threads=2"):
            Setup(runtime=runtime, serving=Serving(intra_op_threads=2))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"one of tf\.function, xla, litert, onnx"):
        Setup(runtime="abacus")  # type: ignore[arg-type]  # the mistake
    assert Setup(serving=Serving(intra_op_threads=2)).runtime == "tf.function"
