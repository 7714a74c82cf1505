"""Match: one test on all sides of a duel, from one of its measurements to the next."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from pytest_dlperf.config.budgets import parse_budget
from pytest_dlperf.config.detect import Detect, with_detect
from pytest_dlperf.duel.questions import DuelSettings, noise_metric
from pytest_dlperf.duel.scheduler import Pair, SlotScheduler
from pytest_dlperf.duel.verdicts import Base, compare
from pytest_dlperf.errors import DuelError
from pytest_dlperf.judge.judge import judge
from pytest_dlperf.results.environment import Environment
from pytest_dlperf.results.record import Record, record_from_json, record_to_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    import numpy as np

    from pytest_dlperf.clock import Clock
    from pytest_dlperf.config.budgets import Budget
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
    """The two sides of a pair of processes.

    Attributes:
        base: None if there is nothing to be run at the base.
        candidate: the other one.
    """

    base: WorkerHandle | None
    candidate: WorkerHandle


class PairEffectCache(Protocol):
    """Where it is kept what pairs of the same two versions of the code have shown."""

    def recall(self, test: str, name: str) -> Mapping[str, tuple[float, ...]]:
        """The log ratios of the pairs before, by the text of the budget."""
        ...

    def add(self, test: str, name: str, effects: Mapping[str, tuple[float, ...]]) -> None:
        """Keep those of this duel too."""
        ...


@dataclass(frozen=True, slots=True)
class DuelServices:
    """What all matches of a session are held by.

    Attributes:
        clock: of this process.
        progress: somebody to tell.
        coins: a new generator of coins for each measurement.
        rates: error rates of each relative budget.
        revision: the base's code.
        ref: the base, as the user calls it.
        check: refuses sides that run the same code; takes what base and candidate have loaded.
        fresh: starts a pair that collects one test only.
        earlier: what pairs lost in earlier duels of the same code, by test and name of the
            measurement, then by the text of the budget.
        why_failed: tells how the test last failed on a side; empty if it did not.
    """

    clock: Clock
    progress: Progress
    coins: Callable[[], np.random.Generator]
    rates: ErrorRates
    revision: Revision
    ref: str
    check: Callable[[WorkerState, WorkerState], None]
    fresh: Callable[[str], AbstractContextManager[WorkerPair]]
    earlier: PairEffectCache
    why_failed: Callable[[WorkerHandle], str]


class OneTestDuel:
    """One test.

    Args:
        test: pytest's node id.
        duos: all pairs; the first one's candidate is the test that pytest reports.
        absent: why there is no base, where there is none.
        rules: of the session.
    """

    def __init__(
        self, test: str, duos: Sequence[WorkerPair], absent: str, rules: DuelServices
    ) -> None:
        self._test = test
        self._duos = duos
        self._absent = absent
        self._rules = rules
        self.courses: list[DuelStatistics] = []
        """How each contest went."""

    def play(self, following: Callable[[WorkerHandle], str | None]) -> None:
        """Run the test to its end.

        Args:
            following: tells which test comes next on a side.

        Raises:
            SideLost: if a side is lost.
            DuelError: if a fresh pair does not come to the measurement.
            UsageError: if the sides run the same code.
        """
        sides = self._sides
        for side in sides:
            side.run(self._test, following(side))
        for side in sides:
            side.proceed()
        lead, *others = sides
        while lead.stop.at != "done":
            if lead.stop.at == "floor":
                lead.grant_floor()
                continue
            name = lead.stop.name
            present = [side for side in others if _reach(side, name)]
            self._settle(name, present)
        for side in others:
            while side.stop.at != "done":
                side.abandon("the candidate does not measure this")

    @property
    def _sides(self) -> list[WorkerHandle]:
        return [
            side for duo in self._duos for side in (duo.candidate, duo.base) if side is not None
        ]

    def _settle(self, name: str, present: Sequence[WorkerHandle]) -> None:
        """Measure and judge one measurement, and let all sides go on."""
        lead, first_base = self._duos[0].candidate, self._duos[0].base
        if first_base is not None and first_base in present:
            self._rules.check(first_base.stop, lead.stop)
        opened = lead.open(whole=True) if lead.enter() else None
        base = None
        if opened and first_base is not None and first_base in present and first_base.enter():
            base = first_base.open(whole=False)
        if opened is None:
            for side in present:
                side.abandon("the candidate could not be measured")
            return
        if base is None:
            records = {"candidate": self._alone(opened)}
        else:
            records = self._bout(name, opened, base, present)
        for side in present:
            record = records.get(side.role)
            if side.stop.at == "arrived" and side.stop.name == name:
                if record:
                    side.conclude(record)
                else:
                    side.abandon("there is no base")
        lead.conclude(records["candidate"])

    def _alone(self, opened: Fields) -> Fields:
        """The record of a candidate that has no base."""
        found = record_from_json(opened["record"]).measurement
        environment = Environment.from_json(opened["environment"])
        judgements = judge(found, _budgets(opened), None, environment, self._missing())
        return record_to_json(Record(found, judgements, (), quick=False))

    def _missing(self) -> str:
        base = self._duos[0].base
        if base is None:
            return self._absent
        why = self._rules.why_failed(base)
        text = _FAILS if why else _SILENT
        return text.format(ref=self._rules.ref, why=why)

    def _bout(
        self, name: str, opened: Fields, base: Fields, present: Sequence[WorkerHandle]
    ) -> dict[str, Fields]:
        found = record_from_json(opened["record"]).measurement
        before = record_from_json(base["record"]).measurement
        rules = self._rules
        pairs = list(self._pairs(present)) if opened["slotted"] and base["slotted"] else []
        terms = DuelSettings(
            shortest=max(opened["shortest"], base["shortest"]),
            noise_metric=noise_metric(open_loop=opened["open_loop"]),
            seconds=opened["budget_time"],
            rates=rules.rates,
        )
        about = (self._test, name)
        result = compare(
            found,
            Base(before, Environment.from_json(base["environment"]), rules.revision),
            _budgets(opened),
            SlotScheduler(rules.clock, rules.coins(), rules.progress, terms),
            pairs,
            fresh=lambda: self._fresh(name),
            earlier=rules.earlier.recall(*about),
        )
        if result.course.blocks:
            self.courses.append(result.course)
            rules.earlier.add(*about, result.course.effects)
        return {
            "candidate": record_to_json(
                Record(
                    measurement=result.measurement,
                    judgements=result.judgements,
                    hints=(),
                    quick=False,
                    duel=result.course.to_json(),
                )
            ),
            "base": base["record"],
        }

    def _pairs(self, present: Sequence[WorkerHandle]) -> Iterator[Pair]:
        """Those that are ready for slots; the first one has measured already, and is warm."""
        first, *further = self._duos
        if first.base is not None:
            yield _pair(first.base, first.candidate)
        for duo in further:
            if (
                duo.base is not None
                and duo.base in present
                and duo.candidate in present
                and duo.base.enter()
                and duo.candidate.enter()
                and duo.base.warm()
                and duo.candidate.warm()
            ):
                yield _pair(duo.base, duo.candidate)

    @contextlib.contextmanager
    def _fresh(self, name: str) -> Iterator[Pair]:
        with self._rules.fresh(self._test) as duo:
            sides = [side for side in (duo.candidate, duo.base) if side is not None]
            for side in sides:
                side.run(self._test, None)
            for side in sides:
                side.proceed()
            for side in sides:
                if not (_reach(side, name) and side.enter() and side.warm()):
                    raise DuelError(
                        f"a fresh {side.role} side did not come to the measurement again: "
                        f"{self._rules.why_failed(side) or 'the test ended before'}"
                    )
            if duo.base is None:
                raise DuelError("a fresh base side has not collected the test again")
            yield _pair(duo.base, duo.candidate)


def _reach(side: WorkerHandle, name: str) -> bool:
    """Let a side go on until it is at a measurement; false if its test ends before."""
    while side.stop.at != "done":
        if side.stop.at == "floor":
            side.grant_floor()
        elif side.stop.name == name:
            return True
        elif side.enter():
            # Its side of the story is not needed, but the test's code wants an answer.
            opened = side.open(whole=False)
            if opened is not None:
                side.conclude(opened["record"])
    return False


def _budgets(opened: Fields) -> list[Budget]:
    detect = [Detect(metric, loss) for metric, loss in opened["detect"]]
    return [with_detect(parse_budget(text), detect) for text in opened["budgets"]]


def _pair(base: WorkerHandle, candidate: WorkerHandle) -> Pair:
    def measured() -> tuple[Measurement, Measurement]:
        opened = base.open(whole=False), candidate.open(whole=False)
        if opened[0] is None or opened[1] is None:
            raise DuelError("a fresh side could not be measured")
        before, found = (record_from_json(one["record"]).measurement for one in opened if one)
        return before, found

    return Pair(base, candidate, measured)
