"""The error rates that a run promises."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

ALPHA: Final = 0.01
"""Of all runs on unchanged code, the share that may have a FAIL."""


BETA: Final = 0.05
"""Of all losses that a budget must find, the share that may pass."""


_SCREEN: Final = 0.05


_CONFIRM: Final = 0.05


_SCREENED: Final = 0.1


@dataclass(frozen=True, slots=True)
class ErrorRates:
    """Error rates of one budget, so that those of the whole run keep to `ALPHA`.

    A FAIL of the screen is confirmed on fresh pairs, so both rates count. The screen's holds for
    the pairs that it measured, and what processes differ by can double it; one in ten is taken
    to get through it at the most (in simulations with a spread of 2 % between pairs, 9 %), and the
    confirmation keeps the rest.

    Attributes:
        budgets: how many relative budgets the run has.
    """

    budgets: int

    @property
    def screen(self) -> float:
        """Of the first stage, on the pairs that are there."""
        return _SCREEN / max(1, self.budgets)

    @property
    def stored(self) -> float:
        """Of the only stage against a stored baseline."""
        return ALPHA / max(1, self.budgets)

    @property
    def confirm(self) -> float:
        """Of the second, on fresh pairs."""
        return min(_CONFIRM, self.stored / _SCREENED)


SLOTTED: Final = frozenset({"throughput", "goodput", "mean", "p50", "p90", "p95", "p99", "p99.9"})
"""Names of the metrics that slots can decide."""
