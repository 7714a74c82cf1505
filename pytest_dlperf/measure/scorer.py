"""Which scorer fits a target's answers, and the budgets that no scorer can judge."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_dlperf.data.scoring import Scorer, scorer_for
from pytest_dlperf.errors import DataError, UsageError
from pytest_dlperf.trees import RowTree, as_tree, leaves

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pytest_dlperf.config.plan import Plan
    from pytest_dlperf.load.answer_layout import AnswerLayout
    from pytest_dlperf.metrics import Metric
    from pytest_dlperf.trees import Rows


def measured_by_users(plan: Plan) -> tuple[str, ...]:
    """Names of the users' metrics in a plan's budgets, each once."""
    named = (budget.metric.name for budget in plan.budgets if budget.metric.by_user)
    return tuple(dict.fromkeys(named))


def labels_to_score(labels: Rows | None, layout: AnswerLayout) -> NDArray[Any] | None:
    """The labels of the output that is scored: in a tree, those of the same path; None if none."""
    if labels is None or not (layout.is_chosen and layout.has_score):
        return None
    if not isinstance(labels, RowTree):
        return labels
    scored = layout.paths[layout.scored] if layout.scored is not None else None
    found = (leaf for path, leaf in leaves(labels.tree) if path == scored)
    return next((leaf for leaf in found if isinstance(leaf, np.ndarray)), None)


def scorer_of_load(
    answer: NDArray[Any], layout: AnswerLayout, labels: Rows | None, plan: Plan
) -> Scorer | None:
    """The scorer that fits the answers under a load; None without labels.

    Args:
        answer: what is scored of a sample of the answers, shape `(rows, ...)`.
        layout: of the answers.
        labels: of all rows.
        plan: with the budgets and the task.

    Raises:
        UsageError: if none of several outputs is chosen, and as `scorer_of`.
        DataError: as `scorer_of`.
    """
    if labels is None:
        return None
    chosen = labels_to_score(labels, layout)
    if chosen is not None:
        return scorer_of(answer, chosen, plan)
    if _asks_users_only(plan):
        return None
    raise _unscored(labels, layout)


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
    if not scorer.classifies:
        shape = f"({', '.join(map(str, ('batch', *answer.shape[1:])))})"
        problem = (
            f"answers of shape {shape} and labels of shape {labels.shape} and type "
            f"{labels.dtype} are a regression, which has no accuracy"
        )
        hint = (
            "a budget on loss judges it; for a classification: labels that are class numbers and "
            "a score for each class, 0/1 labels and one score, or task="
        )
        refuse_budgets(plan, lambda metric: metric.name == "accuracy", problem, hint)
    return scorer


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
            "output=lambda outputs: ... makes numbers of one shape of them; a metric of your own "
            "gets them as they are; with labels=None only speed is measured",
        )
    names = ", ".join(path for path, _ in leaves(as_tree(labels)))
    return UsageError(
        f"there are labels for {names}, but the answers to score are {outputs}",
        "give one array of labels, or labels whose names are those of the outputs",
    )


def refuse_budgets(plan: Plan, needs: Callable[[Metric], bool], problem: str, hint: str) -> None:
    """Raise UsageError with problem and hint if a budget is on a metric that `needs` accepts."""
    for budget in plan.judged:
        if needs(budget.metric):
            raise UsageError(f"budget {budget.text!r} cannot be judged: {problem}", hint)
