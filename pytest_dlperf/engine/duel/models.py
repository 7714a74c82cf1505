"""Two models in one process, measured in turn: the finest interleaving that there is."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_dlperf.core.baseline import Revision
from pytest_dlperf.core.contest import (
    Terms,
    duel_budgets,
    gauge,
    needs_whole_load,
    opening_seconds,
)
from pytest_dlperf.core.slot_length import shortest_slot
from pytest_dlperf.engine.duel.bout import Base, bout
from pytest_dlperf.engine.duel.referee import Pair, Referee
from pytest_dlperf.engine.machine import environment
from pytest_dlperf.engine.measure import ready

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

    from pytest_dlperf.core.contest import Rates
    from pytest_dlperf.core.data import Data
    from pytest_dlperf.core.measurement import Measurement
    from pytest_dlperf.core.plan import Plan
    from pytest_dlperf.engine.duel.bout import Result
    from pytest_dlperf.engine.measure import Subject
    from pytest_dlperf.engine.rig import Bench


def duel_models(  # noqa: PLR0913 - what, with what, how, and under which name
    models: tuple[object, object],
    data: Data,
    plan: Plan,
    bench: Bench,
    *,
    rates: Rates,
    coins: np.random.Generator,
    about: tuple[str, str],
) -> Result:
    """Judge a model by another one.

    A FAIL is confirmed on both, compiled anew: that gives each other places in memory.

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
    plan = replace(plan, tries_padding=False)

    @contextlib.contextmanager
    def both() -> Iterator[tuple[Subject, Subject]]:
        with (
            ready(models[0], data, plan, bench) as base,
            ready(models[1], data, plan, bench) as candidate,
        ):
            yield base, candidate

    @contextlib.contextmanager
    def pair_of(base: Subject, candidate: Subject) -> Iterator[Pair]:
        with (
            contextlib.closing(base.slots()) as base_slots,
            contextlib.closing(candidate.slots()) as candidate_slots,
        ):
            yield Pair(base_slots, candidate_slots, lambda: measured(base, candidate))

    def measured(base: Subject, candidate: Subject) -> tuple[Measurement, Measurement]:
        seconds = opening_seconds(plan)
        return base.measure(*about, seconds), candidate.measure(*about, seconds)

    @contextlib.contextmanager
    def fresh() -> Iterator[Pair]:
        with both() as (base, candidate), pair_of(base, candidate) as pair:
            base.warm_up()
            candidate.warm_up()
            yield pair

    with both() as (base, candidate), pair_of(base, candidate) as pair:
        before = base.measure(*about, opening_seconds(plan))
        seconds = plan.load_seconds if needs_whole_load(plan) else opening_seconds(plan)
        found = candidate.measure(*about, seconds)
        terms = Terms(
            shortest=shortest_slot(plan, before),
            gauge=gauge(open_loop=plan.open_loop),
            seconds=plan.budget_time,
            rates=rates,
        )
        return bout(
            found,
            Base(before, environment(), Revision("", "", "the base model")),
            plan.judged if plan.quick else duel_budgets(plan, found),
            Referee(bench.clock, coins, bench.progress, terms),
            () if plan.quick else (pair,),
            fresh=fresh,
        )
