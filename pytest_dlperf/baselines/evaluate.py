"""Evaluation against a stored baseline.

This is a screen: what it fails, or leaves open because of noise, a duel with the baseline's commit
can settle.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pytest_dlperf.baselines.acceptance import BaselineComparison, decide_acceptance, unchanged
from pytest_dlperf.baselines.anchor import gradual_loss, gradual_loss_note
from pytest_dlperf.baselines.diff import change_lines
from pytest_dlperf.errors import DuelError
from pytest_dlperf.judge.conditions import conditions_of, needs_yardstick
from pytest_dlperf.judge.error_rates import BETA
from pytest_dlperf.judge.judge import judge
from pytest_dlperf.judge.second_look import second_look_note, to_confirm, with_second_look
from pytest_dlperf.measure.evaluator import Evaluation
from pytest_dlperf.measure.yardstick import NO_YARDSTICK
from pytest_dlperf.metrics import metric_named
from pytest_dlperf.report.hints import measure_in_turn
from pytest_dlperf.results.baseline import accept
from pytest_dlperf.results.record import Record, with_judged
from pytest_dlperf.results.verdict import Judgement, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from pytest_dlperf.baselines.source import BaselineProvider
    from pytest_dlperf.config.budgets import Budget
    from pytest_dlperf.config.options import Update
    from pytest_dlperf.config.plan import Plan
    from pytest_dlperf.judge.conditions import MachineConditions
    from pytest_dlperf.judge.error_rates import AlphaSpending, ErrorRates
    from pytest_dlperf.measure.evaluator import Measurable
    from pytest_dlperf.measure.yardstick import SpeedCheck
    from pytest_dlperf.results.baseline import BaselineEntry, Revision
    from pytest_dlperf.results.environment import Environment
    from pytest_dlperf.results.measurement import Measurement


@dataclass(frozen=True, slots=True)
class BaselineEvaluator:
    """An evaluator that measures one test at a time and judges it against its baseline.

    Attributes:
        baselines: of this machine class.
        environment: returns the software of this process.
        revision: returns the code that is being measured.
        update: which baselines to write.
        rates: returns the error rates of each relative budget.
        spending: returns how a test divides these among its measurements.
        yardstick: makes what measures the machine around one load.
        rest: waits a moment before a second measurement, so that a disturbance can pass.
        reachable: whether a commit can be checked out.
        duel: measures a test in turn with a commit; None to leave open verdicts open.
    """

    baselines: BaselineProvider
    environment: Callable[[], Environment]
    revision: Callable[[], Revision]
    update: Update | None
    rates: Callable[[], ErrorRates]
    spending: Callable[[str], AlphaSpending]
    yardstick: Callable[[], SpeedCheck]
    rest: Callable[[], None]
    reachable: Callable[[str], bool]
    duel: Callable[[str, str], Mapping[str, Record]] | None
    _duels: dict[tuple[str, str], Mapping[str, Record]] = field(default_factory=dict)

    def evaluate(
        self, subject: AbstractContextManager[Measurable], plan: Plan, test: str, name: str
    ) -> Evaluation:
        """Measure, and judge against the stored baseline."""
        __tracebackhide__ = True
        # Read before measuring, so that a damaged file costs no measuring time.
        stored = None if plan.quick else self.baselines.store.load(test)
        old = stored.accepted.get(name) if stored else None
        request = _Request(
            plan=plan,
            test=test,
            name=name,
            old=old,
            alpha=self._alpha(test, name, stored.accepted if stored else ()),
            makes_yardstick=self.yardstick if needs_yardstick(plan, old) else None,
        )
        with subject as ready:
            first = _look(ready, request)
            broken = to_confirm(first.measurement, plan.judged, self._judged(first, request))
            second = None
            if broken:
                self.rest()
                second = _look(ready, request)
        return self._evaluation(first, request, broken, second)

    def _alpha(self, test: str, name: str, known: Collection[str]) -> float:
        """The error rate of a FAIL; only measurements with a baseline use any up."""
        rates = self.rates()
        if name not in known:
            return rates.stored
        return rates.shared(self.spending(test).share(name, known)).stored

    def _judged(self, look: _Look, request: _Request) -> tuple[Judgement, ...]:
        missing = self.baselines.missing(request.test, request.name) if request.old is None else ""
        budgets, environment = request.plan.judged, self.environment()
        return judge(look.measurement, budgets, request.old, environment, missing, look.conditions)

    def exclusive(self) -> AbstractContextManager[None]:
        """Nothing to exclude: no other test measures meanwhile."""
        return nullcontext()

    def accept(self, test: str, name: str, accepted: BaselineEntry) -> None:
        """Write a baseline."""
        self.baselines.store.save(test, name, accepted)

    def _evaluation(
        self, first: _Look, request: _Request, broken: Sequence[Budget], second: _Look | None
    ) -> Evaluation:
        plan, old, conditions = request.plan, request.old, first.conditions
        environment, yardstick = self.environment(), conditions.yardstick
        judgements = self._judged(first, request)
        notes = [conditions.note, environment.distortion]
        if second is not None:
            again = zip(plan.judged, self._judged(second, request), strict=True)
            judgements = with_second_look(judgements, [j for b, j in again if b in broken])
            notes.append(second_look_note(broken, second.measurement))
        measurement = _with_notes(first.measurement, notes, judgements)
        if plan.quick:
            return Evaluation(Record(measurement, judgements, (), quick=True), None)
        revision = self.revision()
        new = accept(measurement, environment, revision, yardstick)
        guard = self.baselines.guard if self.update else ""
        decision = decide_acceptance(
            None if guard else self.update,
            measurement,
            judgements,
            BaselineComparison(
                sessions=len(old.sessions) if old else 0,
                unchanged=unchanged(measurement, plan.judged, old, conditions),
                noise=conditions.noisy,
                other_conditions=old is not None and not new.comparable(old),
                anchored=old is not None and old.anchor is not None,
                distortion=environment.distortion,
                advice=self.baselines.advice,
            ),
        )
        hint = guard or decision.hint
        if old and decision.keep == "renew":
            shown = {budget.metric.name for budget in plan.judged} - {"errors"}
            hint = "\n".join([hint, *change_lines(old, new, shown)])
        earlier = old.sessions if old and decision.keep != "renew" else ()
        entry = accept(measurement, environment, revision, yardstick, earlier).following(old)
        losses = _gradual_losses(measurement, plan, old, entry, conditions)
        record = Record(
            replace(measurement, notes=(*measurement.notes, *losses)),
            decision.judgements,
            (hint,) if hint else (),
            quick=False,
            environment=environment,
            yardstick=yardstick,
            kept=decision.keep,
            basis=self.baselines.source,
        )
        cautions = (*filter(None, (decision.caution,)), *losses)
        if decision.keep:
            return Evaluation(record, entry, cautions)
        return Evaluation(self._settled(record, old), None, cautions)

    def _settled(self, record: Record, old: BaselineEntry | None) -> Record:
        """The record with the verdicts of a duel for those in doubt, or how to get a duel."""
        if old is None or not any(map(_doubtful, record.judgements)):
            return record
        commit = old.revision.commit
        if not self.reachable(commit):
            return record
        record = replace(record, base=commit)
        if self.duel is None:
            if record.verdict is Verdict.FAIL:
                return record  # the failure's own message names the command
            return replace(record, hints=(*record.hints, measure_in_turn(commit)))
        key = record.measurement.test, commit
        try:
            # A duel of a test has all of its measurements, so one is enough.
            if key not in self._duels:
                self._duels[key] = self.duel(*key)
            return _after_duel(record, self._duels[key].get(record.measurement.name))
        except DuelError as error:
            return replace(record, hints=(*record.hints, str(error)))


@dataclass(frozen=True, slots=True)
class _Request:
    """What is measured, and what it is judged by.

    Attributes:
        old: the stored baseline.
        alpha: error rate of a FAIL.
        makes_yardstick: as in `BaselineEvaluator`; None if the machine does not matter.
    """

    plan: Plan
    test: str
    name: str
    old: BaselineEntry | None
    alpha: float
    makes_yardstick: Callable[[], SpeedCheck] | None


@dataclass(frozen=True, slots=True)
class _Look:
    """A measurement, and the machine meanwhile."""

    measurement: Measurement
    conditions: MachineConditions


def _look(ready: Measurable, request: _Request) -> _Look:
    plan, old = request.plan, request.old
    speed = NO_YARDSTICK if request.makes_yardstick is None else request.makes_yardstick()
    measurement = ready.measure(request.test, request.name, plan.load_seconds, speed)
    conditions = conditions_of(plan, measurement, old, speed.pace, alpha=request.alpha, beta=BETA)
    return _Look(measurement, conditions)


def _with_notes(
    measurement: Measurement, more: Iterable[str], judgements: tuple[Judgement, ...]
) -> Measurement:
    """The measurement with more notes, but without notes that repeat a verdict's reason."""
    reasons = {judgement.reason for judgement in judgements}
    notes = (text for text in (*measurement.notes, *more) if text and text not in reasons)
    return replace(measurement, notes=tuple(notes))


