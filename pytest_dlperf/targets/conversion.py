"""Keras models in other runtimes: compiled by XLA, or converted for LiteRT or ONNX Runtime."""

from __future__ import annotations

import importlib
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, get_args

import numpy as np

from pytest_dlperf._values import Described, check_choice
from pytest_dlperf.errors import TargetError, UsageError, in_a_line
from pytest_dlperf.targets import jax_functions, keras, torch_modules
from pytest_dlperf.targets.copies import placed_anew
from pytest_dlperf.targets.keras_backend import is_keras_model
from pytest_dlperf.targets.keras_inputs import is_function
from pytest_dlperf.targets.keras_models import Layer, copied, inner_layers, quiet
from pytest_dlperf.targets.litert import LiteRTTarget, litert_target
from pytest_dlperf.targets.onnx import OnnxTarget, onnx_target, quantised
from pytest_dlperf.targets.padding import Infer, padded, powers_of_two
from pytest_dlperf.trees import RowTree, as_tree, first_rows, leaves, mapped, rows_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from pytest_dlperf.trees import Rows, Tree

Kind: TypeAlias = Literal["int8"]
"""The type that weights are rounded to."""
Runtime: TypeAlias = Literal["tf.function", "xla", "litert", "onnx"]

Framework: TypeAlias = Literal["torch", "jax"]
"""A framework whose models and functions are targets by themselves."""

CONVERTED: Final = frozenset({"litert", "onnx"})
"""Runtimes that a model is converted for; their converters round its weights."""

_NEEDED: Final = {
    "litert": ("ai_edge_litert.interpreter",),
    "onnx": ("onnxruntime", "onnx", "tf2onnx"),
}
"""Modules that a runtime needs; the extra that installs them is named after the runtime."""

_LARGEST: Final = 1 << 20
"""Rows of the largest batch; `Serving` allows at most a million."""

_SINGLE: Final = "float32"

_LACKING: Final = re.compile(r"(?:TF Select|Custom) ops: (.+)|'tf\.(\w+)' op")
"""How LiteRT's converter names operations that LiteRT cannot run."""


@dataclass(frozen=True, slots=True)
class Quantisation(Described):
    """Weights rounded to 8 bits; their inputs are rounded in each call (dynamic quantisation).

    `scale = max|w| / 127` for each unit, `w` stored as `round(w / scale)`. Kernels of Dense,
    Embedding and similar layers are rounded; all others compute as before.

    Attributes:
        kind: the type that weights are rounded to.
    """

    kind: Kind = "int8"

    def __post_init__(self) -> None:
        __tracebackhide__ = True
        check_choice(self.kind, get_args(Kind), "Quantisation(kind)")

    def __str__(self) -> str:
        return f"Quantisation({self.kind})"


