"""A duel of two models in one process, measured in turn: the finest interleaving there is.

Each further pair is copies of both models, in memory of their own and made in random order: the
place of its weights makes a model faster or slower for as long as it stays there. What cannot be
copied has one layout, and one pair.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_dlperf._processes import processors_restored, usable_processors
from pytest_dlperf.duel.opening import (
    Opening,
    duel_settings,
    measure_again,
    measure_opening,
)
from pytest_dlperf.duel.scheduler import Pair, SlotScheduler
from pytest_dlperf.duel.verdicts import compare
from pytest_dlperf.errors import OneLayoutError, TargetError, UsageError, in_a_line
from pytest_dlperf.machine import environment
from pytest_dlperf.measure.measure import ready
from pytest_dlperf.measure.reference_answers import ReferenceAnswers, same_answers
from pytest_dlperf.measure.scored_rows import elements_of, longest
from pytest_dlperf.report.hints import PLACE_ANEW
from pytest_dlperf.results.baseline_session import Revision
from pytest_dlperf.statistics.pair_effects import LAYOUT_NOISE, spread_of_copies
from pytest_dlperf.targets.copies import placed_anew

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

    from pytest_dlperf.config.plan import Plan
    from pytest_dlperf.data.dataset import Data
    from pytest_dlperf.judge.error_rates import ErrorRates
    from pytest_dlperf.measure.measure import PreparedTarget
    from pytest_dlperf.measure.prepared import Instruments
    from pytest_dlperf.measure.scored_rows import Scored
    from pytest_dlperf.results.measurement import Measurement
    from pytest_dlperf.results.record import Record
    from pytest_dlperf.statistics.estimate import Estimate

_MOST_PADDING: Final = 4 << 20
_ELEMENTS: Final = 4096  # of an answer, that are compared


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

    Args:
        base: the model to compare with.
        candidate: the model that is judged.
        instruments: for both.
        rates: of each budget.
        rng: chooses the order of each block, and that in which the copies of a pair are made.
        key: pytest's node id and the name of the measurement.
        base_name: shown in place of the base's commit.

    Raises:
        UsageError, DataError, TargetError: if one of them cannot be measured.
    """
    quick, plan = candidate.plan.quick, candidate.plan
    with base.ready(instruments) as base_target, candidate.ready(instruments) as candidate_target:
        before = base.with_known(measure_opening(base_target, base.plan, *key, whole=False))
        after = candidate.with_known(measure_opening(candidate_target, plan, *key, whole=True))
        software = environment()  # after the load, when all that is used has been imported
        base_opening = Opening.of(before, base.plan, software, slotted=True)
        second = measure_again(candidate_target, plan, after, software)
        opening = Opening.of(after, plan, software, slotted=True, second=second)
        settings = replace(
            duel_settings(base_opening, opening, usable_processors()), spread=spread_of_copies
        )
        targets = base_target, candidate_target
        with processors_restored() as restore, contextlib.ExitStack() as stack:
            pairs = _Pairs((base, candidate), targets, instruments, rng, key, restore)
            first = None if quick else stack.enter_context(pairs.warm(targets, pairs.order()))
            record, _ = compare(
                opening,
                base_opening,
                Revision("", "", base_name),
                rates,
                SlotScheduler(instruments.clock, rng, instruments.progress, settings),
                first,
                fresh=pairs.further,
            )
        return replace(record, quick=quick)


