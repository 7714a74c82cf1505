"""The worker processes of a session, and the tests that they run."""

from __future__ import annotations

import contextlib
import random
from typing import TYPE_CHECKING

from pytest_dlperf.duel.failure_log import FailureLog
from pytest_dlperf.duel.no_base import (
    BaseCollection,
    NoBase,
    Problem,
    last_words,
    why_not_collected,
    why_not_measured,
)
from pytest_dlperf.duel.questions import relative_budgets
from pytest_dlperf.duel.run_one_test import OneTestDuel, WorkerPair
from pytest_dlperf.duel.servers import (
    asked_ports,
    check_connections,
    check_failure,
    check_servers,
    connections,
    sockets_of,
)
from pytest_dlperf.duel.worker_handle import UnforkableError
from pytest_dlperf.duel.worker_process import WorkerLost
from pytest_dlperf.errors import UsageError
from pytest_dlperf.judge.error_rates import ErrorRates

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from pytest_dlperf.duel.questions import DuelStatistics
    from pytest_dlperf.duel.run_one_test import DuelServices
    from pytest_dlperf.duel.servers import Socket
    from pytest_dlperf.duel.worker_handle import Fields, Role, WorkerHandle
    from pytest_dlperf.duel.workspace import Workspace


class DuelController:
    """Runs all tests of a session on pairs of workers.

    Args:
        workspace: starts the workers.
        services: of the session.
        budgets: relative budgets of a run that this one is a part of, with which it shares the
            error rates; 0 if it is none.
        on_message: takes the notices of the worker whose tests are reported.

    Attributes:
        rates: error rates of each relative budget.
        measures: whether any test measures.
    """

    def __init__(
        self,
        workspace: Workspace,
        services: DuelServices,
        on_message: Callable[[Fields], None],
        budgets: int = 0,
    ) -> None:
        self._workspace = workspace
        self._services = services
        self._budgets = budgets
        self._on_message = on_message
        self._has_collected = False
        self._pair: WorkerPair | None = None
        self._leaving: list[WorkerHandle] = []
        self._told: set[tuple[str, Role]] = set()
        # Of every worker that runs, from its start on: also of those that are in no pair yet.
        self._logs: dict[WorkerHandle, FailureLog] = {}
        self._order: tuple[str, ...] = ()
        self._measuring: frozenset[str] = frozenset()
        self._without_base: BaseCollection | None = None
        """Why no test has a base; None if some may have one."""
        self.rates = ErrorRates(1)
        self.measures = False

    def start(self) -> Fields:
        """Start all workers; returns what the candidate has collected.

        Raises:
            UsageError: if the candidate's session does not start.
        """
        try:
            return self._start()
        except UnforkableError as error:
            self._stop_forking(error)
            return self._start()

    def _start(self) -> Fields:
        self._services.progress.show("starting the two sides", None)
        first = self._start_pair()
        try:
            collected = first.candidate.collected()
        except WorkerLost as lost:
            raise UsageError(f"the tests cannot be run: {lost}") from None
        self._has_collected = True
        self._remember_tests(first.candidate, collected)
        tests = collected["tests"]
        self._order = tuple(test["test"] for test in tests)
        measuring = [test for test in tests if test["measures"]]
        self._measuring = frozenset(test["test"] for test in measuring)
        if not self._measuring:
            self._without_base = BaseCollection()
        elif self._workspace.unmeasurable:
            self._without_base = _nothing(self._workspace.unmeasurable)
        self._pair = self._with_base(first)
        self.rates = ErrorRates(max(self._budgets, relative_budgets(measuring)))
        self.measures = bool(measuring)
        return collected

    def run(self, test: str) -> list[DuelStatistics]:
        """Run a test on both sides, if they have it, and measure it in turn on further pairs.

        After an error, or when a base is lost, all workers are killed, and the next test is run by
        new ones.

        Returns:
            Statistics of each measurement that was made in turn.

        Raises:
            WorkerLost: if a candidate is lost.
            DuelError: if a further pair does not reach a measurement.
            UsageError: if the two sides run the same code.
        """
        try:
            return self._run(test)
        except UnforkableError as error:
            self._stop_forking(error)
            return self._run(test)

    def _stop_forking(self, error: UnforkableError) -> None:
        """Have workers started as new processes from now on; all that run are killed."""
        self.close()
        self._workspace.stop_forking(str(error))

    def _run(self, test: str) -> list[DuelStatistics]:
        for log in self._logs.values():
            log.problem = None
        try:
            duel = OneTestDuel(
                test,
                pair=self._pair_with(test),
                services=self._services,
                rates=self.rates,
                no_base=lambda: self._why_no_base(test),
                why_silent=lambda others: self._why_silent(test, others=others),
                explain=lambda error: self._workspace.missing.explain(error, test),
                shortened=self._workspace.missing.shortened,
                check=self._workspace.check,
                fresh_pair=self._fresh_pair,
                in_any_order=_in_any_order,
                await_leaving=self.settle,
                problem=lambda worker: self._logs[worker].problem,
                check_servers=self._check_servers,
                alone=self._alone,
            )
            duel.run(lambda worker: self._following(test, worker))
            if duel.pair.base is not None:
                self._tell_teardown(duel.pair.base)
        except BaseException:
            self.close()
            raise
        if duel.lost is not None:
            self.close()
        return duel.statistics

    @property
    def lacking(self) -> tuple[str, ...]:
        """Files and folders without which the base is measured, since git does not track them."""
        return self._workspace.missing.untracked

    def _forward(self, fields: Fields) -> None:
        # Workers that are started again collect again, which has been told.
        if not (self._has_collected and fields["is"] in {"collectreport", "deselected"}):
            self._on_message(fields)

    def end(self) -> None:
        """Let every session end by itself, all at the same time."""
        running = [worker for worker in self._logs if worker not in self._leaving]
        for worker in running:
            with contextlib.suppress(WorkerLost):
                worker.end()
        for worker in running:
            with contextlib.suppress(WorkerLost):
                worker.ended()
            self._tell_teardown(worker)
        self.settle()

    def close(self) -> None:
        """End all workers."""
        self._dismiss(tuple(worker for worker in self._logs if worker not in self._leaving))
        self.settle()
        self._pair = None

    def _dismiss(self, workers: Iterable[WorkerHandle]) -> None:
        """Have workers tear down their fixtures and end, while others start.

        A server or a container that a fixture has started does not end with its process.
        """
        for worker in workers:
            worker.interrupt()
            self._leaving.append(worker)

    def settle(self) -> None:
        """Wait until pairs that were measured have ended, so that none works beside others."""
        while self._leaving:
            self._kill(self._leaving.pop())

    def _kill(self, worker: WorkerHandle) -> None:
        worker.kill()
        self._tell_teardown(worker)
        del self._logs[worker]

    def _tell_teardown(self, worker: WorkerHandle) -> None:
        """Pass on, once, that a test is not torn down well in a side that nobody reports.

        Its measurements count: they were over.
        """
        failed, self._logs[worker].torn_down = self._logs[worker].torn_down, None
        if failed is not None and (failed.test, worker.role) not in self._told:
            self._told.add((failed.test, worker.role))
            self._on_message(
                {"is": "teardown", "role": worker.role, "test": failed.test, "line": failed.line}
            )

    def _start_pair(self, only: str | None = None, *, lead: bool = True) -> WorkerPair:
        """Start two workers at once.

        In random order: the first of them may be slower for all its life.
        """
        workers: dict[Role, WorkerHandle] = {}
        roles: list[Role] = ["candidate"]
        if not self._workspace.base_is_empty:
            roles.append("base")
        random.shuffle(roles)
        for role in roles:
            leads = lead and role == "candidate"
            log = FailureLog(self._forward if leads else None)
            workers[role] = self._workspace.start(role, log, only, lead=leads)
            self._logs[workers[role]] = log
            workers[role].watch = lambda: self._check_servers(tuple(self._logs))
        return WorkerPair(workers.get("base"), workers["candidate"])

    def _running_pair(self) -> WorkerPair:
        """The pair that runs all tests; a new one, if the last was lost."""
        if self._pair is None:
            first = self._start_pair()
            self._remember_tests(first.candidate, first.candidate.collected())
            self._pair = self._with_base(first)
        return self._pair

    def _with_base(self, pair: WorkerPair) -> WorkerPair:
        """The pair, without its base if that cannot be used."""
        if pair.base is None:
            self._without_base = BaseCollection()
            return pair
        if self._without_base is not None:
            self._dismiss([pair.base])
            return WorkerPair(None, pair.candidate)
        try:
            self._remember_tests(pair.base, pair.base.collected())
        except WorkerLost as lost:
            problem = f"{lost.problem}{last_words(lost.output)}"
            reason = f"no test can be run at {self._services.ref}: {problem}"
            self._without_base = _nothing(reason, lost.output)
            self._kill(pair.base)
            return WorkerPair(None, pair.candidate)
        return pair

    def _remember_tests(self, worker: WorkerHandle, collected: Fields) -> None:
        collection, tests = self._logs[worker].collection, collected["tests"]
        collection.tests = frozenset(test["test"] for test in tests)
        collection.measuring = frozenset(test["test"] for test in tests if test["measures"])

    def _pair_with(self, test: str) -> WorkerPair:
        """The workers that run a test; one that measures nothing is run by the candidate alone."""
        pair = self._running_pair()
        if test in self._measuring and self._has(pair.base, test):
            return pair
        return WorkerPair(None, pair.candidate)

    def _has(self, worker: WorkerHandle | None, test: str) -> bool:
        return worker is not None and test in self._logs[worker].collection.tests

    def _why_no_base(self, test: str) -> tuple[NoBase, str | None]:
        """Why a test is not run at the base, and the error behind it; None: it is explained."""
        base, missing = self._running_pair().base, self._workspace.missing
        empty = missing.submodule_of(test.partition("::")[0])
        if empty is not None:
            return NoBase("broken", f"submodule {empty.path} is empty there: {empty.reason}"), None
        collection = self._without_base if base is None else self._logs[base].collection
        return why_not_collected(
            test,
            self._services.ref,
            self._workspace.sources(test),
            collection or BaseCollection(),
            self._lacks,
        )

    def _why_silent(self, test: str, *, others: bool) -> NoBase:
        """Why a test that was run at the base has not made a measurement there."""
        base = self._running_pair().base
        measures = base is not None and test in self._logs[base].collection.measuring
        sources = self._workspace.sources(test)
        return why_not_measured(
            self._services.ref, sources, measures=measures, others=others, lacks=self._lacks
        )

    def _lacks(self) -> str:
        return self._workspace.missing.lacks

    def _following(self, test: str, worker: WorkerHandle) -> str | None:
        """The test that comes next in a worker, which keeps the fixtures that it needs."""
        later = self._order[self._order.index(test) + 1 :]
        if worker is self._running_pair().candidate:
            return later[0] if later else None
        known = self._logs[worker].collection.tests & self._measuring
        return next((name for name in later if name in known), None)

    def _check_servers(self, workers: Sequence[WorkerHandle]) -> None:
        """Refuse workers of which one asks a server of another, or fails for want of its port."""
        if len(workers) == 1:
            return
        sides = {worker.pid: worker.role for worker in workers}
        sockets = self._sockets(workers)
        check_servers(sockets, sides)
        for worker in workers:
            problem = self._logs[worker].problem
            if problem is not None and worker.state.at == "done":
                check_failure(worker.pid, problem.line, sockets, sides)

    @staticmethod
    def _sockets(workers: Iterable[WorkerHandle]) -> list[Socket]:
        return sockets_of({worker.pid: worker.padding for worker in workers})

    @contextlib.contextmanager
    def _alone(self, worker: WorkerHandle) -> Iterator[None]:
        """Refuse a worker that asks a server of another one while all others wait."""
        before = connections()
        yield
        asked = asked_ports(connections() - before)
        if asked:  # or there is no need to look whose the ports are
            sides = {worker.pid: worker.role for worker in self._logs}
            check_connections(worker.pid, asked, self._sockets(self._logs), sides)

    @contextlib.contextmanager
    def _fresh_pair(self, test: str, seconds: float) -> Iterator[WorkerPair]:
        pair = self._start_pair(test, lead=False)
        try:
            for worker in pair.workers:
                worker.limit(seconds)
            for worker in pair.workers:
                worker.collected()
            yield pair
        finally:
            self._dismiss(pair.workers)


def _in_any_order(pair: WorkerPair) -> list[WorkerHandle]:
    workers = list(pair.workers)
    random.shuffle(workers)
    return workers


def _nothing(reason: str, output: str | None = None) -> BaseCollection:
    return BaseCollection(whole=Problem("cannot be run", reason, output))
