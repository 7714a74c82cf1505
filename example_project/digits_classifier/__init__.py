"""A small classifier of handwritten digits."""

from digits_classifier.data import Digits, load_digits
from digits_classifier.model import build_model, train_model
from digits_classifier.settings import Settings

__all__ = ["Digits", "Settings", "build_model", "load_digits", "train_model"]
