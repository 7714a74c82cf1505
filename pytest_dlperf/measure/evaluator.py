"""Arena: where measurements are taken and judged, as the `dlperf` fixture sees it."""

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
    """A record, and what becomes of it.

    Attributes:
        record: what was found, and judged.
        accepted: what becomes the baseline if the test passes.
        cautions: what people are warned of beside the verdicts.
    """

    record: Record
    accepted: BaselineEntry | None
    cautions: tuple[str, ...] = ()


class Measurable(Protocol):
    """A target that is ready to be measured."""

    def measure(self, test: str, name: str, seconds: float) -> Measurement:
        """Put it under load for so long, or longer where its budgets need that."""
        ...

    def warm_up(self) -> str:
        """Run the load until its speed settles; returns a note if it does not."""
        ...

    def slots(self) -> SlotRunner | None:
        """Who runs slots of it; None if its load has none."""
        ...


class Evaluator(Protocol):
    """Where measurements are taken, and judged."""

    def settle(
        self, subject: AbstractContextManager[Measurable], plan: Plan, test: str, name: str
    ) -> Evaluation:
        """Measure and judge.

        Args:
            subject: prepares what is measured, and gives it back.
            plan: what is asked of it.
            test: pytest's node id.
            name: tells several measurements of one test apart.

        Raises:
            DlperfError: if it cannot be measured.
        """
        ...

    def floor(self) -> AbstractContextManager[None]:
        """Nobody else measures inside."""
        ...

    def keep(self, test: str, name: str, accepted: BaselineEntry) -> None:
        """Write a baseline.

        Raises:
            BaselineError: if it cannot be written.
        """
        ...
