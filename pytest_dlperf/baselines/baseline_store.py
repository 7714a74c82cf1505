"""Baseline store: where accepted measurements are kept, whatever it is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pytest_dlperf.results.baseline import Accepted, Baseline


class BaselineStore(Protocol):
    """The baselines of one machine class."""

    def load(self, test: str) -> Baseline | None:
        """The baseline of a test, None if there is none.

        Raises:
            BaselineError, HistoryError: if it cannot be read.
        """

    def save(self, test: str, name: str, accepted: Accepted) -> None:
        """Make a measurement the baseline, leaving the test's other measurements as they are.

        Raises:
            BaselineError, HistoryError: if it cannot be written; what was there is kept.
        """
