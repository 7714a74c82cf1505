"""Keras models and `tf.function`s under load on the real clock."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from fakes import FakeMeter, FakeProgress

from pytest_dlperf.clock import MonotonicClock
from pytest_dlperf.config.options import Options
from pytest_dlperf.config.plan import plan
from pytest_dlperf.data.dataset import as_data
from pytest_dlperf.data.digits import ReferenceData, load_digits
from pytest_dlperf.data.rows import read_rows
from pytest_dlperf.errors import TargetError, UsageError
from pytest_dlperf.load.scenarios import ClosedLoop
from pytest_dlperf.load.serving import Serving
from pytest_dlperf.measure.measure import measure
from pytest_dlperf.measure.prepared import Instruments
from pytest_dlperf.ragged import Ragged
from pytest_dlperf.targets.keras_models import Tracings, answers, dense_classifier

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_dlperf.results.measurement import Measurement

pytestmark = pytest.mark.tensorflow


@pytest.fixture(scope="module")
def digits() -> ReferenceData:
    """The reference data."""
    return load_digits()


@pytest.fixture(scope="module")
def model(digits: ReferenceData) -> Any:  # noqa: ANN401 - Keras has no types
    """A small classifier, trained."""
    model = dense_classifier(64, 64, 10, seed=0)
    model.fit(digits.train.inputs, digits.train.labels, epochs=8, verbose=0)
    return model


def measured(target: object, data: object, **options: Any) -> Measurement:  # noqa: ANN401 - any option
    """A short measurement on the real clock."""
    chosen = {"scenario": ClosedLoop(16), "duration": 0.2, **options}
    bench = Instruments(MonotonicClock(), FakeMeter(), FakeProgress())
    return measure(target, as_data(data), plan([Options(**chosen)]), bench, test="t", name="")


@pytest.mark.parametrize(
    ("kind", "serving", "description"),
    [
        ("model", Serving(), "Keras model reference_model, batches "),
        ("model", Serving(8, replicas=2), "Keras model reference_model, batches "),
        (
            *("model", Serving(16, allowed_batch_sizes=(1, 12, 16))),
            "Keras model reference_model, batches padded to 1, 12, 16",
        ),
        ("function", Serving(), "tf.function"),
        ("concrete function", Serving(), "tf.function"),
    ],
)
def test_every_row_gets_its_own_answer(
    model: Any,  # noqa: ANN401 - Keras has no types
    digits: ReferenceData,
    kind: str,
    serving: Serving,
    description: str,
) -> None:
    """None is mixed up: with the model's answers as labels all are right."""
    import tensorflow as tf

    target = model
    if kind != "model":
        target = tf.function(lambda x: model(x, training=False))
    if kind == "concrete function":
        target = target.get_concrete_function(tf.TensorSpec((None, 64), tf.float32))
    rows = digits.test.inputs

    measurement = measured(target, (rows, answers(model, rows).argmax(axis=1)), serving=serving)

    assert measurement.accuracy == 1.0
    assert measurement.errors == ()
    assert measurement.target.startswith(description)
    assert measurement.compile_time > 0


def test_several_outputs_are_refused(digits: ReferenceData) -> None:
    """A model with two outputs does not say which one is meant."""
    import keras

    inputs = keras.Input((64,))
    model = keras.Model(inputs, [keras.layers.Dense(2)(inputs), keras.layers.Dense(3)(inputs)])

    with pytest.raises(UsageError, match=r"answers several outputs \(0, 1\)"):
        measured(model, digits.test)


@pytest.mark.parametrize("kind", ["model", "tf.function", "signature"])
def test_a_structure_with_one_tensor_is_that_tensor(
    kind: str,
    model: Any,  # noqa: ANN401
    digits: ReferenceData,
    tmp_path: Path,
) -> None:
    """The only output of a model may have a name; that of a SavedModel's signature always has."""
    import keras
    import tensorflow as tf

    rows = digits.test.inputs
    target = keras.Model(model.inputs, {"scores": model.outputs[0]})
    if kind == "tf.function":
        target = tf.function(lambda batch: [model(batch, training=False)])
    elif kind == "signature":
        spec = tf.TensorSpec((None, 64), tf.float32)
        module = tf.Module()
        module.model = model
        module.answer = tf.function(
            lambda batch: {"scores": model(batch, training=False)}, input_signature=[spec]
        )
        tf.saved_model.save(module, str(tmp_path), signatures=module.answer)
        loaded = tf.saved_model.load(str(tmp_path))
        target = loaded.signatures["serving_default"]

    measurement = measured(target, (rows, answers(model, rows).argmax(axis=1)))

    assert measurement.accuracy == 1.0
    assert measurement.errors == ()


