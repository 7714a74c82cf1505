"""Which scorer fits a target's answers, and the budgets that no scorer can judge."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_dlperf.data.position_scoring import PositionScorer, position_scorer
from pytest_dlperf.data.scoring import Scorer, scorer_for
from pytest_dlperf.errors import DataError, UsageError
from pytest_dlperf.load.answer_leaves import leaf_words
from pytest_dlperf.load.positions import cut
from pytest_dlperf.measure.scored_rows import length_words
from pytest_dlperf.ragged import PaddedRows
from pytest_dlperf.trees import RowTree, as_tree, leaves

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from pytest_dlperf.config.plan import Plan
    from pytest_dlperf.data.dataset import Data
    from pytest_dlperf.load.answer_layout import AnswerLayout
    from pytest_dlperf.load.answer_leaves import Leaf
    from pytest_dlperf.load.positions import RowPositions
    from pytest_dlperf.metrics import Metric
    from pytest_dlperf.trees import Rows


def measured_by_users(plan: Plan) -> tuple[str, ...]:
    """Names of the users' metrics in a plan's budgets, each once."""
    named = (budget.metric.name for budget in plan.budgets if budget.metric.by_user)
    return tuple(dict.fromkeys(named))


def labels_to_score(labels: Rows | None, layout: AnswerLayout) -> NDArray[Any] | None:
    """The labels of the output that is scored, one of each row; None if there are none."""
    found = _labels_of_output(labels, layout) if layout.has_score else None
    return found if isinstance(found, np.ndarray) else None


def labels_by_position(labels: Rows | None, layout: AnswerLayout) -> PaddedRows | None:
    """The labels of the output that is scored, of many lengths; None if there are none."""
    found = _labels_of_output(labels, layout)
    return found if isinstance(found, PaddedRows) else None


def lengths_of(labels: Rows | None, layout: AnswerLayout) -> NDArray[np.int64] | None:
    """The lengths up to which rows are compared, shape `(rows,)`; None if by row."""
    found = labels_by_position(labels, layout) if layout.by_position else None
    return None if found is None else found.ends


def _labels_of_output(labels: Rows | None, layout: AnswerLayout) -> object:
    """The labels of the output that is chosen: in a tree, those of the same path."""
    if labels is None or not layout.is_chosen:
        return None
    if not isinstance(labels, RowTree):
        return labels
    named = dict(leaves(labels.tree))
    number = layout.scored if layout.sequences is None else layout.sequences.number
    return named.get("") if number is None else named.get(layout.paths[number], named.get(""))


def scoring_of_load(
    parts: Sequence[Leaf],
    layout: AnswerLayout,
    data: Data,
    order: NDArray[np.int64],
    plan: Plan,
) -> tuple[AnswerLayout, Scorer | PositionScorer | None]:
    """How answers under a load are laid out and scored: row by row, or position by position.

    Args:
        parts: the outputs of a sample of the answers.
        layout: of the answers.
        data: with the labels, if there are any.
        order: the data's rows in the order of the sample, at least as many.
        plan: with the budgets and the task.

    Returns:
        The layout with which answers are scored, and the scorer; None without labels, or if these
        are for users' metrics only.

    Raises:
        UsageError: if none of several outputs is chosen, and as `scorer_of`.
        DataError: as `scorer_of`; if an answer has not the length of its labels.
    """
    labels = data.labels
    if labels is None:
        return layout, None
    by_position = labels_by_position(labels, layout)
    if by_position is not None:
        alike = any(np.array_equal(by_position.ends, leaf.ends) for leaf in _ragged(data.inputs))
        if _asks_users_only(plan) and plan.task is None and not alike:
            return layout, None  # may well be things of which a row has several, as items wanted
        return _by_position(parts, layout, by_position, order, plan)
    chosen = labels_to_score(labels, layout)
    if chosen is not None:
        return layout, scorer_of(layout.to_score(parts), chosen, plan)
    refuse_unscored(labels, layout, plan)
    return layout, None


def refuse_unscored(labels: Rows, layout: AnswerLayout, plan: Plan) -> None:
    """Raise UsageError unless labels that fit no output are for users' metrics only."""
    if not _asks_users_only(plan):
        raise _unscored(labels, layout)


def _by_position(
    parts: Sequence[Leaf],
    layout: AnswerLayout,
    labels: PaddedRows,
    order: NDArray[np.int64],
    plan: Plan,
) -> tuple[AnswerLayout, PositionScorer | None]:
    users_only = _asks_users_only(plan)
    try:
        read, answers, words = _read_by_position(parts, layout, labels, order)
        scorer = position_scorer(answers, labels, plan.task)
    except DataError:
        if users_only:
            return layout, None
        raise
    _refuse_accuracy(scorer, words, "by position", plan)
    return read, scorer


def other_lengths(
    inputs: Rows, lengths: NDArray[np.int64], parts: Sequence[Leaf], layout: AnswerLayout
) -> str:
    """A note if labels have other lengths than their rows, and answers are padded; else empty.

    The positions that have no label may then be the first ones.
    """
    ragged = _ragged(inputs)
    if not ragged or isinstance(layout.to_cut(parts), list):
        return ""
    differ = [np.flatnonzero(leaf.ends != lengths) for leaf in ragged]
    if not all(map(len, differ)):
        return ""
    row = int(differ[0][0])
    return (
        f"labels have other lengths than their rows (row {row}: {lengths[row]} for "
        f"{ragged[0].ends[row]} values): the first positions of its padded answer are scored"
    )


