"""Scores of answers with a label for each position of a row, such as the tag of each token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_dlperf.data.scoring import Scorer, scorer_for
from pytest_dlperf.errors import DataError
from pytest_dlperf.load.positions import RowPositions, cut
from pytest_dlperf.ragged import PaddedRows
from pytest_dlperf.trees import as_tree, mapped

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_dlperf.config.options import Task
    from pytest_dlperf.trees import Rows


@dataclass(frozen=True, slots=True)
class PositionScorer:
    """How answers are scored position by position.

    Attributes:
        each: scores the positions.
    """

    each: Scorer

    @property
    def classifies(self) -> bool:
        """Whether a position is right or wrong, so that there is an accuracy."""
        return self.each.classifies

    @property
    def has_loss(self) -> bool:
        """Whether answers tell how far off they are."""
        return self.each.has_loss

    @property
    def assumed(self) -> str:
        """A note on a reading that is in doubt; may be empty."""
        return self.each.assumed

    def score(
        self, outputs: RowPositions, labels: PaddedRows
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """How many positions of each row are right, and their mean loss, 0 without any: `(n,)`."""
        right, loss = self.each.score(outputs.values, label_positions(labels).values)
        return outputs.summed(right), outputs.summed(loss) / np.maximum(outputs.lengths, 1)


def label_positions(labels: PaddedRows) -> RowPositions:
    """The labels of all positions."""
    return cut(labels.values, labels.ends)[0]


def labels_by_row(labels: Rows) -> Any:  # noqa: ANN401 - a tree
    """Labels as users' metrics take them: rows of many lengths as a list of arrays."""
    return mapped(
        lambda leaf: label_positions(leaf).rows() if isinstance(leaf, PaddedRows) else leaf[:],
        as_tree(labels),
    )


def position_scorer(
    outputs: RowPositions, labels: PaddedRows, task: Task | None = None
) -> PositionScorer:
    """The scorer that fits labels and a sample of the outputs, as `scorer_for` finds it.

    Args:
        outputs: a sample of the answers.
        labels: of all rows.
        task: what they are for; None infers it from both.

    Raises:
        DataError: if labels and outputs do not fit together, or not the task; whole numbers are
            no amounts unless the task says so.
    """
    if not labels.ends.any():
        raise DataError(
            "labels: all rows are empty, so there is no position to score\n"
            "  with labels=None only speed is measured"
        )
    known = label_positions(labels)
    answers = f"answers of type {outputs.values.dtype}"
    if outputs.values.dtype.kind == "b" and not np.isin(known.values, (0, 1)).all():
        raise DataError(
            f"labels are up to {known.values.max()}, but {answers}, as a mask is\n"
            "  output= names the output that labels are of"
        )
    if known.values.ndim == 1 and outputs.width > 1 and task in {None, "classification"}:
        _check_classes(known, outputs.width)
    try:
        each = scorer_for(outputs.values, known.values, task)
    except DataError as error:
        raise DataError(f"position by position, {error}") from None
    if task is None and each.reading == "regression" and known.values.dtype.kind in "iub":
        raise DataError(
            f"labels are whole numbers, but {answers} have one number a position, or a row\n"
            "  expected a score for each class at each position, shape (batch, length, classes), "
            "or class numbers (batch, length); task='regression' says that labels are amounts"
        )
    return PositionScorer(each)


def _check_classes(labels: RowPositions, classes: int) -> None:
    bad = np.flatnonzero((labels.values < 0) | (labels.values >= classes))
    if len(bad):
        row = int(np.searchsorted(labels.starts + labels.lengths, bad[0], side="right"))
        raise DataError(
            f"row {row}, position {bad[0] - labels.starts[row]}: label {labels.values[bad[0]]} is "
            f"no class of a target with {classes} scores a position (0 to {classes - 1})\n"
            "  leave positions without a class out: of the labels, and by output= of the answers"
        )
