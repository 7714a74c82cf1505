"""Placement on two devices; run by `targets/test_keras.py` in a process with two logical CPUs.

TensorFlow takes its devices at its start, so these cannot run beside the other tests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from fakes import FakeMeter, FakeProgress

from pytest_dlperf.clock import MonotonicClock
from pytest_dlperf.config.options import Options
from pytest_dlperf.config.plan import plan
from pytest_dlperf.data.dataset import as_data
from pytest_dlperf.errors import TargetError, UsageError
from pytest_dlperf.load.scenarios import ClosedLoop
from pytest_dlperf.load.serving import Serving
from pytest_dlperf.measure.measure import measure
from pytest_dlperf.measure.prepared import Instruments
from pytest_dlperf.targets.local_devices import devices_here, split_cpu
from pytest_dlperf.targets.target import Prepared, placed, prepare

if TYPE_CHECKING:
    from collections.abc import Callable

BATCH = np.random.default_rng(0).random((16, 4)).astype(np.float32)


def prepared(target: object, **serving: Any) -> Prepared:  # noqa: ANN401 - any field
    """Prepared for batches of 16."""
    serving_ = Serving(16, **{"allowed_batch_sizes": (16,), **serving})
    the_plan = placed(target, plan([Options(serving=serving_)]))
    return prepare(target, BATCH, the_plan, MonotonicClock())


def devices_of(target: Prepared) -> list[set[str]]:
    """Where the weights of each replica are."""
    return [
        {weight.device.rpartition("/device:")[2] for weight in replica.weights}  # type: ignore[attr-defined]
        for replica in target.replicas
    ]


class Subclassed(keras.Model):
    """A model that no configuration describes, with layers in a list."""

    def __init__(self, units: tuple[int, ...]) -> None:
        super().__init__()
        self.blocks = [keras.layers.Dense(number, activation="relu") for number in units]
        self.norm = keras.layers.BatchNormalization()
        self.head = keras.layers.Dense(3, activation=keras.ops.sin)

    def call(self, inputs: Any, training: bool = False) -> Any:  # noqa: ANN401, FBT001, FBT002 - Keras' own
        """Blocks, a normalisation, a head."""
        for block in self.blocks:
            inputs = block(inputs)
        return self.head(self.norm(inputs, training=training))


def sequential() -> keras.Model:
    """With a normalisation and a dropout."""
    layers = keras.layers
    return keras.Sequential(
        [keras.Input((4,)), layers.Dense(8), layers.BatchNormalization(), layers.Dropout(0.5)]
    )


def functional() -> keras.Model:
    """With a residual connection and a layer that is used twice."""
    inputs = keras.Input((4,))
    shared = keras.layers.Dense(4)
    return keras.Model(inputs, keras.layers.Add()([shared(shared(inputs)), inputs]))


def nested() -> keras.Model:
    """A model in a model."""
    return keras.Sequential([keras.Input((4,)), Subclassed((5,)), keras.layers.Dense(2)])


def half() -> keras.Model:
    """Computes in 16 bits on weights of 32."""
    return keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(8, dtype="mixed_float16"), keras.layers.Dense(2)]
    )


MODELS: list[Callable[[], keras.Model]] = [
    sequential,
    functional,
    nested,
    half,
    lambda: Subclassed((6, 5)),
]


@pytest.mark.parametrize("build", MODELS)
def test_a_model_gets_weights_of_its_own_on_each_device(build: Callable[[], keras.Model]) -> None:
    """Whatever class it is of: it answers as the model does, with weights where it runs."""
    model = build()
    model(BATCH)
    random = np.random.default_rng(1)
    for weight in model.weights:
        weight.assign(random.random(weight.shape).astype(np.float32) + 0.1)

    target = prepared(model, devices="all", replicas=2)

    assert sorted(map(sorted, devices_of(target))) == [["CPU:0"], ["CPU:0"], ["CPU:1"], ["CPU:1"]]
    own = {id(getattr(variable, "value", variable)) for variable in model.variables}
    assert not own & {id(weight) for replica in target.replicas for weight in replica.weights}  # type: ignore[attr-defined]
    expected = prepared(model).replicas[0].infer(BATCH)
    for replica in target.replicas:
        np.testing.assert_allclose(np.asarray(replica.infer(BATCH)), expected, rtol=1e-5)


def test_an_unbuilt_model_is_built() -> None:
    """A model that was never called is measured all the same."""
    assert devices_of(prepared(Subclassed((5,)), devices="cpu:1")) == [{"CPU:1"}]


def test_without_devices_a_model_stays_where_it_is() -> None:
    """No copies; the replicas read the model's own weights."""
    target = prepared(sequential(), replicas=2)

    assert devices_of(target) == [set(), set()]
    assert " on " not in target.description


