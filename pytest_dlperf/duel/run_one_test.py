"""One test on all workers of a duel, from one of its measurements to the next."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from pytest_dlperf.duel.opening import Opening, duel_settings
from pytest_dlperf.duel.scheduler import Pair, SlotScheduler
from pytest_dlperf.duel.verdicts import compare
from pytest_dlperf.errors import DuelError
from pytest_dlperf.judge.judge import judge
from pytest_dlperf.results.record import Record, record_to_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    import numpy as np

    from pytest_dlperf.clock import Clock
    from pytest_dlperf.duel.evidence_cache import PairEffectCache
    from pytest_dlperf.duel.questions import DuelStatistics
    from pytest_dlperf.duel.worker_handle import Fields, WorkerHandle, WorkerState
    from pytest_dlperf.judge.error_rates import ErrorRates
    from pytest_dlperf.measure.telemetry import Progress
    from pytest_dlperf.results.baseline import Revision
    from pytest_dlperf.results.measurement import Measurement

_FAILS: Final = "the test fails at {ref}: {why}"
_SILENT: Final = "the test does not make this measurement at {ref}"


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
        cache: pairs of earlier duels of the same code.
    """

    ref: str
    revision: Revision
    clock: Clock
    progress: Progress
    new_rng: Callable[[], np.random.Generator]
    cache: PairEffectCache