def as_target(
    model: Any,  # noqa: ANN401 - a model or function of any framework
    runtime: Runtime | Framework,
    sample: object = None,
    quantisation: Quantisation | None = None,
    *,
    compile: bool = False,  # noqa: A002 - as PyTorch calls it
) -> object:
    """A model in a runtime, as a target for `dlperf(target, data)`.

    `tf.function` is the model itself, which `dlperf` compiles. `xla` compiles a program for each
    batch size, so batches are padded to powers of two. `litert` and `onnx` convert the model with
    its present weights; a call computes in one thread, so replicas add up. `torch` takes a PyTorch
    module, and `jax` a function, which it compiles with `jax.jit`.

    Args:
        model: a Keras model; for `tf.function` and `xla` also a `tf.function`; for `torch` a
            module, for `jax` a function of arrays.
        runtime: computes the answers.
        sample: at least one row like those to come: an array of shape `(rows, ...)`, or a dict,
            list or tuple of arrays; not needed for `tf.function`, `torch` and `jax`.
        quantisation: of the weights, for `litert` and `onnx`.
        compile: whether `torch.compile` compiles the module, for each of a few batch sizes.

    Raises:
        UsageError: for an unknown runtime, one whose packages are not installed or that excludes
            the quantisation, and for anything but a model with one output.
        TargetError: if the model cannot be converted, or run in the runtime.
    """
    __tracebackhide__ = True
    if compile and runtime != "torch":
        raise UsageError(f"as_target(compile=True) is for the runtime torch, not {runtime}")
    if runtime in get_args(Framework):
        if quantisation is not None:
            raise UsageError(
                f"{quantisation} for the runtime {runtime}",
                "have the framework quantise the model first",
            )
        if runtime == "jax":
            return jax_functions.jitted(model)
        return torch_modules.compiled(model) if compile else torch_modules.checked(model)
    _check(model, runtime, quantisation)
    if runtime == "tf.function":
        return model
    rows = _sample_rows(sample)
    name = keras.name_of(model)
    if runtime == "xla":
        return _xla_target(model, rows)
    rounded = f", {quantisation.kind}" if quantisation else ""
    if runtime == "litert":
        content = _converted(model, rows, "litert", quantisation)
        return litert_target(content, rows, f"{name} in LiteRT{rounded}")
    content = _converted(model, rows, "onnx")
    if quantisation:
        content = quantised(content)
    return onnx_target(content, rows, f"{name} in ONNX Runtime{rounded}")


def _sample_rows(sample: object) -> Rows:
    __tracebackhide__ = True
    if isinstance(sample, RowTree):
        return sample
    tree: Tree = sample  # type: ignore[assignment]  # checked here
    trees = isinstance(sample, Mapping | list | tuple) and bool(sample)
    arrays = [leaf for _, leaf in leaves(tree)] if trees else [sample]
    if not all(isinstance(leaf, np.ndarray) and leaf.size for leaf in arrays):
        raise UsageError(
            f"as_target(sample={sample!r:.80}) has no rows",
            "give an array with at least one row like those to come, or a dict of such arrays",
        )
    return tree if isinstance(tree, np.ndarray) else RowTree(tree, rows_of(tree))


def size_of(target: object) -> int:
    """Bytes of the weights of a model or function, or of a converted file.

    Raises:
        UsageError: for any other target.
    """
    __tracebackhide__ = True
    if is_keras_model(target):
        return _bytes(target.weights)  # type: ignore[attr-defined]  # a Keras model
    if is_function(target) and hasattr(target, "variables"):
        return _bytes(target.variables)
    if isinstance(target, LiteRTTarget | OnnxTarget | XlaTarget):
        return target.size
    raise UsageError(
        f"size_of({target!r:.80}): its size is not known",
        "expected a Keras model, a concrete tf.function, or what as_target() returned",
    )


def is_rounded(model: Any) -> bool:  # noqa: ANN401 - a Keras model
    """Whether Keras keeps weights of this model in 8 bits."""
    return any(weight.dtype == "int8" for weight in model.weights)


@dataclass(frozen=True, slots=True, eq=False)
class XlaTarget:
    """A model or function that XLA compiles anew for each batch size.

    Attributes:
        infer: numpy in, numpy out, with batches padded to powers of two.
        size: bytes of its variables.
        description: the target in words.
        source: the model or function; a concrete function does not keep its variables alive.
        sample: a row that it takes.
    """

    infer: Infer
    size: int
    description: str
    source: object
    sample: Rows

    def __deepcopy__(self, memo: object) -> XlaTarget:
        """The same compiled again, with weights of its own; raises as `placed_anew` does."""
        del memo
        return _xla_target(placed_anew(self.source), self.sample)


