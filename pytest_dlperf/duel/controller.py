"""Tournament: the pairs of processes of a session, and the tests that they play."""

from __future__ import annotations

import contextlib
import math
import random
from typing import TYPE_CHECKING

from pytest_dlperf.duel.questions import UNASKED
from pytest_dlperf.duel.run_one_test import DuelServices, OneTestDuel, WorkerPair
from pytest_dlperf.duel.worker_handle import WorkerLost
from pytest_dlperf.duel.worktree import submodules
from pytest_dlperf.errors import UsageError
from pytest_dlperf.judge.error_rates import SLOTTED, ErrorRates
from pytest_dlperf.metrics import METRICS
from pytest_dlperf.report.budget_table import wrapped
from pytest_dlperf.statistics.pair_effects import pairs_needed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import numpy as np

    from pytest_dlperf.clock import Clock
    from pytest_dlperf.duel.questions import DuelStatistics
    from pytest_dlperf.duel.run_one_test import PairEffectCache
    from pytest_dlperf.duel.worker_handle import Fields, Role, WorkerHandle
    from pytest_dlperf.duel.workspace import Workspace
    from pytest_dlperf.measure.telemetry import Progress
    from pytest_dlperf.results.baseline import Revision


class _FailureLog:
    """What a side says while it runs tests: the last failure is kept, the lead's is passed on."""

    def __init__(self, passed_on: Callable[[Fields], None] | None) -> None:
        self._passed_on = passed_on
        self.failure = ""
        self.uncollected: dict[str, str] = {}
        """Modules that cannot be imported, and why."""

    def __call__(self, fields: Fields) -> None:
        data = fields.get("data", {})
        if data.get("outcome") == "failed":
            why = _first_words(data.get("longrepr"))
            if fields["is"] == "report":
                self.failure = why
            else:
                self.uncollected[data["nodeid"]] = why
        if self._passed_on is not None:
            self._passed_on(fields)


