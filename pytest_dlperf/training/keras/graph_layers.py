"""Layers in front of a Keras model: normalisation and augmentation, in its graph.

They are layers and operations of Keras' own, so that a model with them can be kept in Keras'
format and loaded without code of this package.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from pytest_dlperf.data.normalisation import learnt_scaling
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


def with_fronts(model: Model, fronts: Sequence[GraphLayer], train: Examples) -> Model:
    """A model behind layers, which takes rows as they are before these; compiled as it was.

    It shares layers and weights with the given model.

    Args:
        model: a Keras model with one input.
        fronts: what is put in front of it, the first one first.
        train: the rows to learn from, as the first front sees them.

    Returns:
        The model itself, if nothing is to be put in front of it.

    Raises:
        UsageError: if a front does not fit the rows, the other fronts or the model.
        DataError: if normalisation finds a training value that is missing or not finite.
    """
    import keras

    layers = [layer for front in fronts for layer in _layers_of(front, fronts, train.inputs)]
    if not layers:
        return model
    _check_model(model, fronts)
    inputs = keras.Input(train.inputs.shape[1:], dtype=_dtype(fronts, train.inputs))
    outputs = inputs
    for layer in layers:
        outputs = layer(outputs)
    given: Any = model
    front = keras.Model(inputs, outputs, name=_free_name("front", model))
    if type(given) is keras.Sequential:
        # Its layers stay in one row, as whatever prunes or exports a Sequential model expects.
        whole = keras.Sequential([inputs, front, *given.layers], name=model.name)
    else:
        if type(given) is type(front):
            # Not compiled: Keras would keep the optimizer of the inner model beside the outer's,
            # and miss it when it is loaded.
            given = keras.Model(given.input, given.output, name=model.name)
        whole = keras.Model(inputs, given(front(inputs)), name=f"{model.name}_behind_fronts")
    return _compiled_alike(whole, model)


def _layers_of(front: GraphLayer, fronts: Sequence[GraphLayer], rows: NDArray[Any]) -> list[Any]:
    match front:
        case InGraphNormalisation("none"):
            return []
        case InGraphNormalisation():
            return [_normalisation(front, fronts, rows)]
        case ImageAugmentation():
            return _image(front, rows)
        case TextAugmentation():
            return [_text(front, fronts, rows)]
        case NoiseAugmentation(deviation):
            from keras import layers

            return [layers.GaussianNoise(deviation, dtype="float32")]
    raise UsageError(
        f"{front!r:.80} cannot be put in front of a model",
        "expected InGraphNormalisation(...), or Augmentation.image, .text or .noise(...)",
    )


def _normalisation(
    front: InGraphNormalisation, fronts: Sequence[GraphLayer], rows: NDArray[Any]
) -> object:
    from keras import layers

    if sum(isinstance(one, InGraphNormalisation) for one in fronts) > 1:
        raise UsageError(
            f"{' and '.join(map(str, fronts))}: normalised more than once",
            "what the second one learns would be from raw rows; keep one",
        )
    scaling = learnt_scaling(cast("Any", front.kind), rows)
    factor = 1 / scaling.spread
    # Of type float32 whatever the model computes in: raw values may be large.
    return layers.Rescaling(
        factor.astype(np.float32),
        (-scaling.centre * factor).astype(np.float32),
        dtype="float32",
    )


def _image(front: ImageAugmentation, rows: NDArray[Any]) -> list[Any]:
    from keras import layers

    present = rows.shape[1:]
    shape = front.shape or present
    if len(shape) not in {2, 3} or math.prod(shape) != math.prod(present):
        raise UsageError(
            f"{front}: rows of shape {present} are no such images",
            "give shape=(height, width), or (height, width, channels), with as many values as "
            "a row has",
        )
    image = shape if len(shape) == 3 else (*shape, 1)  # noqa: PLR2004 - with channels
    # At the edges the nearest pixel goes on: zero is no background once rows are normalised.
    how = {"fill_mode": "nearest", "data_format": "channels_last", "dtype": "float32"}
    made: list[Any] = []
    if front.shift:
        made.append(layers.RandomTranslation(front.shift, front.shift, **how))
    if front.rotation:
        made.append(layers.RandomRotation(front.rotation, **how))
    if front.zoom:
        made.append(layers.RandomZoom(front.zoom, **how))
    if image == present:
        return made
    return [layers.Reshape(image, dtype="float32"), *made, layers.Reshape(present, dtype="float32")]


def _text(front: TextAugmentation, fronts: Sequence[GraphLayer], rows: NDArray[Any]) -> object:
    import keras
    from keras import layers, ops

    if not all(isinstance(one, TextAugmentation) for one in fronts):
        raise UsageError(
            f"{' and '.join(map(str, fronts))}: token ids are no measured values",
            "leave normalisation, image and noise augmentation out, or Augmentation.text",
        )
    if not np.all((rows >= 0) & (rows == np.floor(rows))):
        raise UsageError(
            f"{front}: rows hold values that are no token ids", "expected whole numbers from 0 on"
        )
    ids = keras.Input(rows.shape[1:], dtype=_dtype(fronts, rows))
    # Dropout leaves ones as they are when requests are answered, and makes zeros in training.
    ones = ops.ones_like(ids, dtype="float32")
    kept = ops.not_equal(layers.Dropout(front.dropout, dtype="float32")(ones), 0)
    filling = ops.equal(ids, 0)
    dropped = ops.where(ops.logical_or(kept, filling), ids, front.unknown)
    return keras.Model(ids, dropped)


def _dtype(fronts: Sequence[GraphLayer], rows: NDArray[Any]) -> str:
    """The type that the first layer takes; rows of another one are cast by Keras."""
    ids = rows.dtype.kind in "iu" and all(isinstance(one, TextAugmentation) for one in fronts)
    return str(rows.dtype) if ids else "float32"


def _check_model(model: Model, fronts: Sequence[GraphLayer]) -> None:
    # Keras' own loop would be used in its place, and its loss or its steps would be lost.
    own = [name for name in ("train_step", "compute_loss", "fit") if _overridden(model, name)]
    if own:
        raise UsageError(
            f"{name_of(model)} has its own {' and '.join(own)}, which layers in front of it "
            "would pass by",
            "put these layers into the model itself",
        )
    given: Any = model
    inputs = getattr(given, "inputs", None)  # known once it is built
    if inputs and len(inputs) != 1:
        raise UsageError(
            f"{name_of(model)} has {len(inputs)} inputs", "fronts are for models with one"
        )
    images = [front for front in fronts if isinstance(front, ImageAugmentation)]
    if images and given.compiled and given.jit_compile:
        # Keras would go on without XLA, and only warn of it.
        raise UsageError(
            f"{images[0]} cannot be compiled by XLA, as {name_of(model)} is to be",
            "leave one of the two out: jit_compile, or the augmentation of images",
        )


def _overridden(model: Model, name: str) -> bool:
    import keras

    return getattr(type(model), name) is not getattr(keras.Model, name)


def _free_name(name: str, model: Model) -> str:
    taken = {layer.name for layer in cast("Any", model).layers}
    number = 2
    free = name
    while free in taken:
        free, number = f"{name}_{number}", number + 1
    return free


def _compiled_alike(whole: Any, model: Model) -> Model:  # noqa: ANN401 - Keras has no types
    given: Any = model
    if given.compiled:
        # The very objects, as in keras_training: text would not do for a loss of the user's own.
        # The optimizer has the same weights to move, as no front has any.
        whole.compile(**given._compile_config.config)  # noqa: SLF001
    made: Model = whole
    return made
