"""Judgements on a candidate that was measured in turn with its base."""

from __future__ import annotations

import math
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from pytest_dlperf.duel.questions import (
    ACCURACY_BUDGET,
    DEFAULT_TEXTS,
    NO_EVIDENCE,
    NOTHING,
    BudgetOutcome,
    ShareQuestion,
    budget_tests,
)
from pytest_dlperf.judge.conditions import MachineConditions
from pytest_dlperf.judge.contrasts import loss_on_rows
from pytest_dlperf.judge.judge import judge
from pytest_dlperf.judge.losses import VERDICTS, LossLimits, metric_after, with_bounds
from pytest_dlperf.judge.second_look import second_look_note, to_confirm, with_second_look
from pytest_dlperf.results.baseline import accept
from pytest_dlperf.results.measurement import ErrorCount
from pytest_dlperf.results.record import Record, with_judged
from pytest_dlperf.results.verdict import Judgement
from pytest_dlperf.statistics.estimate import FARTHEST, Estimate, counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from pytest_dlperf.config.budgets import Budget
    from pytest_dlperf.duel.opening import Opening
    from pytest_dlperf.duel.questions import DuelStatistics, EarlierEvidence
    from pytest_dlperf.duel.scheduler import Pair, SlotScheduler
    from pytest_dlperf.judge.error_rates import ErrorRates
    from pytest_dlperf.results.baseline import BaselineEntry
    from pytest_dlperf.results.baseline_session import Revision
    from pytest_dlperf.results.measurement import Measurement

_ROUNDING: Final = 1e-9  # of sums over the same rows in another order


def judge_rows(
    measurement: Measurement, base: Measurement, budgets: Iterable[Budget], rates: ErrorRates
) -> tuple[dict[str, BudgetOutcome], tuple[ShareQuestion, ...]]:
    """Decide the relative budgets on answers by the rows that both answered, or ask further pairs.

    Returns:
        The outcomes by the text of the budget; and the questions on accuracy and users' shares,
        without those whose rows are not the same.
    """
    outcomes, questions = {}, []
    for budget in budgets:
        metric = budget.metric
        value = base.metrics.get(metric.name)
        if _same_loss(budget, measurement, base):
            outcomes[budget.text] = BudgetOutcome("PASS", counted(0.0), visible=0.0)
            continue
        share = metric.of_answers and metric.unit == "share"
        if not budget.relative or not share or budget.operator == "==" or value is None:
            continue
        evidence = loss_on_rows(metric, measurement, base)
        if evidence is not None:
            limits = LossLimits.of(budget, value.value)
            questions.append(ShareQuestion(budget, limits, evidence, rates))
    return outcomes, tuple(questions)


def _same_loss(budget: Budget, measurement: Measurement, base: Measurement) -> bool:
    """Whether a loss is the same, interval and all: answers that did not change lost nothing."""
    now, then = measurement.metrics.get(budget.metric.name), base.metrics.get(budget.metric.name)
    if budget.metric.name != "loss" or not budget.relative or now is None or then is None:
        return False
    pairs = ((now.value, then.value), (now.low, then.low), (now.high, then.high))
    same = all(math.isclose(one, other, rel_tol=_ROUNDING) for one, other in pairs)
    return same and budget.limit(then.value) >= then.value


def judge_duel(
    measurement: Measurement,
    base: BaselineEntry,
    budgets: Sequence[Budget],
    outcomes: Mapping[str, BudgetOutcome],
    rates: ErrorRates,
) -> tuple[Judgement, ...]:
    """Judge each budget: by its outcome in the duel, or else as against a stored baseline.

    Args:
        measurement: of the candidate.
        base: the base's measurement, as a baseline.
        budgets: of the test.
        outcomes: of slots and of rows, by the text of the budget.
        rates: of each budget.
    """
    if measurement.hung:
        outcomes = {}
    # Different software and serving may be the very change that is compared.
    alike = replace(base, serving=measurement.serving)
    others = [budget for budget in budgets if budget.text not in outcomes]
    conditions = MachineConditions(alpha=rates.stored, beta=rates.missed)
    judged = iter(judge(measurement, others, alike, base.environment, "", conditions))
    return tuple(
        _judgement(budget, outcomes[budget.text], measurement, base)
        if budget.text in outcomes
        else next(judged)
        for budget in budgets
    )


def _judgement(
    budget: Budget, outcome: BudgetOutcome, measurement: Measurement, base: BaselineEntry
) -> Judgement:
    metric = budget.metric
    value = base.metrics[metric.name].value if metric.name in base.metrics else None
    undecided = outcome.decision is None
    shown = value is not None and outcome.visible < FARTHEST
    judgement = Judgement(
        budget=budget.text,
        metric=metric.name,
        verdict=VERDICTS[outcome.decision],
        measured=measurement.metrics.get(metric.name),
        limit=budget.limit(value) if value is not None else None,
        baseline=value,
        fails_at=(
            metric_after(metric, value or 0.0, outcome.visible) if undecided and shown else None
        ),
        reason=outcome.reason or ("the noise hides a loss of this size" if undecided else ""),
        revision=str(base.revision),
    )
    if outcome.loss is None:
        return judgement
    improved = outcome.decision == "PASS" and outcome.loss.high < 0
    limits = LossLimits.of(budget, value if value is not None else 1.0)
    judgement = with_bounds(replace(judgement, improved=improved), metric, outcome.loss, limits)
    if metric.unit == "share" or value is None or judgement.change is None:
        return judgement
    return replace(judgement, measured=_scaled(judgement.change, value))


