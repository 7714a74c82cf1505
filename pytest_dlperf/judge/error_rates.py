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


@dataclass(frozen=True, slots=True)
class ErrorRates:
    """Error rates of one budget, so that those of the whole run keep to `ALPHA`.

    Attributes:
        budgets: how many relative budgets the run has.
    """

    budgets: int

    @property
    def stored(self) -> float:
        """Of a FAIL: of unchanged code, the share that may have one."""
        return ALPHA / max(1, self.budgets)

    @property
    def missed(self) -> float:
        """Of a PASS: of losses that the budget must find, the share that may pass.

        It is not divided: a run passes a loss only if the budget that lost passes.
        """
        return ALPHA
