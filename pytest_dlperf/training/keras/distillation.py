"""Distillation: trains a smaller Keras model on labels and on a larger model's answers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pytest_dlperf.data.rows import one_array
from pytest_dlperf.errors import UsageError
from pytest_dlperf.targets.keras import name_of
from pytest_dlperf.targets.keras_models import answers
from pytest_dlperf.training.keras.fit import fit
from pytest_dlperf.trees import described, first_rows, leaves

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pytest_dlperf.clock import Clock
    from pytest_dlperf.data.dataset import Examples
    from pytest_dlperf.targets.keras import Model
    from pytest_dlperf.training.compression import Distillation
    from pytest_dlperf.training.recipe import Recipe
    from pytest_dlperf.trees import Rows

_EPSILON: Final = 1e-7  # distance of probabilities from 0 and 1, as in Keras' losses

_SPARSE: Final = "sparsecategoricalcrossentropy"
_ONE_HOT: Final = "categoricalcrossentropy"
_BINARY: Final = "binarycrossentropy"


@dataclass(frozen=True, slots=True)
class OutputKind:
    """How a classifier's answers and labels are encoded, according to its loss.

    Attributes:
        loss: the cross-entropy that it is compiled with: for class numbers, for one-hot rows, or
            for 0 and 1 with one answer per row.
        from_logits: whether its answers are logits; otherwise they are probabilities.
    """

    loss: str
    from_logits: bool

    def logits(self, outputs: Any) -> Any:  # noqa: ANN401 - tensors
        """Logits of all classes, shape `(rows, classes)`; the logarithms of probabilities."""
        from keras import ops

        outputs = ops.cast(outputs, "float32")
        if not self.from_logits:
            outputs = ops.clip(outputs, _EPSILON, 1 - _EPSILON)
        if self.loss == _BINARY:
            odds = outputs if self.from_logits else ops.log(outputs) - ops.log(1 - outputs)
            return ops.concatenate([ops.zeros_like(odds), odds], axis=-1)
        return outputs if self.from_logits else ops.log(outputs)

    def distributions(self, labels: NDArray[Any], classes: int) -> NDArray[np.float32]:
        """Labels as probabilities of classes, shape `(rows, classes)`."""
        if self.loss == _ONE_HOT:
            return np.asarray(labels, np.float32)
        numbers = np.asarray(labels).reshape(len(labels)).astype(np.intp)
        return np.eye(classes, dtype=np.float32)[numbers]


def output_kind(model: Model) -> OutputKind:
    """The output kind of a classifier; a UsageError if its loss is no cross-entropy."""
    import keras

    loss_given: Any = model.loss if model.compiled else None
    loss = keras.losses.get(loss_given) if isinstance(loss_given, str) else loss_given
    name = getattr(loss, "__name__", type(loss).__name__).replace("_", "").lower()
    if name not in {_SPARSE, _ONE_HOT, _BINARY}:
        raise UsageError(
            f"{name_of(model)} with loss {loss_given!r:.80} cannot be distilled",
            "distillation is for classifiers, compiled with a cross-entropy of Keras' own",
        )
    config = loss.get_config() if hasattr(loss, "get_config") else {}
    return OutputKind(name, bool(config.get("from_logits", False)))


def distilled(  # noqa: PLR0913 - two models, and what training takes
    teacher: Model,
    student: Model,
    distillation: Distillation,
    *,
    train: Examples,
    recipe: Recipe,
    clock: Clock,
    seed: int,
) -> Model:
    """Train a compiled student on labels and on the teacher's answers to the same rows.

    It is trained in place and keeps its compile settings.

    Raises:
        UsageError: if the two are no classifiers, or have different classes.
    """
    loss = blended(output_kind(student), distillation)
    targets = _targets(teacher, student, distillation, train)
    own = {**student._compile_config.config, "optimizer": student.optimizer}  # noqa: SLF001
    # The targets are no labels, so the user's metrics cannot score them.
    without = {"loss_weights": None, "metrics": None, "weighted_metrics": None}
    student.compile(**{**own, **without, "loss": loss})
    fit(student, replace(train, labels=targets), None, recipe, clock, lambda _: None, seed)
    student.compile(**own)
    return student


def _targets(
    teacher: Model, student: Model, distillation: Distillation, train: Examples
) -> NDArray[np.float32]:
    """Labels, then the teacher's answers at the temperature; shape `(rows, 2 * classes)`."""
    # In one array, since Keras hands a loss one tensor of targets.
    from keras import ops

    outputs = _only_output(teacher, train.inputs)
    student_outputs = _only_output(student, first_rows(train.inputs, 1))
    if outputs.ndim != 2 or outputs.shape[1:] != student_outputs.shape[1:]:  # noqa: PLR2004 - rows, classes
        raise UsageError(
            f"{distillation}: the model answers with shape (rows, "
            f"{', '.join(map(str, outputs.shape[1:]))}), the smaller one with (rows, "
            f"{', '.join(map(str, student_outputs.shape[1:]))})",
            "expected (rows, classes) of both",
        )
    labels = one_array(train.labels, str(distillation), "labels")
    logits = output_kind(teacher).logits(outputs)
    softened = np.asarray(ops.softmax(logits / distillation.temperature), np.float32)
    hard = output_kind(student).distributions(labels, softened.shape[1])
    return np.concatenate([hard, softened], axis=1)


def _only_output(model: Model, inputs: Rows) -> NDArray[Any]:
    outputs = answers(model, inputs)
    found = [leaf for _, leaf in leaves(outputs)]
    if len(found) == 1:
        return found[0]
    raise UsageError(
        f"{name_of(model)} has several outputs ({described(outputs)}), and distillation is of one",
        "leave the distillation out, or build models with one output",
    )


def blended(kind: OutputKind, distillation: Distillation) -> Callable[[Any, Any], Any]:
    """The loss of a student on labels and on the teacher's answers.

    `weight * CE(labels, student) + (1 - weight) * T^2 * KL(teacher at T || student at T)`, Hinton,
    Vinyals and Dean (2015). T squared compensates for gradients that shrink by it.

    Its arguments are targets, shape `(rows, 2 * classes)`, and answers; its values have shape
    `(rows,)`.
    """
    from keras import ops

    temperature, weight = distillation.temperature, distillation.weight

    def loss(targets: Any, outputs: Any) -> Any:  # noqa: ANN401 - tensors
        logits = kind.logits(outputs)
        labels, teacher = ops.split(ops.cast(targets, "float32"), 2, axis=-1)
        hard = -ops.sum(labels * ops.log_softmax(logits), axis=-1)
        surprise = ops.log(ops.maximum(teacher, 1e-30)) - ops.log_softmax(logits / temperature)
        soft = ops.sum(teacher * surprise, axis=-1)
        return weight * hard + (1 - weight) * temperature**2 * soft

    return loss
