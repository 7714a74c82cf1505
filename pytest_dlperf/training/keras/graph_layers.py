"""Puts normalisation and augmentation in front of a Keras model, in its graph.

They consist of Keras' own layers and operations, so that a saved model loads without this package.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from pytest_dlperf.data.normalisation import learnt_scaling
from pytest_dlperf.data.rows import one_array
from pytest_dlperf.errors import UsageError
from pytest_dlperf.targets.keras import Model, name_of
from pytest_dlperf.training.graph_layers import (
    ImageAugmentation,
    InGraphNormalisation,
    NoiseAugmentation,
    TextAugmentation,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pytest_dlperf.data.dataset import Examples
    from pytest_dlperf.training.graph_layers import GraphLayer


def with_graph_layers(model: Model, graph_layers: Sequence[GraphLayer], train: Examples) -> Model:
    """A model that applies graph layers to its rows first, compiled like the given model.

    It shares layers and weights with the given model, and is that model if the layers do nothing.
    `train` are the training rows before the first layer.

    Raises:
        UsageError: if a layer does not fit the rows, the other layers or the model.
        DataError: if normalisation finds a training value that is missing or not finite.
    """
    import keras

    if not graph_layers:
        return model
    rows = one_array(train.inputs, str(graph_layers[0]))
    layers = [
        layer
        for graph_layer in graph_layers
        for layer in _keras_layers(graph_layer, graph_layers, rows)
    ]
    if not layers:
        return model
    _check_model(model, graph_layers)
    inputs = keras.Input(rows.shape[1:], dtype=_dtype(graph_layers, rows))
    outputs = inputs
    for layer in layers:
        outputs = layer(outputs)
    inner: Any = model
    front = keras.Model(inputs, outputs, name=_free_name("front", model))
    if type(inner) is keras.Sequential:
        # It stays a Sequential model with its layers side by side, which pruning and export expect.
        whole: Model = keras.Sequential([inputs, front, *inner.layers], name=model.name)
    else:
        if type(inner) is type(front):
            # Not compiled: Keras would save the inner optimizer too, and miss it on loading.
            inner = keras.Model(inner.input, inner.output, name=model.name)
        whole = keras.Model(inputs, inner(front(inputs)), name=f"{model.name}_behind_fronts")
    if model.compiled:
        # The objects themselves: Keras' get_compile_config() cannot serialise a user's own loss.
        # The optimizer too, as graph layers have no weights.
        whole.compile(**model._compile_config.config)  # noqa: SLF001
    return whole


def _keras_layers(
    graph_layer: GraphLayer, graph_layers: Sequence[GraphLayer], rows: NDArray[Any]
) -> list[Any]:
    match graph_layer:
        case InGraphNormalisation("none"):
            return []
        case InGraphNormalisation():
            return [_normalisation(graph_layer, graph_layers, rows)]
        case ImageAugmentation():
            return _image(graph_layer, rows)
        case TextAugmentation():
            return [_text(graph_layer, graph_layers, rows)]
        case NoiseAugmentation(deviation):
            from keras import layers

            return [layers.GaussianNoise(deviation, dtype="float32")]
    raise UsageError(
        f"{graph_layer!r:.80} cannot be put in front of a model",
        "expected InGraphNormalisation(...), or Augmentation.image, .text or .noise(...)",
    )


def _normalisation(
    layer: InGraphNormalisation, graph_layers: Sequence[GraphLayer], rows: NDArray[Any]
) -> object:
    from keras import layers

    if sum(isinstance(each, InGraphNormalisation) for each in graph_layers) > 1:
        raise UsageError(
            f"{' and '.join(map(str, graph_layers))}: normalised more than once",
            "what the second one learns would be from raw rows; keep one",
        )
    scaling = learnt_scaling(cast("Any", layer.kind), rows)
    factor = 1 / scaling.spread
    # In float32 whatever the model's precision: raw values may be large.
    return layers.Rescaling(
        factor.astype(np.float32),
        (-scaling.centre * factor).astype(np.float32),
        dtype="float32",
    )


def _image(augmentation: ImageAugmentation, rows: NDArray[Any]) -> list[Any]:
    from keras import layers

    present = rows.shape[1:]
    shape = augmentation.shape or present
    if len(shape) not in {2, 3} or math.prod(shape) != math.prod(present):
        raise UsageError(
            f"{augmentation}: rows of shape {present} are no such images",
            "give shape=(height, width), or (height, width, channels), with as many values as "
            "a row has",
        )
    image = shape if len(shape) == 3 else (*shape, 1)  # noqa: PLR2004 - with channels
    # Edges repeat the nearest pixel, as zero is not the background of normalised rows.
    options = {"fill_mode": "nearest", "data_format": "channels_last", "dtype": "float32"}
    random_layers: list[Any] = []
    if augmentation.shift:
        random_layers.append(
            layers.RandomTranslation(augmentation.shift, augmentation.shift, **options)
        )
    if augmentation.rotation:
        random_layers.append(layers.RandomRotation(augmentation.rotation, **options))
    if augmentation.zoom:
        random_layers.append(layers.RandomZoom(augmentation.zoom, **options))
    if image == present:
        return random_layers
    return [
        layers.Reshape(image, dtype="float32"),
        *random_layers,
        layers.Reshape(present, dtype="float32"),
    ]


def _text(
    augmentation: TextAugmentation, graph_layers: Sequence[GraphLayer], rows: NDArray[Any]
) -> object:
    import keras
    from keras import layers, ops

    if not all(isinstance(each, TextAugmentation) for each in graph_layers):
        raise UsageError(
            f"{' and '.join(map(str, graph_layers))}: token ids are no measured values",
            "leave normalisation, image and noise augmentation out, or Augmentation.text",
        )
    if not np.all((rows >= 0) & (rows == np.floor(rows))):
        raise UsageError(
            f"{augmentation}: rows hold values that are no token ids",
            "expected whole numbers from 0 on",
        )
    ids = keras.Input(rows.shape[1:], dtype=_dtype(graph_layers, rows))
    # Dropout keeps ones in inference, and turns some into zeros in training.
    ones = ops.ones_like(ids, dtype="float32")
    kept = ops.not_equal(layers.Dropout(augmentation.dropout, dtype="float32")(ones), 0)
    padding = ops.equal(ids, 0)
    dropped = ops.where(ops.logical_or(kept, padding), ids, augmentation.unknown)
    return keras.Model(ids, dropped)


def _dtype(graph_layers: Sequence[GraphLayer], rows: NDArray[Any]) -> str:
    # Of the first layer's input; Keras casts rows of other types.
    ids = rows.dtype.kind in "iu" and all(
        isinstance(each, TextAugmentation) for each in graph_layers
    )
    return str(rows.dtype) if ids else "float32"


def _check_model(model: Model, graph_layers: Sequence[GraphLayer]) -> None:
    # Keras' own training step would be used instead, without the model's loss or steps.
    own = [name for name in ("train_step", "compute_loss", "fit") if _overridden(model, name)]
    if own:
        raise UsageError(
            f"{name_of(model)} has its own {' and '.join(own)}, which layers in front of it "
            "would pass by",
            "put these layers into the model itself",
        )
    inputs = getattr(model, "inputs", None)  # known once the model is built
    if inputs and len(inputs) != 1:
        raise UsageError(
            f"{name_of(model)} has {len(inputs)} inputs", "fronts are for models with one"
        )
    images = [layer for layer in graph_layers if isinstance(layer, ImageAugmentation)]
    if images and model.compiled and model.jit_compile:
        # Keras would train without XLA, with only a warning.
        raise UsageError(
            f"{images[0]} cannot be compiled by XLA, as {name_of(model)} is to be",
            "leave one of the two out: jit_compile, or the augmentation of images",
        )


def _overridden(model: Model, name: str) -> bool:
    import keras

    return getattr(type(model), name) is not getattr(keras.Model, name)


def _free_name(name: str, model: Model) -> str:
    taken = {layer.name for layer in model.layers}
    names = (name, *(f"{name}_{number}" for number in range(2, len(taken) + 2)))
    return next(free for free in names if free not in taken)
