"""Protocols of what the `dlperf` fixture measures, and of what measures and judges it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from pytest_dlperf.config.plan import Plan
    from pytest_dlperf.measure.slot_runner import SlotRunner
    from pytest_dlperf.results.baseline import BaselineEntry
    from pytest_dlperf.results.measurement import Measurement
    from pytest_dlperf.results.record import Record


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A judged record, with the baseline entry to write.

    Attributes:
        record: measurement and verdicts.
        accepted: becomes the baseline if the test passes; None leaves the baseline as it is.
        cautions: warnings in addition to the verdicts.
    """

    record: Record
    accepted: BaselineEntry | None
    cautions: tuple[str, ...] = ()


class Measurable(Protocol):
    """A target that is ready to be measured."""

    def measure(self, test: str, name: str, seconds: float) -> Measurement:
        """Put it under load for `seconds`, or longer if its budgets need more requests."""
        ...

    def warm_up(self) -> str:
        """Run the load until its speed is steady; returns a note if it is not."""
        ...

    def slots(self) -> SlotRunner | None:
        """Runner of its slots for a duel; None if it cannot be measured in slots."""
        ...


class Evaluator(Protocol):
    """Measures and judges."""

    def settle(
        self, subject: AbstractContextManager[Measurable], plan: Plan, test: str, name: str
    ) -> Evaluation:
        """Measure and judge.

        Args:
            subject: context manager that prepares the target, and releases it.
            plan: load and budgets.
            test: pytest's node id.
            name: distinguishes several measurements of one test.

        Raises:
            DlperfError: if it cannot be measured.
        """
        ...

    def floor(self) -> AbstractContextManager[None]:
        """Exclude other measurements inside the block."""
        ...

    def keep(self, test: str, name: str, accepted: BaselineEntry) -> None:
        """Write a baseline.

        Raises:
            BaselineError: if it cannot be written.
        """
        ...
