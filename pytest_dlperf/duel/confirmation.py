"""Confirmation: what the first pairs cannot settle is asked of fresh ones.

A pair of processes measures that pair: where their memory lies makes either of them faster or
slower for all its life, and a model that was trained for a process is that one model. So a loss
that the first pairs showed is asked of further ones; and so is a budget that they seemed to keep
only by what launches differ by.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_dlperf.duel.questions import BudgetOutcome, BudgetTest, SuspectedLoss
from pytest_dlperf.duel.sequential_test import FEWEST_BLOCKS, sequential_test_for
from pytest_dlperf.judge.error_rates import BETA, ErrorRates
from pytest_dlperf.statistics.estimate import Estimate
from pytest_dlperf.statistics.pair_effects import (
    LOOKS,
    NOTHING_KNOWN,
    PAIR_NOISE,
    excludes,
    second_opinion,
    spread_of,
    with_pair_effects,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from pytest_dlperf.duel.sequential_test import SequentialTest
    from pytest_dlperf.measure.slots import Block
    from pytest_dlperf.statistics.estimate import Decision

_WITHIN: Final = 0.5  # error of a pair's own effect, as a share of what pairs differ by
_MOST_BLOCKS: Final = 200
_LEAST_BLOCKS: Final = 20
_BRIEF: Final = 2.0
_FIRM: Final = 30  # blocks of a pair beyond which a budget that is settled needs no more
_SAME: Final = 2  # fresh pairs that lose just what the first one lost, row for row, are enough


def blocks_of_a_pair(block_noise: float | None, block_seconds: float = 0.0) -> int:
    """How many blocks of a pair make the error of its effect small beside what pairs differ by.

    More blocks of the same pair tell about that pair only (Kalibera and Jones 2013: repeat where
    the variance is).

    The noise is that of the slot length which seemed to have the least, seen in few blocks, and so
    is on average too small. Hence at least 20 blocks, or as many as two seconds hold.

    Args:
        block_noise: standard deviation of a block's log ratio; None if it is not known yet.
        block_seconds: how long a block takes.
    """
    if block_noise is None:
        return FEWEST_BLOCKS
    wanted = math.ceil((block_noise / (_WITHIN * PAIR_NOISE)) ** 2)
    held = int(_BRIEF / block_seconds) if block_seconds else _LEAST_BLOCKS
    return min(max(wanted, FEWEST_BLOCKS, min(held, _LEAST_BLOCKS)), _MOST_BLOCKS)


@dataclass(frozen=True, slots=True, eq=False)
class ScreenedBudget:
    """A budget that blocks decide, with what the first pairs said of it.

    Attributes:
        question: the budget.
        trial: of the first pairs.
        earlier: log ratios of the pairs of earlier duels of the same code, shape `(P,)`.
    """

    question: BudgetTest
    trial: SequentialTest
    earlier: NDArray[np.float64]

    @property
    def text(self) -> str:
        """Of the budget."""
        return self.question.budget.text

    @property
    def known(self) -> NDArray[np.float64]:
        """The log ratios of all pairs so far."""
        return np.concatenate([self.earlier, self.trial.effects()])

    @property
    def settled(self) -> bool:
        """Whether the first pairs settle it: it passes, and not by luck of their launches."""
        spread = spread_of(self.question.budget.metric, self.trial.errors())
        return self.trial.decision == "PASS" and excludes(
            self.known, self.question.bounds.limits.line, self.question.bounds.beta, spread
        )


def more_blocks(asked: Sequence[ScreenedBudget], blocks_each: int, enough: int) -> bool:
    """Whether more blocks of the first pairs are wanted, when each budget is decided or cannot be.

    Args:
        asked: the budgets with their trials.
        blocks_each: blocks of each pair so far.
        enough: blocks that make a pair's own effect known well enough.
    """
    if blocks_each < min(enough, _FIRM):
        return True
    passing = (one for one in asked if one.trial.decision == "PASS")
    return blocks_each < enough and any(not one.settled for one in passing)


class Confirmation:
    """What fresh pairs say of the budgets that the first ones did not settle.

    Args:
        asked: budgets that the first pairs did not settle.
        doubts: losses of accuracy and of users' shares.
        rates: how often it may err.

    Attributes:
        doubts: losses of shares that are in doubt.
    """

    def __init__(
        self, asked: Sequence[ScreenedBudget], doubts: Sequence[SuspectedLoss], rates: ErrorRates
    ) -> None:
        self._asked = asked
        self.doubts = doubts
        self._rates = rates
        self._trials = {
            one.text: sequential_test_for(one.question.budget.metric, one.question.bounds)
            for one in asked
        }
        self._lost: dict[str, list[float]] = {doubt.budget.text: [] for doubt in doubts}
        self._answers: dict[str, BudgetOutcome] = {}

    def wanted(self, pairs: int) -> bool:
        """Whether a further pair is wanted after so many."""
        return (self.about_speed or self.about_rows) and pairs < LOOKS[-1]

    @property
    def about_speed(self) -> bool:
        """Whether blocks are wanted of a fresh pair."""
        return any(one.text not in self._answers for one in self._asked)

    @property
    def about_rows(self) -> bool:
        """Whether it is wanted what a fresh pair loses on the rows."""
        return any(doubt.budget.text not in self._answers for doubt in self.doubts)

    def lost(self, doubt: SuspectedLoss, loss: float) -> None:
        """Take what a fresh pair lost of a share that is in doubt, in shares of one."""
        self._lost[doubt.budget.text].append(loss)

    def add(self, block: Block) -> None:
        """Take a block of a fresh pair."""
        for trial in self._trials.values():
            trial.add(block)

    def look(self) -> None:
        """See what can be said, when a fresh pair has been measured."""
        for one in self._asked:
            trial = self._trials[one.text]
            if one.text not in self._answers and trial.blocks:
                decision = self._opinion(one, trial)
                if decision is not None:
                    self._answers[one.text] = _answer(decision, one, trial)
        for doubt in self.doubts:
            if doubt.budget.text not in self._answers:
                decision = self._opinion_of(doubt)
                if decision is not None:
                    self._answers[doubt.budget.text] = self._doubted(doubt, decision)

    def answers(self) -> Mapping[str, BudgetOutcome]:
        """What there is to be said at the end, by the text of the budget."""
        found = dict(self._answers)
        for one in self._asked:
            found.setdefault(one.text, _answer(None, one, self._trials[one.text]))
        for doubt in self.doubts:
            found.setdefault(doubt.budget.text, self._doubted(doubt, None))
        return found

    def effects(self) -> Mapping[str, NDArray[np.float64]]:
        """The log ratio of each fresh pair, by the text of the budget."""
        return {text: trial.effects() for text, trial in self._trials.items() if trial.blocks}

    def _opinion(self, one: ScreenedBudget, trial: SequentialTest) -> Decision | None:
        return second_opinion(
            trial.effects(),
            one.known,
            allowed=one.question.bounds.limits.allowed,
            line=one.question.bounds.limits.line,
            alpha=self._rates.confirm,
            beta=one.question.bounds.beta,
            spread=spread_of(one.question.budget.metric, trial.errors()),
        )

    def _opinion_of(self, doubt: SuspectedLoss) -> Decision | None:
        lost = np.array(self._lost[doubt.budget.text])
        if len(lost) >= _SAME and set(lost.tolist()) == {doubt.loss.value}:
            return "FAIL"
        return second_opinion(
            lost,
            _NOBODY,
            allowed=doubt.limits.allowed,
            line=doubt.limits.line,
            alpha=self._rates.confirm,
            beta=BETA,
            spread=NOTHING_KNOWN,
        )

    def _doubted(self, doubt: SuspectedLoss, decision: Decision | None) -> BudgetOutcome:
        reason = _reason(decision, "FAIL", len(self._lost[doubt.budget.text]))
        return BudgetOutcome(decision, doubt.loss, doubt.loss.value, reason)


_NOBODY: Final[NDArray[np.float64]] = np.zeros(0)


def _answer(decision: Decision | None, one: ScreenedBudget, trial: SequentialTest) -> BudgetOutcome:
    """The estimates are those of the fresh pairs alone.

    What the first ones showed was a reason to look again, and so it is on average too much.
    """
    seen = trial if trial.blocks else one.trial
    spread = spread_of(one.question.budget.metric, seen.errors())
    loss = with_pair_effects(_about_pairs(seen), seen.effects(), spread)
    pairs = len(trial.effects()) if trial.blocks else 0
    visible = one.question.bounds.limits.allowed + (loss.value - loss.low)
    return BudgetOutcome(decision, loss, visible, _reason(decision, one.trial.decision, pairs))


def _about_pairs(trial: SequentialTest) -> Estimate:
    """The interval over blocks, about the mean of the pairs, by which the decision is made."""
    blocks = trial.estimate()
    shift = float(trial.effects().mean()) - blocks.value
    return Estimate(blocks.value + shift, blocks.low + shift, blocks.high + shift)


def _reason(decision: Decision | None, first: Decision | None, pairs: int) -> str:
    fresh = f"{pairs} fresh pair{'' if pairs == 1 else 's'}"
    if decision is None:
        seemed = "lost too much" if first == "FAIL" else "did not settle it"
        return f"the first pairs {seemed}, and {fresh} did not settle it either"
    if decision == first:
        return f"confirmed on {fresh}"
    return f"the first pairs did not settle it; {fresh} did"
