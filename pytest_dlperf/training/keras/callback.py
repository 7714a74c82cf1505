"""Watch: times the steps of a training, asks the test rows, and stops what diverges."""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np

from pytest_dlperf._values import describe
from pytest_dlperf.clock import StoppableClock
from pytest_dlperf.data.scoring import scorer_for
from pytest_dlperf.errors import DataError, TrainingError
from pytest_dlperf.targets.keras_models import answerer
from pytest_dlperf.training.summary import Epoch, Steps

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from pytest_dlperf.clock import Clock
    from pytest_dlperf.data.dataset import Examples
    from pytest_dlperf.targets.keras import Model
    from pytest_dlperf.training.recipe import Recipe

_LOOK_NS: Final = 250_000_000  # reading the loss waits for the device


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """A model that was fitted, and how that went.

    Attributes:
        model: trained.
        epochs: one after the other.
        first_step_seconds: of the first step of each size of batch: it traces and compiles.
        steps: all other ones.
    """

    model: Model
    epochs: tuple[Epoch, ...]
    first_step_seconds: float
    steps: Steps

    @property
    def seconds(self) -> float:
        """How long fitting took, without evaluating and without the first steps."""
        return self.steps.seconds


@dataclass(frozen=True, slots=True)
class TrainingSpec:
    """What is known of a training before it begins.

    Attributes:
        recipe: how the model is trained.
        rows: of an epoch.
        size: rows of one step.
    """

    recipe: Recipe
    rows: int
    size: int

    @property
    def steps(self) -> int:
        """Of an epoch."""
        return -(-self.rows // self.size)


class TrainingCallback:
    """Times every call of the training step, and looks at the loss from time to time.

    A step's time goes from its beginning to that of the next one, so that what Keras does between
    two of them counts, and so does what it does between two epochs. Where a device works by
    itself, calls return at once; over an epoch, which waits for it, their sum is right.
    """

    def __init__(
        self,
        model: Model,
        clock: Clock,
        course: TrainingSpec,
        test: Examples | None,
        heard: Callable[[Epoch], None],
    ) -> None:
        self._model = model
        self._clock = StoppableClock(clock)
        self._course = course
        self._test = test
        self._heard = heard
        self._epoch = 0
        self._epochs: list[Epoch] = []
        self._answers: Callable[[NDArray[Any]], NDArray[Any]] | None = None
        # Of each call: which epoch it belongs to, its first step, and when it began.
        self._begins: list[tuple[int, int, int]] = []
        self._started_ns = self._clock.now_ns()
        self._ended_ns = self._started_ns
        self._next_look_ns = self._started_ns + _LOOK_NS

    def epoch_begins(self, epoch: int) -> None:
        """Keras counts them from 0."""
        self._epoch = epoch

    def step_begins(self, step: int) -> None:
        """The first of the steps that one call carries out."""
        now_ns = self._clock.now_ns()
        self._begins.append((self._epoch, step, now_ns))
        if now_ns >= self._next_look_ns and step:
            with self._clock.stopped():
                loss = next(one for one in cast("Any", self._model).metrics if one.name == "loss")
                self._check({"loss": float(loss.result())}, f", before step {step + 1}")
            self._next_look_ns = now_ns + _LOOK_NS

    def epoch_ends(self, logs: Mapping[str, float]) -> None:
        """All of its steps are done."""
        self._ended_ns = self._clock.now_ns()
        with self._clock.stopped():
            logs = {name: float(value) for name, value in logs.items()}
            self._check(logs, "")
            if self._test is not None:
                logs.update(self._asked(self._test))
            before = sum(one.seconds for one in self._epochs)
            epoch = Epoch(
                number=self._epoch + 1,
                of=self._course.recipe.epochs,
                seconds=self._timed()[1].seconds - before,
                logs=MappingProxyType(logs),
            )
            self._epochs.append(epoch)
            self._heard(epoch)

    def fitted(self) -> Fitted:
        """What was seen; the training is over."""
        first, steps = self._timed()
        return Fitted(self._model, tuple(self._epochs), first * 1e-9, steps)

    def _timed(self) -> tuple[int, Steps]:
        """Nanoseconds of the first step of each size, and all other steps, so far."""
        course = self._course
        together = max(1, int(cast("Any", self._model).steps_per_execution))
        epoch, step, begun = np.array(self._begins, dtype=np.int64).T
        ends = np.append(begun[1:], self._ended_ns)
        begun[0] = self._started_ns
        last = np.minimum(step + together, course.steps)
        rows = np.minimum(last * course.size, course.rows) - step * course.size
        first = np.zeros(len(step), dtype=np.bool_)
        first[0] = True
        if course.rows % course.size:
            # XLA compiles for each size of batch, and an epoch's last one is smaller.
            first |= (epoch == 0) & (last == course.steps)
        took = ends - begun
        return int(took[first].sum()), Steps(rows[~first], took[~first])

    def _asked(self, test: Examples) -> dict[str, float]:
        """Loss and, where there is a right and a wrong, accuracy of the test rows."""
        if self._answers is None:
            self._answers = answerer(self._model, test.inputs[:1])
        outputs = self._answers(test.inputs)
        if not np.isfinite(outputs).all():
            raise self._diverged("an answer to a test row is not finite", "")
        try:
            scorer = scorer_for(outputs, test.labels)
        except DataError:
            return {}  # labels that only a metric of the user's own can make something of
        right, losses = scorer.score(outputs, test.labels)
        found = {"val_loss": float(losses.mean())}
        return {**found, "val_accuracy": float(right.mean())} if scorer.classifies else found

    def _check(self, losses: Mapping[str, float], when: str) -> None:
        for name, loss in losses.items():
            if "loss" in name and not math.isfinite(loss):
                raise self._diverged(f"the {name} is {loss}", when)

    def _diverged(self, what: str, when: str) -> TrainingError:
        epoch = f"epoch {self._epoch + 1} of {self._course.recipe.epochs}"
        steps = f" of {self._course.steps:,}" if when else ""
        return TrainingError(f"{what} in {epoch}{when}{steps}", self._settings())

    def _settings(self) -> str:
        recipe = self._course.recipe
        optimizer: Any = getattr(self._model, "optimizer", None)
        if optimizer is None:
            return describe(recipe)
        optimizer = getattr(optimizer, "inner_optimizer", optimizer)
        rate = optimizer.learning_rate
        rate = rate.name if hasattr(rate, "get_config") else f"{float(rate):g}"
        return (
            f"{type(optimizer).__name__}, learning rate {rate}, "
            f"batches of {self._course.size}; {describe(recipe)}"
        )


def callback(watch: TrainingCallback) -> object:
    """What Keras calls. Beginnings only: after a step it would wait for the loss to be read."""
    import keras

    class Callback(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
        def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
            del logs
            watch.epoch_begins(epoch)

        def on_train_batch_begin(self, batch: int, logs: object = None) -> None:
            del logs
            watch.step_begins(batch)

        def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
            del epoch
            watch.epoch_ends(logs or {})

    return Callback()
