"""Runtimes: the same answers whatever computes them, safe to ask from threads, or a clear error."""

from __future__ import annotations

import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from fakes import FakeMeter, FakeProgress

from pytest_dlperf.clock import MonotonicClock
from pytest_dlperf.config.options import Options
from pytest_dlperf.config.plan import plan
from pytest_dlperf.data.dataset import as_data
from pytest_dlperf.data.digits import load_digits
from pytest_dlperf.errors import TargetError, UsageError
from pytest_dlperf.load.scenarios import ClosedLoop
from pytest_dlperf.load.serving import Serving
from pytest_dlperf.measure.measure import measure
from pytest_dlperf.measure.prepared import Instruments
from pytest_dlperf.targets.conversion import Quantisation, as_target, size_of
from pytest_dlperf.targets.keras import trace
from pytest_dlperf.training.keras.compression import quantised

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_dlperf.data.digits import ReferenceData
    from pytest_dlperf.targets.conversion import Runtime

pytestmark = pytest.mark.tensorflow

CASES: tuple[tuple[Runtime, Quantisation | None], ...] = (
    ("xla", None),
    ("litert", None),
    ("onnx", None),
    ("litert", Quantisation()),
    ("onnx", Quantisation()),
)


@pytest.fixture(scope="module")
def digits() -> ReferenceData:
    """Rows to learn from and rows held back."""
    return load_digits()


@pytest.fixture(scope="module")
def model(digits: ReferenceData) -> Any:  # noqa: ANN401 - Keras has no types
    """A small classifier, trained."""
    import keras

    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [keras.Input((64,)), layers.Dense(64, "relu"), layers.Dense(10, "softmax")]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(digits.train.inputs, digits.train.labels, epochs=8, verbose=0)
    return model


@pytest.fixture(scope="module")
def expected(model: Any, digits: ReferenceData) -> NDArray[Any]:  # noqa: ANN401 - Keras has no types
    """What the model itself answers to the rows held back."""
    return np.asarray(model(digits.test.inputs, training=False))


@pytest.fixture(scope="module")
def targets(model: Any, digits: ReferenceData) -> dict[Any, Any]:  # noqa: ANN401 - Keras has no types
    """A target of each runtime; that no converter warns of anything is a part of the promise."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return {case: as_target(model, case[0], digits.test.inputs, case[1]) for case in CASES}


@pytest.mark.parametrize("runtime", ["xla", "litert", "onnx"])
def test_the_same_answers_in_any_runtime(
    runtime: Runtime, targets: dict[Any, Any], digits: ReferenceData, expected: NDArray[Any]
) -> None:
    """Batches of one size after the other are answered as the model answers, in their order."""
    target = targets[runtime, None]

    for rows in (1, 64, 3, 64, 100):
        answers = target.infer(digits.test.inputs[:rows])
        np.testing.assert_allclose(answers, expected[:rows], atol=1e-5)


@pytest.mark.parametrize("runtime", ["litert", "onnx"])
def test_eight_bits_answer_nearly_as_well(
    runtime: Runtime, targets: dict[Any, Any], digits: ReferenceData, expected: NDArray[Any]
) -> None:
    """In 8 bits at most 1 point of accuracy is lost, and the file has less than half the size."""
    target = targets[runtime, Quantisation()]

    answers = target.infer(digits.test.inputs)

    right = (answers.argmax(axis=1) == digits.test.labels).mean()
    assert right >= (expected.argmax(axis=1) == digits.test.labels).mean() - 0.01
    assert not np.array_equal(answers, expected)
    assert size_of(target) < size_of(targets[runtime, None]) / 2
    assert target.description.endswith(", int8")


@pytest.mark.parametrize("case", CASES)
def test_threads_get_their_own_answers(
    case: tuple[Runtime, Quantisation | None], targets: dict[Any, Any], digits: ReferenceData
) -> None:
    """Four threads that ask at once, each with other rows, get what each would get alone."""
    target = targets[case]
    batches = [digits.test.inputs[16 * n : 16 * n + 13 + n] for n in range(4)]
    alone = [target.infer(batch) for batch in batches]
    together = threading.Barrier(4)

    def right(number: int) -> bool:
        together.wait()
        answers = [target.infer(batches[number]) for _ in range(50)]
        return all(np.allclose(one, alone[number], atol=1e-6) for one in answers)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(right, range(4))) == [True] * 4


def test_a_failed_call_spoils_no_later_one(
    targets: dict[Any, Any], digits: ReferenceData, expected: NDArray[Any]
) -> None:
    """After rows of a wrong shape, LiteRT answers right ones as before."""
    target = targets["litert", None]

    with pytest.raises((RuntimeError, ValueError)):
        target.infer(digits.test.inputs[:2, :7])

    np.testing.assert_allclose(target.infer(digits.test.inputs[:2]), expected[:2], atol=1e-5)


@pytest.mark.parametrize("runtime", ["xla", "litert"])
def test_a_runtime_is_measured_as_any_target(
    runtime: Runtime, targets: dict[Any, Any], digits: ReferenceData, expected: NDArray[Any]
) -> None:
    """With two replicas no request fails, and the accuracy is that of the model."""
    instruments = Instruments(MonotonicClock(), FakeMeter(), FakeProgress())
    chosen = Options(scenario=ClosedLoop(16), duration=0.3, serving=Serving(16, replicas=2))

    measurement = measure(
        targets[runtime, None], as_data(digits.test), plan([chosen]), instruments, test="t", name=""
    )

    assert measurement.errors == ()
    assert "sequential" in measurement.target
    right = (expected.argmax(axis=1) == digits.test.labels).mean()
    assert measurement.metrics["accuracy"].value == pytest.approx(right, abs=0.02)


def test_tf_function_is_the_model_itself(model: Any, digits: ReferenceData) -> None:  # noqa: ANN401
    """`dlperf` compiles it, as it does without any runtime."""
    assert as_target(model, "tf.function", digits.test.inputs) is model


def test_a_function_can_be_compiled_by_xla(
    model: Any,  # noqa: ANN401 - Keras has no types
    digits: ReferenceData,
    expected: NDArray[Any],
) -> None:
    """A `tf.function` of the user's own answers the same by XLA, on batches of any size."""
    import tensorflow as tf

    target: Any = as_target(
        tf.function(lambda batch: model(batch, training=False)), "xla", digits.test.inputs
    )

    for rows in (5, 17):
        answers = target.infer(digits.test.inputs[:rows])
        np.testing.assert_allclose(answers, expected[:rows], atol=1e-5)


