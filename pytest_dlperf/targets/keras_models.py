"""Copies of Keras models, with layers and weights of their own."""

from __future__ import annotations

import contextlib
import warnings
from typing import TYPE_CHECKING, Any

from pytest_dlperf.errors import UsageError, in_a_line
from pytest_dlperf.targets.keras import Model, is_model, name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

Layer = Any
"""A layer of Keras', which has no types."""


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