def test_the_wrong_input_shape_is_named(model: Any, digits: ReferenceData) -> None:  # noqa: ANN401
    """Data that the model cannot take: an error with the shape, before any load."""
    with pytest.raises(UsageError, match=r"rows of shape \(64,\); those of the data .* \(3,\)"):
        measured(model, (digits.test.inputs[:, :3], digits.test.labels))


def test_placement_on_two_devices() -> None:
    """What needs two devices holds, in a process of its own whose CPU is split into two."""
    cases = Path(__file__).parents[1] / "on_two_devices.py"
    files = [str(cases), str(cases.with_name("training_on_two_devices.py"))]
    command = [sys.executable, "-m", "pytest", "-q", *files, "--dlperf-logical-cpus=2"]

    done = subprocess.run(  # noqa: S603 - our own pytest
        [*command, "-p", "no:cacheprovider"],
        cwd=cases.parent.parent.parent,
        env={name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^\d+ passed in", done.stdout, re.MULTILINE)


def test_retracing_inside_a_callable_is_reported(digits: ReferenceData) -> None:
    """A `tf.function` that a callable hides is found, and so is one that each call makes anew."""
    import tensorflow as tf

    @tf.function
    def scaled(batch: object, factor: float) -> object:
        return batch * factor

    calls = itertools.count(1)

    def infer(batch: NDArray[Any]) -> NDArray[Any]:
        answer: NDArray[Any] = scaled(tf.constant(batch), float(next(calls))).numpy() * 0 + batch
        return answer

    measurement = measured(infer, digits.test)

    assert any(
        re.match(r"tf.function traced again while it was measured: scaled \d+ times", note)
        for note in measurement.notes
    )


def test_no_retracing_is_nothing_to_report(digits: ReferenceData) -> None:
    """A function that was traced for all its shapes before is not named."""
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((None, 64), tf.float32)])
    def same(batch: object) -> object:
        return batch

    measurement = measured(lambda batch: same(batch).numpy(), digits.test)

    assert not any("traced again" in note for note in measurement.notes)


def test_a_function_that_hangs_while_it_is_tried_out(digits: ReferenceData) -> None:
    """The calls that find out how to send batches are not waited for without end, either."""
    import tensorflow as tf

    never = threading.Event()
    calls = itertools.count()

    def wait(batch: NDArray[Any]) -> NDArray[Any]:
        if next(calls) == 2:
            never.wait()
        return batch

    @tf.function
    def blocks(batch: Any) -> Any:  # noqa: ANN401 - tensors
        answer = tf.numpy_function(wait, [batch], tf.float32)
        answer.set_shape(batch.shape)
        return answer

    with pytest.raises(TargetError, match=r"could not be compiled .* no answer: the call had"):
        measured(blocks, digits.test, call_timeout=0.05)
    never.set()


def test_a_callable_that_runs_keras_eagerly(
    model: Any,  # noqa: ANN401 - Keras has no types
    digits: ReferenceData,
) -> None:
    """It gets a note; the model in a `tf.function` gets none, and Keras is as it was."""
    import keras
    import tensorflow as tf

    before = keras.layers.Layer.__call__
    compiled = tf.function(model)

    def outputs(call: Any) -> Any:  # noqa: ANN401 - as above
        return measured(lambda batch: call(tf.constant(batch)).numpy(), digits.test)

    assert any("runs Keras eagerly, op by op" in note for note in outputs(model).notes)
    assert not any("eagerly" in note for note in outputs(compiled).notes)
    assert keras.layers.Layer.__call__ is before


def test_a_function_that_could_not_be_made() -> None:
    """One that failed in its constructor, and is still referred to, is left out of the count."""
    import tensorflow as tf

    made = tf.function(lambda batch: batch)
    half = type(made).__new__(type(made))

    assert half not in (None, made)
    Tracings().count()


def test_answers_to_rows_of_many_lengths_are_joined() -> None:
    """Though the batches in which they are computed were padded to different lengths."""
    import keras

    model = keras.Sequential([keras.Input((None,), dtype="int32"), keras.layers.Embedding(9, 2)])
    rows = read_rows(Ragged([*[[1] * 3] * 256, [1] * 5]), "inputs")

    joined = np.asarray(answers(model, rows))

    assert joined.shape == (257, 5, 2)
    assert (joined[:256, 3:] == 0).all()
    assert (joined[0, 0] == joined[256]).all()
