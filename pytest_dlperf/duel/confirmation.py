"""Second stage of a duel: fresh pairs confirm a FAIL, and a PASS that may be luck.

A pair of processes has an effect of its own: the place of its memory makes a process faster or
slower for all its life, and a model that was trained in a process is that one model. So a loss of
the first pairs is measured again on further ones; and so is a PASS that the variance between
pairs could explain.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_dlperf.duel.questions import BudgetOutcome, SuspectedLoss
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

    from pytest_dlperf.config.budgets import Budget
    from pytest_dlperf.duel.sequential_test import Bounds, SequentialTest
    from pytest_dlperf.measure.slots import Block
    from pytest_dlperf.statistics.estimate import Decision

_WITHIN: Final = 0.5  # error of a pair's effect, as a share of the spread between pairs
_MOST_BLOCKS: Final = 200
_LEAST_BLOCKS: Final = 20
_BRIEF: Final = 2.0
_FIRM: Final = 30  # blocks of a pair that are enough for a settled budget
_SAME: Final = 2  # fresh pairs that lose as many rows as the first are enough
_NO_EFFECTS: Final[NDArray[np.float64]] = np.zeros(0)


def blocks_of_a_pair(block_noise: float | None, block_seconds: float = 0.0) -> int:
    """Blocks that make the error of a pair's effect small compared with the spread between pairs.

    More blocks of the same pair would only describe that pair (Kalibera and Jones 2013: repeat
    where the variance is).

    Args:
        block_noise: standard deviation of a block's log ratio; None if it is not known yet.
        block_seconds: duration of a block.
    """
    if block_noise is None:
        return FEWEST_BLOCKS
    wanted = math.ceil((block_noise / (_WITHIN * PAIR_NOISE)) ** 2)
    # The noise is that of the slot length with the least noise in few blocks, so on average it is
    # too small: at least 20 blocks, or as many as two seconds hold.
    held = int(_BRIEF / block_seconds) if block_seconds else _LEAST_BLOCKS
    return min(max(wanted, FEWEST_BLOCKS, min(held, _LEAST_BLOCKS)), _MOST_BLOCKS)


@dataclass(frozen=True, slots=True, eq=False)
class ScreenedBudget:
    """A budget that blocks decide, with the evidence of the first pairs.

    Attributes:
        test: of the blocks of the first pairs.
        earlier: log ratios of the pairs of earlier duels of the same code, shape `(P,)`.
    """

    budget: Budget
    bounds: Bounds
    test: SequentialTest
    earlier: NDArray[np.float64]

    @property
    def effects(self) -> NDArray[np.float64]:
        """The log ratio of each pair so far, shape `(P,)`."""
        return np.concatenate([self.earlier, self.test.effects()])

    @property
    def settled(self) -> bool:
        """Whether it passes, and the variance between pairs does not explain it."""
        spread = spread_of(self.budget.metric, self.test.errors())
        return self.test.decision == "PASS" and excludes(
            self.effects, self.bounds.limits.line, self.bounds.beta, spread
        )


def more_blocks(budgets: Sequence[ScreenedBudget], blocks_each: int, enough: int) -> bool:
    """Whether the first pairs need more blocks, once each budget is decided or cannot be.

    Args:
        budgets: those that blocks decide.
        blocks_each: blocks of each pair so far.
        enough: blocks after which a pair's effect is known well enough.
    """
    if blocks_each < min(enough, _FIRM):
        return True
    passing = (screened for screened in budgets if screened.test.decision == "PASS")
    return blocks_each < enough and any(not screened.settled for screened in passing)


class Confirmation:
    """The evidence of fresh pairs on the budgets that the first ones did not settle.

    Args:
        budgets: those that blocks decide.
        suspected: losses of accuracy and of users' shares.
        rates: of each budget.
    """

    def __init__(
        self,
        budgets: Sequence[ScreenedBudget],
        suspected: Sequence[SuspectedLoss],
        rates: ErrorRates,
    ) -> None:
        self.suspected = suspected
        self._budgets = budgets
        self._rates = rates
        self._tests = {
            screened.budget.text: sequential_test_for(screened.budget.metric, screened.bounds)
            for screened in budgets
        }
        self._losses: dict[str, list[float]] = {suspect.budget.text: [] for suspect in suspected}
        self._outcomes: dict[str, BudgetOutcome] = {}

    def needs_pair(self, pairs: int) -> bool:
        """Whether another pair is needed after `pairs` of them."""
        return (self.needs_blocks or self.needs_rows) and pairs < LOOKS[-1]

    @property
    def needs_blocks(self) -> bool:
        """Whether blocks of a fresh pair are needed."""
        return any(screened.budget.text not in self._outcomes for screened in self._budgets)

    @property
    def needs_rows(self) -> bool:
        """Whether a fresh pair's loss on the rows is needed."""
        return any(suspect.budget.text not in self._outcomes for suspect in self.suspected)

    def add_loss(self, suspect: SuspectedLoss, loss: float) -> None:
        """Take a fresh pair's loss of a suspected share, in shares of one."""
        self._losses[suspect.budget.text].append(loss)

    def add(self, block: Block) -> None:
        """Take a block of a fresh pair."""
        for test in self._tests.values():
            test.add(block)

    def look(self) -> None:
        """Decide what can be decided, after a fresh pair has been measured."""
        # A decision is final: other budgets may need further pairs, which must not change it.
        for screened in self._budgets:
            test = self._tests[screened.budget.text]
            if screened.budget.text not in self._outcomes and test.blocks:
                decision = self._decide_speed(screened, test)
                if decision is not None:
                    self._outcomes[screened.budget.text] = _outcome(decision, screened, test)
        for suspect in self.suspected:
            if suspect.budget.text not in self._outcomes:
                decision = self._decide_share(suspect)
                if decision is not None:
                    self._outcomes[suspect.budget.text] = self._share_outcome(suspect, decision)

    def outcomes(self) -> Mapping[str, BudgetOutcome]:
        """The outcomes at the end, by the text of the budget."""
        outcomes = dict(self._outcomes)
        for screened in self._budgets:
            text = screened.budget.text
            outcomes.setdefault(text, _outcome(None, screened, self._tests[text]))
        for suspect in self.suspected:
            outcomes.setdefault(suspect.budget.text, self._share_outcome(suspect, None))
        return outcomes

    def effects(self) -> Mapping[str, NDArray[np.float64]]:
        """The log ratio of each fresh pair, by the text of the budget."""
        return {text: test.effects() for text, test in self._tests.items() if test.blocks}

    def _decide_speed(self, screened: ScreenedBudget, test: SequentialTest) -> Decision | None:
        bounds = screened.bounds
        return second_opinion(
            test.effects(),
            screened.effects,
            allowed=bounds.limits.allowed,
            line=bounds.limits.line,
            alpha=self._rates.confirm,
            beta=bounds.beta,
            spread=spread_of(screened.budget.metric, test.errors()),
        )

    def _decide_share(self, suspect: SuspectedLoss) -> Decision | None:
        losses = np.array(self._losses[suspect.budget.text])
        if len(losses) >= _SAME and set(losses.tolist()) == {suspect.loss.value}:
            return "FAIL"
        return second_opinion(
            losses,
            _NO_EFFECTS,
            allowed=suspect.limits.allowed,
            line=suspect.limits.line,
            alpha=self._rates.confirm,
            beta=BETA,
            spread=NOTHING_KNOWN,
        )

    def _share_outcome(self, suspect: SuspectedLoss, decision: Decision | None) -> BudgetOutcome:
        reason = _reason(decision, "FAIL", len(self._losses[suspect.budget.text]))
        return BudgetOutcome(decision, suspect.loss, suspect.loss.value, reason)


