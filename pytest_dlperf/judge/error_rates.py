"""The error rates that a run promises, and their share for each budget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

ALPHA: Final = 0.01
"""Of all runs on unchanged code, the share that may have a FAIL."""

BETA: Final = 0.05
"""Of all losses that a budget must find, the share that may pass."""

SLOTTED: Final = frozenset({"throughput", "goodput", "mean", "p50", "p90", "p95", "p99", "p99.9"})
"""Names of the metrics that slots can decide."""

_SCREEN: Final = 0.05
_CONFIRM: Final = 0.05  # at most, even where the product would allow more
_SCREENED: Final = 0.1  # of unchanged code, the share that fails the screen at the most


@dataclass(frozen=True, slots=True)
class ErrorRates:
    """Error rates of one budget, so that those of the whole run keep to `ALPHA`.

    A FAIL of the screen is confirmed on fresh pairs, so the two rates multiply. The screen's rate
    holds for the pairs that it measured, and the variance between pairs can double it; so one in
    ten is assumed to fail the screen (in simulations with a spread of 2 % between pairs, 9 %),
    and the confirmation makes up for the rest.

    Attributes:
        budgets: how many relative budgets the run has.
    """

    budgets: int

    @property
    def screen(self) -> float:
        """Of a duel's first stage, on the pairs that are there."""
        return _SCREEN / max(1, self.budgets)

    @property
    def stored(self) -> float:
        """Of the only stage against a stored baseline."""
        return ALPHA / max(1, self.budgets)

    @property
    def confirm(self) -> float:
        """Of a duel's second stage, on fresh pairs."""
        return min(_CONFIRM, self.stored / _SCREENED)
