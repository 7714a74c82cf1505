"""Keras models: built, saved, loaded, copied and called; and a counter of retraced functions."""

from __future__ import annotations

import contextlib
import functools
import gc
import sys
import warnings
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pytest_dlperf.errors import (
    DlperfError,
    OneLayoutError,
    TargetError,
    UsageError,
    message_of,
)
from pytest_dlperf.targets.keras import Model, caller, ensure_built, name_of, trace
from pytest_dlperf.targets.keras_backend import keras_backend
from pytest_dlperf.targets.keras_inputs import check_inputs
from pytest_dlperf.targets.users_frames import cause_in_users_code
from pytest_dlperf.trees import as_tree, described, first_rows, leaves, mapped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from pytest_dlperf.trees import Rows, Tree


Layer = Any  # Keras has no types

_BATCH_ROWS: Final = 256


def dense_classifier(features: int, units: int, classes: int, seed: int) -> Model:
    """A compiled Dense relu, Dense softmax; adam, sparse cross-entropy, accuracy."""
    import keras

    keras.utils.set_random_seed(seed)
    model: Model = keras.Sequential(
        [
            keras.Input((features,)),
            keras.layers.Dense(units, activation="relu"),
            keras.layers.Dense(classes, activation="softmax"),
        ],
        name="reference_model",
    )
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def save(model: Model, path: Path) -> None:
    """Save a model in Keras' own format."""
    with warnings.catch_warnings():
        # Keras converts variables in a way that numpy 2 deprecates; users cannot change that.
        warnings.simplefilter("ignore", DeprecationWarning)
        model.save(str(path))


def load(path: Path) -> Model:
    """Load a model from Keras' own format, refusing whatever could run code."""
    import keras

    with warnings.catch_warnings():
        # An optimizer shared with an inner model is saved once, and reported as missing for the
        # other; its state is not needed.
        warnings.filterwarnings("ignore", "Skipping variable loading for optimizer", UserWarning)
        model: Model = keras.saving.load_model(path, safe_mode=True)
    return model


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence warnings of Keras and its converters about what users cannot change."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def composed(layer: Layer) -> bool:
    """Whether this is a Sequential or functional model, which consists of its layers."""
    import keras

    return isinstance(layer, keras.Sequential) or (
        isinstance(layer, keras.Model) and hasattr(layer, "operations")
    )


def composed_models(model: Layer) -> Iterator[Layer]:
    """The Sequential and functional models nested in this one, itself first."""
    if composed(model):
        yield model
        for layer in model.layers:
            yield from composed_models(layer)


def inner_layers(model: Layer) -> Iterator[Layer]:
    """The layers of a model and its nested models, in their order."""
    if not composed(model):
        yield model
        return
    for layer in model.layers:
        yield from inner_layers(layer)


def same(layer: Layer) -> Layer:
    """A new layer with the configuration of this one."""
    return type(layer).from_config(layer.get_config())


def copied(
    model: Model,
    sample: Rows,
    clone: Callable[[Layer], Layer],
    weights: Mapping[int, list[NDArray[Any]]],
) -> Model:
    """A copy of a built model, compiled like it, that shares no layer or weight with it.

    `clone` makes each layer of the copy. Its weights are those of `weights`, by the `id` of the
    original layer, or else copied. `sample` is at least one row that the model takes.

    Raises:
        UsageError: if a layer has no `get_config()`.
    """
    try:
        copy = _cloned(model, clone)
        ensure_built(copy, sample)
        for old, new in zip(inner_layers(model), inner_layers(copy), strict=True):
            _take_weights(new, weights.get(id(old)) or old.get_weights())
    except (AttributeError, NotImplementedError, TypeError, ValueError) as error:
        raise UsageError(
            f"{name_of(model)} cannot be copied: {message_of(error)}",
            "a layer or model of a class of its own needs get_config(), as Keras' guide to saving "
            "says",
        ) from error
    return compiled_alike(copy, model)


def layer_placed_anew(layer: Layer) -> Layer:
    """A copy of a built layer or model for inference, not compiled, with weights of its own.

    Raises:
        OneLayoutError: if it cannot be made from its configuration.
    """
    try:
        copy = _cloned(layer, _same_here)
        if not copy.built:
            copy.build_from_config(layer.get_build_config())
        for old, new in zip(inner_layers(layer), inner_layers(copy), strict=True):
            _take_weights(new, old.get_weights())
    except (AttributeError, NotImplementedError, TypeError, ValueError) as error:
        why = f"{name_of(layer)} cannot be copied: {message_of(error)}"
        raise OneLayoutError(why) from error
    return copy


def _same_here(layer: Layer) -> Layer:
    """A new layer with the configuration of this one, a function of the user's own included."""
    import keras

    if isinstance(layer, keras.layers.Lambda):
        return type(layer).from_config(layer.get_config(), safe_mode=False)
    return same(layer)


def _take_weights(layer: Layer, weights: list[NDArray[Any]]) -> None:
    import keras

    layer.set_weights(weights)
    if isinstance(layer, keras.layers.Normalization):
        layer.finalize_state()  # set_weights does not update the values derived from them


def _cloned(model: Layer, clone: Callable[[Layer], Layer]) -> Layer:
    import keras

    if not composed(model):
        return same(model)
    return keras.models.clone_model(
        model,
        clone_function=lambda layer: _cloned(layer, clone) if composed(layer) else clone(layer),
    )


