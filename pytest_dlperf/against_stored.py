"""Against what was stored: a measurement is taken alone, and held against accepted ones.

This is a screen: what it fails or leaves open for the noise, a duel with the baseline's commit can
settle.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from math import sqrt
from typing import TYPE_CHECKING, Final

from pytest_dlperf.arena import Finding
from pytest_dlperf.core.acceptance import Standing, decide_acceptance, unchanged
from pytest_dlperf.core.baseline import accept
from pytest_dlperf.core.contest import BETA
from pytest_dlperf.core.day import SPEEDS, day_of, needs_yardstick
from pytest_dlperf.core.judge import judge
from pytest_dlperf.core.record import Record
from pytest_dlperf.core.verdict import Judgement, Verdict
from pytest_dlperf.errors import DuelError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from pytest_dlperf.adapters.files import BaselineFiles
    from pytest_dlperf.arena import Subject
    from pytest_dlperf.core.baseline import Accepted, Revision
    from pytest_dlperf.core.contest import Rates
    from pytest_dlperf.core.environment import Environment
    from pytest_dlperf.core.measurement import Measurement
    from pytest_dlperf.core.options import Update
    from pytest_dlperf.core.plan import Plan

_CI_GUARD: Final = "not recorded in CI; --dlperf-update-in-ci allows it"


@dataclass(frozen=True, slots=True)
class AgainstStored:
    """An arena in which a test measures alone.

    Attributes:
        store: the baselines of this machine class.
        environment: asks for the software of this process.
        revision: asks for the code that is being measured.
        machine: the machine class, as a name.
        update: which baselines may be written.
        ci_guard: whether baselines that would be written are not, because this is CI.
        rates: asks for the error rates of each relative budget.
        yardstick: measures the reference model: seconds a request, or None if it cannot be.
        reachable: asks whether a commit can be checked out.
        duel: measures a test in turn with a commit; None if doubts are left as they are.
    """

    store: BaselineFiles
    environment: Callable[[], Environment]
    revision: Callable[[], Revision]
    machine: str
    update: Update | None
    ci_guard: bool
    rates: Callable[[], Rates]
    yardstick: Callable[[], float | None]
    reachable: Callable[[str], bool]
    duel: Callable[[str, str], Mapping[str, Record]] | None
    _duels: dict[tuple[str, str], Mapping[str, Record]] = field(default_factory=dict)

    def settle(
        self, subject: AbstractContextManager[Subject], plan: Plan, test: str, name: str
    ) -> Finding:
        """Measure, and judge against what was accepted before.

        Raises:
            BaselineError: if the stored baseline cannot be read.
            UsageError, DataError, TargetError: if the target cannot be measured.
        """
        __tracebackhide__ = True
        # Read before measuring, so that a damaged file costs no measuring time.
        stored = None if plan.quick else self.store.load(test)
        look = self.yardstick if needs_yardstick(plan) else _no_yardstick
        with subject as ready:
            before = look()
            found = ready.measure(test, name, plan.load_seconds)
            after = look()
        yardstick = sqrt(before * after) if before and after else None
        return self._settled(found, plan, stored.accepted.get(name) if stored else None, yardstick)

    def floor(self) -> AbstractContextManager[None]:
        """Nobody else measures."""
        return nullcontext()

    def keep(self, test: str, name: str, accepted: Accepted) -> None:
        """Write a baseline.

        Raises:
            BaselineError: if it cannot be written.
        """
        self.store.save(test, name, accepted)

    def _settled(
        self, found: Measurement, plan: Plan, old: Accepted | None, yardstick: float | None
    ) -> Finding:
        environment = self.environment()
        alpha = self.rates().stored
        day = day_of(plan, found, old, yardstick, alpha=alpha, beta=BETA)
        missing = f"no baseline yet on this machine class ({self.machine})"
        judgements = judge(found, plan.judged, old, environment, missing, day)
        # What a verdict gives as its reason is not said again.
        reasons = {judgement.reason for judgement in judgements}
        notes = (note for note in (*found.notes, day.note) if note and note not in reasons)
        found = replace(found, notes=tuple(notes))
        if plan.quick:
            return Finding(Record(found, judgements, (), quick=True), None)
        update = None if self.ci_guard else self.update
        standing = Standing(
            sessions=len(old.sessions) if old else 0,
            unchanged=unchanged(found, plan.judged, old, day),
            unquiet=day.unquiet,
        )
        decision = decide_acceptance(update, found, judgements, standing)
        hint = _CI_GUARD if self.ci_guard else decision.hint
        record = Record(
            found,
            decision.judgements,
            (hint,) if hint else (),
            quick=False,
            environment=environment,
            yardstick=yardstick,
            kept=decision.keep,
        )
        if decision.keep:
            earlier = old.sessions if old and decision.keep == "follow" else ()
            accepted = accept(found, environment, self.revision(), yardstick, earlier)
            return Finding(record, accepted)
        return Finding(self._in_doubt(record, old), None)

    def _in_doubt(self, record: Record, old: Accepted | None) -> Record:
        """The record with what settles its doubts: how to have a duel, or what came of one."""
        if old is None or not any(map(_doubtful, record.judgements)):
            return record
        commit = old.revision.commit
        if not self.reachable(commit):
            return record
        record = replace(record, base=commit)
        if self.duel is None:
            if record.verdict is Verdict.FAIL:
                return record  # the failure itself says it
            hint = f"measure both commits in turn: --dlperf-against={commit[:8]}"
            return replace(record, hints=(*record.hints, hint))
        found = record.measurement
        try:
            if (found.test, commit) not in self._duels:
                self._duels[found.test, commit] = self.duel(found.test, commit)
            return _after(record, self._duels[found.test, commit].get(found.name))
        except DuelError as error:
            return replace(record, hints=(*record.hints, str(error)))


def _no_yardstick() -> None:
    """Nothing is judged that the machine's speed makes a difference to."""


def _doubtful(judgement: Judgement) -> bool:
    """Whether the noise between sessions may be all there is to it."""
    if judgement.metric not in SPEEDS or judgement.baseline is None:
        return False
    is_open = judgement.verdict is Verdict.INCONCLUSIVE and not judgement.lasting
    return is_open or judgement.verdict is Verdict.FAIL


def _after(record: Record, duel: Record | None) -> Record:
    """The record with the duel's judgements in place of those that were in doubt."""
    if duel is None:
        return record
    found = {judgement.budget: judgement for judgement in duel.judgements}
    judgements = tuple(
        found.get(judgement.budget, judgement) if _doubtful(judgement) else judgement
        for judgement in record.judgements
    )
    was = ", ".join(
        f"{judgement.metric} {judgement.verdict.value}"
        for judgement in record.judgements
        if _doubtful(judgement)
    )
    notes = (
        *record.measurement.notes,
        f"against the stored baseline: {was}; so both commits were measured in turn",
        *(note for note in duel.measurement.notes if note.startswith("measured in turn")),
    )
    measurement = replace(record.measurement, notes=notes)
    return replace(
        record,
        measurement=measurement,
        judgements=judgements,
        hints=(),
        base="",
        duel=duel.duel,
    )
