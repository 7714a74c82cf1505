"""Data: handwritten digits that ship in scikit-learn, cleaned and normalised."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn import datasets
from sklearn.model_selection import train_test_split

BRIGHTEST = 16.0


@dataclass(frozen=True)
class Digits:
    """Images with their labels.

    Attributes:
        inputs: float32, shape `(rows, 64)`, from -1 (dark) to 1 (bright).
        labels: int64, shape `(rows,)`, 0 to 9.
    """

    inputs: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Split:
    """The images to learn from and those held back for testing."""

    train: Digits
    test: Digits


def clean(images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Drop images with values that a scanner cannot have produced, and exact duplicates."""
    sane = np.isfinite(images).all(axis=1) & (images >= 0).all(axis=1)
    sane &= (images <= BRIGHTEST).all(axis=1)
    _, first = np.unique(images, axis=0, return_index=True)
    keep = np.intersect1d(np.flatnonzero(sane), first)
    return images[keep], labels[keep]


def normalise(images: np.ndarray) -> np.ndarray:
    """From 0 ... 16 to -1 ... 1."""
    return (images / (BRIGHTEST / 2) - 1).astype(np.float32)


def load_digits(test_share: float = 0.2) -> Split:
    """The digits, this share of them held back; tuning needs a large one to see small losses."""
    images, labels = clean(*datasets.load_digits(return_X_y=True))
    train, test, train_labels, test_labels = train_test_split(
        normalise(images), labels, test_size=test_share, random_state=7, stratify=labels
    )
    return Split(Digits(train, train_labels), Digits(test, test_labels))