def test_state_is_kept_from_call_to_call() -> None:
    """A layer that counts its calls counts them on its device, and the model's own stays."""

    class Counting(keras.layers.Layer):
        def build(self, shape: object) -> None:
            del shape
            self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False)

        def call(self, inputs: Any) -> Any:  # noqa: ANN401 - a tensor
            self.calls.assign(self.calls + 1)
            return inputs * 0 + self.calls

    layer = Counting()
    (replica,) = prepared(keras.Sequential([keras.Input((4,)), layer]), devices="cpu:1").replicas

    first, second = (float(np.asarray(replica.infer(BATCH))[0, 0]) for _ in range(2))
    assert second == first + 1
    assert float(layer.calls.numpy()) == 0


def test_variables_that_are_elsewhere() -> None:
    """A function whose variables are on another device is refused; they are named."""
    model = sequential()
    function = tf.function(lambda batch: model(batch, training=False))
    concrete = function.get_concrete_function(tf.TensorSpec((None, 4), tf.float32))

    for target in (function, concrete):
        assert " on cpu:0," in prepared(target, devices="cpu:0").description
        with pytest.raises(UsageError, match=r"cannot run on cpu:1: its variable '.*' is on cpu:0"):
            prepared(target, devices="cpu:1")


def test_variables_that_keras_does_not_know() -> None:
    """A model that hides a variable from Keras cannot be copied whole, and is refused."""

    class Hiding(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.scale = tf.Variable(2.0, name="hidden")

        def call(self, inputs: Any) -> Any:  # noqa: ANN401 - a tensor
            return inputs * self.scale

    with pytest.raises(UsageError, match=r"its variable 'hidden:0' is on cpu:0"):
        prepared(Hiding(), devices="cpu:1")


def test_a_function_without_variables_goes_anywhere() -> None:
    """It is traced for each device, and computes there."""
    seen: set[str] = set()

    @tf.function
    def double(batch: Any) -> Any:  # noqa: ANN401 - a tensor
        return batch * 2

    target = prepared(double, devices="cpu:0,cpu:1")

    for replica in target.replicas:
        np.testing.assert_array_equal(np.asarray(replica.infer(BATCH)), BATCH * 2)
    for name in ("cpu:0", "cpu:1"):
        with tf.device(name):
            seen.add(double(tf.constant(BATCH)).device.rpartition("/device:")[2])
    assert seen == {"CPU:0", "CPU:1"}
    assert target.description.startswith("tf.function double on cpu:0, cpu:1, batches")


def test_a_function_that_chooses_its_device() -> None:
    """An answer from another device than the requested one is an error before any load."""

    @tf.function
    def pinned(batch: Any) -> Any:  # noqa: ANN401 - a tensor
        with tf.device("CPU:0"):
            return batch * 2

    assert prepared(pinned, devices="cpu:0").remark == ""
    with pytest.raises(TargetError, match=r"was to run on cpu:1, but its answer is made on cpu:0"):
        prepared(pinned, devices="cpu:1")


def test_a_step_that_chooses_its_device() -> None:
    """If only a part runs elsewhere, the measurement says so."""

    @tf.function
    def partly(batch: Any) -> Any:  # noqa: ANN401 - a tensor
        with tf.device("CPU:0"):
            half = batch / 2
        return half + 1

    assert prepared(partly, devices="cpu:1").remark.startswith("not all of it ran on cpu:1: step ")


def test_both_devices_in_one_load() -> None:
    """Replicas on two devices share the requests of one load: every row gets its own answer."""
    model = sequential()
    labels = np.asarray(model(BATCH, training=False)).argmax(axis=1)
    serving = Serving(4, devices="cpu", replicas=2)
    options = Options(scenario=ClosedLoop(32), serving=serving, duration=0.2)
    instruments = Instruments(MonotonicClock(), FakeMeter(), FakeProgress())

    measurement = measure(
        model, as_data((BATCH, labels)), plan([options]), instruments, test="t", name=""
    )

    assert measurement.errors == ()
    assert measurement.accuracy == 1.0
    assert " on cpu:0, cpu:1, " in measurement.target
    assert measurement.serving == (
        "Serving(max_batch_size=4, replicas=2, devices=('cpu:0', 'cpu:1'))"
    )


def test_the_devices_that_are_here() -> None:
    """Two CPUs; another number cannot be had any more, the same one can."""
    assert [name for name in devices_here() if name.startswith("cpu")] == ["cpu:0", "cpu:1"]

    split_cpu(2)
    with pytest.raises(UsageError, match="TensorFlow has been started with 2 already"):
        split_cpu(3)