def _outcome(
    decision: Decision | None, screened: ScreenedBudget, test: SequentialTest
) -> BudgetOutcome:
    # The estimate is that of the fresh pairs alone. The loss of the first ones was a reason to
    # measure again, and so it is on average too large.
    shown = test if test.blocks else screened.test
    spread = spread_of(screened.budget.metric, shown.errors())
    loss = with_pair_effects(_estimate_over_pairs(shown), shown.effects(), spread)
    pairs = len(test.effects()) if test.blocks else 0
    visible = screened.bounds.limits.allowed + (loss.value - loss.low)
    return BudgetOutcome(decision, loss, visible, _reason(decision, screened.test.decision, pairs))


def _estimate_over_pairs(test: SequentialTest) -> Estimate:
    """The interval over blocks, moved to the mean of the pairs, by which the decision is made."""
    blocks = test.estimate()
    shift = float(test.effects().mean()) - blocks.value
    return Estimate(blocks.value + shift, blocks.low + shift, blocks.high + shift)


def _reason(decision: Decision | None, first: Decision | None, pairs: int) -> str:
    fresh = f"{pairs} fresh pair{'' if pairs == 1 else 's'}"
    if decision is None:
        seemed = "lost too much" if first == "FAIL" else "did not settle it"
        return f"the first pairs {seemed}, and {fresh} did not settle it either"
    if decision == first:
        return f"confirmed on {fresh}"
    return f"the first pairs did not settle it; {fresh} did"
