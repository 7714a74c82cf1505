"""Model: two towers, one for what a person has watched and one for the films.

The first makes a vector of a person's last films. The second has a vector for each film: the
weights of the last layer. The score of a film is the product of both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras

from film_recommender.data import FILMS, HISTORY

if TYPE_CHECKING:
    from film_recommender.data import Views
    from film_recommender.settings import Settings

OUT_OF_REACH = 100.0


def build_model(
    embedding: int = 64, units: int = 128, layers: int = 1, activation: str = "relu"
) -> keras.Model:
    """An untrained recommender: the last films in, a score for each film out.

    Films just watched get a score below all others; so does film 0, which is none.

    Args:
        embedding: numbers that stand for one film.
        units: width of a hidden layer of the person's tower.
        layers: how many hidden ones.
        activation: of the hidden ones.
    """
    watched = keras.Input((HISTORY,), dtype="int32")
    person = keras.layers.Embedding(FILMS + 1, embedding, mask_zero=True)(watched)
    person = keras.layers.GlobalAveragePooling1D()(person)
    for _ in range(layers):
        person = keras.layers.Dense(units, activation=activation)(person)
    person = keras.layers.Dense(embedding)(keras.layers.Dropout(0.2)(person))
    scores = keras.layers.Dense(FILMS + 1)(person)
    seen = keras.ops.max(keras.ops.one_hot(watched, FILMS + 1), axis=1)
    model = keras.Model(watched, scores - OUT_OF_REACH * seen)
    model.compile(
        optimizer=keras.optimizers.Adam(0.008),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


def train_model(settings: Settings, views: Views) -> keras.Model:
    """A recommender that has learnt from these views."""
    keras.utils.set_random_seed(settings.seed)
    model = build_model(settings.embedding, settings.units)
    model.fit(
        views.inputs,
        views.labels,
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        verbose=0,
    )
    return model
