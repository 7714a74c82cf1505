"""Which slot is measured when, until every budget is decided or the time is up.

Evidence is pairs: each is measured for some blocks and then replaced by the next. One process works
at a time. A block is four slots, in the order ABBA or BAAB at random.

Where a target does not gain from several processors, both sides of a pair are kept on one, drawn
for each pair: what a process keeps for its life is partly its processor, and two sides on one
processor are disturbed alike. Where it does, they have all, as an ordinary run has.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from pytest_dlperf.duel.blocks_of_pair import PAIRS_IN_TIME, blocks_of_pair
from pytest_dlperf.duel.budget_evidence import ShareEvidence, SpeedEvidence
from pytest_dlperf.duel.pair_effect import log_ratio
from pytest_dlperf.duel.processors import drawn_processor, gains_from_more
from pytest_dlperf.duel.questions import NO_EVIDENCE, DuelStatistics
from pytest_dlperf.errors import OneLayoutError
from pytest_dlperf.judge.contrasts import loss_on_rows
from pytest_dlperf.measure.slots import Block
from pytest_dlperf.units import format_quantity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from pytest_dlperf.clock import Clock
    from pytest_dlperf.duel.questions import (
        BudgetOutcome,
        BudgetTest,
        DuelSettings,
        EarlierEvidence,
        ShareQuestion,
    )
    from pytest_dlperf.measure.slots import Slot
    from pytest_dlperf.measure.telemetry import Progress
    from pytest_dlperf.results.measurement import Measurement

_NS: Final = 1e-9


class SlotSource(Protocol):
    """One side, ready to be measured."""

    def slot(self, seconds: float, number: int) -> Slot:
        """Measure under load for `seconds`; slots of the same number send the same rows."""
        ...

    def keep_on(self, processors: frozenset[int]) -> None:
        """Run on these processors from now on."""
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

    def keep_on(self, processors: frozenset[int]) -> None:
        """Run both sides on these processors from now on."""
        self.base.keep_on(processors)
        self.candidate.keep_on(processors)


class SlotScheduler:
    """Measures the pairs of one duel; `rng` chooses orders and processors."""

    def __init__(
        self, clock: Clock, rng: np.random.Generator, progress: Progress, settings: DuelSettings
    ) -> None:
        self._clock = clock
        self._rng = rng
        self._progress = progress
        self._settings = settings
        self._one_processor: bool | None = None
        self._pairs = 0
        self._blocks = 0
        self._measuring = 0.0
        self._starting = 0.0
        self._requests = 0
        self._bad = 0

    def run(
        self,
        tests: Sequence[BudgetTest],
        questions: Sequence[ShareQuestion],
        first: Pair | None,
        fresh: Callable[[], AbstractContextManager[Pair]],
        earlier: EarlierEvidence = NO_EVIDENCE,
    ) -> DuelStatistics:
        """Measure pair after pair until every budget is decided.

        Args:
            tests: budgets that slots decide; none without a `first` pair.
            questions: budgets on shares.
            first: the pair whose rows are the evidence of the questions; None if the load has no
                slots.
            fresh: starts a further pair, for as long as its context lasts; raises OneLayoutError if
                none can be placed anew in memory, so that the first is all the evidence.
            earlier: evidence of earlier duels of the test.

        Raises:
            DlperfError: if a side cannot be measured any more.
        """
        speeds = [
            SpeedEvidence(
                test,
                self._settings.spread(test.budget.metric).learnt_from(
                    earlier.duels(test.budget.text)
                ),
                earlier.repeated.get(test.budget.text, ()),
            )
            for test in tests
        ]
        shares = [ShareEvidence(question) for question in questions]
        begun_ns = self._clock.now_ns()
        reason = f"not decided in {self._settings.seconds:g} s (dlperf-budget-time)"
        if first is not None:
            self._measure(first, speeds)
        evidence: list[SpeedEvidence | ShareEvidence] = [*speeds, *shares]
        while not all(each.outcome for each in evidence):
            spent = (self._clock.now_ns() - begun_ns) * _NS
            if spent + self._seconds_of_a_pair > self._settings.seconds and self._pairs > 1:
                reason = self._out_of_time(reason)
                break
            left = max(0.0, self._settings.seconds - spent)
            self._progress.show(f"in turn with the base, pair {self._pairs + 1}", left)
            try:
                with self._started(fresh) as pair:
                    self._ask_again(pair, shares)
                    self._measure(pair, speeds)
            except OneLayoutError as error:
                reason = str(error)
                for speed in speeds:
                    speed.look_once(reason)
                break
        return DuelStatistics(
            outcomes=MappingProxyType(_outcomes(speeds, shares, reason)),
            pairs=self._pairs,
            blocks=self._blocks,
            slot_seconds=self._settings.slot_seconds,
            processors=self._kept_on,
            measuring=self._measuring,
            starting=self._starting,
            requests=self._requests,
            bad=self._bad,
            effects=MappingProxyType({each.test.budget.text: each.effects for each in speeds}),
        )

    @property
    def _kept_on(self) -> int:
        return 1 if self._one_processor else 0

    @property
    def _seconds_to_start(self) -> float:
        """Seconds that a further pair takes to start, as those before did; at first one."""
        return self._starting / (self._pairs - 1) if self._starting else 1.0

    @property
    def _seconds_of_a_pair(self) -> float:
        """Seconds that a further pair takes, as those before did."""
        further = max(1, self._pairs - 1)
        return self._starting / further + self._measuring / max(1, self._pairs)

    def _out_of_time(self, reason: str) -> str:
        each = format_quantity(self._seconds_of_a_pair, "s")
        return f"{_counted(self._pairs)}, of {each} each: {reason}"

    @contextlib.contextmanager
    def _started(self, fresh: Callable[[], AbstractContextManager[Pair]]) -> Iterator[Pair]:
        begun_ns = self._clock.now_ns()
        with fresh() as pair:
            self._starting += (self._clock.now_ns() - begun_ns) * _NS
            yield pair

    @staticmethod
    def _ask_again(pair: Pair, shares: Sequence[ShareEvidence]) -> None:
        """Measure the rows of a further pair, where they are needed."""
        undecided = [share for share in shares if share.outcome is None]
        if undecided:
            base, candidate = pair.measured()
            for share in undecided:
                share.add(loss_on_rows(share.question.budget.metric, candidate, base))

    def _measure(self, pair: Pair, speeds: Sequence[SpeedEvidence]) -> None:
        """Measure the blocks of a pair, if any budget needs them."""
        self._pairs += 1
        if all(each.outcome for each in speeds):
            return
        self._choose_processors(pair)
        blocks: list[Block] = []
        ratios: list[float] = []
        seconds, most = 0.0, self._settings.seconds / PAIRS_IN_TIME
        metric = self._settings.cost_metric
        while True:
            wanted = blocks_of_pair(np.array(ratios), seconds, most, self._seconds_to_start)
            lacks = any(each.lacks(blocks) for each in speeds)
            if len(blocks) >= wanted and not (lacks and seconds < most):
                break
            block = self._block(pair)
            blocks.append(block)
            ratios.append(log_ratio(metric, block))
            seconds += block.seconds
        for each in speeds:
            each.add(blocks)

    def _choose_processors(self, pair: Pair) -> None:
        """Keep both sides on one processor, if their target does not gain from more."""
        processors = self._settings.processors
        if len(processors) < 2:  # noqa: PLR2004 - there is no choice
            return
        if self._one_processor is None:
            self._one_processor = not self._gains_from_more(pair)
        pair.keep_on(drawn_processor(processors, self._rng) if self._one_processor else processors)

    def _gains_from_more(self, pair: Pair) -> bool:
        def block_on(processors: frozenset[int]) -> Block:
            pair.keep_on(processors)
            return self._block(pair)

        settings = self._settings
        return gains_from_more(settings.cost_metric, settings.processors, self._rng, block_on)

    def _block(self, pair: Pair) -> Block:
        block = measure_block(
            *(pair.base, pair.candidate, self._clock, self._rng),
            pair=self._pairs,
            number=self._blocks,
            length=self._settings.slot_seconds,
        )
        self._blocks += 1
        self._measuring += block.seconds
        self._requests += block.candidate.good + block.candidate.bad
        self._bad += block.candidate.bad
        return block


def _counted(pairs: int) -> str:
    return f"{pairs} pair{'' if pairs == 1 else 's'}"


def _outcomes(
    speeds: Sequence[SpeedEvidence], shares: Sequence[ShareEvidence], reason: str
) -> dict[str, BudgetOutcome]:
    outcomes = {each.test.budget.text: each.outcome or each.open_outcome(reason) for each in speeds}
    for share in shares:
        text = share.question.budget.text
        outcomes[text] = share.outcome or share.open_outcome(reason)
    return outcomes


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
