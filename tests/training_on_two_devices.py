"""Training on two devices; run by `targets/test_keras.py` in a process with two logical CPUs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
from fakes import FakeMeter, FakeProgress

from pytest_dlperf.clock import MonotonicClock
from pytest_dlperf.config.options import Options
from pytest_dlperf.config.plan import plan
from pytest_dlperf.errors import UsageError
from pytest_dlperf.measure.prepared import Instruments
from pytest_dlperf.training.job import placed_by, training_job
from pytest_dlperf.training.recipe import Recipe
from pytest_dlperf.training.train import training

if TYPE_CHECKING:
    from pytest_dlperf.results.measurement import Measurement

INPUTS = np.random.default_rng(0).random((400, 4)).astype(np.float32)
LABELS = INPUTS[:, :3].argmax(axis=1)
RECIPE = Recipe(4, optimizer="adam", learning_rate=0.05, batch_size=40)

PLAN = plan([Options()])


def measured(devices: object, recipe: Recipe = RECIPE) -> tuple[Measurement, list[Any]]:
    """A training on these devices, and the models that were built for it."""
    models = []

    def build() -> object:
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation="softmax")])
        model.compile(loss="sparse_categorical_crossentropy")
        models.append(model)
        return model

    job = training_job(build, (INPUTS, LABELS), None, recipe, 1, placed_by(devices, PLAN))
    instruments = Instruments(MonotonicClock(), FakeMeter(), FakeProgress())
    with training(job, PLAN, instruments) as prepared:
        return prepared.measure("t", "", 1.0), models


def test_two_devices_learn_what_one_does() -> None:
    """The same accuracy within the interval, and the weights but for rounding; a note has both."""
    measurement, (together, alone) = measured("cpu:0,cpu:1")

    for weight, other in zip(together.get_weights(), alone.get_weights(), strict=True):
        np.testing.assert_allclose(weight, other, rtol=1e-2, atol=1e-3)
    (note,) = (note for note in measurement.notes if "devices" in note)
    figures = re.fullmatch(
        r"2 devices: [0-9.]+ x the rows a second of cpu:0 alone; "
        r"accuracy ([0-9.]+) %, alone ([0-9.]+) %",
        note,
    )
    assert figures is not None
    assert float(figures[1]) == pytest.approx(measurement.accuracy * 100, abs=0.01)
    assert measurement["accuracy"].low <= float(figures[2]) / 100 <= measurement["accuracy"].high
    assert measurement.serving == "on cpu:0, cpu:1"


def test_one_device() -> None:
    """Weights and what the optimizer remembers are on it, and there is nothing to compare with."""
    measurement, (model,) = measured("cpu:1")

    kept = [weight.value.device for weight in (*model.weights, *model.optimizer.variables[2:])]
    assert {place.rpartition("/device:")[2] for place in kept} == {"CPU:1"}
    assert measurement.serving == "on cpu:1"
    assert not any("devices" in note for note in measurement.notes)


def test_all_devices() -> None:
    """Without a GPU these are the CPUs."""
    job = training_job(print, (INPUTS, LABELS), None, RECIPE, 1, ("all",))
    instruments = Instruments(MonotonicClock(), FakeMeter(), FakeProgress())

    with training(job, PLAN, instruments) as prepared:
        cpus = [name for name in prepared.job.devices if name.startswith("cpu:")]
        assert len(prepared.job.devices) in {len(cpus), 1}


def test_devices_that_are_not_here() -> None:
    """Named, with those that are."""
    with pytest.raises(UsageError, match=r"devices: there is no cpu:7 here, only cpu:0, cpu:1"):
        measured("cpu:7")


def test_xla_on_several() -> None:
    """TensorFlow cannot, and the answer says so before anything is built."""
    with pytest.raises(UsageError, match="choose one of both"):
        measured("cpu", Recipe(jit_compile=True))


def test_a_test_for_one_device() -> None:
    """It trains there, and a call that names another one is refused."""
    placed = PLAN.on(("cpu:1",))

    assert placed_by(None, placed) == ("cpu:1",)
    assert placed_by("cpu:1", placed) == ("cpu:1",)
    with pytest.raises(UsageError, match="in a test that is for cpu:1"):
        placed_by("cpu:0", placed)
