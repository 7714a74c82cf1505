"""Onlooker: looks at memory and processors while models train, and shows how far they are."""

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
    """A thread that looks every 50 ms, as the training itself cannot while it compiles.

    Args:
        bench: time, what the process uses, and the progress line.
        trainings: how many there will be.
        epochs: of each of them.
    """

    def __init__(self, bench: Instruments, trainings: int, epochs: int) -> None:
        self._bench = bench
        self._left = trainings * epochs
        self._done = 0
        self._which = ""
        self._text = "building the model"
        self._began_ns = self._heard_ns = bench.clock.now_ns()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="dlperf onlooker", daemon=True)
        self.telemetry = Telemetry(
            bench.meter, bench.clock, self, "training", None, gpus=bench.gpus
        )
        """What was seen."""
        self.used = Usage(0.0, 0.0, 0.0, 0.0)
        """Processor time, once it is over."""
        self.busy_cores = 0.0
        """Processors that this process kept busy, on average, once it is over."""

    @property
    def clock(self) -> Clock:
        """Time."""
        return self._bench.clock

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()
        self.telemetry.tick(self._bench.clock.now_ns())
        self.used, self.busy_cores = self.telemetry.finish()

    def begins(self, which: str) -> None:
        """Another training.

        Args:
            which: of several, for people; may be empty.
        """
        self._which = f"{which}: " if which else ""
        self._text = f"{self._which}compiling, epoch 1"

    def heard(self, epoch: Epoch) -> None:
        """An epoch is over."""
        self._done += 1
        self._left -= 1
        logs = epoch.logs
        parts = [f"epoch {epoch.number} of {epoch.of}"]
        if "loss" in logs:
            parts.append(f"loss {logs['loss']:.3g}")
        accuracy = logs.get("val_accuracy", logs.get("accuracy"))
        if accuracy is not None:
            parts.append(f"accuracy {format_quantity(accuracy, 'share')}")
        self._text = self._which + ", ".join(parts)
        self._heard_ns = self._bench.clock.now_ns()

    def show(self, phase: str, remaining: float | None) -> None:
        """What the telemetry shows, with what is known better here."""
        del phase, remaining
        left = None
        if self._done:
            took_ns = (self._heard_ns - self._began_ns) / self._done * self._left
            since_ns = self._bench.clock.now_ns() - self._heard_ns
            left = max(0.0, (took_ns - since_ns) * 1e-9)
        self._bench.progress.show(self._text, left)

    def _look(self) -> None:
        while not self._over.wait(TICK_SECONDS):
            self.telemetry.tick(self._bench.clock.now_ns())
