"""What the `dlperf` fixture is: measure, judge, record, and raise if a budget is not held."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from functools import wraps
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

from pytest_dlperf.arena import Finding
from pytest_dlperf.core.data import as_data
from pytest_dlperf.core.judge import judge
from pytest_dlperf.core.latency_limit import parse_limit
from pytest_dlperf.core.metrics import LOAD_METRICS, RATE_METRICS
from pytest_dlperf.core.options import Clients, from_call
from pytest_dlperf.core.record import Record
from pytest_dlperf.core.scenarios import ClosedLoop, Server
from pytest_dlperf.core.sweep import CLIENTS, checked_clients
from pytest_dlperf.core.verdict import Judgement, consequence
from pytest_dlperf.engine.duel.models import duel_models
from pytest_dlperf.engine.max_rate import rate_search
from pytest_dlperf.engine.measure import ready
from pytest_dlperf.engine.sweep import measure_sweep
from pytest_dlperf.errors import BudgetFailure, DlperfError, DlperfWarning, UsageError
from pytest_dlperf.reports.budgets import failure_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import numpy as np

    from pytest_dlperf.arena import Arena
    from pytest_dlperf.core.contest import Rates
    from pytest_dlperf.core.data import Data
    from pytest_dlperf.core.environment import Environment
    from pytest_dlperf.core.measurement import Measurement
    from pytest_dlperf.core.plan import Plan
    from pytest_dlperf.core.scenarios import Scenario
    from pytest_dlperf.core.serving import Serving
    from pytest_dlperf.core.sweep import Sweep
    from pytest_dlperf.engine.rig import Bench

_LONGEST_NAME: Final = 100

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Workplace:
    """What is the same for all tests of a session.

    Attributes:
        bench: time, what the process uses, and the progress line.
        arena: where measurements are taken.
        environment: asks for the software of this process.
        obstacle: why nothing may be measured here; empty if it may.
        rates: asks for the error rates of each relative budget.
        coins: a new generator of coins for each duel.
    """

    bench: Bench
    arena: Arena
    environment: Callable[[], Environment]
    obstacle: str
    rates: Callable[[], Rates]
    coins: Callable[[], np.random.Generator]


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
        self._findings: dict[str, Finding] = {}
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

        rows = self._admitted(data, name)
        subject = ready(target, rows, plan, self._workplace.bench)
        finding = self._workplace.arena.settle(subject, plan, self._test, name)
        return self._concluded(finding, plan, name)

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

        rows = self._admitted(data, name)
        bench = self._workplace.bench
        subject = rate_search(target, rows, plan, bench, limit)
        finding = self._workplace.arena.settle(subject, plan, self._test, name)
        return self._concluded(finding, plan, name)

    @_without_our_frames
    def duel(  # noqa: PLR0913 - each overrides one argument of the marker
        self,
        base: object,
        candidate: object,
        data: object,
        *,
        scenario: Scenario | None = None,
        serving: Serving | None = None,
        duration: float | str | None = None,
        name: str = "",
    ) -> Measurement:
        """Measure two models of this process in turn, and judge the candidate by the base.

        `baseline` in the test's budgets is the base; a test without a relative budget asks for
        no loss of throughput, p95 and accuracy.

        Args:
            base: a target, as for `dlperf(...)`.
            candidate: the target that is judged.
            data: what both are asked, as for `dlperf(...)`.
            scenario: the traffic; wins over the marker's.
            serving: batching and replicas; wins over the marker's.
            duration: of the load before the slots, seconds or text such as `"5s"`; wins over the
                marker's.
            name: tells several measurements of one test apart.

        Returns:
            What the candidate was measured to be.

        Raises:
            BudgetFailure: if a budget is not held.
            UsageError: if what was asked for makes no sense.
            DataError: if the data cannot be used.
            TargetError: if a target cannot be called at all, or a call does not return.
        """
        __tracebackhide__ = True
        call = "dlperf.duel(...)"
        plan = self._plan.override(
            from_call(scenario=scenario, serving=serving, duration=duration)
        ).limited_to(LOAD_METRICS, call, "measure it with dlperf.max_rate(...)")
        rows = self._admitted(data, name)
        workplace = self._workplace
        with workplace.arena.floor():
            result = duel_models(
                (base, candidate),
                rows,
                plan,
                workplace.bench,
                rates=workplace.rates(),
                coins=workplace.coins(),
                about=(self._test, name),
            )
        record = Record(
            measurement=result.measurement,
            judgements=result.judgements,
            hints=(),
            quick=plan.quick,
            duel=result.course.to_json(),
        )
        return self._concluded(Finding(record, None), plan, name)

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
        rows = as_data(data)
        with self._workplace.arena.floor():
            found = measure_sweep(target, rows, plan, bench, clients=counts, test=self._test)
        judgements = judge(found.whole, plan.judged, None, self._workplace.environment(), "")
        record = Record(found.whole, judgements, (), quick=plan.quick)
        self._conclude(Finding(record, None), plan)
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
                self._workplace.arena.keep(self._test, name, finding.accepted)
            elif finding.accepted is not None:
                record = replace(record, hints=("not recorded: the test failed",), kept="")
            yield record

    def _check_place(self) -> None:
        if self._workplace.obstacle:
            raise UsageError(self._workplace.obstacle)

    def _admitted(self, data: object, name: str) -> Data:
        """The data, if this test may measure something of this name."""
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
        return as_data(data)

    def _concluded(self, finding: Finding, plan: Plan, name: str) -> Measurement:
        __tracebackhide__ = True
        self._findings[name] = finding
        self._conclude(finding, plan)
        return finding.record.measurement

    def _conclude(self, finding: Finding, plan: Plan) -> None:
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
