"""What the `dlperf` fixture is: measure, judge, record, and raise if a budget is not held."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from functools import wraps
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

from pytest_dlperf.core.acceptance import decide_acceptance
from pytest_dlperf.core.baseline import accept
from pytest_dlperf.core.data import as_data
from pytest_dlperf.core.judge import judge
from pytest_dlperf.core.latency_limit import parse_limit
from pytest_dlperf.core.metrics import LOAD_METRICS, RATE_METRICS
from pytest_dlperf.core.options import Clients, Update, from_call
from pytest_dlperf.core.record import Record
from pytest_dlperf.core.scenarios import ClosedLoop, Server
from pytest_dlperf.core.sweep import CLIENTS, checked_clients
from pytest_dlperf.core.verdict import Judgement, consequence
from pytest_dlperf.engine.max_rate import measure_max_rate
from pytest_dlperf.engine.measure import measure
from pytest_dlperf.engine.sweep import measure_sweep
from pytest_dlperf.errors import BudgetFailure, DlperfError, DlperfWarning, UsageError
from pytest_dlperf.reports.budgets import failure_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from pytest_dlperf.adapters.files import BaselineFiles
    from pytest_dlperf.core.baseline import Accepted, Revision
    from pytest_dlperf.core.data import Data
    from pytest_dlperf.core.environment import Environment
    from pytest_dlperf.core.measurement import Measurement
    from pytest_dlperf.core.plan import Plan
    from pytest_dlperf.core.scenarios import Scenario
    from pytest_dlperf.core.serving import Serving
    from pytest_dlperf.core.sweep import Sweep
    from pytest_dlperf.engine.rig import Bench

_LONGEST_NAME: Final = 100
_CI_GUARD: Final = "not recorded in CI; --dlperf-update-in-ci allows it"

P = ParamSpec("P")
R = TypeVar("R")


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


def _without_our_frames(call: Callable[P, R]) -> Callable[P, R]:
    """The frames that lead to an error of ours tell the user nothing."""

    @wraps(call)
    def plainly(*args: P.args, **kwargs: P.kwargs) -> R:
        __tracebackhide__ = True
        try:
            return call(*args, **kwargs)
        except DlperfError as error:
            raise error.with_traceback(None)  # noqa: B904 - the same error, its cause kept

    return plainly


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
        self._swept = False

    @property
    def measured(self) -> bool:
        """Whether anything was measured yet."""
        return self._swept or bool(self._findings)

    @_without_our_frames
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
        plan = self._plan.override(
            from_call(scenario=scenario, serving=serving, clients=clients, duration=duration)
        ).limited_to(LOAD_METRICS, "dlperf(...)", "measure it with dlperf.max_rate(...)")

        def take(rows: Data) -> Measurement:
            bench = self._workplace.bench
            return measure(target, rows, plan, bench, test=self._test, name=name)

        return self._measure(take, data, plan, name)

    @_without_our_frames
    def max_rate(  # noqa: PLR0913 - each overrides one argument of the marker
        self,
        target: object,
        data: object,
        *,
        slo: str,
        serving: Serving | None = None,
        duration: float | str | None = None,
        name: str = "",
    ) -> Measurement:
        """Find the highest rate of Poisson arrivals that holds a limit, and judge it.

        The value of the metric `max_rate` is the highest rate that is proven to hold; its
        interval ends at the lowest that is proven to fail.

        Args:
            target: as for `dlperf(...)`.
            data: as for `dlperf(...)`.
            slo: the limit, a latency that a percentile must not exceed, such as `"p99 <= 10ms"`.
            serving: batching and replicas; wins over the marker's.
            duration: of one window, seconds or text such as `"5s"`; wins over the marker's. It
                is lengthened to 100 times the limit. A rate is tried for one to four windows, all
                rates together for at most twenty.
            name: tells several measurements of one test apart.

        Raises:
            BudgetFailure: if a budget is not held.
            UsageError: if what was asked for makes no sense.
            DataError: if the data cannot be used.
            TargetError: if the target cannot be called at all, or a call does not return.
            BaselineError: if the stored baseline cannot be read.
        """
        __tracebackhide__ = True
        limit = parse_limit(slo)
        plan = self._plan.override(
            from_call(scenario=Server(1.0), serving=serving, duration=duration)
        ).limited_to(RATE_METRICS, "dlperf.max_rate(...)", "measure it with dlperf(...)")

        def take(rows: Data) -> Measurement:
            bench = self._workplace.bench
            return measure_max_rate(target, rows, plan, bench, limit, test=self._test, name=name)

        return self._measure(take, data, plan, name)

    @_without_our_frames
    def sweep(
        self,
        target: object,
        data: object,
        *,
        clients: Iterable[int] = CLIENTS,
        serving: Serving | None = None,
        duration: float | str | None = None,
    ) -> Sweep:
        """Throughput and latency over the number of clients, and where the curve bends.

        No budget is judged but those on errors, and nothing is recorded.

        Args:
            target: as for `dlperf(...)`.
            data: as for `dlperf(...)`.
            clients: numbers of clients, each a closed loop of its own.
            serving: batching and replicas; wins over the marker's.
            duration: of each load, seconds or text such as `"5s"`; wins over the marker's.

        Raises:
            BudgetFailure: if requests ended badly.
            UsageError: if what was asked for makes no sense.
            DataError: if the data cannot be used.
            TargetError: if the target cannot be called at all, or a call does not return.
        """
        __tracebackhide__ = True
        self._check_place()
        counts = checked_clients(clients)
        plan = self._plan.override(
            from_call(scenario=ClosedLoop(counts[0]), serving=serving, duration=duration)
        ).only_errors()
        bench = self._workplace.bench
        own = {budget.metric.name for budget in self._plan.budgets} - self._plan.run_wide
        self._swept = own <= {"errors"}
        found = measure_sweep(target, as_data(data), plan, bench, clients=counts, test=self._test)
        judgements = judge(found.whole, plan.judged, None, self._workplace.environment(), "")
        record = Record(found.whole, judgements, (), quick=plan.quick)
        self._conclude(_Finding(record, None), plan)
        return found

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

    def _check_place(self) -> None:
        if self._workplace.obstacle:
            raise UsageError(self._workplace.obstacle)

    def _measure(
        self, take: Callable[[Data], Measurement], data: object, plan: Plan, name: str
    ) -> Measurement:
        __tracebackhide__ = True
        self._check_place()
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
        finding = self._judge(take(rows), plan, stored.accepted if stored else {})
        self._findings[name] = finding
        self._conclude(finding, plan)
        return finding.record.measurement

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
                stacklevel=5,  # the test's own line
            )
