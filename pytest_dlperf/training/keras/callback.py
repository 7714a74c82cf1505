"""Times the steps of a training, evaluates the test rows, and stops a training that diverges."""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_dlperf._values import describe
from pytest_dlperf.clock import StoppableClock
from pytest_dlperf.errors import DataError, TrainingError
from pytest_dlperf.targets.keras_backend import keras_backend
from pytest_dlperf.targets.keras_models import answerer
from pytest_dlperf.training.answers import model_answers
from pytest_dlperf.training.summary import Epoch, Steps, TrainingRun
from pytest_dlperf.trees import first_rows, leaves

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_dlperf.clock import Clock
    from pytest_dlperf.data.dataset import Examples
    from pytest_dlperf.load.answer_layout import Output
    from pytest_dlperf.targets.keras import Model
    from pytest_dlperf.training.recipe import Recipe
    from pytest_dlperf.trees import Rows, Tree

_CHECK_NS: Final = 250_000_000  # not in each step, as reading the loss waits for the device


@dataclass(frozen=True, slots=True)
class TrainingSpec:
    """Recipe of a training, rows in an epoch and of one step, and the output that is scored."""

    recipe: Recipe
    rows: int
    batch_size: int
    output: Output | None = None

    @property
    def steps(self) -> int:
        """Steps in an epoch."""
        return -(-self.rows // self.batch_size)


class TrainingCallback:
    """Times every call of the training step, and checks the loss at intervals.

    A step lasts until the next one begins, so Keras' work between steps and epochs is included.
    On asynchronous devices single calls return early, but their sum over an epoch, which waits for
    the device, is right.
    """

    def __init__(
        self,
        model: Model,
        clock: Clock,
        spec: TrainingSpec,
        test: Examples | None,
        on_epoch_end: Callable[[Epoch], None],
    ) -> None:
        self._model = model
        self._clock = StoppableClock(clock)
        self._spec = spec
        self._test = test
        self._on_epoch_end = on_epoch_end
        self._epoch = 0
        self._epochs: list[Epoch] = []
        self._infer: Callable[[Rows], Tree] | None = None
        # Epoch, first step and start time of each call.
        self._calls: list[tuple[int, int, int]] = []
        self._started_ns = self._clock.now_ns()
        self._ended_ns = self._started_ns
        self._next_check_ns = self._started_ns + _CHECK_NS

    def epoch_begins(self, epoch: int) -> None:
        """Begin an epoch; Keras counts from 0."""
        self._epoch = epoch

    def step_begins(self, step: int) -> None:
        """Begin a call that carries out one or more steps; `step` is its first."""
        now_ns = self._clock.now_ns()
        self._calls.append((self._epoch, step, now_ns))
        if now_ns >= self._next_check_ns and step:
            with self._clock.stopped():
                if keras_backend() == "jax":
                    self._model.jax_state_sync()  # until then the model has no values
                loss = next(metric for metric in self._model.metrics if metric.name == "loss")
                self._check({"loss": float(loss.result())}, f", before step {step + 1}")
            self._next_check_ns = now_ns + _CHECK_NS

    def epoch_ends(self, logs: Mapping[str, float]) -> None:
        """End an epoch: check its losses and evaluate the test rows, with the clock stopped."""
        self._ended_ns = self._clock.now_ns()
        with self._clock.stopped():
            logs = {name: float(value) for name, value in logs.items()}
            self._check(logs, "")
            if self._test is not None:
                logs.update(self._evaluated(self._test))
            before = sum(epoch.seconds for epoch in self._epochs)
            epoch = Epoch(
                number=self._epoch + 1,
                of=self._spec.recipe.epochs,
                seconds=self._timed()[1].seconds - before,
                logs=MappingProxyType(logs),
            )
            self._epochs.append(epoch)
            self._on_epoch_end(epoch)

    def run(self) -> TrainingRun:
        """The epochs and steps, once the training is over."""
        first, steps = self._timed()
        return TrainingRun(tuple(self._epochs), first * 1e-9, steps)

    def _timed(self) -> tuple[int, Steps]:
        """Nanoseconds of the first step of each batch size, and all other steps."""
        spec = self._spec
        steps_per_call = max(1, int(self._model.steps_per_execution))
        epoch, step, started = np.array(self._calls, dtype=np.int64).T
        ends = np.append(started[1:], self._ended_ns)
        started[0] = self._started_ns
        last = np.minimum(step + steps_per_call, spec.steps)
        rows = np.minimum(last * spec.batch_size, spec.rows) - step * spec.batch_size
        first = np.zeros(len(step), dtype=np.bool_)
        first[0] = True
        if spec.rows % spec.batch_size:
            # XLA compiles for each batch size, and an epoch's last batch is smaller.
            first |= (epoch == 0) & (last == spec.steps)
        took = ends - started
        return int(took[first].sum()), Steps(rows[~first], took[~first])

    def _evaluated(self, test: Examples) -> dict[str, float]:
        """Loss and, for classification, accuracy of the test rows; of the output that is scored."""
        if self._infer is None:
            self._infer = answerer(self._model, first_rows(test.inputs, 1))
        outputs = self._infer(test.inputs)
        for path, leaf in leaves(outputs):
            if not np.isfinite(leaf).all():
                where = f" in {path}" if path else ""
                raise self._diverged(f"an answer to a test row is not finite{where}", "")
        names = getattr(self._model, "output_names", None)
        answers = model_answers(outputs, test.labels, self._spec.output, names)
        if answers.labels is None:
            return {}
        try:
            scorer = answers.scorer()
        except DataError:
            return {}  # only a user's metric can score such labels
        right, losses = answers.score(scorer)
        counts = np.ones(len(right)) if answers.positions is None else answers.positions
        logs = {"val_loss": float(np.average(losses, weights=counts))} if scorer.has_loss else {}
        if scorer.classifies:
            logs["val_accuracy"] = float(right.sum() / counts.sum())
        return logs

    def _check(self, losses: Mapping[str, float], when: str) -> None:
        for name, loss in losses.items():
            if "loss" in name and not math.isfinite(loss):
                raise self._diverged(f"the {name} is {loss}", when)

    def _diverged(self, what: str, when: str) -> TrainingError:
        epoch = f"epoch {self._epoch + 1} of {self._spec.recipe.epochs}"
        steps = f" of {self._spec.steps:,}" if when else ""
        return TrainingError(f"{what} in {epoch}{when}{steps}", self._settings())

    def _settings(self) -> str:
        recipe = self._spec.recipe
        optimizer = getattr(self._model, "optimizer", None)
        if optimizer is None:
            return describe(recipe)
        optimizer = getattr(optimizer, "inner_optimizer", optimizer)
        rate = optimizer.learning_rate
        rate = rate.name if hasattr(rate, "get_config") else f"{float(rate):g}"
        return (
            f"{type(optimizer).__name__}, learning rate {rate}, "
            f"batches of {self._spec.batch_size}; {describe(recipe)}"
        )


def keras_callback(callback: TrainingCallback) -> object:
    """A Keras callback that reports to ours."""
    import keras

    # Without on_train_batch_end: for it, Keras would wait for the device and read each loss.
    class Callback(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
        def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
            del logs
            callback.epoch_begins(epoch)

        def on_train_batch_begin(self, batch: int, logs: object = None) -> None:
            del logs
            callback.step_begins(batch)

        def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
            del epoch
            callback.epoch_ends(logs or {})

    return Callback()