@dataclass(slots=True)
class OneTestDuel:
    """One test.

    Attributes:
        test: pytest's node id.
        pairs: all pairs that run it; pytest reports what the first one's candidate does.
        rates: error rates of each relative budget.
        no_base: why there is no base, where there is none.
        check: refuses a base and a candidate that run the same code.
        fresh_pair: starts a pair that collects one test only.
        why_failed: how the test last failed in a worker; empty if it did not.
        check_servers: refuses workers that ask each other's servers.
        statistics: of each measurement that was made in turn.
    """

    test: str
    pairs: Sequence[WorkerPair]
    services: DuelServices
    rates: ErrorRates
    no_base: str
    check: Callable[[WorkerState, WorkerState], None]
    fresh_pair: Callable[[str], AbstractContextManager[WorkerPair]]
    why_failed: Callable[[WorkerHandle], str]
    check_servers: Callable[[Sequence[WorkerHandle]], None]
    statistics: list[DuelStatistics] = field(default_factory=list)

    def run(self, following: Callable[[WorkerHandle], str | None]) -> None:
        """Run the test to its end.

        Args:
            following: the test that comes next in a worker.

        Raises:
            WorkerLost: if a worker is lost.
            DuelError: if a fresh pair does not reach the measurement, or a worker asks a server of
                another one.
            UsageError: if the two sides run the same code.
        """
        workers = [worker for pair in self.pairs for worker in pair.workers]
        # All run before any is waited for: what comes before the first measurement is not measured.
        for worker in workers:
            worker.run(self.test, following(worker))
        for worker in workers:
            worker.proceed()
        self.check_servers(workers)
        lead, *others = workers
        while lead.state.at != "done":
            if lead.state.at == "exclusive":
                lead.grant_exclusive()
                continue
            name = lead.state.name
            self._measure(name, [worker for worker in others if _reach(worker, name)])
        for worker in others:
            while worker.state.at != "done":
                worker.abandon("the candidate does not measure this")

    def _measure(self, name: str, present: Sequence[WorkerHandle]) -> None:
        """Make and judge one measurement, and let all workers go on.

        Args:
            name: of the measurement.
            present: the workers that have reached it, besides the lead.
        """
        lead, base = self.pairs[0].candidate, self.pairs[0].base
        if base not in present:
            base = None
        if base is not None:
            self.check(base.state, lead.state)
        opened = _opened(lead, name, whole=True)
        if opened is None:
            for worker in present:
                worker.abandon("the candidate could not be measured")
            return
        base_opened = None if base is None else _opened(base, name, whole=False)
        self.check_servers([lead, *present])  # whose targets have made their connections
        records = {}
        if base_opened is None:
            records["candidate"] = self._judged_alone(Opening.from_json(opened))
        else:
            records["base"] = base_opened["record"]
            records["candidate"] = self._judged_in_turn(
                name, Opening.from_json(opened), Opening.from_json(base_opened), present
            )
        for worker in present:
            record = records.get(worker.role)
            # One whose target could not be prepared has gone on already.
            if worker.state.at == "arrived" and worker.state.name == name:
                if record:
                    worker.conclude(record)
                else:
                    worker.abandon("there is no base")
        lead.conclude(records["candidate"])

    def _judged_alone(self, opening: Opening) -> Fields:
        """The record of a candidate that has no base."""
        measurement = opening.measurement
        judgements = judge(
            measurement, opening.budgets, None, opening.environment, self._why_no_base()
        )
        return record_to_json(Record(measurement, judgements, (), quick=False))

    def _why_no_base(self) -> str:
        base = self.pairs[0].base
        if base is None:
            return self.no_base
        why = self.why_failed(base)
        return (_FAILS if why else _SILENT).format(ref=self.services.ref, why=why)

    def _judged_in_turn(
        self, name: str, opening: Opening, base: Opening, present: Sequence[WorkerHandle]
    ) -> Fields:
        """The record of a candidate that was measured in turn with its base."""
        services = self.services
        settings = duel_settings(base, opening, self.rates)
        record, statistics = compare(
            opening,
            base,
            services.revision,
            SlotScheduler(services.clock, services.new_rng(), services.progress, settings),
            list(self._ready_pairs(present)) if opening.slotted and base.slotted else [],
            fresh=lambda: self._confirming_pair(name),
            earlier=services.cache.recall(self.test, name),
        )
        if statistics.blocks:
            self.statistics.append(statistics)
            services.cache.add(self.test, name, statistics.effects)
        return record_to_json(record)

    def _ready_pairs(self, present: Sequence[WorkerHandle]) -> Iterator[Pair]:
        """Pairs that are ready for slots; the first is warm from its opening load."""
        first, *further = self.pairs
        if first.base is not None:
            yield _slot_pair(first.base, first.candidate)
        for pair in further:
            if (
                pair.base is not None
                and pair.base in present
                and pair.candidate in present
                and pair.base.enter()
                and pair.candidate.enter()
                and pair.base.warm()
                and pair.candidate.warm()
            ):
                yield _slot_pair(pair.base, pair.candidate)

    @contextlib.contextmanager
    def _confirming_pair(self, name: str) -> Iterator[Pair]:
        """A fresh pair that has reached a measurement, and is warm."""
        with self.fresh_pair(self.test) as pair:
            for worker in pair.workers:
                worker.run(self.test, None)
            for worker in pair.workers:
                worker.proceed()
            for worker in pair.workers:
                if not (_reach(worker, name) and worker.enter() and worker.warm()):
                    raise DuelError(
                        f"a fresh {worker.role} side did not come to the measurement again: "
                        f"{self.why_failed(worker) or 'the test ended before'}"
                    )
            if pair.base is None:
                raise DuelError("a fresh base side has not collected the test again")
            yield _slot_pair(pair.base, pair.candidate)


def _reach(worker: WorkerHandle, name: str) -> bool:
    """Let a worker go on until it reaches a measurement; false if its test ends before."""
    while worker.state.at != "done":
        if worker.state.at == "exclusive":
            worker.grant_exclusive()
        elif worker.state.name == name:
            return True
        elif worker.enter():
            # The other side does not make this measurement; the test needs a result to go on.
            opened = worker.open(whole=False)
            if opened is not None:
                worker.conclude(opened["record"])
    return False


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


def _slot_pair(base: WorkerHandle, candidate: WorkerHandle) -> Pair:
    def measured() -> tuple[Measurement, Measurement]:
        before, after = base.open(whole=False), candidate.open(whole=False)
        if before is None or after is None:
            raise DuelError("a fresh side could not be measured")
        return Opening.from_json(before).measurement, Opening.from_json(after).measurement

    return Pair(base, candidate, measured)
