"""Finals: the best configurations in turn with the setup without tuning, before the judge."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from pytest_dlperf.duel.in_process import DuelCandidate, duel_candidates
from pytest_dlperf.judge.error_rates import ErrorRates
from pytest_dlperf.judge.judge import judge
from pytest_dlperf.results.record import Record
from pytest_dlperf.results.verdict import Verdict
from pytest_dlperf.statistics.estimate import Estimate
from pytest_dlperf.tuning.configuration import configured
from pytest_dlperf.tuning.result import Finalist
from pytest_dlperf.tuning.screening import gain, in_words

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


@dataclass(frozen=True, slots=True)
class JudgedFinalist:
    """One finalist, with the record of its comparison.

    Attributes:
        finalist: what came of it.
        record: for reports; None if nothing came of it.
    """

    finalist: Finalist
    record: Record | None


def rates_for(study: Study, finalists: int) -> ErrorRates:
    """Error rates of a study: of all that nothing improves, one in a hundred recommends something.

    That one is split over the finalists, and over what is asked of each in comparison with the
    base.
    """
    relative = sum(budget.relative for budget in study.goal.constraints)
    return ErrorRates(finalists * (1 + relative))


def compared(  # noqa: PLR0913 - who with whom, for what, and by what means
    configuration: Configuration,
    study: Study,
    make: ModelFactory,
    bench: Instruments,
    *,
    rates: ErrorRates,
    coins: np.random.Generator,
) -> JudgedFinalist:
    """Have the judge compare a configuration with the setup without tuning.

    It measures for the plan's `budget_time` at the most: half of it on the first pair, half on
    fresh ones, which take their time to start beside.

    Args:
        configuration: what is compared.
        study: what it belongs to.
        make: makes what a setup describes.
        bench: what comes from outside.
        rates: error rates.
        coins: chooses the order of each block.
    """
    budgets = gain(study.goal), *study.goal.constraints
    begun_ns = bench.clock.now_ns()

    def contender(setup: Setup) -> DuelCandidate:
        served = make(setup)
        plan = study.plan_for(setup, budgets)
        plan = replace(plan, budget_time=plan.budget_time / 2)
        return DuelCandidate(served.target, served.data, plan, served.known)

    try:
        record = duel_candidates(
            contender(study.setup(configured(study.knobs))),
            contender(study.setup(configuration)),
            bench,
            rates=rates,
            rng=coins,
            key=(study.test, study.name),
            base_name=BASE,
        )
    except Exception as error:  # noqa: BLE001 - the user's function and model may raise anything
        reason = f"nothing came of the comparison: {in_words(error)}"
        finalist = Finalist(configuration, None, Verdict.INVALID, reason=reason)
        judged = JudgedFinalist(finalist, None)
    else:
        judged = _judged(configuration, study, record)
    seconds = (bench.clock.now_ns() - begun_ns) * 1e-9
    return replace(judged, finalist=replace(judged.finalist, seconds=seconds))


def as_it_is(
    study: Study, make: ModelFactory, bench: Instruments, environment: Environment, reason: str
) -> Record:
    """The setup without tuning, measured and held to the constraints that need no base.

    Args:
        study: what it belongs to.
        make: makes what a setup describes.
        bench: what comes from outside.
        environment: the software of this process.
        reason: why it is what is recommended, for people.

    Raises:
        UsageError, DataError, TargetError: if it cannot be measured.
    """
    setup = study.setup(configured(study.knobs))
    absolute = tuple(budget for budget in study.goal.constraints if not budget.relative)
    plan = study.plan_for(setup, absolute)
    served = make(setup)
    contender = DuelCandidate(served.target, served.data, plan, served.known)
    with contender.ready(bench) as subject:
        found = subject.measure(study.test, study.name, plan.load_seconds)
    found = contender.informed(found)
    judgements = judge(found, plan.judged, None, environment, "")
    return Record(found, judgements, (reason,), quick=plan.quick, environment=environment)


def _judged(configuration: Configuration, study: Study, record: Record) -> JudgedFinalist:
    wanted = gain(study.goal).text
    about = next(one for one in record.judgements if one.budget == wanted)
    finalist = Finalist(
        configuration,
        gain=_gain(about, study.goal.objective),
        verdict=record.verdict,
        judgements=record.judgements,
        metrics=record.measurement.metrics,
        reason=_why(record.judgements),
    )
    return JudgedFinalist(finalist, record)


def _gain(about: Judgement, metric: Metric) -> Estimate | None:
    """The objective over that of the base; of a share the difference."""
    if about.change is not None:
        return about.change
    now, base = about.measured, about.baseline
    if now is None or base is None:
        return None
    if metric.unit == "share":
        return Estimate(now.value - base, now.low - base, now.high - base)
    return Estimate(now.value / base, now.low / base, now.high / base) if base > 0 else None


def _why(judgements: Sequence[Judgement]) -> str:
    """What keeps a finalist from being proven better, in words; empty if nothing does."""
    open_ones = (one for one in judgements if one.verdict is not Verdict.PASS)
    words = (
        f"{one.budget}: {one.verdict.value}" + (f", {one.reason}" if one.reason else "")
        for one in open_ones
    )
    return "; ".join(words)