class DuelController:
    """All tests of a session.

    Args:
        ground: the trees, and who starts sides.
        ref: the base, as the user calls it.
        revision: the base's code.
        pairs: how many pairs of processes are wanted; None: as many as the finest `detect` needs.
        heard: takes the reports and warnings of the side whose tests are reported.
        clock: of this process.
        progress: somebody to tell.
        coins: a new generator of coins for each measurement.
        earlier: what pairs of the same code have shown before.
    """

    def __init__(  # noqa: PLR0913 - what is run, by which rules, and who is told
        self,
        ground: Workspace,
        *,
        ref: str,
        revision: Revision,
        pairs: int | None,
        heard: Callable[[Fields], None],
        clock: Clock,
        progress: Progress,
        coins: Callable[[], np.random.Generator],
        earlier: PairEffectCache,
    ) -> None:
        self._ground = ground
        self._ref = ref
        self._wanted = pairs
        self._heard = heard
        self._clock = clock
        self._progress = progress
        self._coins = coins
        self._earlier = earlier
        self._revision = revision
        self._duos: list[WorkerPair] = []
        self._diaries: dict[int, _FailureLog] = {}
        self._tests_of: dict[int, frozenset[str]] = {}
        self._order: tuple[str, ...] = ()
        self._measuring: frozenset[str] = frozenset()
        self.rates = ErrorRates(1)
        """Error rates of each relative budget."""
        self._without_base = ""
        self.pairs = 0
        """How many pairs of processes were started together."""

    def gather(self) -> Fields:
        """Start all sides, and tell what the candidate has collected.

        Raises:
            UsageError: if the candidate's session does not start; in pytest's words.
        """
        self._progress.show("starting the two sides", None)
        first = self._start()
        try:
            collected = first.candidate.collected()
        except WorkerLost as lost:
            raise UsageError(f"the tests cannot be run: {lost}") from None
        self._knows(first.candidate, collected)
        tests = collected["tests"]
        self._order = tuple(test["test"] for test in tests)
        measuring = [test for test in tests if test["measures"]]
        self._measuring = frozenset(test["test"] for test in measuring)
        if not self._measuring or collected["failed"]:
            self._without_base = "no test measures"
        self._duos = [self._with_base(first)]
        self.rates = ErrorRates(_relative_budgets(measuring))
        self.pairs = self._wanted or pairs_needed(math.log1p(_finest(measuring)))
        self._start_further()
        return collected

    def play(self, test: str) -> list[DuelStatistics]:
        """Run a test on all sides that have it; tells how its contests went.

        Raises:
            SideLost: if a side is lost; the next test is run by fresh ones.
            DuelError: if the duel comes to nothing.
            UsageError: if the sides run the same code.
        """
        for diary in self._diaries.values():
            diary.failure = ""
        try:
            if not self._duos:
                self._restart()
            match = OneTestDuel(test, self._of(test), self._absent(test), self._rules())
            match.play(lambda side: self._following(test, side))
        except BaseException:
            self.close()
            raise
        return match.courses

    def end(self) -> None:
        """Let every session end by itself."""
        for side in self._sides():
            with contextlib.suppress(WorkerLost):
                side.end()

    def close(self) -> None:
        """End all processes."""
        for side in self._sides():
            side.kill()
        self._duos = []

    def _sides(self) -> Iterator[WorkerHandle]:
        for duo in self._duos:
            yield duo.candidate
            if duo.base is not None:
                yield duo.base

    def _start(self, only: str | None = None, *, lead: bool = True) -> WorkerPair:
        """Both sides at once, in an order by chance: the first one may be slower for ever."""
        heard = self._heard if lead else None
        started: dict[Role, WorkerHandle] = {}
        roles: list[Role] = ["candidate"] if self._ground.base_is_empty else ["candidate", "base"]
        random.shuffle(roles)
        for role in roles:
            diary = _FailureLog(heard if role == "candidate" else None)
            started[role] = self._ground.launcher.start(role, diary, only)
            self._diaries[id(started[role])] = diary
        return WorkerPair(started.get("base"), started["candidate"])

    def _start_further(self) -> None:
        if self._duos[0].base is None:
            return
        further = [self._start(lead=False) for _ in range(self.pairs - 1)]
        for duo in further:
            self._knows(duo.candidate, duo.candidate.collected())
            self._duos.append(self._with_base(duo))

    def _restart(self) -> None:
        """After a loss: all sides anew, which have to find the same tests again."""
        first = self._start()
        self._knows(first.candidate, first.candidate.collected())
        self._duos = [self._with_base(first)]
        self._start_further()

    def _with_base(self, duo: WorkerPair) -> WorkerPair:
        """The pair, without its base if that cannot be used."""
        if duo.base is None:
            self._without_base = f"nothing of what is run exists at {self._ref}"
            return duo
        if self._without_base:
            duo.base.kill()
            return WorkerPair(None, duo.candidate)
        try:
            self._knows(duo.base, duo.base.collected())
        except WorkerLost as lost:
            last = lost.output.splitlines()[-1:]
            self._without_base = f"no test can be run at {self._ref}: {''.join(last)}"
            duo.base.kill()
            return WorkerPair(None, duo.candidate)
        return duo

    def _knows(self, side: WorkerHandle, collected: Fields) -> None:
        self._tests_of[id(side)] = frozenset(test["test"] for test in collected["tests"])

    def _of(self, test: str) -> list[WorkerPair]:
        """The pairs that play a test: one that measures nothing is the lead's alone."""
        lead, *further = self._duos
        if test not in self._measuring:
            return [WorkerPair(None, lead.candidate)]
        duos = [WorkerPair(self._having(lead.base, test), lead.candidate)]
        for duo in further:
            base, candidate = self._having(duo.base, test), self._having(duo.candidate, test)
            if base is not None and candidate is not None:
                duos.append(WorkerPair(base, candidate))
        return duos

    def _having(self, side: WorkerHandle | None, test: str) -> WorkerHandle | None:
        return side if side is not None and test in self._tests_of[id(side)] else None

    def _absent(self, test: str) -> str:
        """Why a test has no base, where it has none."""
        base, file = self._duos[0].base, test.partition("::")[0]
        why = self._diaries[id(base)].uncollected.get(file) if base is not None else None
        if why:
            return f"{file} cannot be collected at {self._ref}: {why}"
        return self._without_base or f"the test does not exist at {self._ref}"

    def _following(self, test: str, side: WorkerHandle) -> str | None:
        """The test that comes next on a side; fixtures that it needs are kept for it."""
        later = self._order[self._order.index(test) + 1 :]
        if side is self._duos[0].candidate:
            return later[0] if later else None
        known = self._tests_of[id(side)] & self._measuring
        return next((one for one in later if one in known), None)

    def _rules(self) -> DuelServices:
        return DuelServices(
            clock=self._clock,
            progress=self._progress,
            coins=self._coins,
            rates=self.rates,
            revision=self._revision,
            ref=self._ref,
            check=self._ground.check,
            fresh=self._fresh,
            earlier=self._earlier,
            why_failed=self._why_failed,
        )

    def _why_failed(self, side: WorkerHandle) -> str:
        why = self._diaries[id(side)].failure
        empty = submodules(self._ground.repo, self._ground.commit) if why else ()
        if side.role == "base" and empty:
            return f"{why} (submodules are empty there: {', '.join(empty)})"
        return why

    @contextlib.contextmanager
    def _fresh(self, test: str) -> Iterator[WorkerPair]:
        duo = self._start(test, lead=False)
        try:
            duo.candidate.collected()
            if duo.base is not None:
                duo.base.collected()
            yield duo
        finally:
            duo.candidate.kill()
            if duo.base is not None:
                duo.base.kill()


