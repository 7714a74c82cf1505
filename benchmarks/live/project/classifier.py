"""A classifier of handwritten digits with one random layer, fitted in closed form."""

# ruff: noqa: ANN001, ANN201, ANN202 - as users write it

import numpy as np
from settings import NOISE, NOISE_SEED
from sklearn.datasets import load_digits

FITTED = 600
RIDGE = 1.0
HIDDEN = np.random.default_rng(0).standard_normal((64, 400)) / 64
SHIFTS = ((0, 0), (0, 1), (0, -1), (1, 0), (-1, 0))


def weights(noise, seed):
    """Weights of ridge regression on one-hot labels, some noise added, shape `(400, 10)`.

    Args:
        noise: standard deviation of the noise, in those of the weights.
        seed: of the noise.
    """
    pixels, digits = _images(slice(FITTED))
    rows = _hidden(pixels)
    squares = rows.T @ rows + RIDGE * np.eye(rows.shape[1])
    fitted = np.linalg.solve(squares, rows.T @ np.eye(10)[digits])
    added = np.random.default_rng(seed).standard_normal(fitted.shape)
    return fitted + noise * fitted.std() * added


def scores(batch, given):
    """A score for each digit, shape `(rows, 10)`."""
    return _hidden(batch) @ given


def infer(batch):
    """Scores by the weights of the settings."""
    return scores(batch, WEIGHTS)


def held_out():
    """Images that the weights were not fitted on, each in five places, and their digits."""
    return _images(slice(FITTED, None))


def _images(which):
    pixels, digits = load_digits(return_X_y=True)
    images = pixels[which].reshape(-1, 8, 8)
    moved = [np.roll(images, shift, (1, 2)).reshape(-1, 64) for shift in SHIFTS]
    return np.vstack(moved), np.tile(digits[which], len(SHIFTS))


def _hidden(pixels):
    return np.maximum(pixels @ HIDDEN, 0)


WEIGHTS = weights(NOISE, NOISE_SEED)
