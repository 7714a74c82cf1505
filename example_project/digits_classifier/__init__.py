"""A small classifier of handwritten digits."""

from digits_classifier.data import Digits, Split, load_digits
from digits_classifier.model import build_convolutional, build_model, train_model
from digits_classifier.settings import Settings

__all__ = [
    "Digits",
    "Settings",
    "Split",
    "build_convolutional",
    "build_model",
    "load_digits",
    "train_model",
]
