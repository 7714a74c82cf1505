"""Paths of models and sessions of ONNX Runtime are targets; what is none is named."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
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
from pytest_dlperf.targets.onnx import session_call

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.tensorflow

ROWS = np.random.default_rng(0).random((300, 8)).astype(np.float32)


def measured(target: object, data: object, **options: Any) -> Any:  # noqa: ANN401 - any option
    """A short measurement on the real clock."""
    chosen = {"scenario": ClosedLoop(16), "duration": 0.2, **options}
    bench = Instruments(MonotonicClock(), FakeMeter(), FakeProgress())
    return measure(target, as_data(data), plan([Options(**chosen)]), bench, test="t", name="")


@pytest.fixture(scope="module")
def model() -> Any:  # noqa: ANN401 - Keras has no types
    """A classifier."""
    import keras

    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((8,)), keras.layers.Dense(3, activation="softmax")])


@pytest.fixture(scope="module")
def two_inputs() -> Any:  # noqa: ANN401
    """A model of two inputs."""
    import keras

    first, second = keras.Input((8,), name="first"), keras.Input((8,), name="second")
    both = keras.layers.concatenate([first, second])
    return keras.Model({"first": first, "second": second}, keras.layers.Dense(2)(both))


@pytest.fixture(scope="module")
def files(model: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:  # noqa: ANN401
    """The model in each kind of file."""
    folder = tmp_path_factory.mktemp("files")
    found = {
        "keras": folder / "model.keras",
        "saved_model": folder / "saved",
        "onnx": folder / "model.onnx",
        "tflite": folder / "model.tflite",
    }
    model.save(found["keras"])
    model.export(str(found["saved_model"]), verbose=False)
    model.export(str(found["onnx"]), format="onnx", verbose=False)
    model.export(str(found["tflite"]), format="litert", verbose=False)
    return found


@pytest.mark.parametrize("kind", ["keras", "saved_model", "onnx", "tflite"])
@pytest.mark.parametrize("as_text", [True, False])
def test_a_path_is_a_target(
    kind: str,
    as_text: bool,  # noqa: FBT001 - a case
    files: dict[str, Path],
    model: Any,  # noqa: ANN401
) -> None:
    """It answers as the model does."""
    labels = np.asarray(model(ROWS)).argmax(1)
    path = files[kind]

    found = measured(str(path) if as_text else path, (ROWS, labels))

    assert found.metrics["accuracy"].value == 1
    assert found.errors == ()


def test_a_loaded_saved_model(files: dict[str, Path], model: Any) -> None:  # noqa: ANN401
    """What was loaded serves by its signature."""
    import tensorflow as tf

    labels = np.asarray(model(ROWS)).argmax(1)
    found = measured(tf.saved_model.load(str(files["saved_model"])), (ROWS, labels))

    assert found.metrics["accuracy"].value == 1
    assert found.target.startswith("SavedModel")


def test_sessions_of_several_inputs(two_inputs: Any, tmp_path: Path) -> None:  # noqa: ANN401
    """By name, or in their order; other names are refused with those that it has."""
    import onnxruntime

    labels = np.asarray(two_inputs({"first": ROWS, "second": ROWS})).argmax(1)
    two_inputs.export(str(tmp_path / "m.onnx"), format="onnx", verbose=False)
    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"))
    rows = {"first": ROWS, "second": ROWS.astype(np.float64)}

    assert measured(session, (rows, labels)).metrics["accuracy"].value == 1
    assert measured(session, (tuple(rows.values()), labels)).errors == ()
    for inputs in (ROWS, {"first": ROWS, "third": ROWS}):
        with pytest.raises(UsageError, match="takes the inputs first, second; the data has"):
            measured(session, (inputs, labels))


def test_a_converted_file_of_several_inputs(two_inputs: Any, tmp_path: Path) -> None:  # noqa: ANN401
    """LiteRT takes them by name."""
    path = tmp_path / "m.tflite"
    two_inputs.export(str(path), format="litert", verbose=False)
    rows = {"first": ROWS, "second": ROWS * 2}
    labels = np.asarray(two_inputs(rows)).argmax(1)

    assert measured(path, (rows, labels)).metrics["accuracy"].value == 1


def matrix_product(weights: np.ndarray, rows: int) -> bytes:
    """An ONNX model of so many rows, times the weights."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [rows, weights.shape[0]])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [rows, weights.shape[1]])],
        [numpy_helper.from_array(weights, "w")],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    content: bytes = onnx.ModelProto.SerializeToString(made)
    return content


