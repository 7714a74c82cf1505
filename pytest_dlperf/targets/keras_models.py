"""Copies of Keras models, with layers and weights of their own."""

from __future__ import annotations

import contextlib
import gc
import re
import sys
import warnings
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pytest_dlperf.errors import DlperfError, TargetError, UsageError, in_a_line
from pytest_dlperf.targets.keras import Model, is_model, name_of, trace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray


Layer = Any
"""A layer of Keras', which has no types."""


_ASKED: Final = 256  # rows of a batch
_LONGEST: Final = 300
_COLOUR: Final = re.compile("\x1b\\[[0-9;]*m")


def called(target: Any, sample: NDArray[Any]) -> None:  # noqa: ANN401 - a Keras model or a function
    """Let a model make its weights, if it has not yet."""
    if is_model(target) and not target.built:
        target(sample[:1], training=False)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Converters warn of what users cannot help: of numpy's names, of layers left as they are."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def composed(layer: Layer) -> bool:
    """Whether this is a model that consists of its layers: a Sequential or functional one."""
    import keras

    return isinstance(layer, keras.Sequential) or (
        isinstance(layer, keras.Model) and hasattr(layer, "operations")
    )


def composed_models(model: Layer) -> Iterator[Layer]:
    """The model and those inside it that consist of their layers, the outer ones first."""
    if composed(model):
        yield model
        for layer in model.layers:
            yield from composed_models(layer)


def leaves(model: Layer) -> Iterator[Layer]:
    """The layers of a model and of the models inside it, in their order."""
    if not composed(model):
        yield model
        return
    for layer in model.layers:
        yield from leaves(layer)


def same(layer: Layer) -> Layer:
    """Another layer with the settings of this one."""
    return type(layer).from_config(layer.get_config())


def copied(
    model: Model,
    sample: NDArray[Any],
    made: Callable[[Layer], Layer],
    weights: Mapping[int, list[NDArray[Any]]],
) -> Model:
    """A model with layers and weights of its own, compiled as the given one was.

    Args:
        model: a Keras model that has its weights.
        sample: rows that it takes, at least one.
        made: makes each layer of the copy.
        weights: by the `id` of a layer, what that of the copy starts with; those of a layer that
            is not in there are copied.

    Raises:
        UsageError: if it cannot be copied.
    """
    import keras

    try:
        copy = _cloned(model, made)
        called(copy, sample)
        for old, new in zip(leaves(model), leaves(copy), strict=True):
            new.set_weights(weights.get(id(old)) or old.get_weights())
            if isinstance(new, keras.layers.Normalization):
                new.finalize_state()  # it computes with what it makes of its weights
    except (AttributeError, NotImplementedError, TypeError, ValueError) as error:
        raise UsageError(
            f"{name_of(model)} cannot be copied: {in_a_line(error)}",
            "a layer or model of a class of its own needs get_config(), as Keras' guide to saving "
            "says",
        ) from error
    return compiled_alike(copy, model)


def _cloned(model: Layer, made: Callable[[Layer], Layer]) -> Layer:
    import keras

    if not composed(model):
        return same(model)
    return keras.models.clone_model(
        model,
        clone_function=lambda layer: _cloned(layer, made) if composed(layer) else made(layer),
    )


def compiled_alike(copy: Layer, model: Layer) -> Model:
    """Compile a model as another one was, with an optimizer of its own that starts anew.

    Args:
        copy: has its weights.
        model: what it was made of; if this is not compiled, nor is the copy.
    """
    if model.compiled:
        # The very objects, as in keras_training: text would not do for a loss of the user's own.
        config = dict(model._compile_config.config)  # noqa: SLF001
        optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)  # for 16 bits
        config["optimizer"] = same(optimizer)
        copy.compile(**config)
        # Kept and loaded without these, it would warn that they are missing.
        copy.optimizer.build(copy.trainable_variables)
    made: Model = copy
    return made


def answers(model: Model, inputs: NDArray[Any]) -> NDArray[Any]:
    """What a model answers, shape `(rows, ...)`.

    Raises:
        UsageError: if it has several outputs.
        TargetError: if it does not take such rows.
    """
    return answerer(model, inputs[:1])(inputs)


def answerer(model: Model, sample: NDArray[Any]) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """Asks a model, each time with the weights that it has then; it is traced once.

    Args:
        model: with one output.
        sample: at least one row of what it will be asked.

    Raises:
        UsageError: if it has several outputs.
        TargetError: if it does not take such rows.
    """
    import tensorflow as tf

    try:
        concrete = trace(model, sample)
    except DlperfError:
        raise
    except Exception as error:
        raise TargetError(
            f"{name_of(model)} does not take rows of shape {sample.shape[1:]} and type "
            f"{sample.dtype}: {clean_keras_message(error)}"
        ) from error

    def asked(inputs: NDArray[Any]) -> NDArray[Any]:
        batches = range(0, len(inputs), _ASKED)
        parts = [concrete(tf.convert_to_tensor(inputs[n : n + _ASKED])).numpy() for n in batches]
        return np.concatenate(parts)

    return asked


def clean_keras_message(error: Exception) -> str:
    """What an exception of Keras' says, without the colours and breaks that Keras puts in."""
    said = " ".join(_COLOUR.sub("", str(error)).split())
    return f"{type(error).__name__}: {said}"[:_LONGEST]


class Tracings:
    """How often each `tf.function` of this process was traced; never imports TensorFlow.

    Functions are found among the objects of the garbage collector, so also those that a callable
    hides. Make it before `gc.freeze`, which hides objects from the search.
    """

    def __init__(self) -> None:
        self._functions: dict[int, Any] = {}
        self._search()

    def count(self) -> Counter[str]:
        """Traces so far, by the function's name; those of functions made meanwhile included."""
        self._search()
        counts: Counter[str] = Counter()
        for function in self._functions.values():
            counts[function.python_function.__name__] += function.experimental_get_tracing_count()
        return counts

    def _search(self) -> None:
        module = sys.modules.get("tensorflow")
        if module is None:
            return
        kind = module.types.experimental.PolymorphicFunction
        objects = gc.get_objects()
        # By type: isinstance() would run code of whatever object it is asked about.
        types = {one for one in set(map(type, objects)) if issubclass(one, kind)}
        found = [one for one in objects if type(one) in types]
        self._functions.update((id(function), function) for function in found)
