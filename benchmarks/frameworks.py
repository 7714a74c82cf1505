"""Our prepared call beside the fastest way that each framework's documentation names.

    python benchmarks/frameworks.py [--seconds 5] [--rounds 3] [--only NAME ...]

Both take the same batches from numpy to numpy, in turn, in one process for each framework. The
ratio is the framework's time over ours: 1 costs nothing, and the goal is 0.97.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
from apart import apart
from table import line

from pytest_dlperf.clock import MonotonicClock
from pytest_dlperf.config.options import Options
from pytest_dlperf.config.plan import plan
from pytest_dlperf.data.rows import read_rows
from pytest_dlperf.load.outputs import read_outputs
from pytest_dlperf.load.serving import Serving
from pytest_dlperf.targets.target import prepare
from pytest_dlperf.trees import leaves

_ROWS: Final = 64
_FEATURES: Final = 784
_BLOCK_S: Final = 0.02
_GOAL: Final = 0.97

Call: TypeAlias = Callable[[], object]
"""Answers one batch, numpy in and numpy out."""


def rows() -> np.ndarray:
    """A batch."""
    return np.random.default_rng(0).random((_ROWS, _FEATURES)).astype(np.float32)


def dense_model() -> Any:  # noqa: ANN401 - Keras has no types
    """The reference model, untrained."""
    import keras

    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((_FEATURES,)),
            keras.layers.Dense(512, activation="relu"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )


def recommender() -> Any:  # noqa: ANN401
    """A recommender of two inputs."""
    import keras

    keras.utils.set_random_seed(0)
    user = keras.Input((), dtype="int32", name="user")
    item = keras.Input((), dtype="int32", name="item")
    both = keras.layers.concatenate(
        [keras.layers.Embedding(10_000, 64)(user), keras.layers.Embedding(10_000, 64)(item)]
    )
    hidden = keras.layers.Dense(128, activation="relu")(both)
    return keras.Model({"user": user, "item": item}, keras.layers.Dense(1)(hidden))


def pairs() -> dict[str, np.ndarray]:
    """A batch for it."""
    random = np.random.default_rng(0)
    return {name: random.integers(0, 10_000, _ROWS, np.int32) for name in ("user", "item")}


def keras_on_tensorflow() -> tuple[object, object, Call]:
    """A `tf.function` with a signature, as TensorFlow's guide to functions advises."""
    import tensorflow as tf

    model, batch = dense_model(), rows()
    spec = [tf.TensorSpec((None, _FEATURES), tf.float32)]
    function = tf.function(lambda x: model(x, training=False), input_signature=spec)
    return model, batch, lambda: function(tf.constant(batch)).numpy()


def two_inputs() -> tuple[object, object, Call]:
    """The same by hand for a dict of inputs."""
    import tensorflow as tf

    model, batch = recommender(), pairs()
    spec = [{name: tf.TensorSpec((None,), tf.int32) for name in batch}]
    function = tf.function(lambda x: model(x, training=False), input_signature=spec)
    return model, batch, lambda: function({n: tf.constant(b) for n, b in batch.items()}).numpy()


def saved_model() -> tuple[object, object, Call]:
    """The signature for serving."""
    import tensorflow as tf

    folder = tempfile.mkdtemp()
    dense_model().export(folder, verbose=False)
    loaded, batch = tf.saved_model.load(folder), rows()
    serve = loaded.signatures["serving_default"]
    name = next(iter(serve.structured_input_signature[1]))
    output = next(iter(serve.structured_outputs))

    def call() -> object:
        return serve(**{name: tf.constant(batch)})[output].numpy()

    return loaded, batch, call


def keras_on_jax() -> tuple[object, object, Call]:
    """`stateless_call` under `jit`, as Keras' guide for JAX has it."""
    import jax

    model, batch = dense_model(), rows()
    state = (
        [variable.value for variable in model.trainable_variables],
        [variable.value for variable in model.non_trainable_variables],
    )
    function = jax.jit(lambda tv, ntv, x: model.stateless_call(tv, ntv, x, training=False)[0])
    return model, batch, lambda: np.asarray(function(*state, batch))


def keras_on_torch() -> tuple[object, object, Call]:
    """The model in `inference_mode`."""
    import torch

    model, batch = dense_model(), rows()

    def call() -> object:
        with torch.inference_mode():
            return model(torch.from_numpy(batch), training=False).numpy()

    return model, batch, call


def torch_module() -> tuple[object, object, Call]:
    """`eval()` and `inference_mode`, as PyTorch's guide to inference has it."""
    import torch

    module = torch.nn.Sequential(
        *(torch.nn.Linear(_FEATURES, 512), torch.nn.ReLU()),
        *(torch.nn.Linear(512, 10), torch.nn.Softmax(1)),
    ).eval()
    batch = rows()

    def call() -> object:
        with torch.inference_mode():
            return module(torch.from_numpy(batch)).numpy()

    return module, batch, call


