"""Answers whose rows have lengths of their own, such as one for each token: without padding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pytest_dlperf.load.answer_leaves import Leaf


@dataclass(frozen=True, slots=True, eq=False)
class RowPositions:
    """The values of rows of many lengths, one row after the other.

    Attributes:
        values: of all positions, shape `(positions, ...)`.
        lengths: how many positions each row has, shape `(rows,)`.
    """

    values: NDArray[Any]
    lengths: NDArray[np.int64]

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.lengths)

    def __getitem__(self, rows: NDArray[np.intp]) -> RowPositions:
        """Copies of some rows, by their numbers."""
        lengths = self.lengths[rows]
        first = np.repeat(self.starts[rows] - _starts(lengths), lengths)
        return RowPositions(self.values[first + np.arange(len(first))], lengths)

    @property
    def starts(self) -> NDArray[np.int64]:
        """Where each row starts in the values, shape `(rows,)`."""
        return _starts(self.lengths)

    @property
    def width(self) -> int:
        """Numbers of a position."""
        return int(np.prod(self.values.shape[1:], dtype=np.int64))

    def rows(self) -> list[NDArray[Any]]:
        """An array of shape `(length, ...)` for each row."""
        return np.split(self.values, self.starts[1:]) if len(self) else []

    def summed(self, by_position: NDArray[Any]) -> NDArray[np.float64]:
        """Sums over the positions of each row, shape `(rows,)`, of one number a position."""
        numbers = np.repeat(np.arange(len(self)), self.lengths)
        return np.bincount(numbers, by_position, minlength=len(self)).astype(np.float64)

    def finite(self) -> NDArray[np.bool_]:
        """Which rows have finite numbers only, shape `(rows,)`."""
        flat = self.values.reshape(len(self.values), self.width)
        bad = ~np.isfinite(flat).all(axis=1) if flat.dtype.kind == "f" else np.zeros(len(flat))
        return np.asarray(self.summed(bad) == 0)

    def elements(self, chosen: NDArray[np.intp]) -> NDArray[np.float64]:
        """Some numbers of each row, by their place in it, 0 behind its end: `(rows, chosen)`."""
        present = self.has_elements(chosen)
        places = (self.starts * self.width)[:, np.newaxis] + chosen
        matrix = np.zeros(present.shape)
        matrix[present] = self.values.reshape(-1)[places[present]]
        return matrix

    def has_elements(self, chosen: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Which of these places are before the end of each row, shape `(rows, chosen)`."""
        return np.asarray(chosen < (self.lengths * self.width)[:, np.newaxis])


def _starts(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.cumsum(lengths) - lengths


def cut(leaf: Leaf, lengths: NDArray[np.int64]) -> tuple[RowPositions, NDArray[np.int64]]:
    """An output up to the length of each row.

    An array `(rows, length, ...)` is padded, so it may be longer than its rows; a list has a row of
    just its own length for each.

    Args:
        leaf: the output of a batch.
        lengths: of its rows, shape `(rows,)`.

    Returns:
        Its positions, none of rows that do not have their length; and how many positions the
        answer has for each row, shape `(rows,)`.
    """
    if isinstance(leaf, list):
        found = np.array([len(row) for row in leaf], np.int64)
        kept = np.where(found == lengths, lengths, 0)
        filled = [row for row, length in zip(leaf, kept, strict=True) if length]
        # Rows without a position may be of another type: an empty list is one of floats.
        empty = next((row[:0] for row in leaf if len(row)), leaf[0][:0] if leaf else np.zeros(0))
        return RowPositions(np.concatenate(filled) if filled else empty, kept), found
    found = np.full(len(leaf), leaf.shape[1], np.int64)
    kept = np.where(found >= lengths, lengths, 0)
    own = np.arange(leaf.shape[1]) < kept[:, np.newaxis]
    return RowPositions(leaf[own], kept), found


def joined(answers: Sequence[RowPositions]) -> RowPositions:
    """The rows of several answers, at least one."""
    filled = [answer.values for answer in answers if len(answer.values)] or [answers[0].values]
    lengths = np.concatenate([answer.lengths for answer in answers])
    return RowPositions(np.concatenate(filled), lengths)
