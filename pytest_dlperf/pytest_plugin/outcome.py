"""How one call of the fixture ends: the test fails, warns, or goes on."""

from __future__ import annotations

import warnings
from functools import wraps
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from pytest_dlperf.errors import BudgetFailure, DlperfError, DlperfWarning
from pytest_dlperf.report.budget_table import failure_text
from pytest_dlperf.results.verdict import Judgement, consequence

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_dlperf.config.plan import Plan
    from pytest_dlperf.measure.evaluator import Evaluation

P = ParamSpec("P")
R = TypeVar("R")


def without_our_frames(call: Callable[P, R]) -> Callable[P, R]:
    """Raise our own errors with the test's line as the innermost frame."""

    @wraps(call)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        __tracebackhide__ = True
        try:
            return call(*args, **kwargs)
        except DlperfError as error:
            raise error.with_traceback(None)  # noqa: B904 - the same error, its cause kept

    return wrapper


def fail_or_warn(evaluation: Evaluation, plan: Plan, *, stacklevel: int) -> None:
    """Apply the verdicts to the test that measured.

    Args:
        evaluation: what was measured and judged.
        plan: says whether a missing baseline or an inconclusive verdict fails, warns or passes.
        stacklevel: of the test's line, counted from the caller.

    Raises:
        BudgetFailure: if a budget is broken.
    """
    __tracebackhide__ = True
    record = evaluation.record
    # A baseline that is being recorded is not missing.
    missing = "pass" if evaluation.accepted is not None else plan.missing
    by_consequence: dict[str, list[Judgement]] = {"fail": [], "warn": [], "pass": []}
    for judgement in record.judgements:
        what = consequence(judgement, missing=missing, inconclusive=plan.inconclusive)
        by_consequence[what].append(judgement)
    broken = by_consequence["fail"]
    if broken:
        raise BudgetFailure(tuple(j.budget for j in broken), failure_text(record, broken))
    for judgement in by_consequence["warn"]:
        text = f"{judgement.verdict.value}: {judgement.budget}: {judgement.reason}"
        warnings.warn(text, DlperfWarning, stacklevel=stacklevel + 1)
    for caution in evaluation.cautions:
        warnings.warn(caution, DlperfWarning, stacklevel=stacklevel + 1)
