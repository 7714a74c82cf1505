"""Judgements on a candidate that was measured in turn with its base."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from pytest_dlperf.duel.questions import (
    NOTHING,
    BudgetOutcome,
    SuspectedLoss,
    budget_tests,
    pass_rate,
)
from pytest_dlperf.judge.contrasts import loss_on_rows
from pytest_dlperf.judge.judge import judge
from pytest_dlperf.judge.losses import VERDICTS, LossLimits, metric_after
from pytest_dlperf.results.baseline import accept
from pytest_dlperf.results.measurement import ErrorCount
from pytest_dlperf.results.verdict import Judgement
from pytest_dlperf.statistics.e_process import FARTHEST
from pytest_dlperf.statistics.estimate import Estimate, counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pytest_dlperf.config.budgets import Budget
    from pytest_dlperf.duel.questions import DuelStatistics
    from pytest_dlperf.duel.scheduler import Pair, PairFactory, SlotScheduler
    from pytest_dlperf.judge.error_rates import ErrorRates
    from pytest_dlperf.results.baseline import BaselineEntry, Revision
    from pytest_dlperf.results.environment import Environment
    from pytest_dlperf.results.measurement import Measurement


def judge_rows(
    measurement: Measurement, base: Measurement, budgets: Iterable[Budget], rates: ErrorRates
) -> tuple[dict[str, BudgetOutcome], tuple[SuspectedLoss, ...]]:
    """Decide the relative budgets on accuracy and users' shares by the rows that both answered.

    By McNemar's exact test and Bonett and Price's interval, or Student's for pairs, at the rates
    of the run.

    Returns:
        The outcomes by the text of the budget, without those whose rows are not the same; and the
        losses that fresh pairs have to confirm.
    """
    outcomes, suspected = {}, []
    for budget in budgets:
        metric = budget.metric
        value = base.metrics.get(metric.name)
        share = metric.of_answers and metric.unit == "share"
        if not budget.relative or not share or budget.operator == "==" or value is None:
            continue
        evidence = loss_on_rows(metric, measurement, base)
        if evidence is None:
            continue
        limits, loss = LossLimits.of(budget, value.value), evidence.loss
        decision = evidence.decision(limits, rates.screen, pass_rate(limits.allowed, rates))
        outcomes[budget.text] = BudgetOutcome(
            decision, loss, visible=limits.allowed + (loss.value - loss.low)
        )
        if decision == "FAIL":
            suspected.append(SuspectedLoss(budget, limits, loss))
    return outcomes, tuple(suspected)


def judge_duel(
    measurement: Measurement,
    base: BaselineEntry,
    budgets: Sequence[Budget],
    answers: Mapping[str, BudgetOutcome],
) -> tuple[Judgement, ...]:
    """Judge each budget: by its outcome in the duel, or else as against a stored baseline.

    Args:
        measurement: of the candidate.
        base: what the base measured, by the same rules.
        budgets: of the test.
        answers: outcomes by slots and by rows, by the text of the budget.
    """
    if measurement.hung:
        answers = {}
    # Different software and serving may be the very change that is compared.
    alike = dataclasses.replace(base, serving=measurement.serving)
    others = [budget for budget in budgets if budget.text not in answers]
    judged = iter(judge(measurement, others, alike, base.environment, ""))
    return tuple(
        _answered(budget, answers[budget.text], measurement, base)
        if budget.text in answers
        else next(judged)
        for budget in budgets
    )


def _answered(
    budget: Budget, answer: BudgetOutcome, measurement: Measurement, base: BaselineEntry
) -> Judgement:
    metric = budget.metric
    value = base.metrics[metric.name].value if metric.name in base.metrics else None
    if metric.unit == "share":
        measured = measurement.metrics.get(metric.name)
        change = _negated(_share(answer.loss))
    else:
        change = _ratio(_negated(answer.loss) if metric.better == "higher" else answer.loss)
        measured = (
            _scaled(change, value) if value is not None else measurement.metrics.get(metric.name)
        )
    open_question = answer.decision is None
    shown = value is not None and answer.visible < FARTHEST
    return Judgement(
        budget=budget.text,
        metric=metric.name,
        verdict=VERDICTS[answer.decision],
        measured=measured,
        limit=budget.limit(value) if value is not None else None,
        baseline=value,
        fails_at=(
            metric_after(metric, value or 0.0, answer.visible) if open_question and shown else None
        ),
        reason=answer.reason or ("the noise hides a loss of this size" if open_question else ""),
        revision=str(base.revision),
        improved=answer.decision == "PASS" and answer.loss.high < 0,
        change=change,
    )


def _share(loss: Estimate) -> Estimate:
    """A share cannot change by more than 1."""
    return Estimate(loss.value, max(loss.low, -1.0), min(loss.high, 1.0))


def _negated(loss: Estimate) -> Estimate:
    # From 0, so that nothing is shown as -0.
    return Estimate(0.0 - loss.value, 0.0 - loss.high, 0.0 - loss.low)


def _ratio(log: Estimate) -> Estimate:
    return Estimate(math.exp(log.value), math.exp(log.low), math.exp(log.high))


def _scaled(ratio: Estimate, by: float) -> Estimate:
    return Estimate(ratio.value * by, ratio.low * by, ratio.high * by)


def with_slots(measurement: Measurement, course: DuelStatistics) -> Measurement:
    """The candidate's measurement with the errors of its slots and a note on them."""
    notes = (*measurement.notes, course_note(course)) if course.blocks else measurement.notes
    if not course.bad:
        return dataclasses.replace(measurement, notes=notes)
    bad = sum(error.requests for error in measurement.errors) + course.bad
    errors = counted(bad / (measurement.requests + course.requests))
    example = "raised, or answered with another shape, while measured in turn with the base"
    return dataclasses.replace(
        measurement,
        notes=notes,
        requests=measurement.requests + course.requests,
        metrics=MappingProxyType({**measurement.metrics, "errors": errors}),
        errors=(*measurement.errors, ErrorCount("in a slot", course.bad, example)),
    )


