"""A duel of two models in one process, measured in turn: the finest interleaving there is."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from pytest_dlperf._processes import processors_restored, usable_processors
from pytest_dlperf.duel.opening import (
    Opening,
    duel_settings,
    measure_again,
    measure_opening,
)
from pytest_dlperf.duel.scheduler import Pair, SlotScheduler
from pytest_dlperf.duel.verdicts import compare
from pytest_dlperf.machine import environment
from pytest_dlperf.measure.measure import ready
from pytest_dlperf.results.baseline import Revision

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractContextManager

    import numpy as np

    from pytest_dlperf.config.plan import Plan
    from pytest_dlperf.data.dataset import Data
    from pytest_dlperf.judge.error_rates import ErrorRates
    from pytest_dlperf.measure.measure import PreparedTarget
    from pytest_dlperf.measure.prepared import Instruments
    from pytest_dlperf.results.measurement import Measurement
    from pytest_dlperf.results.record import Record
    from pytest_dlperf.statistics.estimate import Estimate


@dataclass(frozen=True, slots=True)
class DuelCandidate:
    """One of the two models of a duel.

    Attributes:
        target: the model, as `dlperf(target, data)` takes it.
        data: both models answer the same rows, each with its own preparation.
        plan: its load, and the candidate's budgets. Serving may differ between the two models, the
            scenario may not.
        known: metrics known before any load, such as what training took.
    """

    target: object
    data: Data
    plan: Plan
    known: Mapping[str, Estimate] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        # The two could choose different paddings, and so differ by more than their code.
        object.__setattr__(self, "plan", replace(self.plan, tries_padding=False))

    def ready(self, instruments: Instruments) -> AbstractContextManager[PreparedTarget]:
        """The model, compiled, for as long as the context lasts."""
        return ready(self.target, self.data, self.plan, instruments)

    def with_known(self, measurement: Measurement) -> Measurement:
        """Its measurement, with the metrics that were known before."""
        metrics = MappingProxyType({**measurement.metrics, **self.known})
        return replace(measurement, metrics=metrics)


def duel_candidates(  # noqa: PLR0913 - who, how, and under which names
    base: DuelCandidate,
    candidate: DuelCandidate,
    instruments: Instruments,
    *,
    rates: ErrorRates,
    rng: np.random.Generator,
    key: tuple[str, str],
    base_name: str = "the base model",
) -> Record:
    """Compare a candidate with a base, and judge it by the budgets of its plan.

    Each further pair is both, compiled anew: that places them elsewhere in memory.

    Args:
        base: the model to compare with.
        candidate: the model that is judged.
        instruments: for both.
        rates: of each budget.
        rng: chooses the order of each block.
        key: pytest's node id and the name of the measurement.
        base_name: shown in place of the base's commit.

    Raises:
        UsageError, DataError, TargetError: if one of them cannot be measured.
    """

    @contextlib.contextmanager
    def prepared() -> Iterator[tuple[PreparedTarget, PreparedTarget, Pair]]:
        with (
            base.ready(instruments) as base_target,
            candidate.ready(instruments) as candidate_target,
            contextlib.closing(base_target.slots()) as base_slots,
            contextlib.closing(candidate_target.slots()) as candidate_slots,
        ):

            def measured() -> tuple[Measurement, Measurement]:
                plan = candidate.plan
                return (
                    measure_opening(base_target, plan, *key, whole=False),
                    measure_opening(candidate_target, plan, *key, whole=False),
                )

            yield base_target, candidate_target, Pair(base_slots, candidate_slots, measured)

    @contextlib.contextmanager
    def fresh_pair() -> Iterator[Pair]:
        with prepared() as (base_target, candidate_target, pair):
            base_target.warm_up()
            candidate_target.warm_up()
            yield pair

    quick = candidate.plan.quick
    with prepared() as (base_target, candidate_target, pair):
        before = base.with_known(measure_opening(base_target, base.plan, *key, whole=False))
        after = candidate.with_known(
            measure_opening(candidate_target, candidate.plan, *key, whole=True)
        )
        software = environment()  # after the load, when all that is used has been imported
        base_opening = Opening.of(before, base.plan, software, slotted=True)
        second = measure_again(candidate_target, candidate.plan, after, software)
        opening = Opening.of(after, candidate.plan, software, slotted=True, second=second)
        settings = duel_settings(base_opening, opening, usable_processors())
        with processors_restored():
            record, _ = compare(
                opening,
                base_opening,
                Revision("", "", base_name),
                rates,
                SlotScheduler(instruments.clock, rng, instruments.progress, settings),
                None if quick else pair,
                fresh=fresh_pair,
            )
        return replace(record, quick=quick)
