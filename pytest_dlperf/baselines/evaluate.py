"""Evaluation against a stored baseline.

This is a screen: what it fails, or leaves open because of noise, a second look settles.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pytest_dlperf.baselines.acceptance import BaselineComparison, decide_acceptance, unchanged
from pytest_dlperf.baselines.anchor import gradual_loss, gradual_loss_note
from pytest_dlperf.baselines.diff import change_lines
from pytest_dlperf.baselines.suspicion import is_doubtful
from pytest_dlperf.judge.conditions import conditions_of, needs_yardstick, scaled_metrics
from pytest_dlperf.judge.error_rates import BETA
from pytest_dlperf.judge.judge import judge
from pytest_dlperf.judge.loss_evidence import provable_losses
from pytest_dlperf.judge.losses import changed_by, log_cost
from pytest_dlperf.judge.second_look import second_look_note, to_confirm, with_second_look
from pytest_dlperf.measure.evaluator import Evaluation
from pytest_dlperf.measure.yardstick import NO_YARDSTICK
from pytest_dlperf.metrics import metric_named
from pytest_dlperf.results.baseline import accept
from pytest_dlperf.results.record import Record
from pytest_dlperf.units import format_change

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence
    from contextlib import AbstractContextManager

    from pytest_dlperf.baselines.source import BaselineProvider
    from pytest_dlperf.baselines.suspicion import SecondLook
    from pytest_dlperf.config.budgets import Budget
    from pytest_dlperf.config.options import Update
    from pytest_dlperf.config.plan import Plan
    from pytest_dlperf.judge.conditions import MachineConditions
    from pytest_dlperf.judge.error_rates import AlphaSpending, ErrorRates
    from pytest_dlperf.judge.machine_noise import MachineNoise
    from pytest_dlperf.measure.evaluator import Measurable
    from pytest_dlperf.measure.yardstick import SpeedCheck
    from pytest_dlperf.metrics import Metric
    from pytest_dlperf.results.baseline import BaselineEntry
    from pytest_dlperf.results.baseline_session import Revision
    from pytest_dlperf.results.environment import Environment
    from pytest_dlperf.results.measurement import Measurement
    from pytest_dlperf.results.verdict import Judgement
    from pytest_dlperf.statistics.pace import Pace
    from pytest_dlperf.statistics.session_noise import SessionNoise


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
        noise: returns what sessions of this machine class differ by.
        second: looks again at what one session suspects; None where it is itself a second look.
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
    noise: Callable[[], MachineNoise]
    second: SecondLook | None

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
            first = self._look(ready, request)
            broken = to_confirm(first.measurement, plan.judged, self._judged(first, request))
            second = None
            if broken:
                self.rest()
                second = self._look(ready, request)
        return self._evaluation(first, request, broken, second)

    def _alpha(self, test: str, name: str, known: Collection[str]) -> float:
        """The error rate of a FAIL; only measurements with a baseline use any up."""
        rates = self.rates()
        if name not in known:
            return rates.stored
        return rates.shared(self.spending(test).share(name, known)).stored

    def _look(self, ready: Measurable, request: _Request) -> _Look:
        speed = NO_YARDSTICK if request.makes_yardstick is None else request.makes_yardstick()
        measurement = ready.measure(request.test, request.name, request.plan.load_seconds, speed)
        return _Look(measurement, self._conditions(measurement, request, speed.pace))

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
                outlook=_outlook(judgements, old, conditions),
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
        return Evaluation(self._settled(record, request), None, cautions)

    def _conditions(
        self, measurement: Measurement, request: _Request, pace: Pace | None
    ) -> MachineConditions:
        plan, old = request.plan, request.old
        scaled = scaled_metrics(plan) if pace is not None else frozenset()
        known = {session.revision.date for session in old.sessions} if old else set()

        def noise(metric: Metric) -> SessionNoise:
            is_scaled = metric.name in scaled
            return self.noise().of(
                metric, request.test, request.name, scaled=is_scaled, known=known
            )

        return conditions_of(
            plan, measurement, old, pace, alpha=request.alpha, beta=BETA, noise=noise
        )

    def _settled(self, record: Record, request: _Request) -> Record:
        """The record after a second look at what is in doubt."""
        plan, old = request.plan, request.old
        if old is None or self.second is None or not any(map(is_doubtful, record.judgements)):
            return record
        environment, commit = self.environment(), old.revision.commit

        def judged(other: Record) -> tuple[Judgement, ...]:
            conditions = self._conditions(other.measurement, request, other.yardstick)
            return judge(other.measurement, plan.judged, old, environment, "", conditions)

        measured = record.measurement
        between = old.revision.date, self.revision().date
        last = self.noise().last(measured.test, measured.name, measured.scenario, between)
        earlier = None
        if last is not None:
            before = replace(measured, metrics=last.metrics)
            earlier = (
                last.day,
                judged(replace(record, measurement=before, yardstick=last.yardstick)),
            )
        base = commit if self.reachable(commit) else ""
        return self.second.settled(record, base, judged, earlier)


def _outlook(
    judgements: tuple[Judgement, ...], old: BaselineEntry | None, conditions: MachineConditions
) -> str:
    """From which change of the first open speed a session of another day would make a FAIL."""
    for judgement in judgements:
        metric, fails_at = metric_named(judgement.metric), judgement.fails_at
        if old is None or not (metric.is_speed and judgement.baseline and fails_at):
            continue
        noise = conditions.noise_of(metric)
        days = len({session.revision.date for session in old.sessions})
        now, then = (
            provable_losses(noise, count, conditions.alpha)[1] for count in (days, days + 1)
        )
        loss = log_cost(metric, fails_at) - log_cost(metric, judgement.baseline) - (now - then)
        change = format_change(changed_by(metric, loss), metric.unit)
        return f"with one of another day {metric.name} would be a FAIL from {change} on"
    return ""


@dataclass(frozen=True, slots=True)
class MeasuringEvaluator:
    """An evaluator of a process that measures for another one, and leaves judging to it.

    Attributes:
        environment: returns the software of this process.
        yardstick: makes what measures the machine around one load.
    """

    environment: Callable[[], Environment]
    yardstick: Callable[[], SpeedCheck]

    def evaluate(
        self, subject: AbstractContextManager[Measurable], plan: Plan, test: str, name: str
    ) -> Evaluation:
        """Measure."""
        __tracebackhide__ = True
        speed = self.yardstick() if needs_yardstick(plan) and not plan.quick else NO_YARDSTICK
        with subject as ready:
            measurement = ready.measure(test, name, plan.load_seconds, speed)
        environment = self.environment()
        record = Record(
            measurement, (), (), quick=plan.quick, environment=environment, yardstick=speed.pace
        )
        return Evaluation(record, None)

    def exclusive(self) -> AbstractContextManager[None]:
        """Nothing to exclude: no other test measures meanwhile."""
        return nullcontext()

    def accept(self, test: str, name: str, accepted: BaselineEntry) -> None:
        """Nothing is accepted."""


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
