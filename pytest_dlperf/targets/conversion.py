"""Keras models for other runtimes: compiled by XLA, or converted."""

from __future__ import annotations

import importlib
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, get_args

import numpy as np

from pytest_dlperf._values import Described, check_choice
from pytest_dlperf.errors import TargetError, UsageError, in_a_line
from pytest_dlperf.targets import keras
from pytest_dlperf.targets.keras_models import Layer, called, copied, leaves, quiet
from pytest_dlperf.targets.litert import LiteRTTarget, litert_target
from pytest_dlperf.targets.onnx import OnnxTarget, onnx_target, quantised
from pytest_dlperf.targets.padding import Infer, padded, powers_of_two

if TYPE_CHECKING:
    from numpy.typing import NDArray


_LARGEST: Final = 1 << 20
"""The most rows that a batch may have; `Serving` allows no more than a million."""

_SINGLE: Final = "float32"

_LACKING: Final = re.compile(r"(?:TF Select|Custom) ops: (.+)|'tf\.(\w+)' op")
"""How LiteRT's converter names the operations of a model that LiteRT cannot run."""

_SUFFIX: Final = {"litert": ".tflite", "onnx": ".onnx"}


Kind: TypeAlias = Literal["int8"]
"""What weights are rounded to."""
CONVERTED: Final = frozenset({"litert", "onnx"})
"""Runtimes that a model is converted for; the converter is who rounds its weights."""
Runtime: TypeAlias = Literal["tf.function", "xla", "litert", "onnx"]
_NEEDED: Final = {
    "litert": ("ai_edge_litert.interpreter",),
    "onnx": ("onnxruntime", "onnx", "tf2onnx"),
}
"""Modules that a runtime needs; the extra that brings them is called as it is."""


@dataclass(frozen=True, slots=True, eq=False)
class XlaTarget:
    """A model or function whose whole program XLA compiles, for each size of batch.

    Attributes:
        infer: numpy in, numpy out, with batches padded to powers of two.
        size: bytes of the variables that it reads.
        description: what it is, in words.
        source: what was compiled, which holds the variables.
    """

    infer: Infer
    size: int
    description: str
    source: object


def xla_target(target: Any, sample: NDArray[Any], description: str) -> XlaTarget:  # noqa: ANN401
    """A target that is compiled by XLA when a size of batch first comes.

    Args:
        target: a Keras model or a `tf.function`.
        sample: rows like those that will come, at least one.
        description: what it is, in words.

    Raises:
        UsageError: if it has several outputs.
        TargetError: if XLA cannot compile it.
    """
    import tensorflow as tf

    def answer(batch: object) -> object:
        outputs = target(batch, training=False) if keras.is_model(target) else target(batch)
        return keras.readable(outputs)

    called(target, sample)
    answer.__name__ = getattr(target, "name", None) or answer.__name__
    compiled = tf.function(answer, autograph=False, jit_compile=True)
    concrete = keras.trace(compiled, sample)

    def direct(batch: NDArray[Any]) -> object:
        return concrete(tf.convert_to_tensor(batch)).numpy()

    try:
        direct(sample[:1])
    except Exception as error:
        raise TargetError(f"{description} cannot be run: {in_a_line(error)}") from error
    infer = padded(direct, powers_of_two(_LARGEST))
    words = f"{description}, batches padded to powers of two"
    return XlaTarget(infer, variables_size(concrete), words, target)


def converted(
    model: Any,  # noqa: ANN401 - a Keras model
    sample: NDArray[Any],
    format_: Literal["litert", "onnx"],
) -> bytes:
    """A Keras model in another format, with a free batch axis; its weights as they are.

    Raises:
        TargetError: if the converter cannot do it.
    """
    return _exported(model, sample, format_, {})


def converted_to_int8(
    model: Any,  # noqa: ANN401 - a Keras model
    sample: NDArray[Any],
) -> bytes:
    """A Keras model for LiteRT with its weights in 8 bits (dynamic-range quantisation).

    Kernels of fewer than 1,024 weights stay as they are.

    Raises:
        TargetError: if the converter cannot do it.
    """
    import tensorflow as tf

    with quiet():
        optimizations = [tf.lite.Optimize.DEFAULT]
    return _exported(model, sample, "litert", {"optimizations": optimizations})


def is_rounded(model: Any) -> bool:  # noqa: ANN401 - a Keras model
    """Whether Keras keeps weights of this model in 8 bits."""
    return any(weight.dtype == "int8" for weight in model.weights)


def weights_size(model: Any) -> int:  # noqa: ANN401 - a Keras model
    """Bytes of the weights of a Keras model."""
    return sum(map(_bytes, model.weights))


def variables_size(function: Any) -> int:  # noqa: ANN401 - a concrete function
    """Bytes of the variables that a concrete function reads."""
    return sum(map(_bytes, function.variables))


def _exported(
    model: Any,  # noqa: ANN401 - a Keras model
    sample: NDArray[Any],
    format_: Literal["litert", "onnx"],
    options: dict[str, object],
) -> bytes:
    import keras as keras3

    called(model, sample)
    if any(getattr(one, "compute_dtype", _SINGLE) != _SINGLE for one in leaves(model)):
        # What was trained in mixed precision has its weights in single precision anyway.
        model = copied(model, sample, _single, {})
    # Keras computes in single precision whatever comes; the other runtimes need be told.
    dtype = _SINGLE if sample.dtype.kind == "f" else sample.dtype.name
    signature = [keras3.InputSpec(shape=(None, *sample.shape[1:]), dtype=dtype)]
    if format_ == "litert":
        options = {**options, "target_spec": _litert_only()}
    else:
        # Keras' augmentation of images is active unless it is told that nobody trains, and the
        # export for ONNX does not say so.
        inputs = keras3.Input(sample.shape[1:], dtype=dtype)
        model = keras3.Model(inputs, model(inputs, training=False), name=model.name)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"model{_SUFFIX[format_]}"
        try:
            with quiet():
                model.export(
                    str(path), format=format_, input_signature=signature, verbose=False, **options
                )
        except Exception as error:
            lacking = _LACKING.search(str(error))
            why = f"it cannot run {lacking[1] or lacking[2]}" if lacking else in_a_line(error)
            raise TargetError(
                f"{keras.name_of(model)} cannot be converted for the runtime {format_}: {why}"
            ) from error
        return path.read_bytes()


