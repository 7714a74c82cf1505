"""The measurements of one test: their names, and what their verdicts do to it."""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import wraps
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

from pytest_dlperf.errors import BudgetFailure, DlperfError, DlperfWarning, UsageError
from pytest_dlperf.report.budget_table import failure_text
from pytest_dlperf.results.verdict import Judgement, consequence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_dlperf.config.plan import Plan
    from pytest_dlperf.measure.evaluator import Evaluation
    from pytest_dlperf.pytest_plugin.session import DlperfSession
    from pytest_dlperf.results.measurement import Measurement
    from pytest_dlperf.results.record import Record

P = ParamSpec("P")
R = TypeVar("R")

_LONGEST_NAME: Final = 100


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


class Measurements:
    """The measurements of one test, by name.

    Args:
        test: pytest's node id.
        session: its evaluator writes baselines.
    """

    def __init__(self, test: str, session: DlperfSession) -> None:
        self._test = test
        self._session = session
        self._evaluations: dict[str, Evaluation] = {}

    def __bool__(self) -> bool:
        return bool(self._evaluations)

    def check(self, name: str) -> None:
        """Check that this test may measure under a name.

        Raises:
            UsageError: if nothing may be measured in this process, or not under this name.
        """
        __tracebackhide__ = True
        self.check_machine()
        if not isinstance(name, str) or len(name) > _LONGEST_NAME:
            raise UsageError(
                f"name={name!r:.80}", f"expected a text of at most {_LONGEST_NAME} characters"
            )
        if name in self._evaluations:
            raise UsageError(
                f"this test has a measurement {name!r} already"
                if name
                else "this test has a measurement already",
                "tell them apart: dlperf(..., name='...')",
            )

    def check_machine(self) -> None:
        """Check that something may be measured in this process."""
        __tracebackhide__ = True
        if self._session.obstacle:
            raise UsageError(self._session.obstacle)

    def conclude(self, name: str, evaluation: Evaluation, plan: Plan) -> Measurement:
        """Keep a measurement, and fail or warn by its verdicts.

        To be called by a public method of the fixture itself: warnings point at the test's line.
        """
        __tracebackhide__ = True
        self._evaluations[name] = evaluation
        fail_or_warn(evaluation, plan, stacklevel=4)  # the method, its wrapper, the test
        return evaluation.record.measurement

    def finish(self, *, passed: bool) -> Iterator[Record]:
        """Yield the records once the test has ended; writes accepted baselines.

        Args:
            passed: whether the test passed; a failed test records no baseline.

        Raises:
            BaselineError: if a baseline cannot be written.
        """
        for name, evaluation in self._evaluations.items():
            record = evaluation.record
            if evaluation.accepted is not None and passed:
                self._session.evaluator.accept(self._test, name, evaluation.accepted)
            elif evaluation.accepted is not None:
                record = replace(record, hints=("not recorded: the test failed",), kept="")
            yield record


def fail_or_warn(evaluation: Evaluation, plan: Plan, *, stacklevel: int) -> None:
    """Apply the verdicts to the test that measured.

    Args:
        evaluation: of one measurement.
        plan: says whether a missing baseline, an inconclusive verdict or a base that could not be
            measured fails, warns or passes.
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
        what = consequence(
            judgement,
            missing=missing,
            inconclusive=plan.inconclusive,
            base_broken=plan.base_broken,
        )
        by_consequence[what].append(judgement)
    broken = by_consequence["fail"]
    if broken:
        raise BudgetFailure(tuple(j.budget for j in broken), failure_text(record, broken))
    budgets_by_cause: dict[tuple[str, str], list[str]] = {}
    for judgement in by_consequence["warn"]:
        cause = judgement.verdict.value, judgement.reason
        budgets_by_cause.setdefault(cause, []).append(judgement.budget)
    for (verdict, reason), budgets in budgets_by_cause.items():
        text = f"{verdict}: {', '.join(budgets)}: {reason}"
        warnings.warn(text, DlperfWarning, stacklevel=stacklevel + 1)
    for caution in evaluation.cautions:
        warnings.warn(caution, DlperfWarning, stacklevel=stacklevel + 1)
