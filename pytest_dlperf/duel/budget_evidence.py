"""The evidence of a duel on its budgets, pair by pair, and what it decides."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_dlperf.duel.blocks_of_pair import PAIRS_IN_TIME
from pytest_dlperf.duel.pair_effect import effect_error, lacking, needed_requests, pair_effects
from pytest_dlperf.duel.questions import BudgetOutcome
from pytest_dlperf.judge.loss_evidence import decided_interval
from pytest_dlperf.statistics.estimate import FARTHEST, NORMAL_REACH, Estimate
from pytest_dlperf.statistics.pair_effects import Spread, look_at, look_once, spread_of_layouts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_dlperf.duel.questions import BudgetTest, ShareQuestion
    from pytest_dlperf.judge.loss_evidence import LossEvidence
    from pytest_dlperf.measure.slots import Block
    from pytest_dlperf.metrics import Metric
    from pytest_dlperf.statistics.estimate import Decision
    from pytest_dlperf.statistics.pair_effects import PairBounds, PairDecision

_OF_DETECT: Final = 0.4
_FREEDOM: Final = 4


class SpeedEvidence:
    """The effects of pairs on a metric that slots show.

    Args:
        test: the budget and its bounds.
        spread: prior of the standard deviation between pairs.
        earlier: effects of the pairs of earlier duels of the same two versions.

    Attributes:
        test: as given.
        outcome: final; None while neither FAIL nor PASS is proven.
    """

    def __init__(self, test: BudgetTest, spread: Spread, earlier: Sequence[float] = ()) -> None:
        self.test = test
        self.outcome: BudgetOutcome | None = None
        self._spread = spread
        self._earlier = tuple(earlier)
        self._pairs: list[Sequence[Block]] = []

    @property
    def metric(self) -> Metric:
        """Of the budget."""
        return self.test.budget.metric

    @property
    def effects(self) -> tuple[float, ...]:
        """The log ratio of each pair of this duel."""
        return tuple(pair_effects(self.metric, self._pairs).tolist())

    @property
    def pairs(self) -> int:
        """Pairs so far, those of earlier duels included."""
        return len(self._earlier) + len(self._pairs)

    def lacks(self, blocks: Sequence[Block]) -> bool:
        """Whether a pair needs more blocks to have an effect."""
        return self.outcome is None and lacking(self.metric, blocks) > 0

    def add(self, blocks: Sequence[Block]) -> None:
        """Take a pair, and look; if it has too few requests for the metric, so will others."""
        if self.outcome is not None:
            return  # a decision is final: other budgets may need further pairs
        if lacking(self.metric, blocks):
            self.outcome = self.open_outcome(_too_few_requests(self.metric, blocks))
            return
        self._pairs.append(blocks)
        seen = self._look()
        if seen.decision is not None:
            self.outcome = self._outcome(seen)

    def look_once(self, reason: str) -> None:
        """Decide by the only pair; `reason` says why no other can be placed anew in memory."""
        if self.outcome is not None:
            return
        if len(self._pairs) != 1:
            self.outcome = self.open_outcome(reason)
            return
        (blocks,), (effect,) = self._pairs, self.effects
        error = effect_error(self.metric, blocks)
        seen = look_once(effect, self.test.bounds, spread_of_layouts(self.metric), error)
        self.outcome = self._outcome(seen, reason)

    def open_outcome(self, reason: str) -> BudgetOutcome:
        """The outcome if no further pair comes; `reason` says why none does."""
        if not self._pairs:
            return BudgetOutcome(None, None, FARTHEST, reason)
        return self._outcome(self._look(), reason)

    def _look(self) -> PairDecision:
        effects = np.array([*self._earlier, *self.effects])
        return look_at(effects, self.test.bounds, self._spread)

    def _outcome(self, seen: PairDecision, reason: str = "") -> BudgetOutcome:
        loss = Estimate(seen.mean, seen.low, seen.high)
        return _outcome(seen.decision, loss, self.test.bounds, reason)


def _outcome(
    decision: Decision | None, loss: Estimate, bounds: PairBounds, reason: str = ""
) -> BudgetOutcome:
    return BudgetOutcome(decision, loss, bounds.allowed + (loss.value - loss.low), reason)


def _too_few_requests(metric: Metric, blocks: Sequence[Block]) -> str:
    needed = needed_requests(metric)
    had, seconds = needed - lacking(metric, blocks), sum(block.seconds for block in blocks)
    reason = f"{metric.name} needs {needed} requests of each side of a pair"
    if not had:
        return f"{reason}, and there were none"
    whole = PAIRS_IN_TIME * seconds * needed / had
    return f"{reason}: about {math.ceil(whole)} s of measuring (dlperf-budget-time)"


class ShareEvidence:
    """The losses of a share, such as accuracy, on the rows that both sides of a pair answered.

    Weights that are the same in each pair lose the same rows again, which is no further evidence:
    these rows decide. Models that are trained anew in each process lose others: then the variance
    between pairs counts, and beside it the error of the rows, which all pairs share.

    Args:
        question: the budget, its bounds, and the first pair's evidence.

    Attributes:
        question: as given.
        outcome: final; None while neither FAIL nor PASS is proven.
    """

    def __init__(self, question: ShareQuestion) -> None:
        self.question = question
        self.outcome: BudgetOutcome | None = None
        self._losses = [question.evidence.loss]
        self._trained_anew = False
        if not question.evidence.differs:
            self.outcome = self._by_rows()  # no row has changed, as with the same weights

    def add(self, evidence: LossEvidence | None) -> None:
        """Take a further pair's evidence, and look; None if its rows cannot be compared."""
        if self.outcome is not None or evidence is None:
            return
        self._losses.append(evidence.loss)
        if evidence == self.question.evidence and not self._trained_anew:
            self.outcome = self._by_rows()
            return
        self._trained_anew = True
        seen = self._look()
        if seen.decision is not None:
            self.outcome = self._outcome(seen)

    def open_outcome(self, reason: str) -> BudgetOutcome:
        """The outcome if no further pair comes; `reason` says why none does."""
        if len(self._losses) == 1:
            return self._by_rows()
        return self._outcome(self._look(), reason)

    def _by_rows(self) -> BudgetOutcome:
        bounds, evidence = self.question.bounds, self.question.evidence
        decision = evidence.decision(self.question.limits, bounds.alpha, bounds.beta)
        loss = decided_interval(evidence, bounds.alpha, bounds.beta)
        return _outcome(decision, loss, bounds)

    def _look(self) -> PairDecision:
        effects = np.array([loss.value for loss in self._losses])
        widths = [(loss.high - loss.low) / (2 * NORMAL_REACH) for loss in self._losses]
        spread = Spread(_OF_DETECT * self.question.budget.metric.detect, _FREEDOM)
        return look_at(effects, self.question.bounds, spread, max(widths))

    def _outcome(self, seen: PairDecision, reason: str = "") -> BudgetOutcome:
        loss = Estimate(seen.mean, seen.low, seen.high)
        note = f"trained anew in each of {len(self._losses)} pairs"
        reason = "; ".join(filter(None, (note, reason)))
        return _outcome(seen.decision, loss, self.question.bounds, reason)
