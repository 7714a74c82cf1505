"""Model: one hidden layer, trained in seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras

if TYPE_CHECKING:
    from digits_classifier.data import Digits
    from digits_classifier.settings import Settings


def build_model(settings: Settings) -> keras.Model:
    """An untrained classifier of 64 pixels into 10 digits."""
    keras.utils.set_random_seed(settings.seed)
    model = keras.Sequential(
        [
            keras.Input((64,)),
            keras.layers.Dense(settings.units, activation="relu"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def train_model(settings: Settings, digits: Digits) -> keras.Model:
    """A classifier that has learnt from these digits."""
    model = build_model(settings)
    model.fit(digits.inputs, digits.labels, epochs=settings.epochs, verbose=0)
    return model
