"""Models that take titles as text, or as numbers of words of many lengths."""

from __future__ import annotations

from dataclasses import dataclass

import keras
import numpy as np

from text_classifier.data import load_texts
from text_classifier.kinds import KINDS
from text_classifier.tokens import KNOWN_WORDS, WORDS


@dataclass(frozen=True)
class Titles:
    """Artists and titles with the kind of work.

    Attributes:
        inputs: text, one a work.
        labels: int64, shape `(rows,)`, places in `KINDS`.
    """

    inputs: list[str]
    labels: np.ndarray


@dataclass(frozen=True)
class TitleSplit:
    """The titles to learn from and those held back for testing."""

    train: Titles
    test: Titles


def load_titles() -> TitleSplit:
    """The works as text, a part of them held back."""
    train, test, train_labels, test_labels = load_texts()
    return TitleSplit(Titles(train, train_labels), Titles(test, test_labels))


class TitleNumbers:
    """Titles as numbers of their words, without padding; learnt from some titles."""

    def __init__(self, texts: list[str]) -> None:
        self._layer = keras.layers.TextVectorization(max_tokens=KNOWN_WORDS, ragged=True)
        self._layer.adapt(texts)

    def __call__(self, texts: list[str]) -> list[np.ndarray]:
        """The words of each title, int32, shape `(words,)`."""
        return [np.array(words, np.int32) for words in self._layer(texts).to_list()]


def train_title_model(titles: Titles, epochs: int = 3) -> keras.Model:
    """A classifier that makes numbers of words itself."""
    keras.utils.set_random_seed(0)
    words = keras.layers.TextVectorization(max_tokens=KNOWN_WORDS, output_sequence_length=WORDS)
    words.adapt(titles.inputs)
    model = _classifier(keras.Input((), dtype="string"), words)
    rows = keras.ops.convert_to_numpy(words(titles.inputs))
    learning = keras.Sequential(model.layers[2:])
    learning.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
    learning.fit(rows, titles.labels, epochs=epochs, verbose=0)
    return model


def _classifier(inputs: keras.KerasTensor, words: keras.Layer) -> keras.Model:
    hidden = keras.layers.Embedding(KNOWN_WORDS, 64, mask_zero=True)(words(inputs))
    hidden = keras.layers.GlobalAveragePooling1D()(hidden)
    hidden = keras.layers.Dense(128, activation="relu")(hidden)
    return keras.Model(inputs, keras.layers.Dense(len(KINDS), activation="softmax")(hidden))


def build_masked_model() -> keras.Model:
    """An untrained classifier of numbers of words, with a mask of where there are any."""
    words = keras.Input((None,), dtype="int32", name="words")
    mask = keras.Input((None,), dtype="int32", name="mask")
    embedded = keras.layers.Embedding(KNOWN_WORDS, 64)(words)
    weights = keras.ops.expand_dims(keras.ops.cast(mask, "float32"), -1)
    mean = keras.ops.sum(embedded * weights, 1) / (keras.ops.sum(weights, 1) + 1e-6)
    hidden = keras.layers.Dense(128, activation="relu")(mean)
    outputs = keras.layers.Dense(len(KINDS), activation="softmax")(hidden)
    return keras.Model({"words": words, "mask": mask}, outputs)
