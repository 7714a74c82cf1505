"""Ranking: how far up the film stands that was watched next."""

from __future__ import annotations

import numpy as np

LIST = 10


def ranks(scores: np.ndarray, watched: np.ndarray) -> np.ndarray:
    """How many films are scored above the one that was watched, shape `(rows,)`."""
    return (scores > scores[np.arange(len(watched)), watched][:, None]).sum(axis=1)


def hits(scores: np.ndarray, watched: np.ndarray) -> np.ndarray:
    """1 where the film is among the ten best, else 0; the mean is the hit rate at 10."""
    return (ranks(scores, watched) < LIST).astype(float)


def gains(scores: np.ndarray, watched: np.ndarray) -> np.ndarray:
    """1 for the first place, less for each further one, 0 below the tenth; the mean is NDCG at 10.

    As only one film is right, the ideal gain is 1 (Järvelin and Kekäläinen 2002).
    """
    places = ranks(scores, watched)
    return np.where(places < LIST, 1 / np.log2(places + 2), 0)
