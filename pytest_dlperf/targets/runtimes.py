"""Runtimes: what computes a model's answers, as a target that can be measured."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final, get_args

import numpy as np

from pytest_dlperf.errors import UsageError
from pytest_dlperf.targets import conversion as keras_runtimes
from pytest_dlperf.targets import keras
from pytest_dlperf.targets.conversion import XlaTarget
from pytest_dlperf.targets.litert import LiteRTTarget, litert_target
from pytest_dlperf.targets.onnx import OnnxTarget, onnx_target, quantised
from pytest_dlperf.training.compression import CONVERTED, Quantisation
from pytest_dlperf.tuning.setup import Runtime

if TYPE_CHECKING:
    from numpy.typing import NDArray


_NEEDED: Final = {
    "litert": ("ai_edge_litert.interpreter",),
    "onnx": ("onnxruntime", "onnx", "tf2onnx"),
}
"""Modules that a runtime needs; the extra that brings them is called as it is."""


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
        return keras_runtimes.xla_target(model, sample, f"{name} compiled by XLA")
    rounded = f", {quantisation.kind}" if quantisation else ""
    if runtime == "litert":
        content = (
            keras_runtimes.converted_to_int8(model, sample)
            if quantisation
            else keras_runtimes.converted(model, sample, "litert")
        )
        return litert_target(content, sample, f"{name} in LiteRT{rounded}")
    content = keras_runtimes.converted(model, sample, "onnx")
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
        return keras_runtimes.weights_size(target)
    if keras.is_function(target) and hasattr(target, "variables"):
        return keras_runtimes.variables_size(target)
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
    if converts and keras_runtimes.is_rounded(model):
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