def _relative_budgets(measuring: Iterable[Fields]) -> int:
    """How many budgets the error rate is shared by: of the tests that measure, no others."""
    return sum(len(test["budgets"]) or len(UNASKED) for test in measuring)


def _finest(measuring: Iterable[Fields]) -> float:
    """The smallest loss of speed that any test has to find, as a ratio minus one."""
    found = []
    for test in measuring:
        asked = {metric: detect for _, metric, detect in test["budgets"]}
        if not asked:
            given = dict(test["detect"])
            asked = {metric.name: given.get(metric.name, metric.detect) for metric in UNASKED}
        found += [detect for metric, detect in asked.items() if metric in SLOTTED]
    return min(found, default=METRICS["throughput"].detect)


def _first_words(longrepr: object) -> str:
    """Why a test failed, from what pytest serialises of it."""
    if isinstance(longrepr, dict):
        crash = longrepr.get("reprcrash") or {}
        text = str(crash.get("message", ""))
    else:
        text = str(longrepr or "")
    lines = text.strip().splitlines()
    # Of a collection that failed pytest tells in a text, in which these are the error.
    said = [line[1:].strip() for line in lines if line.startswith("E ")] or lines
    return said[0] if said else "without a word"


def duel_lines(
    courses: Sequence[DuelStatistics], *, against: str, pairs: int, starting: float, seed: int
) -> list[str]:
    """What was compared, how long that took, and how often a FAIL had to be again.

    Args:
        courses: how each measurement's contest went.
        against: the base, as the user calls it.
        pairs: of processes that were started together.
        starting: seconds until they had collected the tests.
        seed: of the coins.
    """
    measuring = sum(course.measuring for course in courses)
    again = [course for course in courses if course.fresh]
    lines = wrapped(
        f"against {against}: {pairs} pair{'s' if pairs > 1 else ''} of processes, started in "
        f"{starting:.1f} s; {len(courses)} measured in turn in {measuring:.1f} s; seed {seed}"
    )
    if again:
        fresh = sum(course.fresh for course in again)
        seconds = sum(course.starting for course in again)
        lines += wrapped(
            f"looked at again on fresh processes: {len(again)}, with {fresh} pairs that took "
            f"{seconds:.1f} s to start"
        )
    return ["", *lines]
