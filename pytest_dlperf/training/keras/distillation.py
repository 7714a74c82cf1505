"""Distillation with Keras: a smaller model learns from a trained one beside the labels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pytest_dlperf.errors import UsageError
from pytest_dlperf.targets.keras import name_of
from pytest_dlperf.targets.keras_models import answers
from pytest_dlperf.training.keras.fit import fit

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pytest_dlperf.clock import Clock
    from pytest_dlperf.data.dataset import Examples
    from pytest_dlperf.targets.keras import Model
    from pytest_dlperf.training.compression import Distillation
    from pytest_dlperf.training.recipe import Recipe

_SMALLEST: Final = 1e-7
"""Probabilities are kept so far from 0 and 1, as Keras does in its losses."""

_SPARSE: Final = "sparsecategoricalcrossentropy"
_ONE_HOT: Final = "categoricalcrossentropy"
_BINARY: Final = "binarycrossentropy"


@dataclass(frozen=True, slots=True)
class OutputKind:
    """How a classifier answers, as its loss tells.

    Attributes:
        loss: the cross-entropy that it is compiled with; class numbers, one-hot rows, or 0 and 1
            with one answer a row.
        from_logits: whether its answers are logits; else they are probabilities.
    """

    loss: str
    from_logits: bool

    def logits(self, outputs: Any) -> Any:  # noqa: ANN401 - tensors
        """Logits of all classes, shape `(rows, classes)`; those of probabilities are their logs."""
        from keras import ops

        outputs = ops.cast(outputs, "float32")
        if not self.from_logits:
            outputs = ops.clip(outputs, _SMALLEST, 1 - _SMALLEST)
        if self.loss == _BINARY:
            odds = outputs if self.from_logits else ops.log(outputs) - ops.log(1 - outputs)
            return ops.concatenate([ops.zeros_like(odds), odds], axis=-1)
        return outputs if self.from_logits else ops.log(outputs)

    def distributions(self, labels: NDArray[Any], classes: int) -> NDArray[np.float32]:
        """Labels as probabilities of the classes, shape `(rows, classes)`."""
        if self.loss == _ONE_HOT:
            return np.asarray(labels, np.float32)
        numbers = np.asarray(labels).reshape(len(labels)).astype(np.intp)
        return np.eye(classes, dtype=np.float32)[numbers]


def output_kind(model: Model) -> OutputKind:
    """How a classifier answers.

    Raises:
        UsageError: if it is not compiled with a cross-entropy.
    """
    import keras

    given: Any = model
    loss: Any = given.loss if given.compiled else None
    if isinstance(loss, str):
        loss = keras.losses.get(loss)
    name = getattr(loss, "__name__", type(loss).__name__).replace("_", "").lower()
    if name not in {_SPARSE, _ONE_HOT, _BINARY}:
        raise UsageError(
            f"{name_of(model)} with loss {given.loss if given.compiled else None!r:.80} cannot be "
            "distilled",
            "distillation is for classifiers, compiled with a cross-entropy of Keras' own",
        )
    config = loss.get_config() if hasattr(loss, "get_config") else {}
    return OutputKind(name, bool(config.get("from_logits", False)))


def distilled(  # noqa: PLR0913 - from what, into what, with what and how
    teacher: Model,
    student: Model,
    finish: Distillation,
    *,
    train: Examples,
    recipe: Recipe,
    clock: Clock,
    seed: int,
) -> Model:
    """Train a smaller model on labels and on what the trained one answers to the same rows.

    Args:
        teacher: trained.
        student: fresh, compiled; it is trained in place, and compiled as it was.
        finish: weight of the labels, and temperature.
        train: rows to learn from.
        recipe: how the student is trained.
        clock: time.
        seed: of the order of the rows, and of what layers draw.

    Raises:
        UsageError: if the two are no classifiers, or not of the same classes.
        TrainingError: if the loss is not finite.
    """
    way = output_kind(student)
    targets = _targets(teacher, student, finish, train)
    given: Any = student
    own = {**given._compile_config.config, "optimizer": given.optimizer}  # noqa: SLF001
    others = {"loss_weights": None, "metrics": None, "weighted_metrics": None}
    given.compile(**{**own, **others, "loss": blended(way, finish)})
    fit(student, replace(train, labels=targets), None, recipe, clock, lambda _: None, seed)
    given.compile(**own)
    return student


def _targets(
    teacher: Model, student: Model, finish: Distillation, train: Examples
) -> NDArray[np.float32]:
    """Labels, then the teacher's answers at the temperature; shape `(rows, 2 * classes)`."""
    from keras import ops

    outputs = answers(teacher, train.inputs)
    asked = answers(student, train.inputs[:1])
    if outputs.ndim != 2 or outputs.shape[1:] != asked.shape[1:]:  # noqa: PLR2004 - rows, classes
        raise UsageError(
            f"{finish}: the model answers with shape (rows, "
            f"{', '.join(map(str, outputs.shape[1:]))}), the smaller one with (rows, "
            f"{', '.join(map(str, asked.shape[1:]))})",
            "expected (rows, classes) of both",
        )
    logits = output_kind(teacher).logits(outputs)
    softened = np.asarray(ops.softmax(logits / finish.temperature), np.float32)
    labels = output_kind(student).distributions(train.labels, softened.shape[1])
    return np.concatenate([labels, softened], axis=1)


def blended(way: OutputKind, finish: Distillation) -> Callable[[Any, Any], Any]:
    """The loss of a student: of the labels, and of the teacher's answers.

    `weight * CE(labels, student) + (1 - weight) * T^2 * KL(teacher at T || student at T)`, Hinton,
    Vinyals and Dean (2015). T squared makes up for gradients that shrink with it.

    Args:
        way: how the student answers.
        finish: weight and temperature.

    Returns:
        A function of targets, shape `(rows, 2 * classes)`, and answers; its values have shape
        `(rows,)`.
    """
    from keras import ops

    temperature = finish.temperature

    def loss(targets: Any, outputs: Any) -> Any:  # noqa: ANN401 - tensors
        logits = way.logits(outputs)
        labels, teacher = ops.split(ops.cast(targets, "float32"), 2, axis=-1)
        hard = -ops.sum(labels * ops.log_softmax(logits), axis=-1)
        surprise = ops.log(ops.maximum(teacher, 1e-30)) - ops.log_softmax(logits / temperature)
        soft = ops.sum(teacher * surprise, axis=-1)
        return finish.weight * hard + (1 - finish.weight) * temperature**2 * soft

    return loss
