"""Pairs of a person and a film: did the person watch it next?"""

from __future__ import annotations

from dataclasses import dataclass

import keras
import numpy as np

from film_recommender.data import FILMS, HISTORY, Views, load_views


@dataclass(frozen=True)
class Pairs:
    """Pairs with what came of them.

    Attributes:
        inputs: `watched`, int32, shape `(rows, HISTORY)`, and `film`, int32, shape `(rows,)`.
        labels: int64, shape `(rows,)`, 1 if that film came next.
    """

    inputs: dict[str, np.ndarray]
    labels: np.ndarray


@dataclass(frozen=True)
class PairSplit:
    """The pairs to learn from and those held back for testing."""

    train: Pairs
    test: Pairs


def load_pairs(seed: int = 0) -> PairSplit:
    """Each view with the film that came next, or, as often, with one that did not."""
    views, random = load_views(), np.random.default_rng(seed)
    return PairSplit(_pairs(views.train, random), _pairs(views.test, random))


def _pairs(views: Views, random: np.random.Generator) -> Pairs:
    labels = random.integers(0, 2, len(views.labels))
    others = random.integers(1, FILMS + 1, len(labels))
    film = np.where(labels == 1, views.labels, others).astype(np.int32)
    return Pairs({"watched": views.inputs, "film": film}, labels)


def train_pair_model(pairs: Pairs, embedding: int = 32, epochs: int = 10) -> keras.Model:
    """A model that has learnt from pairs; it answers with a score and the person's vector."""
    keras.utils.set_random_seed(0)
    watched = keras.Input((HISTORY,), dtype="int32", name="watched")
    film = keras.Input((), dtype="int32", name="film")
    person = keras.layers.Embedding(FILMS + 1, embedding, mask_zero=True)(watched)
    person = keras.layers.GlobalAveragePooling1D()(person)
    person = keras.layers.Dense(embedding)(person)
    wanted = keras.layers.Embedding(FILMS + 1, embedding)(film)
    both = keras.layers.concatenate([person, wanted, person * wanted])
    hidden = keras.layers.Dense(64, activation="relu")(both)
    score = keras.layers.Dense(1, activation="sigmoid", name="score")(hidden)
    learning = keras.Model({"watched": watched, "film": film}, score)
    learning.compile(optimizer="adam", loss="binary_crossentropy")
    learning.fit(pairs.inputs, pairs.labels, epochs=epochs, batch_size=256, verbose=0)
    return keras.Model({"watched": watched, "film": film}, {"score": score, "person": person})
