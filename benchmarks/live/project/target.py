"""The target: preprocessing in Python, and a dense model as one concrete function."""

# ruff: noqa: ANN001, ANN201, ANN204 - as users write it

import keras
import numpy as np
import tensorflow as tf
from settings import CHECKED, EXTRA_CALLS, UNITS

PIXELS = 64
LARGEST = 16.0


class Classifier:
    """A model that has not been trained: only its speed is asked for."""

    def __init__(self):
        keras.utils.set_random_seed(0)
        model = keras.Sequential(
            [
                keras.Input((PIXELS,)),
                keras.layers.Dense(UNITS, activation="relu"),
                keras.layers.Dense(10, activation="softmax"),
            ]
        )
        function = tf.function(lambda batch: model(batch, training=False), autograph=False)
        self._call = function.get_concrete_function(tf.TensorSpec((None, PIXELS), tf.float32))
        self._owed = 0.0

    def infer(self, batch):
        """Class probabilities, shape `(rows, 10)`."""
        ready = tf.constant(prepared(batch))
        answer = self._call(ready)
        self._owed += EXTRA_CALLS
        if self._owed >= 1:
            self._owed -= 1
            answer = self._call(ready)
        return answer.numpy()


def prepared(batch):
    """Pixels from 0 to 1; some are looked at one by one."""
    scaled = np.multiply(batch, 1 / LARGEST, dtype=np.float32)
    highest = 0.0
    for value in scaled.reshape(-1)[:CHECKED].tolist():
        if value > highest:  # noqa: PLR1730 - slow on purpose
            highest = value
    if highest > 1:
        raise ValueError(f"a pixel is {highest * LARGEST}, not from 0 to {LARGEST}")
    return scaled


def pixels(rows):
    """Images with random pixels, shape `(rows, 64)`."""
    return np.random.default_rng(0).integers(0, 17, (rows, PIXELS)).astype(np.float32)
