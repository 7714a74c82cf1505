"""Samples memory and processor time while models train, and shows the progress."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Self

from pytest_dlperf._processes import TICK_SECONDS
from pytest_dlperf.measure.telemetry import Telemetry
from pytest_dlperf.results.usage import Usage
from pytest_dlperf.units import format_quantity

if TYPE_CHECKING:
    from types import TracebackType

    from pytest_dlperf.clock import Clock
    from pytest_dlperf.measure.prepared import Instruments
    from pytest_dlperf.training.summary import Epoch


class TrainingMonitor:
    """Samples every 50 ms in a thread of its own, because compiling blocks the training's.

    `trainings` and their `epochs` are for the estimate of the remaining time.
    """

    def __init__(self, instruments: Instruments, trainings: int, epochs: int) -> None:
        self._instruments = instruments
        self._left = trainings * epochs
        self._done = 0
        self._prefix = ""
        self._text = "building the model"
        self._started_ns = self._epoch_ended_ns = instruments.clock.now_ns()
        self._ended = threading.Event()
        self._thread = threading.Thread(
            target=self._sample, name="dlperf training monitor", daemon=True
        )
        self.telemetry = Telemetry(
            instruments.meter, instruments.clock, self, "training", None, gpus=instruments.gpus
        )
        """The samples."""
        self.used = Usage(0.0, 0.0, 0.0, 0.0)
        """Processor time; set at the end."""
        self.busy_cores = 0.0
        """Average number of busy processors of this process; set at the end."""

    @property
    def clock(self) -> Clock:
        """The clock of the instruments."""
        return self._instruments.clock

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()
        self.telemetry.tick(self._instruments.clock.now_ns())
        self.used, self.busy_cores = self.telemetry.finish()

    def begins(self, which: str) -> None:
        """Report the start of a training; `which` names it among several, or is empty."""
        self._prefix = f"{which}: " if which else ""
        self._text = f"{self._prefix}compiling, epoch 1"

    def epoch_ended(self, epoch: Epoch) -> None:
        """Report the end of an epoch."""
        self._done += 1
        self._left -= 1
        logs = epoch.logs
        parts = [f"epoch {epoch.number} of {epoch.of}"]
        if "loss" in logs:
            parts.append(f"loss {logs['loss']:.3g}")
        accuracy = logs.get("val_accuracy", logs.get("accuracy"))
        if accuracy is not None:
            parts.append(f"accuracy {format_quantity(accuracy, 'share')}")
        self._text = self._prefix + ", ".join(parts)
        self._epoch_ended_ns = self._instruments.clock.now_ns()

    def show(self, phase: str, remaining: float | None) -> None:
        """Show the training's own text and estimate in place of the telemetry's."""
        del phase, remaining
        left = None
        if self._done:
            took_ns = (self._epoch_ended_ns - self._started_ns) / self._done * self._left
            since_ns = self._instruments.clock.now_ns() - self._epoch_ended_ns
            left = max(0.0, (took_ns - since_ns) * 1e-9)
        self._instruments.progress.show(self._text, left)

    def _sample(self) -> None:
        while not self._ended.wait(TICK_SECONDS):
            self.telemetry.tick(self._instruments.clock.now_ns())