@pytest.mark.parametrize(
    ("values", "taken"),
    [
        (np.array([[1.0], [2.0]]), True),
        (np.array([[255]]), True),
        (np.array([[1.0], [2.5]]), False),
        (np.array([[1.0], [np.nan]]), False),
        (np.array([[256]]), False),
        (np.array([[-1]]), False),
    ],
)
def test_data_that_a_session_would_change(values: np.ndarray, taken: bool) -> None:  # noqa: FBT001
    """Fractions and numbers out of range are refused, never cut."""

    class Session:
        def get_inputs(self) -> list[SimpleNamespace]:
            return [SimpleNamespace(name="x", type="tensor(uint8)", shape=["n", 1])]

        get_outputs = get_inputs

        def run(self, names: list[str], feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
            return [feeds[name] for name in names]

    infer = session_call(Session(), values[:1], "session")
    if taken:
        assert np.array_equal(infer(values), values)
        return
    with pytest.raises(UsageError, match="input x: it takes uint8, which cannot hold"):
        infer(values)


def test_data_that_a_converted_model_would_change(tmp_path: Path) -> None:
    """LiteRT's inputs of whole numbers take no fractions."""
    import keras

    inputs = keras.Input((2,), dtype="int32")
    outputs = keras.layers.Dense(2)(keras.ops.cast(inputs, "float32"))
    path = tmp_path / "m.tflite"
    model = keras.Model(inputs, outputs)
    model(np.ones((1, 2), np.int32))
    model.export(str(path), format="litert", verbose=False)

    assert measured(path, (np.ones((50, 2)), None)).errors == ()
    with pytest.raises(UsageError, match="in LiteRT: it takes int32, which cannot hold"):
        measured(path, (np.full((50, 2), 1.5), None))


@pytest.mark.parametrize("kind", ["keras", "function", "concrete function", "onnx"])
def test_a_fixed_batch_size(kind: str) -> None:
    """It is found, and batches are filled up to it; another one is refused."""
    import keras
    import onnxruntime
    import tensorflow as tf

    inputs = keras.Input(batch_shape=(4, 8))
    model = keras.Model(inputs, keras.layers.Dense(3)(keras.ops.reshape(inputs, (4, 8))))
    labels = (ROWS @ np.asarray(model.weights[0])).argmax(1)
    target: Any = model
    if "function" in kind:
        target = tf.function(model, input_signature=[tf.TensorSpec((4, 8), tf.float32)])
    if kind == "concrete function":
        target = target.get_concrete_function()
    if kind == "onnx":
        target = onnxruntime.InferenceSession(matrix_product(np.asarray(model.weights[0]), 4))

    found = measured(target, (ROWS, labels))

    assert found.metrics["accuracy"].value == 1
    assert max(found.batch_sizes) == 4
    with pytest.raises(UsageError, match="takes batches of 4 only"):
        measured(target, (ROWS, labels), serving=Serving(max_batch_size=8))


def test_paths_that_are_no_models(tmp_path: Path) -> None:
    """What was given, and what can be."""
    (tmp_path / "notes.txt").write_text("text")
    (tmp_path / "model.keras").write_text("text")
    (tmp_path / "model.onnx").write_text("text")
    (tmp_path / "empty").mkdir()
    for name, error, said in (
        ("absent.keras", UsageError, "there is no "),
        ("notes.txt", UsageError, "is no model that can be loaded\n  expected .keras, .onnx"),
        ("empty", UsageError, "is no model that can be loaded"),
        ("model.keras", TargetError, "model.keras cannot be loaded"),
        ("model.onnx", TargetError, "model.onnx cannot be run"),
    ):
        with pytest.raises(error) as caught:
            measured(tmp_path / name, (ROWS, None))
        assert said in str(caught.value)