@dataclass(slots=True)
class _Pairs:
    """The pair of the originals, and pairs of copies in memory of their own.

    Attributes:
        sides: base and candidate.
        originals: the same, prepared.
        instruments: for the copies.
        rng: chooses which side is copied, prepared and warmed up first, and how far from the last
            copies.
        key: pytest's node id and the name of the measurement.
        restore: gives this process back its processors.
    """

    sides: tuple[DuelCandidate, DuelCandidate]
    originals: tuple[PreparedTarget, PreparedTarget]
    instruments: Instruments
    rng: np.random.Generator
    key: tuple[str, str]
    restore: Callable[[], None]
    _last: list[object] = field(default_factory=list)

    def order(self) -> list[int]:
        """The numbers of the sides, by coin."""
        return [int(number) for number in self.rng.permutation(2)]

    @contextlib.contextmanager
    def warm(self, targets: Sequence[PreparedTarget], order: Sequence[int]) -> Iterator[Pair]:
        """Base and candidate as a warm pair, for as long as the context lasts.

        They are warmed up in the threads of their slots, where a runtime may have threads of its
        own for each that calls it.
        """
        plan = self.sides[1].plan

        def measured() -> tuple[Measurement, Measurement]:
            base, candidate = (
                measure_opening(target, plan, *self.key, whole=False) for target in targets
            )
            return base, candidate

        with contextlib.ExitStack() as stack:
            base, candidate = (
                stack.enter_context(contextlib.closing(target.slots())) for target in targets
            )
            for number in order:
                (base, candidate)[number].warm_up()
            yield Pair(base, candidate, measured)

    @contextlib.contextmanager
    def further(self) -> Iterator[Pair]:
        """A pair of copies, for as long as the context lasts.

        Raises:
            OneLayoutError: if a side cannot be copied, if its copy cannot be prepared, or if that
                answers in another way.
        """
        # A runtime's threads are as many as there are processors when it is first used.
        self.restore()
        order = self.order()
        copies: dict[int, DuelCandidate] = {}
        held: list[object] = []
        for number in order:
            held.append(self._padding())
            copies[number] = self._copied(number)
            held.append(copies[number].target)
        # Until now, so that no copy took the place of one before.
        self._last = held
        prepared: dict[int, PreparedTarget] = {}
        with contextlib.ExitStack() as stack:
            for number in order:
                prepared[number] = self._prepared(number, copies[number], stack)
            targets = prepared[0], prepared[1]
            yield stack.enter_context(self.warm(targets, order))

    def _padding(self) -> NDArray[np.uint8]:
        """Memory of a random size, in use, that moves what is allocated after it."""
        return np.ones(int(self.rng.integers(1, _MOST_PADDING)), np.uint8)

    def _copied(self, number: int) -> DuelCandidate:
        side = self.sides[number]
        try:
            return replace(side, target=placed_anew(side.target))
        except OneLayoutError as error:
            raise self._one_layout(number, error.why) from error

    def _prepared(
        self, number: int, copy: DuelCandidate, stack: contextlib.ExitStack
    ) -> PreparedTarget:
        try:
            prepared = stack.enter_context(copy.ready(self.instruments))
        except (TargetError, UsageError) as error:  # the original was prepared without one
            why = f"its copy cannot be prepared ({in_a_line(error)})"
            raise self._one_layout(number, why) from error
        expected, answers = (
            target.load.sample_answer() for target in (self.originals[number], prepared)
        )
        if not same_sample(expected, answers):
            raise self._one_layout(number, "its copy answers the same rows in another way")
        return prepared

    def _one_layout(self, number: int, why: str) -> OneLayoutError:
        role = ("the base", "the candidate")[number]
        described = self.originals[number].load.prepared.description
        return OneLayoutError(
            f"one layout: {role}, {described}, cannot be placed anew in memory: {why}; models of "
            f"the same speed differ by {LAYOUT_NOISE:.0%} and more by where their weights lie; "
            f"{PLACE_ANEW}"
        )


def same_sample(expected: Scored, answers: Scored) -> bool:
    """Whether two answers to the same rows are the same but for rounding."""
    if len(expected) != len(answers) or longest(expected) != longest(answers):
        return False
    some = np.arange(min(_ELEMENTS, longest(expected)))
    first, second = (elements_of(each, some) for each in (expected, answers))
    same = np.asarray((first == second) | (np.isnan(first) & np.isnan(second))).all(axis=1)
    close = same_answers(second, first, ReferenceAnswers(first).tolerance)
    return bool((same | close).all())
