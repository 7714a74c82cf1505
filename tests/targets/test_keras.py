"""The real thing: Keras models, `tf.function`s, training and the model cache."""

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
from pytest_dlperf.errors import TargetError, UsageError
from pytest_dlperf.load.scenarios import ClosedLoop
from pytest_dlperf.load.serving import Serving
from pytest_dlperf.measure.measure import measure
from pytest_dlperf.measure.prepared import Instruments
from pytest_dlperf.training.reference_model import reference_model

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_dlperf.results.measurement import Measurement
    from pytest_dlperf.training.model_cache import Trained

pytestmark = pytest.mark.tensorflow


def no_warning(text: str) -> None:
    """Fail if there is anything to warn of."""
    pytest.fail(text)


@pytest.fixture(scope="module")
def digits() -> ReferenceData:
    """The reference data."""
    return load_digits()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model cache."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def trained(digits: ReferenceData, folder: Path) -> Trained:
    """The reference model, trained here."""
    return reference_model(digits, folder, no_warning, MonotonicClock())


def measured(target: object, data: object, **options: Any) -> Measurement:  # noqa: ANN401 - any option
    """A short measurement on the real clock."""
    chosen = {"scenario": ClosedLoop(16), "duration": 0.4, **options}
    bench = Instruments(MonotonicClock(), FakeMeter(), FakeProgress())
    return measure(target, as_data(data), plan([Options(**chosen)]), bench, test="t", name="")


def test_the_reference_model_is_the_seed_model(trained: Trained, digits: ReferenceData) -> None:
    """Dense 512 relu, Dense 10 softmax, adam, 5 epochs; at least 95 % right on rows held back."""
    model: Any = trained.model

    layers = [
        (type(layer).__name__, layer.units, layer.activation.__name__) for layer in model.layers
    ]
    assert layers == [("Dense", 512, "relu"), ("Dense", 10, "softmax")]
    assert type(model.optimizer).__name__ == "Adam"
    assert model.loss == "sparse_categorical_crossentropy"
    answers = np.asarray(model(digits.test.inputs)).argmax(axis=1)
    assert (answers == digits.test.labels).mean() >= 0.95


def test_the_training_is_recorded(trained: Trained, digits: ReferenceData) -> None:
    """Five values a metric, and speeds that fit the time it took."""
    training = trained.training

    assert [len(values) for values in training.history.values()] == [5] * len(training.history)
    assert training.history["accuracy"][-1] > training.history["accuracy"][0]
    rows = len(digits.train.inputs)
    assert training.samples_per_second * training.seconds == pytest.approx(5 * rows)
    assert training.steps_per_second * training.seconds == pytest.approx(5 * -(-rows // 32))
    assert not training.cached


def test_the_second_session_takes_it_from_the_cache(
    trained: Trained, digits: ReferenceData, folder: Path
) -> None:
    """The same data, architecture, settings and versions: the same weights, without training."""
    again = reference_model(digits, folder, no_warning, MonotonicClock())

    assert again.training.cached
    assert again.training.history == trained.training.history
    np.testing.assert_array_equal(
        np.asarray(again.model(digits.test.inputs, training=False)),
        np.asarray(trained.model(digits.test.inputs, training=False)),
    )


@pytest.mark.parametrize("damage", ["truncate", "garbage", "no record"])
def test_a_damaged_cache_is_trained_anew(
    trained: Trained, digits: ReferenceData, folder: Path, damage: str
) -> None:
    """Damage costs a warning and the training, and the entry is whole again after it."""
    del trained
    (entry,) = (path for path in folder.iterdir() if path.is_dir())
    model = entry / "model.keras"
    if damage == "truncate":
        model.write_bytes(model.read_bytes()[:1000])
    elif damage == "garbage":
        model.write_bytes(b"no model")
    else:
        (entry / "training.json").unlink()
    warnings: list[str] = []

    anew = reference_model(digits, folder, warnings.append, MonotonicClock())

    assert not anew.training.cached
    assert len(warnings) == 1
    assert "is damaged" in warnings[0]
    assert reference_model(digits, folder, no_warning, MonotonicClock()).training.cached


def test_a_keras_model_under_load(trained: Trained, digits: ReferenceData) -> None:
    """Accuracy under load is the model's own accuracy, and no row is mixed up."""
    found = measured(trained.model, digits.test)

    answers = np.asarray(trained.model(digits.test.inputs, training=False)).argmax(axis=1)
    assert found.accuracy == pytest.approx(float((answers == digits.test.labels).mean()))
    assert found.errors == ()
    assert "Keras model reference_model" in found.target
    assert found.compile_time > 0


def test_replicas_answer_the_same(trained: Trained, digits: ReferenceData) -> None:
    """Two replicas in two threads: still every row its own answer."""
    found = measured(trained.model, digits.test, serving=Serving(8, replicas=2))

    assert found.errors == ()
    assert found.accuracy >= 0.95


def test_a_tf_function_under_load(trained: Trained, digits: ReferenceData) -> None:
    """A `tf.function` and its concrete function are measured as a model is."""
    import tensorflow as tf

    function = tf.function(lambda x: trained.model(x, training=False))
    concrete = function.get_concrete_function(tf.TensorSpec((None, 64), tf.float32))

    for target in (function, concrete):
        found = measured(target, digits.test)
        assert found.accuracy >= 0.95
        assert "tf.function" in found.target


def test_several_outputs_are_refused(digits: ReferenceData) -> None:
    """A model with two outputs does not say which one is meant."""
    import keras

    inputs = keras.Input((64,))
    model = keras.Model(inputs, [keras.layers.Dense(2)(inputs), keras.layers.Dense(3)(inputs)])

    with pytest.raises(UsageError, match="has several outputs"):
        measured(model, digits.test)


def test_the_wrong_input_shape_is_named(trained: Trained, digits: ReferenceData) -> None:
    """Data that the model cannot take: an error with the shape, before any load."""
    with pytest.raises(Exception, match=r"could not be compiled for inputs of shape \(batch, 3\)"):
        measured(trained.model, (digits.test.inputs[:, :3], digits.test.labels))


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


def test_allowed_sizes_replace_the_trial(trained: Trained, digits: ReferenceData) -> None:
    """A model is called with the sizes that are allowed, and nothing is tried out."""
    found = measured(
        trained.model, digits.test, serving=Serving(16, allowed_batch_sizes=(1, 12, 16))
    )

    assert found.target == "Keras model reference_model, batches padded to 1, 12, 16"
    assert found.errors == ()
    assert found.accuracy >= 0.95


def test_retracing_inside_a_callable_is_reported(digits: ReferenceData) -> None:
    """A `tf.function` that a callable hides is found, and so is one that each call makes anew."""
    import tensorflow as tf

    @tf.function
    def scaled(batch: object, factor: float) -> object:
        return batch * factor

    calls = itertools.count(1)

    def answers(batch: NDArray[Any]) -> NDArray[Any]:
        answer: NDArray[Any] = scaled(tf.constant(batch), float(next(calls))).numpy() * 0 + batch
        return answer

    found = measured(answers, digits.test)

    assert any(
        re.match(r"tf.function traced again while it was measured: scaled \d+ times", note)
        for note in found.notes
    )


def test_no_retracing_is_nothing_to_report(digits: ReferenceData) -> None:
    """A function that was traced for all its shapes before is not named."""
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((None, 64), tf.float32)])
    def same(batch: object) -> object:
        return batch

    found = measured(lambda batch: same(batch).numpy(), digits.test)

    assert not any("traced again" in note for note in found.notes)


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
