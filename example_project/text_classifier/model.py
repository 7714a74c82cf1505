"""Model: the mean of the vectors of the words, and a hidden layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras

from text_classifier.kinds import KINDS
from text_classifier.tokens import KNOWN_WORDS, WORDS

if TYPE_CHECKING:
    from text_classifier.data import Works
    from text_classifier.settings import Settings


def build_model(
    embedding: int = 128, units: int = 256, layers: int = 1, activation: str = "relu"
) -> keras.Model:
    """An untrained classifier of words into kinds of works.

    Args:
        embedding: numbers that stand for one word.
        units: width of a hidden layer.
        layers: how many hidden ones.
        activation: of the hidden ones.
    """
    hidden = [keras.layers.Dense(units, activation=activation) for _ in range(layers)]
    model = keras.Sequential(
        [
            keras.Input((WORDS,), dtype="int32"),
            keras.layers.Embedding(KNOWN_WORDS, embedding, mask_zero=True),
            keras.layers.GlobalAveragePooling1D(),
            *hidden,
            keras.layers.Dropout(0.3),
            keras.layers.Dense(len(KINDS), activation="softmax"),
        ]
    )
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def train_model(settings: Settings, works: Works) -> keras.Model:
    """A classifier that has learnt from these works."""
    keras.utils.set_random_seed(settings.seed)
    model = build_model(settings.embedding, settings.units)
    model.fit(works.inputs, works.labels, epochs=settings.epochs, verbose=0)
    return model
