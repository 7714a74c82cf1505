"""Two models in one process, measured in turn: the finest interleaving that there is."""

from __future__ import annotations

import contextlib
import dataclasses
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from pytest_dlperf.duel.questions import (
    DuelSettings,
    duel_budgets,
    needs_whole_load,
    noise_metric,
    opening_seconds,
)
from pytest_dlperf.duel.scheduler import Pair, SlotScheduler
from pytest_dlperf.duel.slot_length import shortest_slot
from pytest_dlperf.duel.verdicts import Base, compare
from pytest_dlperf.machine import environment
from pytest_dlperf.measure.measure import ready
from pytest_dlperf.results.baseline import Revision

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy as np

    from pytest_dlperf.config.plan import Plan
    from pytest_dlperf.data.dataset import Data
    from pytest_dlperf.duel.verdicts import Result
    from pytest_dlperf.judge.error_rates import ErrorRates
    from pytest_dlperf.measure.measure import PreparedTarget
    from pytest_dlperf.measure.prepared import Instruments
    from pytest_dlperf.results.measurement import Measurement
    from pytest_dlperf.statistics.estimate import Estimate


@dataclass(frozen=True, slots=True)
class DuelCandidate:
    """One of two models that are measured in turn.

    Attributes:
        target: the model, as `dlperf(target, data)` takes it.
        data: what it is asked; both are asked the same rows, each as it wants them prepared.
        plan: its load and, of the candidate, what is asked of it. Serving may differ, the scenario
            may not.
        known: what is known of it beside its load, such as what its training took.
    """

    target: object
    data: Data
    plan: Plan
    known: Mapping[str, Estimate] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        # Two sides could find differently what is faster, and so differ by more than their code.
        object.__setattr__(self, "plan", replace(self.plan, tries_padding=False))

    @contextlib.contextmanager
    def ready(self, bench: Instruments) -> Iterator[PreparedTarget]:
        """The model, compiled."""
        with ready(self.target, self.data, self.plan, bench) as subject:
            yield subject

    def informed(self, found: Measurement) -> Measurement:
        """A measurement of it, with what is known beside."""
        return dataclasses.replace(found, metrics=MappingProxyType({**found.metrics, **self.known}))


def duel_models(  # noqa: PLR0913 - what, with what, how, and under which name
    models: tuple[object, object],
    data: Data,
    plan: Plan,
    bench: Instruments,
    *,
    rates: ErrorRates,
    coins: np.random.Generator,
    about: tuple[str, str],
) -> Result:
    """Judge a model by another one; both are asked and served in the same way.

    Args:
        models: the base and the candidate, as targets.
        data: what both are asked.
        plan: the load, and what is asked of the candidate.
        bench: what comes from outside.
        rates: how often each budget may err.
        coins: chooses the order of each block.
        about: pytest's node id and the name of the measurement.

    Raises:
        UsageError, DataError, TargetError: if one of them cannot be measured.
    """
    base, candidate = (DuelCandidate(model, data, plan) for model in models)
    return duel_candidates(
        base, candidate, bench, rates=rates, coins=coins, about=about, named="the base model"
    )


def duel_candidates(  # noqa: PLR0913 - who, how, and under which names
    base: DuelCandidate,
    candidate: DuelCandidate,
    bench: Instruments,
    *,
    rates: ErrorRates,
    coins: np.random.Generator,
    about: tuple[str, str],
    named: str,
) -> Result:
    """Judge a contender by another one.

    A FAIL is confirmed on both, compiled anew: that gives each other places in memory.

    Args:
        base: who is the measure.
        candidate: who is judged, by the budgets of its plan.
        bench: what comes from outside.
        rates: how often each budget may err.
        coins: chooses the order of each block.
        about: pytest's node id and the name of the measurement.
        named: what the base is, for people.

    Raises:
        UsageError, DataError, TargetError: if one of them cannot be measured.
    """
    plan = candidate.plan

    @contextlib.contextmanager
    def both() -> Iterator[tuple[PreparedTarget, PreparedTarget]]:
        with base.ready(bench) as one, candidate.ready(bench) as other:
            yield one, other

    @contextlib.contextmanager
    def pair_of(one: PreparedTarget, other: PreparedTarget) -> Iterator[Pair]:
        with (
            contextlib.closing(one.slots()) as base_slots,
            contextlib.closing(other.slots()) as candidate_slots,
        ):
            yield Pair(base_slots, candidate_slots, lambda: measured(one, other))

    def measured(one: PreparedTarget, other: PreparedTarget) -> tuple[Measurement, Measurement]:
        seconds = opening_seconds(plan)
        return one.measure(*about, seconds), other.measure(*about, seconds)

    @contextlib.contextmanager
    def fresh() -> Iterator[Pair]:
        with both() as (one, other), pair_of(one, other) as pair:
            one.warm_up()
            other.warm_up()
            yield pair

    with both() as (one, other), pair_of(one, other) as pair:
        before = base.informed(one.measure(*about, opening_seconds(base.plan)))
        seconds = plan.load_seconds if needs_whole_load(plan) else opening_seconds(plan)
        found = candidate.informed(other.measure(*about, seconds))
        terms = DuelSettings(
            shortest=max(shortest_slot(base.plan, before), shortest_slot(plan, found)),
            noise_metric=noise_metric(open_loop=plan.open_loop),
            seconds=plan.budget_time,
            rates=rates,
        )
        return compare(
            found,
            Base(before, environment(), Revision("", "", named)),
            plan.judged if plan.quick else duel_budgets(plan, found),
            SlotScheduler(bench.clock, coins, bench.progress, terms),
            () if plan.quick else (pair,),
            fresh=fresh,
        )