def jax_function() -> tuple[object, object, Call]:
    """The compiled function."""
    import jax

    random = np.random.default_rng(0)
    first = random.normal(0, 0.05, (_FEATURES, 512)).astype(np.float32)
    second = random.normal(0, 0.05, (512, 10)).astype(np.float32)
    function = jax.jit(lambda x: jax.nn.softmax(jax.nn.relu(x @ first) @ second))
    batch = rows()
    return function, batch, lambda: np.asarray(function(batch))


def onnx_session() -> tuple[object, object, Call]:
    """`session.run`."""
    import onnxruntime

    model, batch = dense_model(), rows()
    model(batch)
    path = Path(tempfile.mkdtemp()) / "model.onnx"
    model.export(str(path), format="onnx", verbose=False)
    session = onnxruntime.InferenceSession(str(path))
    name = session.get_inputs()[0].name
    return session, batch, lambda: session.run(None, {name: batch})[0]


def litert_file() -> tuple[object, object, Call]:
    """One interpreter, allocated once for the batch size."""
    from ai_edge_litert.interpreter import Interpreter

    model, batch = dense_model(), rows()
    path = Path(tempfile.mkdtemp()) / "model.tflite"
    model.export(str(path), format="litert", verbose=False)
    interpreter = Interpreter(str(path))
    source = interpreter.get_input_details()[0]["index"]
    output = interpreter.get_output_details()[0]["index"]
    interpreter.resize_tensor_input(source, batch.shape)
    interpreter.allocate_tensors()

    def call() -> object:
        interpreter.set_tensor(source, batch)
        interpreter.invoke()
        return interpreter.get_tensor(output)

    from pytest_dlperf.targets.model_files import loaded

    return loaded(path, batch), batch, call


FRAMEWORKS: Final[dict[str, tuple[Callable[[], tuple[object, object, Call]], str]]] = {
    "Keras on TensorFlow": (keras_on_tensorflow, "tensorflow"),
    "two inputs, by hand": (two_inputs, "tensorflow"),
    "SavedModel": (saved_model, "tensorflow"),
    "Keras on JAX": (keras_on_jax, "jax"),
    "Keras on PyTorch": (keras_on_torch, "torch"),
    "PyTorch module": (torch_module, "tensorflow"),
    "JAX function": (jax_function, "tensorflow"),
    "ONNX Runtime session": (onnx_session, "tensorflow"),
    "LiteRT file": (litert_file, "tensorflow"),
}


def measured(name: str, seconds: float) -> tuple[float, float, list[float]]:
    """Microseconds of the framework's call and of ours, and the ratio of each block."""
    make, backend = FRAMEWORKS[name]
    os.environ |= {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    target, batch, theirs = make()
    serving = Serving(_ROWS, allowed_batch_sizes=(_ROWS,))
    sample = read_rows(batch, "inputs")
    prepared = prepare(target, sample, plan([Options(serving=serving)]), MonotonicClock())
    infer = prepared.replicas[0].infer

    def ours() -> object:
        return read_outputs(infer(batch))

    for our, their in zip(_arrays(ours()), _arrays(theirs()), strict=True):
        np.testing.assert_allclose(our, their, rtol=1e-4, atol=1e-5)
    calls = max(1, round(_BLOCK_S / _seconds(theirs, 20)))
    _seconds(ours, calls)
    both: list[tuple[float, float]] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pair = {}
        for call in (theirs, ours) if len(both) % 2 else (ours, theirs):
            pair[call] = _seconds(call, calls)
        both.append((pair[theirs], pair[ours]))
    first, second = (float(np.median([each[n] for each in both])) * 1e6 for n in (0, 1))
    return first, second, [their / our for their, our in both]


def _arrays(answer: object) -> list[np.ndarray]:
    """The outputs of an answer, whose names may differ."""
    return [np.asarray(leaf) for _, leaf in leaves(read_outputs(answer))]


def _seconds(call: Call, calls: int) -> float:
    """Of one call."""
    begun = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - begun) / calls


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=FRAMEWORKS, default=list(FRAMEWORKS))
    given = parser.parse_args()
    print(f"batches of {_ROWS}, microseconds a call, and their time over ours (goal: {_GOAL})")
    line("", "documented way", "dlperf", "ratio (range of rounds)")
    for name in given.only:
        found = [apart(measured, name, given.seconds) for _ in range(given.rounds)]
        theirs, ours = (float(np.median([each[n] for each in found])) for n in (0, 1))
        ratios = [float(np.median(each[2])) for each in found]
        ends = f"({min(ratios):.3f} to {max(ratios):.3f})"
        line(name, f"{theirs:.1f}", f"{ours:.1f}", f"{np.median(ratios):.3f} {ends}")


if __name__ == "__main__":
    main()