def _ragged(inputs: Rows) -> list[PaddedRows]:
    return [leaf for _, leaf in leaves(as_tree(inputs)) if isinstance(leaf, PaddedRows)]


def _read_by_position(
    parts: Sequence[Leaf], layout: AnswerLayout, labels: PaddedRows, order: NDArray[np.int64]
) -> tuple[AnswerLayout, RowPositions, str]:
    """The layout by position, and a sample of the answers up to their lengths, also in words."""
    if layout.sequences is None:
        raise _no_sequences(parts, layout)
    read = layout.read_by_position()
    rows = order[: len(parts[0])]
    leaf, lengths = read.to_cut(parts), labels.ends[rows]
    answers, found = cut(leaf, lengths)
    wrong = np.flatnonzero(answers.lengths != lengths)
    if len(wrong):
        words = length_words(int(lengths[wrong[0]]), int(found[wrong[0]]))
        raise wrong_length(int(rows[wrong[0]]), words)
    return read, answers, leaf_words(leaf)


def wrong_length(row: int, words: str) -> DataError:
    """That the answer to a row of the data has not the length of its labels, as `words` say."""
    return DataError(
        f"row {row}: {words}\n  labels have one value for each position of the answer: cut them as "
        "the target cuts its rows, or pick the positions that have labels by output=lambda "
        "outputs: ..."
    )


def _no_sequences(parts: Sequence[Leaf], layout: AnswerLayout) -> DataError:
    if layout.compute is not None:
        answered = "what output= returns has"
    else:
        answered = f"the answers ({leaf_words(parts[layout.scored or 0])}) have"
    return DataError(
        f"labels are Ragged, so of positions, but {answered} no positions to compare\n  expected "
        "numbers of shape (batch, length, ...), or a list of one array (length, ...) a row; "
        "labels of rows are one array"
    )


def scorer_of(answer: NDArray[Any], labels: NDArray[Any], plan: Plan) -> Scorer | None:
    """The scorer that fits answers and labels; None if labels are for users' metrics only.

    Raises:
        UsageError: if a budget needs an accuracy that labels do not allow.
        DataError: if labels do not fit the answers.
    """
    try:
        scorer = scorer_for(answer, labels, plan.task)
    except DataError:
        if _asks_users_only(plan):
            return None
        raise
    shape = f"of shape ({', '.join(map(str, ('batch', *answer.shape[1:])))})"
    _refuse_accuracy(scorer, shape, f"of shape {labels.shape} and type {labels.dtype}", plan)
    return scorer


def _refuse_accuracy(
    scorer: Scorer | PositionScorer, answers: str, labels: str, plan: Plan
) -> None:
    """Raise UsageError if a budget is on the accuracy of what has none."""
    if scorer.classifies:
        return
    hint = (
        "a budget on loss judges it; for a classification: labels that are class numbers and "
        "a score for each class, 0/1 labels and one score, or task="
    )
    problem = f"answers {answers} and labels {labels} are a regression, which has no accuracy"
    refuse_budgets(plan, lambda metric: metric.name == "accuracy", problem, hint)


def _asks_users_only(plan: Plan) -> bool:
    """Whether the budgets on answers are all on users' metrics."""
    named = [budget.metric for budget in plan.judged if budget.metric.of_answers]
    return bool(measured_by_users(plan)) and all(metric.by_user for metric in named)


def _unscored(labels: Rows, layout: AnswerLayout) -> UsageError:
    """What is missing to score the answers of a target with several outputs, or labels."""
    outputs = ", ".join(path or "one array" for path in layout.paths)
    if not layout.is_chosen:
        return UsageError(
            f"the target answers several outputs ({outputs}), and labels are given",
            f"output={layout.paths[0]!r} names the one that the labels belong to, or a function "
            "of them all computes it; a metric of your own gets all of them",
        )
    if not layout.has_score:
        return UsageError(
            "labels are given, but the answers are text, or differ in shape from row to row or "
            "from call to call",
            "labels of each position are given as Ragged(labels); output=lambda outputs: ... makes "
            "numbers of one shape of them; a metric of your own gets them as they are; with "
            "labels=None only speed is measured",
        )
    names = ", ".join(path for path, _ in leaves(as_tree(labels)))
    if layout.compute is not None:
        return UsageError(
            f"output= is a function, and the labels are a tree ({names}): none of them is named as "
            "belonging to what it returns",
            f"give the one array of labels for what it returns, or name an output ({outputs})",
        )
    return UsageError(
        f"there are labels for {names}, but the answers to score are {outputs}",
        "give one array of labels, or labels whose names are those of the outputs",
    )


def refuse_budgets(plan: Plan, needs: Callable[[Metric], bool], problem: str, hint: str) -> None:
    """Raise UsageError with problem and hint if a budget is on a metric that `needs` accepts."""
    for budget in plan.judged:
        if needs(budget.metric):
            raise UsageError(f"budget {budget.text!r} cannot be judged: {problem}", hint)
