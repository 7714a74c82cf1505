"""Against what was stored: a measurement is taken alone, and held against accepted ones.

This is a screen: what it fails or leaves open for the noise, a duel with the baseline's commit can
settle.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from math import sqrt
from typing import TYPE_CHECKING

from pytest_dlperf.baselines.acceptance import BaselineComparison, decide_acceptance, unchanged
from pytest_dlperf.baselines.anchor import gradual_loss, gradual_loss_note
from pytest_dlperf.baselines.diff import change_lines
from pytest_dlperf.errors import DuelError
from pytest_dlperf.judge.conditions import conditions_of, needs_yardstick
from pytest_dlperf.judge.error_rates import BETA
from pytest_dlperf.judge.judge import judge
from pytest_dlperf.measure.evaluator import Evaluation
from pytest_dlperf.metrics import metric_named
from pytest_dlperf.results.baseline import accept
from pytest_dlperf.results.record import Record
from pytest_dlperf.results.verdict import Judgement, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from pytest_dlperf.baselines.source import BaselineProvider
    from pytest_dlperf.config.options import Update
    from pytest_dlperf.config.plan import Plan
    from pytest_dlperf.judge.conditions import MachineConditions
    from pytest_dlperf.judge.error_rates import ErrorRates
    from pytest_dlperf.measure.evaluator import Measurable
    from pytest_dlperf.results.baseline import BaselineEntry, Revision
    from pytest_dlperf.results.environment import Environment
    from pytest_dlperf.results.measurement import Measurement


@dataclass(frozen=True, slots=True)
class BaselineEvaluator:
    """An arena in which a test measures alone.

    Attributes:
        footing: the baselines of this machine class, and what is said of them.
        environment: asks for the software of this process.
        revision: asks for the code that is being measured.
        update: which baselines are to be written.
        rates: asks for the error rates of each relative budget.
        yardstick: measures the reference model: seconds a request, or None if it cannot be.
        reachable: asks whether a commit can be checked out.
        duel: measures a test in turn with a commit; None if doubts are left as they are.
    """

    footing: BaselineProvider
    environment: Callable[[], Environment]
    revision: Callable[[], Revision]
    update: Update | None
    rates: Callable[[], ErrorRates]
    yardstick: Callable[[], float | None]
    reachable: Callable[[str], bool]
    duel: Callable[[str, str], Mapping[str, Record]] | None
    _duels: dict[tuple[str, str], Mapping[str, Record]] = field(default_factory=dict)

    def evaluate(
        self, subject: AbstractContextManager[Measurable], plan: Plan, test: str, name: str
    ) -> Evaluation:
        """Measure, and judge against what was accepted before.

        Raises:
            BaselineError, HistoryError: if the stored baseline cannot be read.
            UsageError, DataError, TargetError: if the target cannot be measured.
        """
        __tracebackhide__ = True
        # Read before measuring, so that a damaged file costs no measuring time.
        stored = None if plan.quick else self.footing.store.load(test)
        look = self.yardstick if needs_yardstick(plan) else _no_yardstick
        with subject as ready:
            before = look()
            found = ready.measure(test, name, plan.load_seconds)
            after = look()
        yardstick = sqrt(before * after) if before and after else None
        return self._settled(found, plan, stored.accepted.get(name) if stored else None, yardstick)

    def exclusive(self) -> AbstractContextManager[None]:
        """Nothing to wait for: no other process measures."""
        return nullcontext()

    def accept(self, test: str, name: str, accepted: BaselineEntry) -> None:
        """Write a baseline.

        Raises:
            BaselineError: if it cannot be written.
        """
        self.footing.store.save(test, name, accepted)

    def _settled(
        self, found: Measurement, plan: Plan, old: BaselineEntry | None, yardstick: float | None
    ) -> Evaluation:
        environment = self.environment()
        alpha = self.rates().stored
        day = conditions_of(plan, found, old, yardstick, alpha=alpha, beta=BETA)
        missing = self.footing.missing(found.test, found.name) if old is None else ""
        judgements = judge(found, plan.judged, old, environment, missing, day)
        # What a verdict gives as its reason is not said again.
        reasons = {judgement.reason for judgement in judgements}
        notes = (note for note in (*found.notes, day.note) if note and note not in reasons)
        found = replace(found, notes=tuple(notes))
        if plan.quick:
            return Evaluation(Record(found, judgements, (), quick=True), None)
        guard = self.footing.guard if self.update else ""
        update = None if guard else self.update
        new = accept(found, environment, self.revision(), yardstick)
        standing = BaselineComparison(
            sessions=len(old.sessions) if old else 0,
            unchanged=unchanged(found, plan.judged, old, day),
            unquiet=day.unquiet,
            other_conditions=old is not None and not new.comparable(old),
            anchored=old is not None and old.anchor is not None,
            ways=self.footing.ways,
        )
        decision = decide_acceptance(update, found, judgements, standing)
        hint = guard or decision.hint
        if old and decision.keep == "renew":
            about = {budget.metric.name for budget in plan.judged} - {"errors"}
            hint = "\n".join([hint, *change_lines(old, new, about)])
        earlier = old.sessions if old and decision.keep != "renew" else ()
        accepted = accept(found, environment, self.revision(), yardstick, earlier).following(old)
        crept = _crept(found, plan, old, accepted, day)
        record = Record(
            replace(found, notes=(*found.notes, *crept)),
            decision.judgements,
            (hint,) if hint else (),
            quick=False,
            environment=environment,
            yardstick=yardstick,
            kept=decision.keep,
            basis=self.footing.basis,
        )
        cautions = (*filter(None, (decision.caution,)), *crept)
        if decision.keep:
            return Evaluation(record, accepted, cautions)
        return Evaluation(self._in_doubt(record, old), None, cautions)

    def _in_doubt(self, record: Record, old: BaselineEntry | None) -> Record:
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


def _crept(
    found: Measurement,
    plan: Plan,
    old: BaselineEntry | None,
    present: BaselineEntry,
    day: MachineConditions,
) -> tuple[str, ...]:
    """What is to be said of what was lost since the anchor, if anything was."""
    if old is None or old.anchor is None or not present.comparable(old):
        return ()
    if found.invalid or found.hung:
        return ()
    lost = gradual_loss(present, plan.judged, day)
    return (gradual_loss_note(lost, present, found.test, found.name),) if lost else ()


def _no_yardstick() -> None:
    """Nothing is judged that the machine's speed makes a difference to."""


def _doubtful(judgement: Judgement) -> bool:
    """Whether the noise between sessions may be all there is to it."""
    if not metric_named(judgement.metric).is_speed or judgement.baseline is None:
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