def _gradual_losses(
    measurement: Measurement,
    plan: Plan,
    old: BaselineEntry | None,
    present: BaselineEntry,
    conditions: MachineConditions,
) -> tuple[str, ...]:
    """The note on what was lost since the anchor, if anything was."""
    if old is None or old.anchor is None or not present.comparable(old):
        return ()
    if measurement.invalid or measurement.hung:
        return ()
    losses = gradual_loss(present, plan.judged, conditions)
    test, name = measurement.test, measurement.name
    return (gradual_loss_note(losses, present, test, name),) if losses else ()


def _doubtful(judgement: Judgement) -> bool:
    """Whether noise between sessions may explain the verdict."""
    if not metric_named(judgement.metric).is_speed or judgement.baseline is None:
        return False
    is_open = judgement.verdict is Verdict.INCONCLUSIVE and not judgement.lasting
    return is_open or judgement.verdict is Verdict.FAIL


def _without_base(judgement: Judgement) -> bool:
    """Whether a duel had nothing to compare with."""
    is_open = judgement.verdict is Verdict.INCONCLUSIVE and judgement.lasting
    return judgement.baseline is None and (is_open or judgement.verdict is Verdict.NEW)


def _after_duel(record: Record, duel: Record | None) -> Record:
    if duel is None:
        return record
    by_budget = {judgement.budget: judgement for judgement in duel.judgements}
    doubtful = [judgement for judgement in record.judgements if _doubtful(judgement)]
    answers = (by_budget[j.budget] for j in doubtful if j.budget in by_budget)
    alone = next(filter(_without_base, answers), None)
    if alone is not None:  # it has settled nothing
        reason = f"both commits cannot be measured in turn: {alone.reason}"
        return replace(record, base="", hints=(*record.hints, reason))
    judgements = tuple(
        by_budget.get(judgement.budget, judgement) if judgement in doubtful else judgement
        for judgement in record.judgements
    )
    was = ", ".join(f"{judgement.metric} {judgement.verdict.value}" for judgement in doubtful)
    notes = (
        *record.measurement.notes,
        f"against the stored baseline: {was}; so both commits were measured in turn",
        *(note for note in duel.measurement.notes if note.startswith("measured in turn")),
    )
    settled = (by_budget[j.budget] for j in doubtful if j.budget in by_budget)
    return replace(
        record,
        # The metrics of the table are those that the verdicts are about.
        measurement=with_judged(replace(record.measurement, notes=notes), settled),
        judgements=judgements,
        hints=(),
        base="",
        duel=duel.duel,
    )
