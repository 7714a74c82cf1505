"""Answers up to the length of each row, by hand-computed examples."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_dlperf.load.positions import RowPositions, cut, joined

ENDS = np.array([2, 0, 3])
PADDED = np.array([[1, 2, 9], [9, 9, 9], [3, 4, 5]])


@pytest.mark.parametrize(
    "leaf",
    [
        PADDED,
        np.pad(PADDED, [(0, 0), (0, 4)]),
        [np.array([1, 2]), np.array([]), np.array([3, 4, 5])],
    ],
    ids=["padded", "padded more", "rows"],
)
def test_padding_is_cut(leaf: np.ndarray | list[np.ndarray]) -> None:
    """However much there is, and of whichever type an empty row is."""
    answers, _ = cut(leaf, ENDS)

    assert answers.values.tolist() == [1, 2, 3, 4, 5]
    assert answers.values.dtype == np.int64
    assert answers.lengths.tolist() == [2, 0, 3]
    assert [row.tolist() for row in answers.rows()] == [[1, 2], [], [3, 4, 5]]


@pytest.mark.parametrize(
    ("leaf", "kept", "found"),
    [
        (PADDED[:, :2], [2, 0, 0], [2, 2, 2]),
        ([np.array([1, 2, 9]), np.array([]), np.array([3, 4, 5])], [0, 0, 3], [3, 0, 3]),
        ([np.array([1]), np.array([]), np.array([3, 4, 5])], [0, 0, 3], [1, 0, 3]),
    ],
    ids=["an array that is too short", "a row that is too long", "a row that is too short"],
)
def test_rows_without_their_length(
    leaf: np.ndarray | list[np.ndarray], kept: list[int], found: list[int]
) -> None:
    """They have no positions; rows of a list are not padded, so they may not be longer either."""
    answers, lengths = cut(leaf, ENDS)

    assert answers.lengths.tolist() == kept
    assert lengths.tolist() == found


def test_some_rows() -> None:
    """In any order, and more than once."""
    some = cut(PADDED, ENDS)[0][np.array([2, 1, 0, 2])]

    assert [row.tolist() for row in some.rows()] == [[3, 4, 5], [], [1, 2], [3, 4, 5]]
    assert joined([some, some]).lengths.tolist() == [3, 0, 2, 3] * 2


def test_sums_by_row() -> None:
    """A row of no positions has a sum of 0."""
    answers, _ = cut(PADDED, ENDS)

    assert answers.summed(answers.values).tolist() == [3, 0, 12]


def test_numbers_that_are_not_finite() -> None:
    """Those of the padding do not count."""
    padded = np.where(PADDED == 9, np.nan, PADDED)
    assert cut(padded, ENDS)[0].finite().tolist() == [True, True, True]

    padded[2, 1] = np.inf
    assert cut(padded, ENDS)[0].finite().tolist() == [True, True, False]


def test_elements() -> None:
    """Rows of vectors as a matrix, 0 behind their ends."""
    answers = RowPositions(np.arange(1.0, 7).reshape(3, 2), np.array([1, 2]))

    assert answers.elements(np.arange(4)).tolist() == [[1, 2, 0, 0], [3, 4, 5, 6]]
    assert answers.elements(np.array([1, 3])).tolist() == [[2, 0], [4, 6]]
    assert answers.has_elements(np.array([1, 3])).tolist() == [[True, False], [True, True]]