def _scaled(ratio: Estimate, by: float) -> Estimate:
    return Estimate(ratio.value * by, ratio.low * by, ratio.high * by)


def with_slots(measurement: Measurement, statistics: DuelStatistics) -> Measurement:
    """The candidate's measurement with the errors of its slots and a note on them."""
    notes = (*measurement.notes, slots_note(statistics)) if statistics.blocks else measurement.notes
    if not statistics.bad:
        return replace(measurement, notes=notes)
    bad = sum(error.requests for error in measurement.errors) + statistics.bad
    errors = counted(bad / (measurement.requests + statistics.requests))
    example = "raised, or answered with another shape, while measured in turn with the base"
    return replace(
        measurement,
        notes=notes,
        requests=measurement.requests + statistics.requests,
        metrics=MappingProxyType({**measurement.metrics, "errors": errors}),
        errors=(*measurement.errors, ErrorCount("in a slot", statistics.bad, example)),
    )


def slots_note(statistics: DuelStatistics) -> str:
    """Pairs, blocks, processors and time of a duel, in a sentence."""
    pairs = "pair" if statistics.pairs == 1 else "pairs"
    where = "one processor" if statistics.processors == 1 else "all processors"
    return (
        f"measured in turn with the base: {statistics.pairs} {pairs} on {where}, "
        f"{statistics.blocks} blocks of 4 slots of {statistics.slot_seconds * 1e3:.0f} ms, "
        f"in {statistics.measuring + statistics.starting:.1f} s"
    )


def _with_lost_accuracy(
    candidate: Opening, base: Opening
) -> tuple[Measurement, tuple[Budget, ...]]:
    """The candidate, and its budgets; with one on the accuracy that only the base still has.

    By default the accuracy is compared: that the candidate has none must not pass.
    """
    opening, budgets = candidate.measurement, candidate.budgets
    asked = [budget for budget in base.budgets if budget.text == ACCURACY_BUDGET]
    by_default = any(budget.text in DEFAULT_TEXTS for budget in budgets)
    known = {*opening.metrics, *opening.refused}
    if not asked or not by_default or "accuracy" in known:
        return opening, budgets
    how = "a regression" if "loss" in known else "answers without labels that score them"
    reason = f"the base's answers have an accuracy, the candidate's are read as {how}"
    refused = MappingProxyType({**opening.refused, "accuracy": reason})
    return replace(opening, refused=refused), (*budgets, *asked)


def compare(  # noqa: PLR0913, PLR0917 - two sides, and what measures them
    candidate: Opening,
    base: Opening,
    revision: Revision,
    rates: ErrorRates,
    scheduler: SlotScheduler,
    first: Pair | None,
    *,
    fresh: Callable[[], AbstractContextManager[Pair]],
    evidence: EarlierEvidence = NO_EVIDENCE,
) -> tuple[Record, DuelStatistics]:
    """Judge a candidate by its rows, by slots in turn with its base, and by its opening load.

    Args:
        candidate: its budgets are judged.
        base: the side that it is compared with.
        revision: the base's code.
        rates: of each budget.
        scheduler: measures the slots.
        first: the pair to begin with; None if the load has no slots.
        fresh: starts a further pair.
        evidence: of earlier duels of the test.

    Returns:
        The candidate's record, with its slots; and the outcomes and costs of these.

    Raises:
        DlperfError: if a side cannot be measured any more.
    """
    before = base.measurement
    opening, budgets = _with_lost_accuracy(candidate, base)
    baseline = accept(before, base.environment, revision)
    if opening.hung or opening.scenario != before.scenario:
        judgements = judge_duel(opening, baseline, budgets, {}, rates)
        return Record(opening, judgements, (), quick=False, duel=NOTHING.to_json()), NOTHING
    by_rows, questions = judge_rows(opening, before, budgets, rates)
    tests = budget_tests(budgets, before, rates) if first is not None else ()
    statistics = scheduler.run(tests, questions, first, fresh, evidence)
    measurement = with_slots(opening, statistics)
    if measurement.serving != before.serving:
        note = f"the base was served by {before.serving}"
        measurement = replace(measurement, notes=(*measurement.notes, note))
    outcomes = {**by_rows, **statistics.outcomes}
    judgements = judge_duel(measurement, baseline, budgets, outcomes, rates)
    if candidate.second is not None:
        broken = to_confirm(measurement, budgets, judgements)
        again = judge(candidate.second, broken, None, candidate.environment, "")
        judgements = with_second_look(judgements, again)
        note = second_look_note(broken, candidate.second)
        measurement = replace(measurement, notes=(*measurement.notes, note))
    measurement = with_judged(measurement, judgements)
    record = Record(measurement, judgements, (), quick=False, duel=statistics.to_json())
    return record, statistics
