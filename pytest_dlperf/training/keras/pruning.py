"""Pruning of Keras models: the smallest weights, or whole units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pytest_dlperf.errors import UsageError
from pytest_dlperf.targets.keras import Model, name_of
from pytest_dlperf.targets.keras_models import Layer, composed_models, copied

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from pytest_dlperf.trees import Rows

_KERNEL_AXES: Final = 2  # at least; biases have one


@dataclass(frozen=True, slots=True, eq=False)
class Masked:
    """A weight whose pruned elements can be held at zero.

    Attributes:
        variable: of the model.
        mask: 1 where elements are trained, 0 where they stay zero.
        constraint: the variable's own.
    """

    variable: Any
    mask: NDArray[np.float32]
    constraint: Any

    def hold(self) -> None:
        """Let the optimizer set the pruned elements to zero after each step."""
        import keras

        def masked(value: Any) -> object:  # noqa: ANN401 - a tensor
            kept: Any = self.constraint(value) if self.constraint else value
            return kept * keras.ops.cast(self.mask, kept.dtype)

        self.variable.assign(self.variable.value * keras.ops.cast(self.mask, self.variable.dtype))
        self.variable.constraint = masked

    def release(self) -> None:
        """Restore the variable's own constraint."""
        self.variable.constraint = self.constraint


def masks(model: Model, share: float) -> list[Masked]:
    """Masks of the smallest weights of each kernel by magnitude, the first ones among equals.

    Raises:
        UsageError: if the model has no kernel, or the share of them rounds to no weight.
    """
    masked = []
    for variable in model.trainable_variables:
        values = np.asarray(variable.numpy())
        count = round(share * values.size)
        if values.ndim < _KERNEL_AXES or not count:
            continue
        mask = np.ones(values.size, np.float32)
        mask[np.argsort(np.abs(values), axis=None, kind="stable")[:count]] = 0
        masked.append(Masked(variable, mask.reshape(values.shape), variable.constraint))
    if not masked:
        raise UsageError(
            f"{name_of(model)} has no weights of which {share:.0%} could be pruned",
            "pruning is for trainable kernels, such as those of Dense and Conv2D layers",
        )
    return masked


@dataclass(frozen=True, slots=True, eq=False)
class _Hidden:
    """A Dense layer whose output only Dense layers read.

    Attributes:
        dense: the layer.
        between: batch normalisations between it and the readers.
        readers: the Dense layers that read it.
    """

    dense: Layer
    between: tuple[Layer, ...]
    readers: tuple[Layer, ...]

    def norms(self) -> NDArray[np.float64]:
        """The squared norm of each unit, see `NeuronPruning`; shape `(units,)`."""
        kernel, *bias = _arrays(self.dense)
        norms = np.square(kernel).sum(axis=0) + sum(np.square(values) for values in bias)
        for layer in self.between:
            factor = 1 / (np.asarray(layer.moving_variance.numpy(), np.float64) + layer.epsilon)
            if layer.scale:
                factor *= np.square(np.asarray(layer.gamma.numpy(), np.float64))
            norms = norms * factor
        reading = sum(np.square(_arrays(reader)[0]).sum(axis=1) for reader in self.readers)
        return np.asarray(norms * reading, np.float64)


def without_units(model: Model, share: float, sample: Rows) -> Model:
    """A smaller model: hidden Dense layers without the share of their units with the smallest norm.

    One unit of each layer stays. `sample` is at least one row that the model takes.

    Raises:
        UsageError: if it has no hidden Dense layer, or the share rounds to no unit.
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
    def clone(layer: Layer) -> Layer:
        config = layer.get_config()
        if id(layer) in kept and "units" in config:
            config["units"] = len(kept[id(layer)])
        return type(layer).from_config(config)

    return clone


def _part(
    layer: Layer, kept: NDArray[np.intp] | None, rows: NDArray[np.intp] | None
) -> list[NDArray[Any]]:
    """A layer's weights for the units and inputs that stay; units are the last axis."""
    weights: list[NDArray[Any]] = layer.get_weights()
    if rows is not None:
        weights[0] = weights[0][rows]
    return weights if kept is None else [values[..., kept] for values in weights]


def _arrays(layer: Layer) -> list[NDArray[np.float64]]:
    return [np.asarray(values, np.float64) for values in layer.get_weights()]


def _all_hidden(model: Layer) -> Iterator[_Hidden]:
    import keras

    dense = keras.layers.Dense
    for whole in composed_models(model):
        follow = _followers(whole)
        for layer in whole.layers:
            if type(layer) is dense and layer.quantization_mode is None:
                passed = _read_by(layer, follow)
                if passed:
                    between = tuple(each for each in passed if type(each) is not dense)
                    readers = tuple(each for each in passed if type(each) is dense)
                    yield _Hidden(layer, between, readers)


def _read_by(layer: Layer, follow: Callable[[Layer], Sequence[Layer] | None]) -> list[Layer]:
    """The Dense layers that read a layer, and batch normalisations between.

    Empty if any other layer reads it, or if it is an output of the model.
    """
    import keras

    elementwise = (
        keras.layers.Activation,
        keras.layers.Dropout,
        keras.layers.ELU,
        keras.layers.GaussianDropout,
        keras.layers.GaussianNoise,
        keras.layers.LeakyReLU,
        keras.layers.ReLU,
    )
    passed: list[Layer] = []
    for reader in follow(layer) or ():
        if type(reader) is keras.layers.Dense:
            passed.append(reader)
            continue
        normalises = type(reader) is keras.layers.BatchNormalization and reader.axis == -1
        passes = normalises or isinstance(reader, elementwise)
        further = _read_by(reader, follow) if passes else []
        if not further:
            return []
        passed += [reader, *further] if normalises else further
    return passed


def _followers(model: Layer) -> Callable[[Layer], Sequence[Layer] | None]:
    """A function from a layer to its readers; None if the layer is an output of the model."""
    import keras

    if isinstance(model, keras.Sequential):
        after = dict(zip(map(id, model.layers), model.layers[1:], strict=False))
        return lambda layer: [after[id(layer)]] if id(layer) in after else None
    outputs = {id(tensor) for tensor in keras.tree.flatten(model.outputs)}
    readers: dict[int, list[Layer]] = {}
    for operation in model.operations:
        for tensor in keras.tree.flatten(operation.input):
            readers.setdefault(id(tensor), []).append(operation)
    return lambda layer: None if id(layer.output) in outputs else readers.get(id(layer.output))
