"""One test on all workers of a duel, from one of its measurements to the next."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pytest_dlperf.duel.further_pair import late_pair, patience, slot_pair
from pytest_dlperf.duel.no_base import (
    NoBase,
    judged_without_base,
    last_words,
    made_in_other_order,
    why_failed,
)
from pytest_dlperf.duel.opening import Opening, duel_settings
from pytest_dlperf.duel.questions import NOTHING
from pytest_dlperf.duel.scheduler import SlotScheduler
from pytest_dlperf.duel.verdicts import compare
from pytest_dlperf.duel.worker_handle import STEPS
from pytest_dlperf.duel.worker_process import WorkerLost, WorkerSilent
from pytest_dlperf.errors import DuelError
from pytest_dlperf.judge.error_rates import AlphaSpending
from pytest_dlperf.judge.judge import judge
from pytest_dlperf.results.record import Record, record_to_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    import numpy as np

    from pytest_dlperf.clock import Clock
    from pytest_dlperf.duel.evidence_cache import PairEffectCache
    from pytest_dlperf.duel.no_base import Problem
    from pytest_dlperf.duel.questions import DuelStatistics
    from pytest_dlperf.duel.scheduler import Pair
    from pytest_dlperf.duel.worker_handle import (
        Fields,
        Role,
        Step,
        WorkerHandle,
        WorkerState,
    )
    from pytest_dlperf.judge.error_rates import ErrorRates
    from pytest_dlperf.measure.telemetry import Progress
    from pytest_dlperf.results.baseline_session import Revision
    from pytest_dlperf.results.measurement import Measurement


@dataclass(frozen=True, slots=True)
class WorkerPair:
    """Two workers that were started together; no base if it has nothing to run."""

    base: WorkerHandle | None
    candidate: WorkerHandle

    @property
    def workers(self) -> tuple[WorkerHandle, ...]:
        """Both, or the candidate alone; the candidate first."""
        return (self.candidate,) if self.base is None else (self.candidate, self.base)


@dataclass(frozen=True, slots=True)
class DuelServices:
    """What does not change during a session.

    Attributes:
        ref: the base, as the user calls it.
        revision: of the base.
        new_rng: makes the generator that orders the blocks of one measurement.
        processors: that may be used.
        cache: pairs of earlier duels of the same code.
    """

    ref: str
    revision: Revision
    clock: Clock
    progress: Progress
    new_rng: Callable[[], np.random.Generator]
    processors: frozenset[int]
    cache: PairEffectCache


@dataclass(slots=True)
class OneTestDuel:
    """One test.

    Attributes:
        test: pytest's node id.
        pair: runs it; pytest reports what its candidate does.
        rates: error rates of each relative budget.
        no_base: says why there is no base, where there is none, and the text of the error.
        why_silent: says why the base has not made a measurement; takes whether it made others.
        explain: says what the base's tree lacks that may be the cause; takes the error's text.
        shortened: shortens the paths in a text of the base.
        check: refuses a base and a candidate that run the same code.
        fresh_pair: starts a pair that collects one test only; takes the seconds within which it has
            to come to the measurement, or is lost.
        in_any_order: the workers of a pair by a coin, as what is done first may be slower for it.
        await_leaving: waits until pairs that were measured before have ended.
        problem: why the test failed in a worker, or was skipped; None if it was not.
        check_servers: refuses workers that ask each other's servers.
        alone: entered while one worker works alone; refuses one that asks a server of another.
        lost: how a base was lost; no worker can be used for another test then.
        statistics: of each measurement that was made in turn.
    """

    test: str
    pair: WorkerPair
    services: DuelServices
    rates: ErrorRates
    no_base: Callable[[], tuple[NoBase, str | None]]
    why_silent: Callable[[bool], NoBase]
    explain: Callable[[str], str]
    shortened: Callable[[str], str]
    check: Callable[[WorkerState, WorkerState], None]
    fresh_pair: Callable[[str, float], AbstractContextManager[WorkerPair]]
    in_any_order: Callable[[WorkerPair], list[WorkerHandle]]
    await_leaving: Callable[[], None]
    problem: Callable[[WorkerHandle], Problem | None]
    check_servers: Callable[[Sequence[WorkerHandle]], None]
    alone: Callable[[WorkerHandle], AbstractContextManager[None]]
    lost: WorkerLost | None = None
    statistics: list[DuelStatistics] = field(default_factory=list)
    _opened: dict[tuple[Role, str], Fields] = field(default_factory=dict)
    _spending: AlphaSpending = field(default_factory=AlphaSpending)
    _measured_at_base: bool = False
    _passed_at_base: set[str] = field(default_factory=set)
    _slowest: dict[str, float] = field(default_factory=dict)

    def run(self, following: Callable[[WorkerHandle], str | None]) -> None:
        """Run the test to its end.

        Args:
            following: the test that comes next in a worker.

        Raises:
            WorkerLost: if a candidate is lost.
            DuelError: if a fresh pair does not reach the measurement, or a worker asks a server of
                another one.
            UsageError: if the two sides run the same code.
        """
        # Both run before one is waited for: what comes before a measurement is not measured.
        for worker in self.in_any_order(self.pair):
            with self._noting_loss():
                worker.run(self.test, following(worker))
        for worker in self.pair.workers:
            with self._noting_loss():
                worker.proceed()
        self.check_servers(self.pair.workers)
        lead, base = self.pair.candidate, self.pair.base
        while lead.state.at != "done":
            if lead.state.at == "exclusive":
                lead.grant_exclusive()
                continue
            name, reached = lead.state.name, False
            if self.lost is None and base is not None:
                with self._noting_loss():
                    reached = self._reach(base, name)
            self._measure(name, base if reached and self.lost is None else None)
        while base is not None and self.lost is None and base.state.at != "done":
            with self._noting_loss():
                base.abandon("the candidate does not measure this")

    @contextlib.contextmanager
    def _noting_loss(self) -> Iterator[None]:
        """Keep the loss of a base; the candidate goes on without."""
        try:
            yield
        except WorkerLost as lost:
            if lost.role != "base":
                raise
            self.lost = self.lost or lost

    def _measure(self, name: str, base: WorkerHandle | None) -> None:
        """Make and judge one measurement, and let both workers go on.

        Args:
            name: of the measurement.
            base: None if it has not reached the measurement.
        """
        lead = self.pair.candidate
        if base is not None:
            self.check(base.state, lead.state)
        with self.alone(lead):
            opened = _opened(lead, name, whole=True)
        if opened is None:
            self._go_on(base, name, None, "the candidate could not be measured")
            return
        records = {}
        with self._noting_loss():
            base_opened = None
            if base is not None:
                with self.alone(base):
                    base_opened = _opened(base, name, whole=False)
                self.check_servers([lead, base])  # whose targets have made their connections
            if base is not None and base_opened is not None:
                self.check(_state(base, base_opened), _state(lead, opened))
                self._measured_at_base = True
                self._opened["base", name], self._opened["candidate", name] = base_opened, opened
                records = {
                    "base": base_opened["record"],
                    "candidate": self._judged_in_turn(
                        name, Opening.from_json(opened), Opening.from_json(base_opened)
                    ),
                }
        if not records:
            no_base = self._why_no_base(name, reached=base is not None)
            records["candidate"] = self._judged_alone(Opening.from_json(opened), no_base)
        if self.lost is None:
            self._go_on(base, name, records.get("base"), "there is no base")
        lead.conclude(records["candidate"])

    def _go_on(
        self, base: WorkerHandle | None, name: str, record: Fields | None, reason: str
    ) -> None:
        """End a measurement in the base, by its record if it has one.

        One whose target could not be prepared has gone on already.
        """
        if base is not None and base.state.at == "arrived" and base.state.name == name:
            with self._noting_loss():
                if record is not None:
                    base.conclude(record)
                else:
                    base.abandon(reason)

    def _judged_alone(self, opening: Opening, no_base: NoBase) -> Fields:
        """The record of a candidate that has no base."""
        measurement = opening.measurement
        judgements = judge(measurement, opening.budgets, None, opening.environment, no_base.reason)
        judged = judged_without_base(judgements, opening.budgets, measurement, no_base)
        return record_to_json(Record(measurement, judged, (), quick=False, duel=NOTHING.to_json()))

    def _why_no_base(self, name: str, *, reached: bool) -> NoBase:
        base = self.pair.base
        error: str | None = ""
        problem = self.problem(base) if base is not None else None
        if self.lost is not None:
            last = last_words(self.lost.output)
            wrote = f"; it last wrote:{last}" if last else ""
            no_base = NoBase("broken", f"{self.lost.problem}{wrote}")
            error = self.lost.output
        elif base is None:
            no_base, error = self.no_base()
        elif problem is not None:
            no_base, error = why_failed(problem, self.services.ref), problem.text
        elif reached:
            no_base = NoBase("broken", f"the target cannot be measured at {self.services.ref}")
        elif name in self._passed_at_base:
            no_base, error = made_in_other_order(self.services.ref), None
        else:
            no_base = self.why_silent(self._measured_at_base)
        reason = self.shortened(no_base.reason)
        if no_base.kind == "broken" and error is not None:
            reason = f"{reason}\n{self.explain(error)}".rstrip()
        return replace(no_base, reason=reason)

    def _judged_in_turn(self, name: str, opening: Opening, base: Opening) -> Fields:
        """The record of a candidate that was measured in turn with its base."""
        services = self.services
        if _data_of(opening.measurement) != _data_of(base.measurement):
            lacks = "".join(f"; {sentence}" for sentence in self.explain("").splitlines())
            note = f"the two sides were given different data{lacks}"
            notes = (*opening.measurement.notes, note)
            opening = replace(opening, measurement=replace(opening.measurement, notes=notes))
        settings = duel_settings(base, opening, services.processors)
        share = self._spending.share(name, services.cache.names(self.test))
        slotted = opening.slotted and base.slotted and self.pair.base is not None
        record, statistics = compare(
            opening,
            base,
            services.revision,
            self.rates.shared(share),
            SlotScheduler(services.clock, services.new_rng(), services.progress, settings),
            slot_pair(self.pair.base, self.pair.candidate) if slotted else None,
            fresh=lambda: self._further_pair(name),
            evidence=services.cache.recall(self.test, name),
        )
        if statistics.blocks:
            self.statistics.append(statistics)
            services.cache.add(self.test, name, statistics.effects)
        return record_to_json(record)

    @contextlib.contextmanager
    def _further_pair(self, name: str) -> Iterator[Pair]:
        """A new pair that has reached a measurement, and is warm.

        Raises:
            DuelError: if it does not come, or hangs.
        """
        taken = self._slowest.get(name) or _seconds_to_come(self.pair)
        with contextlib.ExitStack() as stack:
            try:
                pair = stack.enter_context(self.fresh_pair(self.test, patience(taken)))
                self._prepare(pair, name)
            except WorkerSilent as silent:
                raise late_pair(silent, taken) from None
            self._slowest[name] = max(self._slowest.get(name, 0.0), _seconds_to_come(pair))
            for worker in pair.workers:
                worker.limit(math.inf)
            self.await_leaving()
            yield slot_pair(pair.base, pair.candidate)

    def _prepare(self, pair: WorkerPair, name: str) -> None:
        """Let a further pair come to a measurement, and warm it up."""
        for worker in self.in_any_order(pair):
            worker.run(self.test, None)
        for worker in pair.workers:
            worker.proceed()
        reached = [self._reach(worker, name) for worker in pair.workers]
        for step in STEPS if all(reached) else ():
            for worker in self.in_any_order(pair):
                worker.start(step)
            reached = [self._finished(worker, name, step) for worker in pair.workers]
            if not all(reached):
                break
        for worker, came in zip(pair.workers, reached, strict=True):
            if not came:
                problem = self.problem(worker)
                raise DuelError(
                    f"a further {worker.role} side did not come to the measurement again: "
                    f"{problem.line if problem else 'the test ended before'}\n"
                    "  each pair of processes runs the test anew: what it does before it "
                    "measures has to be the same each time"
                )

    def _finished(self, worker: WorkerHandle, name: str, step: Step) -> bool:
        """Wait until a worker of a further pair has done a step.

        A test that fails there may be run again, as by pytest-rerunfailures, and arrive again.
        """
        while not worker.finish(step):
            if step != "enter" or not self._reach(worker, name):
                return False
            worker.start(step)
        return True

    def _reach(self, worker: WorkerHandle, name: str) -> bool:
        """Let a worker go on until it reaches a measurement; false if its test ends before."""
        while worker.state.at != "done":
            if worker.state.at == "exclusive":
                worker.grant_exclusive()
                continue
            if worker.state.name == name:
                return True
            if worker is self.pair.base:
                self._passed_at_base.add(worker.state.name)
            # This measurement was made by the first pair before, or is not made by the other side,
            # or not yet; the test needs a result to go on.
            opened = self._opened.get((worker.role, worker.state.name))
            if opened is None and worker.enter():
                opened = worker.open(whole=False)
                if opened is not None:
                    self._measured_at_base |= worker is self.pair.base
            if opened is not None:
                worker.conclude(opened["record"])
        return False


def _seconds_to_come(pair: WorkerPair) -> float:
    return sum(worker.seconds_to_come for worker in pair.workers)


def _data_of(measurement: Measurement) -> str | None:
    """The hash of its inputs and labels, if it has labels."""
    evidence = measurement.rows or measurement.scores
    return evidence.data if evidence else None


def _state(worker: WorkerHandle, opened: Fields) -> WorkerState:
    """Where a worker waits, with the modules that it has loaded since it arrived too."""
    return replace(worker.state, modules=opened.get("modules"))


def _opened(worker: WorkerHandle, name: str, *, whole: bool) -> Fields | None:
    """Measure the opening load; None if the worker's test has gone on without.

    A test that fails there may be run again, as by pytest-rerunfailures, and arrive again.
    """
    while worker.state.at == "arrived" and worker.state.name == name:
        if worker.enter():
            opened = worker.open(whole=whole)
            if opened is not None:
                return opened
    return None
