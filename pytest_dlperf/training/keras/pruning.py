"""Pruning of Keras models: the smallest weights, or whole units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_dlperf.errors import UsageError
from pytest_dlperf.targets.keras import Model, name_of
from pytest_dlperf.targets.keras_models import Layer, composed_models, copied

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

_MATRIX = 2  # axes of a kernel, at least


@dataclass(frozen=True, slots=True, eq=False)
class Masked:
    """A weight with zeros that stay.

    Attributes:
        variable: of the model.
        mask: 1 where weights are trained, 0 where they stay zero.
        before: the constraint that it had.
    """

    variable: Any
    mask: NDArray[np.float32]
    before: Any

    def hold(self) -> None:
        """Let the optimizer set these weights to zero again after each step."""
        import keras

        def masked(value: Any) -> object:  # noqa: ANN401 - a tensor
            kept: Any = self.before(value) if self.before else value
            return kept * keras.ops.cast(self.mask, kept.dtype)

        self.variable.assign(self.variable.value * keras.ops.cast(self.mask, self.variable.dtype))
        self.variable.constraint = masked

    def release(self) -> None:
        """Give the weight its own constraint back."""
        self.variable.constraint = self.before


def masks(model: Model, share: float) -> list[Masked]:
    """The smallest weights of each kernel, by magnitude; of equal ones those that come first.

    Args:
        model: a Keras model that has its weights.
        share: of the weights of each kernel.

    Raises:
        UsageError: if it has no kernel, or the share takes no weight of any.
    """
    given: Any = model
    found = []
    for variable in given.trainable_variables:
        values = np.asarray(variable.numpy())
        count = round(share * values.size)
        if values.ndim < _MATRIX or not count:
            continue
        mask = np.ones(values.size, np.float32)
        mask[np.argsort(np.abs(values), axis=None, kind="stable")[:count]] = 0
        found.append(Masked(variable, mask.reshape(values.shape), variable.constraint))
    if not found:
        raise UsageError(
            f"{name_of(model)} has no weights of which {share:.0%} could be pruned",
            "pruning is for trainable kernels, such as those of Dense and Conv2D layers",
        )
    return found


@dataclass(frozen=True, slots=True, eq=False)
class _Hidden:
    """A Dense layer whose units only Dense layers see.

    Attributes:
        dense: the layer.
        between: batch normalisations on the way.
        readers: the Dense layers.
    """

    dense: Layer
    between: tuple[Layer, ...]
    readers: tuple[Layer, ...]

    def norms(self) -> NDArray[np.float64]:
        """What each unit can move at most, squared; shape `(units,)`."""
        kernel, *bias = _arrays(self.dense)
        norms = np.square(kernel).sum(axis=0) + sum(np.square(one) for one in bias)
        for layer in self.between:
            factor = 1 / (np.asarray(layer.moving_variance.numpy(), np.float64) + layer.epsilon)
            if layer.scale:
                factor *= np.square(np.asarray(layer.gamma.numpy(), np.float64))
            norms = norms * factor
        reading = sum(np.square(_arrays(one)[0]).sum(axis=1) for one in self.readers)
        return np.asarray(norms * reading, np.float64)


def without_units(model: Model, share: float, sample: NDArray[Any]) -> Model:
    """A smaller model: hidden Dense layers without the units of the smallest norm.

    Args:
        model: a Keras model that has its weights.
        share: of the units of each layer; one unit stays.
        sample: rows that it takes, at least one.

    Raises:
        UsageError: if it has no hidden Dense layer, or the share takes no unit of any.
    """
    kept: dict[int, NDArray[np.intp]] = {}
    rows: dict[int, NDArray[np.intp]] = {}
    layers: dict[int, Layer] = {}
    for hidden in _all_hidden(model):
        norms = hidden.norms()
        count = min(round(share * len(norms)), len(norms) - 1)
        if not count:
            continue
        stay = np.sort(np.argsort(norms, kind="stable")[count:])
        for layer in (hidden.dense, *hidden.between):
            kept[id(layer)] = stay
            layers[id(layer)] = layer
        for layer in hidden.readers:
            rows[id(layer)] = stay
            layers[id(layer)] = layer
    if not kept:
        raise UsageError(
            f"{name_of(model)} has no hidden Dense layer of which {share:.0%} of the units could "
            "be pruned",
            "it is for Dense layers that other Dense layers come after, with nothing but "
            "activation, dropout and batch normalisation between them",
        )
    weights = {key: _part(layers[key], kept.get(key), rows.get(key)) for key in layers}
    return copied(model, sample, _narrowed(kept), weights)


def _narrowed(kept: dict[int, NDArray[np.intp]]) -> Callable[[Layer], Layer]:
    def made(layer: Layer) -> Layer:
        config = layer.get_config()
        if id(layer) in kept and "units" in config:
            config["units"] = len(kept[id(layer)])
        return type(layer).from_config(config)

    return made


def _part(
    layer: Layer, kept: NDArray[np.intp] | None, rows: NDArray[np.intp] | None
) -> list[NDArray[Any]]:
    """The weights of a layer for those units and inputs that stay; units are their last axis."""
    weights: list[NDArray[Any]] = layer.get_weights()
    if rows is not None:
        weights[0] = weights[0][rows]
    return weights if kept is None else [one[..., kept] for one in weights]


def _arrays(layer: Layer) -> list[NDArray[np.float64]]:
    return [np.asarray(one, np.float64) for one in layer.get_weights()]


def _all_hidden(model: Layer) -> Iterator[_Hidden]:
    import keras

    for whole in composed_models(model):
        follow = _followers(whole)
        for layer in whole.layers:
            if type(layer) is keras.layers.Dense and layer.quantization_mode is None:
                passed = _read_by(layer, follow)
                if passed:
                    between = [one for one in passed if type(one) is not keras.layers.Dense]
                    readers = [one for one in passed if type(one) is keras.layers.Dense]
                    yield _Hidden(layer, tuple(between), tuple(readers))


def _read_by(layer: Layer, follow: Callable[[Layer], Sequence[Layer] | None]) -> list[Layer]:
    """The Dense layers that read a layer, and batch normalisations on the way.

    Empty if anything else reads it, or if it is an answer of the model.
    """
    import keras

    of_each_unit = (
        keras.layers.Activation,
        keras.layers.Dropout,
        keras.layers.ELU,
        keras.layers.GaussianDropout,
        keras.layers.GaussianNoise,
        keras.layers.LeakyReLU,
        keras.layers.ReLU,
    )
    found: list[Layer] = []
    for one in follow(layer) or ():
        if type(one) is keras.layers.Dense:
            found.append(one)
            continue
        normalises = type(one) is keras.layers.BatchNormalization and one.axis == -1
        further = _read_by(one, follow) if normalises or isinstance(one, of_each_unit) else []
        if not further:
            return []
        found += [one, *further] if normalises else further
    return found


def _followers(model: Layer) -> Callable[[Layer], Sequence[Layer] | None]:
    """Who reads the answer of a layer; None of one that is an answer of the model too."""
    import keras

    if isinstance(model, keras.Sequential):
        after = dict(zip(map(id, model.layers), model.layers[1:], strict=False))
        return lambda layer: [after[id(layer)]] if id(layer) in after else None
    answers = {id(one) for one in keras.tree.flatten(model.outputs)}
    readers: dict[int, list[Layer]] = {}
    for operation in model.operations:
        for tensor in keras.tree.flatten(operation.input):
            readers.setdefault(id(tensor), []).append(operation)
    return lambda layer: None if id(layer.output) in answers else readers.get(id(layer.output))
