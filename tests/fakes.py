"""Fakes of time, processes, terminals and models."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_dlperf.load.answer_layout import AnswerLayout
from pytest_dlperf.measure.prepared import Instruments
from pytest_dlperf.results.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray


LOOK_NS = 5_000


@dataclass
class FakeClock:
    """Time that passes only while something sleeps or works."""

    now: int = 1_000_000_000
    oversleep_ns: int = 0

    def __deepcopy__(self, memo: object) -> FakeClock:
        """Itself: there is one time, for copies of targets too."""
        return self

    def now_ns(self) -> int:
        """Current time."""
        return self.now

    def sleep_until_ns(self, when_ns: int) -> None:
        """Advance to `when_ns`, or `oversleep_ns` past it."""
        self.now = max(self.now, when_ns + self.oversleep_ns)


class SimulatedClock(FakeClock):
    """Passes a little with each look at it too, so that a load whose target takes no time ends."""

    def now_ns(self) -> int:
        """Current time."""
        self.now += LOOK_NS
        return self.now


@dataclass
class TimedTarget:
    """Answers with what `answer` makes of a batch, after a known service time."""

    clock: FakeClock
    service_ns: Callable[[int], int]
    answer: Callable[[NDArray[Any]], object] = lambda batch: batch
    batches: list[int] = field(default_factory=list)

    def infer(self, batch: NDArray[Any]) -> object:
        """Work for `service_ns(rows)`."""
        self.batches.append(len(batch))
        self.clock.now += self.service_ns(len(batch))
        return self.answer(batch)


@dataclass
class AsynchronousAnswer:
    """An answer that a device still computes when the call returns: `compute` when it is read."""

    values: NDArray[Any]
    compute: Callable[[], object]

    def __array__(self, dtype: object = None, copy: object = None) -> NDArray[Any]:
        """Wait for the values."""
        del dtype, copy
        self.compute()
        return self.values


class FakeMeter:
    """A process that uses nothing."""

    def usage(self) -> Usage:
        """None."""
        return Usage(0.0, 0.0, 0.0, 0.0)

    def resident_bytes(self) -> int:
        """One MiB."""
        return 1 << 20


@dataclass
class FakeProgress:
    """Remembers the phases that it was given."""

    phases: list[str] = field(default_factory=list)

    def show(self, phase: str, remaining: float | None) -> None:
        """Remember the phase."""
        del remaining
        self.phases.append(phase)


class EchoSource:
    """A source whose requests carry their own numbers; remembers the answers."""

    def __init__(self, numbers: NDArray[np.int64]) -> None:
        self._numbers = numbers
        self.answers: list[tuple[int, int, object]] = []
        self.errors: list[tuple[int, int, Exception]] = []

    def inputs(self, start: int, stop: int) -> NDArray[Any]:
        """The numbers of the requests."""
        return self._numbers[start:stop]

    def secure(self, outputs: list[object]) -> object:
        """The answer as it is."""
        return outputs.pop()

    def answer(self, start: int, stop: int, outputs: object) -> None:
        """Remember."""
        self.answers.append((start, stop, outputs))

    def fail(self, start: int, stop: int, error: Exception) -> None:
        """Remember."""
        self.errors.append((start, stop, error))


class NoObserver:
    """Ignores every tick of a load."""

    def tick(self, now_ns: int) -> None:
        """Do nothing."""


def array_layout(*shape: int) -> AnswerLayout:
    """The layout of answers that are one array, with rows of this shape."""
    return AnswerLayout(0, ("",), 0, shape)


def fake_instruments(clock: FakeClock) -> Instruments:
    """Instruments on a fake clock."""
    return Instruments(clock, FakeMeter(), FakeProgress())
