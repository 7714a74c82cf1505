"""Which slot is measured when, until every budget is decided or the time is up.

One process works at a time. A block is four slots, in the order ABBA or BAAB at random; blocks go
round the pairs, so that no single pair of processes decides. A FAIL, and a PASS that may be luck,
is confirmed on pairs that are started for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from pytest_dlperf.duel.confirmation import (
    Confirmation,
    ScreenedBudget,
    blocks_of_a_pair,
    more_blocks,
)
from pytest_dlperf.duel.questions import NOTHING, BudgetOutcome, DuelStatistics
from pytest_dlperf.duel.sequential_test import FEWEST_BLOCKS, sequential_test_for
from pytest_dlperf.duel.slot_length import SlotLengths
from pytest_dlperf.judge.contrasts import lost_on_rows
from pytest_dlperf.measure.slots import Block
from pytest_dlperf.statistics.e_process import FARTHEST
from pytest_dlperf.statistics.estimate import Estimate
from pytest_dlperf.statistics.pair_effects import LOOKS, spread_of, with_pair_effects

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from pytest_dlperf.clock import Clock
    from pytest_dlperf.duel.questions import BudgetTest, DuelSettings, SuspectedLoss
    from pytest_dlperf.duel.sequential_test import SequentialTest
    from pytest_dlperf.judge.error_rates import ErrorRates
    from pytest_dlperf.measure.slots import Slot
    from pytest_dlperf.measure.telemetry import Progress
    from pytest_dlperf.results.measurement import Measurement

_NS: Final = 1e-9
_SOON: Final = 5.0
"""Seconds after which a budget that cannot have enough rare requests in time is given up."""

_UNKNOWN: Final = Estimate(0.0, -FARTHEST, FARTHEST)


class SlotSource(Protocol):
    """One side, ready to be measured."""

    def slot(self, seconds: float, number: int) -> Slot:
        """Measure under load for `seconds`; slots of the same number send the same rows."""
        ...


@dataclass(frozen=True, slots=True)
class Pair:
    """Two sides that are measured against each other.

    Attributes:
        measured: measures the base and the candidate under their opening load.
    """

    base: SlotSource
    candidate: SlotSource
    measured: Callable[[], tuple[Measurement, Measurement]]


class SlotScheduler:
    """Measures the blocks of one duel; `rng` chooses the order of each."""

    def __init__(
        self, clock: Clock, rng: np.random.Generator, progress: Progress, settings: DuelSettings
    ) -> None:
        self._clock = clock
        self._rng = rng
        self._progress = progress
        self._settings = settings
        self._lengths = SlotLengths(settings.shortest, settings.noise_metric)
        self._blocks = 0
        self._seconds = 0.0
        self._requests = 0
        self._bad = 0

    @property
    def rates(self) -> ErrorRates:
        """Error rates of each budget."""
        return self._settings.rates

    def run(
        self,
        tests: Sequence[BudgetTest],
        suspected: Sequence[SuspectedLoss],
        pairs: Sequence[Pair],
        fresh: Callable[[], AbstractContextManager[Pair]],
        earlier: Mapping[str, tuple[float, ...]] = NOTHING.effects,
    ) -> DuelStatistics:
        """Measure until every budget is decided, and confirm what failed.

        Args:
            tests: budgets that blocks decide.
            suspected: losses of shares that have to be confirmed.
            pairs: to measure first, at least one.
            fresh: starts a pair to confirm a decision with, for as long as its context lasts.
            earlier: log ratios of the pairs of earlier duels of the same code, by the text of the
                budget; a run that is repeated continues from them.

        Raises:
            DlperfError: if a side cannot be measured any more.
        """
        screened = [
            ScreenedBudget(
                test.budget,
                test.bounds,
                sequential_test_for(test.budget.metric, test.bounds),
                np.array(earlier.get(test.budget.text, ())),
            )
            for test in tests
        ]
        self._screen(screened, pairs)
        outcomes = {each.budget.text: self._outcome(each) for each in screened}
        decided = [each for each in screened if each.test.decision]
        unsettled = [each for each in decided if not each.settled]
        confirmation = Confirmation(unsettled, suspected, self._settings.rates)
        started, starting = self._confirm(confirmation, fresh)
        outcomes |= confirmation.outcomes()
        effects = {each.budget.text: tuple(each.test.effects().tolist()) for each in decided}
        for text, further in confirmation.effects().items():
            effects[text] += tuple(further.tolist())
        return DuelStatistics(
            outcomes=outcomes,
            blocks=self._blocks,
            slot_seconds=self._lengths.next,
            noise_figure=self._lengths.figure,
            pairs=len(pairs),
            fresh=started,
            measuring=self._seconds,
            starting=starting,
            requests=self._requests,
            bad=self._bad,
            effects=MappingProxyType(effects),
        )

    def _screen(self, screened: Sequence[ScreenedBudget], pairs: Sequence[Pair]) -> None:
        """Measure until all is decided, and each pair's own effect is known well enough."""
        tests = [each.test for each in screened]
        while screened and (
            any(test.decision is None and self._decidable(test) for test in tests)
            or self._lengths.block_noise is None
            or more_blocks(screened, self._blocks // len(pairs), self._enough_blocks)
        ):
            left = self._settings.seconds - self._seconds
            if left <= 0:
                return
            self._progress.show(f"in turn with the base, block {self._blocks + 1}", left)
            length = self._lengths.next
            block = self._block(pairs, self._blocks % len(pairs), length)
            self._lengths.add(length, block)
            for test in tests:
                test.add(block)

    def _decidable(self, test: SequentialTest) -> bool:
        """Whether a test can have the requests that it needs before the time is up."""
        if self._seconds < _SOON:
            return True
        return test.admission * self._settings.seconds >= self._seconds

    def _confirm(
        self, confirmation: Confirmation, fresh: Callable[[], AbstractContextManager[Pair]]
    ) -> tuple[int, float]:
        """Measure fresh pairs; returns their number, and the seconds that starting them took."""
        end = self._seconds + self._settings.seconds
        started: list[Pair] = []
        starting = 0.0
        while confirmation.needs_pair(len(started)) and self._seconds < end:
            self._progress.show(f"looking again on fresh pair {len(started) + 1}", None)
            begun_ns = self._clock.now_ns()
            with fresh() as pair:
                starting += (self._clock.now_ns() - begun_ns) * _NS
                started.append(pair)
                if confirmation.needs_rows:
                    base, candidate = pair.measured()
                    for suspect in confirmation.suspected:
                        loss = lost_on_rows(suspect.budget.metric, candidate, base)
                        if loss is not None:
                            confirmation.add_loss(suspect, loss.value)
                if confirmation.needs_blocks:
                    for _ in range(self._fresh_blocks):
                        confirmation.add(self._block(started, len(started) - 1, self._lengths.next))
            confirmation.look()
        return len(started), starting

    @property
    def _fresh_blocks(self) -> int:
        """Blocks of a fresh pair: few enough that the first look's pairs fit into the time."""
        room = int(self._settings.seconds / LOOKS[0] / self._lengths.block_seconds)
        return max(FEWEST_BLOCKS, min(self._enough_blocks, room))

    @property
    def _enough_blocks(self) -> int:
        """Blocks that make a pair's own effect known well enough; after at least one block."""
        return blocks_of_a_pair(self._lengths.block_noise, self._lengths.block_seconds)

    def _block(self, pairs: Sequence[Pair], index: int, length: float) -> Block:
        pair = pairs[index]
        block = measure_block(
            *(pair.base, pair.candidate, self._clock, self._rng),
            pair=index,
            number=self._blocks,
            length=length,
        )
        self._blocks += 1
        self._seconds += block.seconds
        self._requests += block.candidate.good + block.candidate.bad
        self._bad += block.candidate.bad
        return block

    def _outcome(self, screened: ScreenedBudget) -> BudgetOutcome:
        test = screened.test
        if not test.blocks:
            return BudgetOutcome(None, _UNKNOWN, FARTHEST, "there was no time to measure it")
        spread = spread_of(screened.budget.metric, test.errors())
        loss = with_pair_effects(test.estimate(), test.effects(), spread)
        reason = "" if test.decision else self._why_undecided(test)
        return BudgetOutcome(test.decision, loss, test.visible(), reason)

    def _why_undecided(self, test: SequentialTest) -> str:
        limit = f"{self._settings.seconds:g} s of measuring (dlperf-budget-time)"
        if 0 < test.admission < 1:
            needed = self._seconds / test.admission
            return f"{test.lacking}: about {needed:.0f} s, more than {limit}"
        return test.lacking or f"not decided in {limit}"


def measure_block(  # noqa: PLR0913 - who, by which clock and coin, and which block
    base: SlotSource,
    candidate: SlotSource,
    clock: Clock,
    rng: np.random.Generator,
    *,
    pair: int,
    number: int,
    length: float,
) -> Block:
    """Measure four slots, in the order ABBA or BAAB with equal chances.

    Args:
        base: one side.
        candidate: the other one.
        clock: times the block, hand-overs included.
        rng: chooses the order.
        pair: index of the pair.
        number: of the block; all of its slots request the same rows.
        length: of each slot, in seconds.
    """
    base_first = bool(rng.integers(2))
    first, second = (base, candidate) if base_first else (candidate, base)
    begun_ns = clock.now_ns()
    outer = first.slot(length, number)
    inner = second.slot(length, number).joined(second.slot(length, number))
    outer = outer.joined(first.slot(length, number))
    return Block(
        base=outer if base_first else inner,
        candidate=inner if base_first else outer,
        pair=pair,
        seconds=(clock.now_ns() - begun_ns) * _NS,
    )