def _check(model: object, runtime: str, quantisation: Quantisation | None) -> None:
    __tracebackhide__ = True
    if runtime not in get_args(Runtime):
        known = ", ".join((*get_args(Runtime), *get_args(Framework)))
        raise UsageError(f"runtime {runtime!r:.80}", f"one of {known}")
    converts = runtime in CONVERTED
    if not is_keras_model(model) and (converts or not is_function(model)):
        wanted = "a Keras model" if converts else "a Keras model or a tf.function"
        raise UsageError(f"the runtime {runtime} needs {wanted}, not {model!r:.80}")
    if not isinstance(quantisation, Quantisation | None):
        raise UsageError(
            f"as_target(quantisation={quantisation!r:.80})", 'expected Quantisation("int8") or None'
        )
    if quantisation is not None and not converts:
        raise UsageError(
            f"{quantisation} for the runtime {runtime}",
            'have Keras round the weights first: model.quantize("int8")',
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


def _xla_target(target: Any, sample: Rows) -> XlaTarget:  # noqa: ANN401
    import tensorflow as tf

    description = f"{keras.name_of(target)} compiled by XLA"

    def answer(batch: object) -> object:
        outputs = target(batch, training=False) if is_keras_model(target) else target(batch)
        return keras.readable(outputs)

    keras.ensure_built(target, sample)
    answer.__name__ = getattr(target, "name", None) or answer.__name__
    compiled = tf.function(answer, autograph=False, jit_compile=True)
    concrete = keras.trace(compiled, sample)
    infer = keras.caller(concrete)
    try:
        infer(sample[:1])
    except Exception as error:
        raise TargetError(f"{description} cannot be run: {in_a_line(error)}") from error
    infer = padded(infer, powers_of_two(_LARGEST))
    words = f"{description}, batches padded to powers of two"
    first = first_rows(sample, 1)
    return XlaTarget(infer, _bytes(concrete.variables), words, target, first)


def _converted(
    model: Any,  # noqa: ANN401 - a Keras model
    sample: Rows,
    format_: Literal["litert", "onnx"],
    quantisation: Quantisation | None = None,
) -> bytes:
    """A Keras model in another format, with a free batch axis.

    LiteRT's quantisation leaves kernels of fewer than 1,024 weights as they are; models for ONNX
    Runtime are quantised afterwards.
    """
    import keras as keras3

    keras.ensure_built(model, sample)
    if any(getattr(layer, "compute_dtype", _SINGLE) != _SINGLE for layer in inner_layers(model)):
        # A model trained in mixed precision has its weights in single precision anyway.
        model = copied(model, sample, _single, {})
    names = {id(leaf): path or None for path, leaf in leaves(as_tree(sample))}

    def spec(leaf: NDArray[Any]) -> object:
        name, shape = names[id(leaf)], (None, *leaf.shape[1:])
        return keras3.InputSpec(shape=shape, dtype=_type_of(leaf), name=name)

    def symbol(leaf: NDArray[Any]) -> object:
        return keras3.Input(leaf.shape[1:], dtype=_type_of(leaf), name=names[id(leaf)])

    signature = [mapped(spec, as_tree(sample))]
    options: dict[str, object] = {}
    if format_ == "litert":
        options = _litert_options(quantisation)
    else:
        # Keras' image augmentation is active unless called with training=False, and the export
        # for ONNX calls without it.
        inputs = mapped(symbol, as_tree(sample))
        model = keras3.Model(inputs, model(inputs, training=False), name=model.name)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / ("model.tflite" if format_ == "litert" else "model.onnx")
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


def _type_of(leaf: NDArray[Any]) -> str:
    """The type of an input: Keras casts all floats to single precision, other runtimes do not."""
    return _SINGLE if leaf.dtype.kind == "f" else leaf.dtype.name


def _single(layer: Layer) -> Layer:
    return type(layer).from_config({**layer.get_config(), "dtype": _SINGLE})


def _litert_options(quantisation: Quantisation | None) -> dict[str, object]:
    import tensorflow as tf

    with quiet():
        # No operations of TensorFlow itself: ai-edge-litert's interpreter has none of them.
        options: dict[str, object] = {
            "target_spec": {"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS]}
        }
        if quantisation:
            options["optimizations"] = [tf.lite.Optimize.DEFAULT]
    return options


def _bytes(variables: Iterable[Any]) -> int:
    return sum(np.asarray(variable.numpy()).nbytes for variable in variables)
