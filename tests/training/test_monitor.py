"""The monitor of trainings: progress and samples of memory."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import pytest
from fakes import FakeClock, FakeMeter

from pytest_dlperf.measure.prepared import Instruments
from pytest_dlperf.training.monitor import TrainingMonitor
from pytest_dlperf.training.summary import Epoch

SECOND = 1_000_000_000


@dataclass
class Listener:
    """Remembers what it was told last, with the seconds left."""

    shown: list[tuple[str, float | None]] = field(default_factory=list)

    def show(self, phase: str, remaining: float | None) -> None:
        """Remember."""
        self.shown.append((phase, remaining))


class GrowingMeter(FakeMeter):
    """A process that holds more each time, until somebody has seen enough."""

    def __init__(self, enough: int) -> None:
        self.held = 0
        self.seen = threading.Event()
        self.enough = enough

    def resident_bytes(self) -> int:
        """One more than before."""
        self.held += 1
        if self.held >= self.enough:
            self.seen.set()
        return self.held


def test_progress() -> None:
    """Which training, which epoch, loss and accuracy, and the time that the rest will take."""
    clock, listener = FakeClock(), Listener()
    monitor = TrainingMonitor(Instruments(clock, FakeMeter(), listener), trainings=2, epochs=5)

    def shown() -> tuple[str, float | None]:
        monitor.telemetry.tick(clock.now_ns())
        return listener.shown[-1]

    assert shown() == ("building the model", None)
    monitor.begins("seed 0 of 2")
    assert shown() == ("seed 0 of 2: compiling, epoch 1", None)
    clock.now += 3 * SECOND
    monitor.epoch_ended(Epoch(1, 5, 2.0, {"loss": 0.51234, "accuracy": 0.9, "val_accuracy": 0.875}))
    assert shown() == (
        "seed 0 of 2: epoch 1 of 5, loss 0.512, accuracy 87.50 %",
        pytest.approx(9 * 3),
    )
    clock.now += 2 * SECOND
    assert shown()[1] == pytest.approx(9 * 3 - 2)


def test_an_epoch_without_accuracy() -> None:
    """Of a regression there is a loss only."""
    listener = Listener()
    monitor = TrainingMonitor(
        Instruments(FakeClock(), FakeMeter(), listener), trainings=1, epochs=1
    )

    monitor.begins("")
    monitor.epoch_ended(Epoch(1, 1, 1.0, {"loss": 2.0}))
    monitor.telemetry.tick(0)

    assert listener.shown[-1][0] == "epoch 1 of 1, loss 2"


def test_it_looks_on_while_nobody_calls_it() -> None:
    """Memory is read from a thread of its own, so that compiling is seen too; it ends."""
    meter = GrowingMeter(enough=4)

    with TrainingMonitor(
        Instruments(FakeClock(), meter, Listener()), trainings=1, epochs=1
    ) as monitor:
        assert meter.seen.wait(30)

    assert max(monitor.telemetry.resident) == meter.held
    assert not [
        thread for thread in threading.enumerate() if thread.name == "dlperf training monitor"
    ]