def _single(layer: Layer) -> Layer:
    return type(layer).from_config({**layer.get_config(), "dtype": _SINGLE})


def _litert_only() -> dict[str, object]:
    """No operations of TensorFlow's own: the interpreter of ai-edge-litert has none of them."""
    import tensorflow as tf

    with quiet():
        return {"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS]}


def _bytes(variable: Any) -> int:  # noqa: ANN401 - a variable of Keras' or TensorFlow's
    return int(np.asarray(variable.numpy()).nbytes)


@dataclass(frozen=True, slots=True)
class Quantisation(Described):
    """Weights rounded to 8 bits; what they are multiplied with is rounded in each call.

    `scale = max|w| / 127` for each unit, `w` stored as `round(w / scale)`. Kernels of Dense,
    Embedding and the like are rounded; all else computes as before.

    Attributes:
        kind: what weights are rounded to.
    """

    kind: Kind = "int8"

    def __post_init__(self) -> None:
        __tracebackhide__ = True
        check_choice(self.kind, get_args(Kind), "Quantisation(kind)")

    def __str__(self) -> str:
        return f"Quantisation({self.kind})"


def as_target(
    model: Any,  # noqa: ANN401 - a Keras model or a tf.function
    runtime: Runtime,
    sample: NDArray[Any],
    quantisation: Quantisation | None = None,
) -> object:
    """A model as a runtime computes it; what comes back is measured by `dlperf(target, data)`.

    `tf.function` is the model itself, which `dlperf` compiles. `xla` compiles one program for
    each size of batch, so batches are padded to powers of two. `litert` and `onnx` convert the
    model as it is now; a call computes in one thread, and replicas add up.

    Args:
        model: a Keras model; a `tf.function` for `tf.function` and `xla`.
        runtime: what computes its answers.
        sample: rows like those that will come, at least one, shape `(rows, ...)`.
        quantisation: of the weights, for `litert` and `onnx`.

    Raises:
        UsageError: if that is no runtime, what it needs is not installed, it does not go with
            the quantisation, or the model is none or has several outputs.
        TargetError: if the model cannot be converted or run there.
    """
    __tracebackhide__ = True
    _check(model, runtime, quantisation)
    if not isinstance(sample, np.ndarray) or not sample.size:
        raise UsageError(
            f"as_target(sample={sample!r:.80}) has no rows",
            "give an array with at least one row like those to come",
        )
    if runtime == "tf.function":
        return model
    name = keras.name_of(model)
    if runtime == "xla":
        return xla_target(model, sample, f"{name} compiled by XLA")
    rounded = f", {quantisation.kind}" if quantisation else ""
    if runtime == "litert":
        content = (
            converted_to_int8(model, sample) if quantisation else converted(model, sample, "litert")
        )
        return litert_target(content, sample, f"{name} in LiteRT{rounded}")
    content = converted(model, sample, "onnx")
    if quantisation:
        content = quantised(content)
    return onnx_target(content, sample, f"{name} in ONNX Runtime{rounded}")


def size_of(target: object) -> int:
    """Bytes of what is served: the weights of a model or function, or the converted file.

    Raises:
        UsageError: if that is not known.
    """
    __tracebackhide__ = True
    if keras.is_model(target):
        return weights_size(target)
    if keras.is_function(target) and hasattr(target, "variables"):
        return variables_size(target)
    if isinstance(target, LiteRTTarget | OnnxTarget | XlaTarget):
        return target.size
    raise UsageError(
        f"size_of({target!r:.80}): how large it is, is not known",
        "expected a Keras model, a concrete tf.function, or what as_target() returned",
    )


def _check(model: object, runtime: Runtime, quantisation: Quantisation | None) -> None:
    __tracebackhide__ = True
    if runtime not in get_args(Runtime):
        raise UsageError(f"runtime {runtime!r:.80}", f"one of {', '.join(get_args(Runtime))}")
    converts = runtime in CONVERTED
    if not keras.is_model(model) and (converts or not keras.is_function(model)):
        wanted = "a Keras model" if converts else "a Keras model or a tf.function"
        raise UsageError(f"the runtime {runtime} needs {wanted}, not {model!r:.80}")
    if not isinstance(quantisation, Quantisation | None):
        raise UsageError(
            f"as_target(quantisation={quantisation!r:.80})", 'expected Quantisation("int8") or None'
        )
    if quantisation is not None and not converts:
        raise UsageError(
            f"{quantisation} for the runtime {runtime}",
            'here Keras is who rounds weights, before: model.quantize("int8")',
        )
    if converts and is_rounded(model):
        raise UsageError(
            f"the runtime {runtime} cannot use {keras.name_of(model)}, which Keras keeps in 8 bits",
            f'as_target(model, "{runtime}", sample, Quantisation("int8")) rounds the weights of '
            "the float model",
        )
    for module in _NEEDED.get(runtime, ()):
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise UsageError(
                f"the runtime {runtime} cannot be used here: {error}",
                f"pip install 'pytest-dlperf[{runtime}]'",
            ) from error
