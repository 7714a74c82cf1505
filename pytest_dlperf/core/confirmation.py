"""Confirmation: a FAIL stands when fresh pairs show it too.

A pair of processes measures that pair: where their memory lies makes either of them faster or
slower for all its life, and a model that was trained for a process is that one model. So what the
first pairs lost is asked of further ones, and these speak as a sample of launches.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_dlperf.core.contest import BETA, Answer, Doubt, Question, Rates
from pytest_dlperf.core.statistics.launches import (
    PAIR_NOISE,
    confirming_pairs,
    confirms,
    with_launches,
)
from pytest_dlperf.core.trial import trial_for

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from pytest_dlperf.core.slots import Block
    from pytest_dlperf.core.trial import Decision

_WITHIN: Final = 0.6  # error of a pair's own effect, as a share of what pairs differ by
_FEWEST: Final = 12
_MOST: Final = 400
_SAME: Final = 2  # pairs that lose just what the first one lost, row for row, are enough
_DOUBTED: Final = 4


class Confirmation:
    """What fresh pairs say of the budgets that failed on the first ones.

    Args:
        failing: budgets that blocks decide.
        doubts: losses of accuracy.
        rates: how often it may err.
        block_noise: standard deviation of a block's log ratio; None if it is not known.

    Attributes:
        doubts: losses of accuracy that are in doubt.
        pairs: how many fresh pairs are wanted.
        blocks: how many blocks of each: as many as make the error of its effect small beside
            what pairs differ by (Kalibera and Jones 2013: repeat where the variance is).
    """

    def __init__(
        self,
        failing: Sequence[Question],
        doubts: Sequence[Doubt],
        rates: Rates,
        block_noise: float | None,
    ) -> None:
        self._failing = failing
        self.doubts = doubts
        self._rates = rates
        self._trials = {
            one.budget.text: trial_for(one.budget.metric, one.bounds) for one in failing
        }
        self._lost: list[float] = []
        self.pairs = _DOUBTED if doubts else 0
        self.blocks = 0
        if failing:
            noise = block_noise or PAIR_NOISE
            wanted = math.ceil((noise / (_WITHIN * PAIR_NOISE)) ** 2)
            self.blocks = min(max(wanted, _FEWEST), _MOST)
            spread = math.hypot(PAIR_NOISE, noise / math.sqrt(self.blocks))
            self.pairs = max(
                self.pairs,
                *(
                    confirming_pairs(math.log1p(one.budget.metric.detect), spread, rates.confirm)
                    for one in failing
                ),
            )

    @property
    def settled(self) -> bool:
        """Whether no further pair is wanted: the loss of accuracy was just the same again."""
        known = {doubt.loss.value for doubt in self.doubts}
        return not self._failing and len(self._lost) >= _SAME and set(self._lost) == known

    def lost(self, accuracy: float) -> None:
        """Take what a fresh pair lost in accuracy, in shares of one."""
        self._lost.append(accuracy)

    def add(self, block: Block) -> None:
        """Take a block of a fresh pair."""
        for trial in self._trials.values():
            trial.add(block)

    def answers(self, screened: Mapping[str, Answer]) -> dict[str, Answer]:
        """What is to be said now, by the text of the budget.

        The estimates are those of the fresh pairs alone: what the first ones showed was a reason
        to look again, and so it is on average too much.

        Args:
            screened: what the first pairs said.
        """
        found = {}
        for one in self._failing:
            text, bounds = one.budget.text, one.bounds
            trial = self._trials[text]
            if not trial.blocks:
                found[text] = _unconfirmed(screened[text])
                continue
            effects = trial.effects()
            loss = with_launches(trial.estimate(), effects)
            decision = self._decide(effects, bounds.allowed, bounds.line)
            visible = screened[text].visible
            found[text] = Answer(decision, loss, visible, _reason(decision, len(effects)))
        for doubt in self.doubts:
            decision = self._decide(np.array(self._lost), doubt.allowed, doubt.line)
            reason = _reason(decision, len(self._lost))
            found[doubt.budget.text] = Answer(decision, doubt.loss, doubt.allowed, reason)
        return found

    def _decide(self, effects: NDArray[np.float64], allowed: float, line: float) -> Decision | None:
        """One-sided t-tests over the pairs: a loss beyond `allowed`, or none of `line`."""
        if len(effects) < _SAME:
            return None
        if confirms(effects, allowed, self._rates.confirm):
            return "FAIL"
        return "PASS" if confirms(-effects, -line, BETA) else None


def _unconfirmed(answer: Answer) -> Answer:
    return Answer(None, answer.loss, answer.visible, _reason(None, 0))


def _reason(decision: Decision | None, pairs: int) -> str:
    if decision == "FAIL":
        return f"confirmed on {pairs} fresh pairs of processes"
    if decision == "PASS":
        return f"the first pairs seemed to lose more, {pairs} fresh ones did not"
    return f"the first pairs lost too much, but {pairs} fresh ones did not confirm it"
