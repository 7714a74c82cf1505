"""What the `dlperf` fixture is: measure, judge, record, and raise if a budget is not held."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from pytest_dlperf.core.acceptance import decide_acceptance
from pytest_dlperf.core.baseline import accept
from pytest_dlperf.core.data import as_data
from pytest_dlperf.core.judge import judge
from pytest_dlperf.core.options import Clients, Update, from_call
from pytest_dlperf.core.record import Record
from pytest_dlperf.core.verdict import Judgement, consequence
from pytest_dlperf.engine.measure import measure
from pytest_dlperf.errors import BudgetFailure, DlperfError, DlperfWarning, UsageError
from pytest_dlperf.reports.budgets import failure_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pytest_dlperf.adapters.files import BaselineFiles
    from pytest_dlperf.core.baseline import Accepted, Revision
    from pytest_dlperf.core.environment import Environment
    from pytest_dlperf.core.measurement import Measurement
    from pytest_dlperf.core.plan import Plan
    from pytest_dlperf.core.scenarios import Scenario
    from pytest_dlperf.core.serving import Serving
    from pytest_dlperf.engine.rig import Bench

_LONGEST_NAME: Final = 100
_CI_GUARD: Final = "not recorded in CI; --dlperf-update-in-ci allows it"


@dataclass(frozen=True, slots=True)
class Workplace:
    """What is the same for all tests of a session.

    Attributes:
        bench: time, what the process uses, and the progress line.
        store: the baselines of this machine class.
        environment: asks for the software of this process.
        revision: asks for the code that is being measured.
        machine: the machine class, as a name.
        update: which baselines may be written.
        ci_guard: whether baselines that would be written are not, because this is CI.
        obstacle: why nothing may be measured here; empty if it may.
    """

    bench: Bench
    store: BaselineFiles
    environment: Callable[[], Environment]
    revision: Callable[[], Revision]
    machine: str
    update: Update | None
    ci_guard: bool
    obstacle: str


@dataclass(frozen=True, slots=True)
class _Finding:
    """A record, and what becomes the baseline if the test passes."""

    record: Record
    accepted: Accepted | None


class Dlperf:
    """Measures targets on behalf of one test.

    Args:
        test: pytest's node id.
        plan: what the test's marker and the options say.
        workplace: what is the same for all tests.
    """

    def __init__(self, test: str, plan: Plan, workplace: Workplace) -> None:
        self._test = test
        self._plan = plan
        self._workplace = workplace
        self._findings: dict[str, _Finding] = {}

    @property
    def measured(self) -> bool:
        """Whether anything was measured yet."""
        return bool(self._findings)

    def __call__(  # noqa: PLR0913 - each overrides one argument of the marker
        self,
        target: object,
        data: object,
        *,
        scenario: Scenario | None = None,
        serving: Serving | None = None,
        clients: Clients | None = None,
        duration: float | str | None = None,
        name: str = "",
    ) -> Measurement:
        """Put a target under load, judge the test's budgets, and return what was measured.

        Args:
            target: a Keras model, a `tf.function`, an object with a method `infer(batch)`, or a
                callable `infer(batch)`: one leading batch axis in and out.
            data: `(inputs, labels)` or an object with `.inputs` and `.labels`, shape
                `(rows, ...)`; labels may be None, then there is no accuracy and no loss.
            scenario: the traffic; wins over the marker's.
            serving: batching and replicas; wins over the marker's.
            clients: `"threads"` for a callable that takes one row, without the batch axis, and
                `"async"` for a coroutine function that does; wins over the marker's.
            duration: seconds, or text such as `"5s"`; wins over the marker's.
            name: tells several measurements of one test apart.

        Raises:
            BudgetFailure: if a budget is not held.
            UsageError: if what was asked for makes no sense.
            DataError: if the data cannot be used.
            TargetError: if the target cannot be called at all.
            BaselineError: if the stored baseline cannot be read.
        """
        __tracebackhide__ = True
        try:
            plan = self._plan.override(
                from_call(scenario=scenario, serving=serving, clients=clients, duration=duration)
            )
            finding = self._measure(target, data, plan, name)
            self._findings[name] = finding
            self._conclude(finding, plan)
        except DlperfError as error:
            # The frames that lead there are ours, and tell the user nothing.
            raise error.with_traceback(None)  # noqa: B904 - the same error, its cause kept
        return finding.record.measurement

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
                self._workplace.store.save(self._test, name, finding.accepted)
            elif finding.accepted is not None:
                record = replace(record, hints=("not recorded: the test failed",))
            yield record

    def _measure(self, target: object, data: object, plan: Plan, name: str) -> _Finding:
        if self._workplace.obstacle:
            raise UsageError(self._workplace.obstacle)
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
        rows = as_data(data)
        # Read before measuring, so that a damaged file costs no measuring time.
        stored = None if plan.quick else self._workplace.store.load(self._test)
        found = measure(target, rows, plan, self._workplace.bench, test=self._test, name=name)
        return self._judge(found, plan, stored.accepted if stored else {})

    def _judge(self, found: Measurement, plan: Plan, stored: Mapping[str, Accepted]) -> _Finding:
        workplace = self._workplace
        environment = workplace.environment()
        old = stored.get(found.name)
        judgements = judge(
            found,
            plan.judged,
            old,
            environment,
            f"no baseline yet on this machine class ({workplace.machine})",
        )
        if plan.quick:
            return _Finding(Record(found, judgements, (), quick=True), None)
        update = None if workplace.ci_guard else workplace.update
        decision = decide_acceptance(update, found, judgements, known=old is not None)
        hint = _CI_GUARD if workplace.ci_guard else decision.hint
        hints = (hint,) if hint else ()
        accepted = accept(found, environment, workplace.revision()) if decision.save else None
        return _Finding(Record(found, decision.judgements, hints, quick=False), accepted)

    def _conclude(self, finding: _Finding, plan: Plan) -> None:
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
                stacklevel=3,  # the test's own line
            )
