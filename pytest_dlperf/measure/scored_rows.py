"""What is scored of answers: an array of rows, or rows up to their own lengths."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from pytest_dlperf.load.answer_leaves import MisfitError, finite_rows
from pytest_dlperf.load.positions import RowPositions, cut

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pytest_dlperf.load.answer_layout import AnswerLayout
    from pytest_dlperf.load.answer_leaves import Leaf

Scored: TypeAlias = "NDArray[Any] | RowPositions"
"""What is scored of an answer, by row."""


class RowLengthError(MisfitError):
    """An answer that has not the length of its row's labels.

    Args:
        words: says both lengths.
        row: its number in the batch.
    """

    def __init__(self, words: str, row: int) -> None:
        super().__init__(words)
        self.row = row


def scored_of(
    layout: AnswerLayout, parts: Sequence[Leaf], lengths: NDArray[np.int64] | None
) -> Scored:
    """What is scored of the outputs of an answer.

    Args:
        layout: of the answer.
        parts: its outputs.
        lengths: of its rows; None where they have none.

    Raises:
        MisfitError: as `AnswerLayout.to_score`.
        RowLengthError: if a row has not its length.
    """
    if lengths is None:
        return layout.to_score(parts)
    scored, found = cut(layout.to_cut(parts), lengths)
    wrong = np.flatnonzero(scored.lengths != lengths)
    if len(wrong):
        words = length_words(int(lengths[wrong[0]]), int(found[wrong[0]]))
        raise RowLengthError(words, int(wrong[0]))
    return scored


def length_words(labels: int, positions: int) -> str:
    """That a row has more or fewer labels than its answer has positions."""
    return f"{_counted(labels, 'label')}, but the answer has {_counted(positions, 'position')}"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"


def finite_scores(scored: Scored | Leaf) -> NDArray[np.bool_]:
    """Which rows have finite numbers only, or are no numbers, shape `(rows,)`."""
    return scored.finite() if isinstance(scored, RowPositions) else finite_rows(scored)


def elements_of(scored: Scored, chosen: NDArray[np.intp] | None) -> NDArray[np.float64]:
    """The numbers of each row as a matrix, or those at some places; 0 behind the end of a row."""
    if isinstance(scored, RowPositions):
        return scored.elements(np.arange(longest(scored)) if chosen is None else chosen)
    flat = scored.reshape(len(scored), -1)
    return np.asarray(flat if chosen is None else flat[:, chosen]).astype(np.float64)


def longest(scored: Scored) -> int:
    """The most numbers that a row has."""
    if isinstance(scored, RowPositions):
        return int(scored.lengths.max(initial=0)) * scored.width
    return int(np.prod(scored.shape[1:], dtype=np.int64))