def compiled_alike(copy: Model, model: Model) -> Model:
    """Compile a built copy as its model is compiled, with a fresh optimizer."""
    if model.compiled:
        # The objects themselves: Keras' get_compile_config() cannot serialise a user's own loss.
        config = dict(model._compile_config.config)  # noqa: SLF001
        # For mixed_float16, compile() wraps the inner one in a LossScaleOptimizer again.
        config["optimizer"] = same(getattr(model.optimizer, "inner_optimizer", model.optimizer))
        copy.compile(**config)
        # Loading a model that was saved without these warns that they are missing.
        copy.optimizer.build(copy.trainable_variables)
    return copy


def answers(model: Model, inputs: Rows) -> Tree:
    """The outputs of a model to all rows; raises as `answerer` does."""
    return answerer(model, first_rows(inputs, 1))(inputs)


def answerer(model: Model, sample: Rows) -> Callable[[Rows], Tree]:
    """A function from inputs to outputs, traced once, that uses the model's present weights.

    `sample` is at least one row like those to come.

    Raises:
        UsageError: if it takes other inputs by name or number.
        TargetError: if the model does not take such rows.
    """
    check_inputs(name_of(model), model, as_tree(sample))
    if keras_backend() != "tensorflow":
        return lambda inputs: _answered(model, inputs)
    try:
        concrete = trace(model, sample)
    except DlperfError:
        raise
    except Exception as error:  # noqa: BLE001 - the framework may raise anything
        raise TargetError(
            f"{name_of(model)} does not take rows of {described(as_tree(sample))}: "
            f"{message_of(error)}"
        ) from cause_in_users_code(error)
    infer = caller(concrete)

    def infer_all(inputs: Rows) -> Tree:
        starts = range(0, len(inputs), _BATCH_ROWS)
        return _joined([infer(inputs[start : start + _BATCH_ROWS]) for start in starts])

    return infer_all


def _joined(parts: list[Any]) -> Tree:
    """The answers to consecutive rows as one."""
    columns = zip(*((leaf for _, leaf in leaves(part)) for part in parts), strict=True)
    whole = (_concatenated(column) for column in columns)
    joined: Tree = mapped(lambda _: next(whole), parts[0])
    return joined


def _concatenated(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """The rows of arrays, of which those with shorter rows are padded with zeros."""
    shapes = {part.shape[1:] for part in parts}
    if len({len(shape) for shape in shapes}) == 1 < len(shapes):
        widest = np.max(list(shapes), axis=0)
        parts = [
            np.pad(part, [(0, 0), *((0, more) for more in widest - part.shape[1:])])
            for part in parts
        ]
    return np.concatenate(parts)


def _answered(model: Model, inputs: Rows) -> Tree:
    """The outputs of a model on another backend, op by op."""
    import keras

    parts = []
    for start in range(0, len(inputs), _BATCH_ROWS):
        batch = inputs[start : start + _BATCH_ROWS]
        try:
            # Copied, as PyTorch makes tensors of arrays that can be written to.
            outputs = model(mapped(np.array, batch), training=False)
        except Exception as error:  # noqa: BLE001 - the framework may raise anything
            raise TargetError(
                f"{name_of(model)} does not take rows of {described(batch)}: {message_of(error)}"
            ) from cause_in_users_code(error)
        parts.append(mapped(lambda leaf: np.asarray(keras.ops.convert_to_numpy(leaf)), outputs))
    return _joined(parts)


class Tracings:
    """Counts the traces of each `tf.function` of this process; never imports TensorFlow.

    It searches the objects of the garbage collector, so it finds functions inside callables too.
    Make it before `gc.freeze`, which hides objects from the search.
    """

    def __init__(self) -> None:
        self._functions: dict[int, Any] = {}
        self._search()

    def count(self) -> Counter[str]:
        """Traces so far by function name, functions made since included."""
        self._search()
        counts: Counter[str] = Counter()
        for function in self._functions.values():
            # One that could not be made, as its signature did not fit, lacks its attributes.
            with contextlib.suppress(AttributeError):
                python = function.python_function
                # A model has no `__name__`, but a name.
                name = getattr(python, "__name__", getattr(python, "name", repr(python)))
                counts[str(name)] += function.experimental_get_tracing_count()
        return counts

    def _search(self) -> None:
        module = sys.modules.get("tensorflow")
        if module is None:
            return
        base = module.types.experimental.PolymorphicFunction
        objects = gc.get_objects()
        # By type: isinstance() would run the code of arbitrary objects.
        types = {cls for cls in set(map(type, objects)) if issubclass(cls, base)}
        self._functions.update((id(item), item) for item in objects if type(item) in types)


@contextlib.contextmanager
def eager_models() -> Iterator[list[str]]:
    """Collects, inside, the names of Keras models that are run eagerly, op by op."""
    names: list[str] = []
    keras, tensorflow = sys.modules.get("keras"), sys.modules.get("tensorflow")
    if keras is None or tensorflow is None or keras_backend() != "tensorflow":
        yield names
        return
    layer_type: Layer = keras.layers.Layer
    ordinary = layer_type.__call__

    @functools.wraps(ordinary)
    def call(layer: Layer, *arguments: object, **named: object) -> object:
        eager = isinstance(layer, keras.Model) and tensorflow.executing_eagerly()
        if eager and layer.name not in names:
            names.append(layer.name)
        return ordinary(layer, *arguments, **named)

    layer_type.__call__ = call
    try:
        yield names
    finally:
        layer_type.__call__ = ordinary


def remark_on_eager(names: Iterable[str]) -> str:
    """What to do about models that are run eagerly; empty if there are none."""
    shown = ", ".join(names)
    return shown and (
        f"the callable runs Keras eagerly, op by op ({shown}): measure the model itself, or call "
        "it in a tf.function"
    )
