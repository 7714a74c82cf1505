"""The error rates that a run promises, and their share for each budget."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection

ALPHA: Final = 0.01
"""Of all runs on unchanged code, the share that may have a FAIL."""

BETA: Final = 0.05
"""Of all losses that a budget must find, the share that may pass."""

SLOTTED: Final = frozenset({"throughput", "goodput", "mean", "p50", "p90", "p95", "p99", "p99.9"})
"""Names of the metrics that slots can decide."""

_RESERVED: Final = 1 / 19  # as a share of a measurement that is known to come


@dataclass(frozen=True, slots=True)
class ErrorRates:
    """Error rates of one budget, so that those of the whole run keep to `ALPHA`.

    Attributes:
        budgets: how many relative budgets the run has. A budget that is judged by a share `w` of
            its error rates is one of `budgets / w`.
    """

    budgets: float

    def shared(self, share: float) -> ErrorRates:
        """The rates of one of several judgements on a budget, with its share of them.

        Raises:
            ValueError: if the share is not above 0 and at most 1.
        """
        if not 0 < share <= 1:
            raise ValueError(f"a share of error rates is {share}: expected one in (0, 1]")
        return ErrorRates(max(1.0, self.budgets) / share)

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


@dataclass(slots=True)
class AlphaSpending:
    """Divides a budget's error rates among the measurements of one test, as they come.

    A test judges its budgets once for each of its measurements, and how many there will be is
    known only of those with a baseline. Each measurement takes a share of what is left (Lan and
    DeMets 1983), so that all shares together never exceed 1, whatever follows:

    - Of `u` measurements that are known to come, the next takes `1 / (u + 1/19)` of what is left.
      Where all are known, as against a stored baseline, each of n gets the same, a single one 95 %;
      the rest is kept for one that comes nevertheless.
    - The j-th that was not known takes `1 / (u + j + 1)` of it. Where none is known, these are
      1/2, 1/6, 1/12, ...: `1 / (j (j + 1))`.

    A measurement that is made again, as by pytest-rerunfailures, has the share that it had.
    """

    _shares: dict[str, float] = field(default_factory=dict)
    _unknown: int = 0
    _left: float = 1.0

    def share(self, name: str, known: Collection[str] = ()) -> float:
        """The share of a measurement, to be asked for before it is judged.

        Args:
            name: of the measurement.
            known: names of all measurements of the test that are known to be judged.
        """
        if name not in self._shares:
            to_come = len({*known} - self._shares.keys())
            if name in known:
                part = 1 / (to_come + _RESERVED)
            else:
                self._unknown += 1
                part = 1 / (to_come + self._unknown + 1)
            self._shares[name] = part * self._left
            self._left -= self._shares[name]
        return self._shares[name]