def with_judged(measurement: Measurement, judgements: Iterable[Judgement]) -> Measurement:
    """The measurement with the values that slots have measured."""
    judged = {
        judgement.metric: judgement.measured
        for judgement in judgements
        if judgement.change is not None and judgement.measured is not None
    }
    metrics = {name: judged.get(name, estimate) for name, estimate in measurement.metrics.items()}
    return dataclasses.replace(measurement, metrics=MappingProxyType(metrics))


def course_note(course: DuelStatistics) -> str:
    """Blocks, pairs, time and noise of a duel, in a sentence."""
    figure = f", noise figure S = {course.noise_figure:.2g} s" if course.noise_figure else ""
    ones = "one" if course.fresh == 1 else "ones"
    fresh = f" and {course.fresh} fresh {ones}" if course.fresh else ""
    return (
        f"measured in turn with the base: {course.blocks} blocks of 4 slots of "
        f"{course.slot_seconds * 1e3:.0f} ms on {course.pairs} "
        f"pair{'s' if course.pairs > 1 else ''}{fresh} in {course.measuring:.1f} s{figure}"
    )


@dataclass(frozen=True, slots=True)
class Base:
    """The side that a candidate is compared with.

    Attributes:
        measurement: of its opening load.
        environment: its software.
        revision: its code.
    """

    measurement: Measurement
    environment: Environment
    revision: Revision


@dataclass(frozen=True, slots=True)
class Result:
    """The result of comparing a candidate with its base.

    Attributes:
        measurement: of the candidate, with its slots.
        judgements: on each budget.
        course: outcomes and costs of the slots.
    """

    measurement: Measurement
    judgements: tuple[Judgement, ...]
    course: DuelStatistics


def compare(  # noqa: PLR0913 - two sides, budgets, and what measures them
    opening: Measurement,
    base: Base,
    budgets: Sequence[Budget],
    scheduler: SlotScheduler,
    pairs: Sequence[Pair],
    *,
    fresh: PairFactory,
    earlier: Mapping[str, tuple[float, ...]] = NOTHING.effects,
) -> Result:
    """Judge a candidate by its rows, by slots in turn with its base, and by its opening load.

    Args:
        opening: the candidate's opening load.
        base: the base, with its opening load.
        budgets: of the test.
        scheduler: measures the slots.
        pairs: to measure first; none if the load has no slots.
        fresh: starts pairs to confirm a FAIL with.
        earlier: log ratios of the pairs of earlier duels of the same code, by the text of the
            budget.

    Raises:
        DlperfError: if a side cannot be measured any more.
    """
    accepted = accept(base.measurement, base.environment, base.revision)
    if opening.hung or opening.scenario != base.measurement.scenario:
        return Result(opening, judge_duel(opening, accepted, budgets, {}), NOTHING)
    rates = scheduler.rates
    by_rows, suspected = judge_rows(opening, base.measurement, budgets, rates)
    course = scheduler.contest(
        budget_tests(budgets, base.measurement, rates) if pairs else (),
        suspected,
        pairs,
        fresh,
        earlier,
    )
    measurement = with_slots(opening, course)
    if measurement.serving != base.measurement.serving:
        note = f"the base was served by {base.measurement.serving}"
        measurement = dataclasses.replace(measurement, notes=(*measurement.notes, note))
    answers = {**by_rows, **course.answers}
    judgements = judge_duel(measurement, accepted, budgets, answers)
    return Result(with_judged(measurement, judgements), judgements, course)
