"""Models: hidden layers as in the reference, and a small convolutional network beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras

if TYPE_CHECKING:
    from digits_classifier.data import Digits
    from digits_classifier.settings import Settings

DARK = -1.0


def build_model(units: int = 512, layers: int = 1, activation: str = "relu") -> keras.Model:
    """An untrained classifier of 64 pixels into 10 digits."""
    hidden = [keras.layers.Dense(units, activation=activation) for _ in range(layers)]
    return _compiled([keras.Input((64,)), *hidden, keras.layers.Dense(10, activation="softmax")])


def build_convolutional(
    filters: int = 16, activation: str = "relu", shift: float = 0.1
) -> keras.Model:
    """The same by convolutions, which learn a digit wherever it is.

    Args:
        filters: of the first convolution; the second one has twice as many.
        activation: of both.
        shift: how far images are moved while training, at random, as a share of their width; once
            trained, the model leaves them where they are.
    """
    return _compiled(
        [
            keras.Input((64,)),
            keras.layers.Reshape((8, 8, 1)),
            keras.layers.RandomTranslation(shift, shift, fill_mode="constant", fill_value=DARK),
            keras.layers.Conv2D(filters, 3, padding="same", activation=activation),
            keras.layers.MaxPooling2D(),
            keras.layers.Conv2D(2 * filters, 3, padding="same", activation=activation),
            keras.layers.MaxPooling2D(),
            keras.layers.Flatten(),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )


def train_model(settings: Settings, digits: Digits) -> keras.Model:
    """A classifier that has learnt from these digits."""
    keras.utils.set_random_seed(settings.seed)
    model = build_model(settings.units)
    model.fit(digits.inputs, digits.labels, epochs=settings.epochs, verbose=0)
    return model


def _compiled(layers: list[keras.Layer]) -> keras.Model:
    model = keras.Sequential(layers)
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model
