"""Bookkeeping: what one test has measured, and what becomes of it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from functools import wraps
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

from pytest_dlperf.errors import BudgetFailure, DlperfError, DlperfWarning, UsageError
from pytest_dlperf.report.budget_table import failure_text
from pytest_dlperf.results.verdict import Judgement, consequence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np

    from pytest_dlperf.config.plan import Plan
    from pytest_dlperf.judge.error_rates import ErrorRates
    from pytest_dlperf.measure.evaluator import Evaluation, Evaluator
    from pytest_dlperf.measure.prepared import Instruments
    from pytest_dlperf.results.environment import Environment
    from pytest_dlperf.results.measurement import Measurement
    from pytest_dlperf.results.record import Record

_LONGEST_NAME: Final = 100

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class SessionServices:
    """What is the same for all tests of a session.

    Attributes:
        bench: time, what the process uses, and the progress line.
        arena: where measurements are taken.
        environment: asks for the software of this process.
        obstacle: why nothing may be measured here; empty if it may.
        rates: asks for the error rates of each relative budget.
        coins: a new generator of coins for each duel.
    """

    bench: Instruments
    arena: Evaluator
    environment: Callable[[], Environment]
    obstacle: str
    rates: Callable[[], ErrorRates]
    coins: Callable[[], np.random.Generator]


def without_our_frames(call: Callable[P, R]) -> Callable[P, R]:
    """A call whose frames do not show in an error of ours: they tell the user nothing."""

    @wraps(call)
    def plainly(*args: P.args, **kwargs: P.kwargs) -> R:
        __tracebackhide__ = True
        try:
            return call(*args, **kwargs)
        except DlperfError as error:
            raise error.with_traceback(None)  # noqa: B904 - the same error, its cause kept

    return plainly


class MeasurementsOfTest:
    """What one test has measured so far.

    Args:
        test: pytest's node id.
        workplace: what is the same for all tests.
    """

    def __init__(self, test: str, workplace: SessionServices) -> None:
        self._test = test
        self._workplace = workplace
        self._findings: dict[str, Evaluation] = {}

    def __bool__(self) -> bool:
        """Whether there is anything in them."""
        return bool(self._findings)

    def finish(self, *, passed: bool) -> Iterator[Record]:
        """The records of the test, when it is known how it ended; writes accepted baselines.

        Args:
            passed: whether the test passed; what a failed test measured is no baseline.

        Raises:
            BaselineError: if a baseline cannot be written.
        """
        for name, finding in self._findings.items():
            record = finding.record
            if finding.accepted is not None and passed:
                self._workplace.arena.accept(self._test, name, finding.accepted)
            elif finding.accepted is not None:
                record = replace(record, hints=("not recorded: the test failed",), kept="")
            yield record

    def check_place(self) -> None:
        """See that anything may be measured here.

        Raises:
            UsageError: with the reason, if it may not.
        """
        __tracebackhide__ = True
        if self._workplace.obstacle:
            raise UsageError(self._workplace.obstacle)

    def check(self, name: str) -> None:
        """See that this test may measure something of this name.

        Raises:
            UsageError: if it may not.
        """
        __tracebackhide__ = True
        self.check_place()
        if not isinstance(name, str) or len(name) > _LONGEST_NAME:
            raise UsageError(
                f"name={name!r:.80}", f"expected a text of at most {_LONGEST_NAME} characters"
            )
        if name in self._findings:
            raise UsageError(
                f"this test has a measurement {name!r} already"
                if name
                else "this test has a measurement already",
                "tell them apart: dlperf(..., name='...')",
            )

    def concluded(self, finding: Evaluation, plan: Plan, name: str) -> Measurement:
        """Note what was found under a name, and what its budgets make of the test.

        Raises:
            BudgetFailure: if a budget is not held.
        """
        __tracebackhide__ = True
        self._findings[name] = finding
        self.conclude(finding, plan)
        return finding.record.measurement

    def conclude(self, finding: Evaluation, plan: Plan) -> None:
        """Let the test fail, or warn, as its budgets ask.

        Raises:
            BudgetFailure: if a budget is not held.
        """
        __tracebackhide__ = True
        record = finding.record
        # What is being recorded is not missing any more.
        missing = "pass" if finding.accepted is not None else plan.missing
        by_consequence: dict[str, list[Judgement]] = {"fail": [], "warn": [], "pass": []}
        for judgement in record.judgements:
            what = consequence(judgement, missing=missing, inconclusive=plan.inconclusive)
            by_consequence[what].append(judgement)
        if by_consequence["fail"]:
            broken = by_consequence["fail"]
            raise BudgetFailure(tuple(j.budget for j in broken), failure_text(record, broken))
        for judgement in by_consequence["warn"]:
            warnings.warn(
                f"{judgement.verdict.value}: {judgement.budget}: {judgement.reason}",
                DlperfWarning,
                stacklevel=5,  # the test's own line
            )
        for caution in finding.cautions:
            warnings.warn(caution, DlperfWarning, stacklevel=5)
