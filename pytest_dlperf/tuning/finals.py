"""Finals: the best configurations, measured in turn with the setup without tuning, and judged."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from pytest_dlperf.duel.in_process import DuelCandidate, duel_candidates
from pytest_dlperf.judge.error_rates import ErrorRates
from pytest_dlperf.judge.judge import judge
from pytest_dlperf.results.record import Record
from pytest_dlperf.results.verdict import Verdict
from pytest_dlperf.statistics.estimate import Estimate
from pytest_dlperf.tuning.configuration import configured
from pytest_dlperf.tuning.result import Finalist
from pytest_dlperf.tuning.screening import closed, in_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from pytest_dlperf.measure.prepared import Instruments
    from pytest_dlperf.metrics import Metric
    from pytest_dlperf.results.environment import Environment
    from pytest_dlperf.results.verdict import Judgement
    from pytest_dlperf.tuning.configuration import Configuration, Setup
    from pytest_dlperf.tuning.pipeline import ModelFactory
    from pytest_dlperf.tuning.screening import Study

BASE: Final = "the setup without tuning"


def rates_for(study: Study, finalists: int) -> ErrorRates:
    """Error rates by which at most 1 % of studies without a better setup recommend another one."""
    # Split over the finalists, and over the relative claims about each of them.
    relative = sum(budget.relative for budget in study.goal.constraints)
    return ErrorRates(finalists * (1 + relative))


def compared(  # noqa: PLR0913 - a configuration, its study, and what a duel takes
    configuration: Configuration,
    study: Study,
    make: ModelFactory,
    instruments: Instruments,
    *,
    rates: ErrorRates,
    rng: np.random.Generator,
) -> tuple[Finalist, Record | None]:
    """Have the judge compare a configuration with the setup without tuning.

    Measures for at most the plan's `budget_time`.

    Returns:
        The finalist; and its record for reports, None if the comparison failed.
    """
    budgets = study.goal.gain, *study.goal.constraints
    start_ns = instruments.clock.now_ns()

    def candidate(setup: Setup) -> DuelCandidate:
        model = make(setup)
        plan = study.plan_for(setup, budgets)
        return DuelCandidate(model.target, model.data, plan, model.known)

    record = None
    try:
        record = duel_candidates(
            candidate(study.setup(configured(study.knobs))),
            candidate(study.setup(configuration)),
            instruments,
            rates=rates,
            rng=rng,
            key=(study.test, study.name),
            base_name=BASE,
        )
    except Exception as error:  # noqa: BLE001 - the user's function and model may raise anything
        reason = f"the comparison failed: {in_words(error)}"
        finalist = Finalist(configuration, None, Verdict.INVALID, reason=reason)
    else:
        finalist = _finalist(configuration, study, record)
    seconds = (instruments.clock.now_ns() - start_ns) * 1e-9
    return replace(finalist, seconds=seconds), record


def measure_default(
    study: Study,
    make: ModelFactory,
    instruments: Instruments,
    environment: Environment,
    reason: str,
) -> Record:
    """Measure the setup without tuning, and judge it by the absolute constraints.

    Raises:
        UsageError, DataError, TargetError: if it cannot be measured.
    """
    setup = study.setup(configured(study.knobs))
    absolute = tuple(budget for budget in study.goal.constraints if not budget.relative)
    plan = study.plan_for(setup, absolute)
    model = make(setup)
    candidate = DuelCandidate(model.target, model.data, plan, model.known)
    with candidate.ready(instruments) as prepared:
        measurement = prepared.measure(study.test, study.name, plan.load_seconds)
    measurement = candidate.with_known(measurement)
    judgements = judge(measurement, plan.judged, None, environment, "")
    return Record(measurement, judgements, (reason,), quick=plan.quick, environment=environment)


def _finalist(configuration: Configuration, study: Study, record: Record) -> Finalist:
    text = study.goal.gain.text
    objective = next(judgement for judgement in record.judgements if judgement.budget == text)
    return Finalist(
        configuration,
        gain=_gain(objective, study.goal.objective),
        verdict=record.verdict,
        judgements=record.judgements,
        metrics=closed(record.measurement),
        reason=_why_not_proven(record.judgements),
    )


def _gain(judgement: Judgement, metric: Metric) -> Estimate | None:
    """The objective over that of the base; of a share the difference."""
    if judgement.change is not None:
        return judgement.change
    now, base = judgement.measured, judgement.baseline
    if now is None or base is None:
        return None
    if metric.unit == "share":
        return Estimate(now.value - base, now.low - base, now.high - base)
    return Estimate(now.value / base, now.low / base, now.high / base) if base > 0 else None


def _why_not_proven(judgements: Sequence[Judgement]) -> str:
    return "; ".join(
        f"{judgement.budget}: {judgement.verdict.value}"
        + (f", {judgement.reason}" if judgement.reason else "")
        for judgement in judgements
        if judgement.verdict is not Verdict.PASS
    )
