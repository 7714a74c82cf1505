"""A trained model's answers to all rows, and which of its outputs is scored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_dlperf.data.position_scoring import PositionScorer, position_scorer
from pytest_dlperf.data.scoring import Scorer, scorer_for
from pytest_dlperf.errors import TargetError, UsageError
from pytest_dlperf.load.answer_layout import AnswerLayout, layout_of
from pytest_dlperf.load.answer_leaves import MisfitError
from pytest_dlperf.load.answer_tree import Sample
from pytest_dlperf.load.positions import RowPositions, cut
from pytest_dlperf.measure.scorer import labels_by_position, labels_to_score
from pytest_dlperf.ragged import PaddedRows
from pytest_dlperf.trees import as_tree, leaves, mapped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pytest_dlperf.load.answer_layout import Output
    from pytest_dlperf.load.answer_leaves import Leaf
    from pytest_dlperf.trees import Rows, Tree


@dataclass(frozen=True, slots=True, eq=False)
class ModelAnswers:
    """The answers of a model to all rows.

    Attributes:
        layout: of its outputs.
        parts: the outputs.
        scored: what is scored of them, shape `(rows, ...)`, or the positions of the rows.
        labels: of what is scored; None if no output is chosen, or it has no labels.
    """

    layout: AnswerLayout
    parts: Sequence[Leaf]
    scored: NDArray[Any] | RowPositions
    labels: NDArray[Any] | PaddedRows | None

    @property
    def positions(self) -> NDArray[np.int64] | None:
        """Positions of each row that are right or wrong, shape `(rows,)`; None if rows are."""
        return self.scored.lengths if isinstance(self.scored, RowPositions) else None

    def scorer(self) -> Scorer | PositionScorer:
        """The scorer that fits answers and labels, of which there must be some.

        Raises:
            DataError: if none does.
        """
        if isinstance(self.scored, RowPositions) and isinstance(self.labels, PaddedRows):
            return position_scorer(self.scored, self.labels)
        return scorer_for(np.asarray(self.scored), np.asarray(self.labels))

    def score(
        self, scorer: Scorer | PositionScorer
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """For each row, right answers or positions, and its mean loss; shapes `(rows,)`."""
        if isinstance(scorer, Scorer):
            return scorer.score(np.asarray(self.scored), np.asarray(self.labels))
        assert isinstance(self.scored, RowPositions)  # noqa: S101 - as in `scorer`
        assert isinstance(self.labels, PaddedRows)  # noqa: S101
        return scorer.score(self.scored, self.labels)

    def for_users(self) -> Tree:
        """The answers as users' metrics take them: what is scored if it was chosen."""
        rows = np.arange(len(self.scored))
        tree: Tree = self.layout.of_rows(self.parts, self.scored, rows)
        return tree


def model_answers(
    outputs: Tree, labels: Rows, output: Output | None, names: Sequence[str] | None = None
) -> ModelAnswers:
    """Take the outputs of a model apart.

    Args:
        outputs: to all rows.
        labels: of all rows; a tree of them has the paths of the outputs.
        output: which output is scored, or a function of them all.
        names: of the outputs, if they have any; outputs in a list, whose labels are in a dict, are
            called so.

    Raises:
        UsageError: if `output` names none of them.
        TargetError: if they have no row for each row of the labels.
    """
    tree = as_tree(labels)
    if isinstance(outputs, list | tuple) and isinstance(tree, Mapping) and names is not None:
        outputs = dict(zip(names, outputs, strict=False))
    elif isinstance(outputs, np.ndarray) and len(list(leaves(tree))) == 1:
        outputs = mapped(lambda _: outputs, tree)
    try:
        layout = layout_of([Sample(outputs, len(labels))], output)
        parts = layout.parts(outputs, len(labels))
        ragged = labels_by_position(labels, layout)
        if ragged is not None and layout.sequences is not None:
            read = layout.read_by_position()
            scored, _ = cut(read.to_cut(parts), ragged.ends)
            if np.array_equal(scored.lengths, ragged.ends):
                return ModelAnswers(read, parts, scored, ragged)
        by_row = labels_to_score(labels, layout)
        return ModelAnswers(layout, parts, layout.to_score(parts), by_row)
    except MisfitError as error:
        raise TargetError(f"the model's answers cannot be scored: it {error}") from error


def unscored(answers: ModelAnswers) -> str:
    """A note that answers have no accuracy and no loss; empty if they are scored."""
    if answers.labels is not None:
        return ""
    outputs = ", ".join(path or "one array" for path in answers.layout.paths)
    if answers.layout.compute is not None:
        return (
            f"accuracy and loss are left out: output= is a function, for whose value there are no "
            f"labels; it may name one of the outputs ({outputs})"
        )
    return f"accuracy and loss are left out: output= may name one of the outputs ({outputs})"


def check_labels(answers: ModelAnswers, labels: Rows) -> None:
    """Refuse labels that are named otherwise than the outputs, before Keras does.

    Raises:
        UsageError: naming both.
    """
    tree = as_tree(labels)
    if isinstance(tree, np.ndarray):
        return
    paths = {path for path, _ in leaves(tree)}
    if not paths <= set(answers.layout.paths):
        raise UsageError(
            f"there are labels for {', '.join(sorted(paths))}, but the model answers "
            f"{', '.join(path or 'one array' for path in answers.layout.paths)}",
            "name the labels as the outputs, or give them in the order of these in a tuple",
        )
