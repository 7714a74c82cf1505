"""Tokens: texts as numbers of words."""

from __future__ import annotations

import keras
import numpy as np

WORDS = 12
KNOWN_WORDS = 4000


class Vocabulary:
    """The words of some texts, the most frequent first; 0 is no word, 1 an unknown one."""

    def __init__(self, texts: list[str]) -> None:
        self._layer = keras.layers.TextVectorization(
            max_tokens=KNOWN_WORDS, output_sequence_length=WORDS
        )
        self._layer.adapt(texts)

    def numbers(self, texts: list[str]) -> np.ndarray:
        """The first words of each text, int32, shape `(texts, WORDS)`."""
        return keras.ops.convert_to_numpy(self._layer(texts)).astype(np.int32)