def test_sizes_are_known(model: Any, targets: dict[Any, Any], digits: ReferenceData) -> None:  # noqa: ANN401
    """64 by 64 and 64 by 10 weights with their biases, 4 bytes each; files are hardly larger."""
    weights = 4 * (64 * 64 + 64 + 64 * 10 + 10)

    assert size_of(model) == weights
    assert size_of(trace(model, digits.test.inputs)) == weights
    assert size_of(targets["xla", None]) == weights
    for runtime in ("litert", "onnx"):
        assert weights < size_of(targets[runtime, None]) < weights + 3000
    with pytest.raises(UsageError, match="its size is not known"):
        size_of(np.zeros(3))


def test_mixed_precision_is_served(digits: ReferenceData) -> None:
    """What computes in bfloat16 answers in float32; LiteRT gets it in float32 altogether."""
    import keras

    policy = keras.DTypePolicy("mixed_bfloat16")
    mixed = keras.Sequential([keras.Input((64,)), keras.layers.Dense(3, dtype=policy)])
    kernel, bias = mixed.get_weights()
    rows = digits.test.inputs[:5]

    short = trace(mixed, rows)(rows).numpy()
    by_xla = as_target(mixed, "xla", rows)
    by_litert = as_target(mixed, "litert", rows)

    assert short.dtype == np.float32
    np.testing.assert_allclose(by_xla.infer(rows), short, atol=0.1)  # type: ignore[attr-defined]
    exact = rows @ kernel + bias
    np.testing.assert_allclose(by_litert.infer(rows), exact, atol=1e-5)  # type: ignore[attr-defined]


def test_what_litert_cannot_run_is_named(digits: ReferenceData) -> None:
    """A model with an operation that LiteRT lacks is refused when it is converted, naming it."""
    import keras

    layers = [keras.Input((64,)), keras.layers.Lambda(keras.ops.erfinv)]

    with pytest.raises(TargetError, match="for the runtime litert: it cannot run Erfinv"):
        as_target(keras.Sequential(layers), "litert", digits.test.inputs)


@pytest.mark.parametrize(
    ("runtime", "module"),
    [("litert", "ai_edge_litert.interpreter"), ("onnx", "onnxruntime"), ("onnx", "tf2onnx")],
)
def test_a_missing_package_is_named_with_its_extra(
    runtime: Runtime,
    module: str,
    model: Any,  # noqa: ANN401 - Keras has no types
    digits: ReferenceData,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where a runtime is not installed, the message says what to install."""
    monkeypatch.setitem(sys.modules, module, None)

    with pytest.raises(UsageError, match=rf"pip install 'pytest-dlperf\[{runtime}\]'"):
        as_target(model, runtime, digits.test.inputs)


def test_what_makes_no_sense_is_refused(model: Any, digits: ReferenceData) -> None:  # noqa: ANN401
    """No such runtime, no model, no rows, and a quantisation that Keras must carry out."""
    import tensorflow as tf

    rows = digits.test.inputs
    function = tf.function(lambda batch: batch)

    with pytest.raises(UsageError, match=r"one of tf\.function, xla, litert, onnx"):
        as_target(model, "tensorrt", rows)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="onnx needs a Keras model, not"):
        as_target(function, "onnx", rows)
    with pytest.raises(UsageError, match=r"xla needs a Keras model or a tf\.function, not"):
        as_target(len, "xla", rows)
    for none in (rows[:0], [[0.0] * 64]):
        with pytest.raises(UsageError, match="has no rows"):
            as_target(model, "litert", none)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"as_target\(quantisation='int8'\)"):
        as_target(model, "litert", rows, "int8")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"model\.quantize"):
        as_target(model, "xla", rows, Quantisation())
    with pytest.raises(UsageError, match="which Keras keeps in 8 bits"):
        as_target(quantised(model, rows), "litert", rows)


def test_several_inputs_and_outputs(digits: ReferenceData) -> None:
    """They are kept in each runtime, by name and in any order."""
    import keras

    first, second = keras.Input((64,), name="first"), keras.Input((64,), name="second")
    difference = keras.layers.Subtract()([first, second])
    outputs = [keras.layers.Dense(2)(difference), keras.layers.Dense(3)(difference)]
    model = keras.Model({"first": first, "second": second}, outputs)
    rows = digits.test.inputs[:5]
    both = {"second": rows, "first": rows * 3}
    expected = [np.asarray(output) for output in model(both, training=False)]

    for runtime in ("xla", "litert", "onnx"):
        target: Any = as_target(model, runtime, both)  # type: ignore[arg-type]
        answer = target.infer({name: part[:3] for name, part in both.items()})
        found = list(answer.values()) if isinstance(answer, dict) else list(answer)
        by_width = {output.shape[1]: np.asarray(output) for output in found}
        for output in expected:
            np.testing.assert_allclose(by_width[output.shape[1]], output[:3], atol=1e-4)
