"""Which scorer fits a target's answers, and the budgets that no scorer can judge."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_dlperf.data.scoring import Scorer, scorer_for
from pytest_dlperf.errors import DataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pytest_dlperf.config.plan import Plan
    from pytest_dlperf.data.dataset import Data
    from pytest_dlperf.metrics import Metric


def measured_by_users(plan: Plan) -> tuple[str, ...]:
    """Names of the users' metrics in a plan's budgets, each once."""
    named = (budget.metric.name for budget in plan.budgets if budget.metric.by_user)
    return tuple(dict.fromkeys(named))


def scorer_of(answer: NDArray[Any], data: Data, plan: Plan) -> Scorer | None:
    """The scorer that fits answers and labels; None without labels, or for users' metrics only.

    Raises:
        UsageError: if a budget needs an accuracy that labels do not allow.
        DataError: if labels do not fit the answers.
    """
    if data.labels is None:
        return None
    try:
        scorer = scorer_for(answer, data.labels, plan.task)
    except DataError:
        built_in = any(b.metric.of_answers and not b.metric.by_user for b in plan.judged)
        if built_in or not measured_by_users(plan):
            raise
        return None
    if not scorer.classifies:
        shape = f"({', '.join(map(str, ('batch', *answer.shape[1:])))})"
        problem = (
            f"answers of shape {shape} and labels of shape {data.labels.shape} and type "
            f"{data.labels.dtype} are a regression, which has no accuracy"
        )
        hint = (
            "a budget on loss judges it; for a classification: labels that are class numbers and "
            "a score for each class, 0/1 labels and one score, or task="
        )
        refuse_budgets(plan, lambda metric: metric.name == "accuracy", problem, hint)
    return scorer


def refuse_budgets(plan: Plan, needs: Callable[[Metric], bool], problem: str, hint: str) -> None:
    """Raise UsageError with problem and hint if a budget is on a metric that `needs` accepts."""
    for budget in plan.judged:
        if needs(budget.metric):
            raise UsageError(f"budget {budget.text!r} cannot be judged: {problem}", hint)
