"""Interfaces between the `dlperf` fixture and what measures and judges: a run alone, or a duel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from pytest_dlperf.measure.yardstick import NO_YARDSTICK

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from pytest_dlperf.config.plan import Plan
    from pytest_dlperf.measure.slot_runner import SlotRunner
    from pytest_dlperf.measure.yardstick import SpeedCheck
    from pytest_dlperf.results.baseline import BaselineEntry
    from pytest_dlperf.results.measurement import Measurement
    from pytest_dlperf.results.record import Record


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One measurement, judged.

    Attributes:
        record: the measurement and its verdicts.
        accepted: the baseline to write if the test passes; None if none is to be written.
        cautions: warnings to show besides the verdicts.
    """

    record: Record
    accepted: BaselineEntry | None
    cautions: tuple[str, ...] = ()


class Measurable(Protocol):
    """A target that is ready to be measured."""

    def measure(
        self, test: str, name: str, seconds: float, speed: SpeedCheck = NO_YARDSTICK
    ) -> Measurement:
        """Put it under load for `seconds`, or longer where its budgets need that.

        `speed` is told directly before and after the load that counts, and between its parts.
        """
        ...

    def warm_up(self) -> str:
        """Run the load until its speed is steady; returns a note if it is not."""
        ...

    def slots(self) -> SlotRunner | None:
        """Runner of slots of its load; None if this kind of load cannot be cut into slots."""
        ...


class Evaluator(Protocol):
    """Measures and judges on behalf of tests."""

    def evaluate(
        self, subject: AbstractContextManager[Measurable], plan: Plan, test: str, name: str
    ) -> Evaluation:
        """Measure and judge; `subject` prepares the target on entry, and releases it on exit.

        Raises:
            DlperfError: if the target cannot be measured.
        """
        ...

    def exclusive(self) -> AbstractContextManager[None]:
        """A context in which no other process of this run measures."""
        ...

    def accept(self, test: str, name: str, accepted: BaselineEntry) -> None:
        """Write a baseline.

        Raises:
            BaselineError: if it cannot be written.
        """
        ...
