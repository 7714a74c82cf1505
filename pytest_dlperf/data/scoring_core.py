"""Scoring: which answers are right, and how far off they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import numpy as np

from pytest_dlperf.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Task: TypeAlias = Literal["classes", "one-hot", "binary", "regression"]

_TINY: Final = 1e-7  # as Keras clips probabilities
_SUM_TOLERANCE: Final = 1e-3
_SHORT_TOLERANCE: Final = 0.02  # of 16 bits, of which bfloat16 has 8 for the digits
_SHORT: Final = 2


@dataclass(frozen=True, slots=True)
class Scorer:
    """How the answers of one measurement are scored.

    Attributes:
        task: `classes` (integer labels, a score for each class), `one-hot` (labels of the
            outputs' shape with one 1 a row), `binary` (0/1 labels, one score) or `regression`.
        logits: whether scores are logits; otherwise they are probabilities.
    """

    task: Task
    logits: bool

    @property
    def classifies(self) -> bool:
        """Whether an answer is right or wrong, so that there is an accuracy."""
        return self.task != "regression"

    def score(
        self, outputs: NDArray[Any], labels: NDArray[Any]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Whether each answer is right (1 or 0) and its loss, both of shape `(n,)`.

        The loss is the cross-entropy, or the squared error of a regression (whose answers are
        never called right).
        """
        rows = len(outputs)
        scores = _flat(outputs).astype(np.float64)
        if self.task == "regression":
            errors = scores - _flat(labels)
            return np.zeros(rows), np.mean(errors * errors, axis=1)
        if self.task == "binary":
            return self._binary(scores[:, 0], labels.reshape(rows))
        classes = (
            _flat(labels).argmax(axis=1)
            if self.task == "one-hot"
            else labels.reshape(rows).astype(np.intp)
        )
        log_shares = _log_softmax(scores) if self.logits else np.log(np.maximum(scores, _TINY))
        right = scores.argmax(axis=1) == classes
        return right.astype(np.float64), -log_shares[np.arange(rows), classes]

    def _binary(
        self, scores: NDArray[np.float64], labels: NDArray[Any]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        shares = 1 / (1 + np.exp(-np.clip(scores, -50, 50))) if self.logits else scores
        right = (shares > 0.5) == (labels > 0.5)  # noqa: PLR2004 - the even odds
        of_label = np.where(labels > 0.5, shares, 1 - shares)  # noqa: PLR2004
        return right.astype(np.float64), -np.log(np.maximum(of_label, _TINY))


def scorer_for(outputs: NDArray[Any], labels: NDArray[Any]) -> Scorer:
    """The scorer that fits labels and a sample of the outputs.

    Scores count as probabilities when they are within 0 and 1 and, for classes, sum to 1.

    Args:
        outputs: answers to some rows, shape `(n, ...)`.
        labels: all labels, one a row.

    Raises:
        DataError: if labels and outputs do not fit together.
    """
    answers = _flat(outputs)
    width = answers.shape[1]
    scores = answers[np.isfinite(answers).all(axis=1)]
    bounded = bool(((scores >= 0) & (scores <= 1)).all())
    tolerance = _SHORT_TOLERANCE if scores.dtype.itemsize <= _SHORT else _SUM_TOLERANCE
    sums = scores.astype(np.float64).sum(axis=1)
    shares = bounded and bool(np.allclose(sums, 1, atol=tolerance))
    whole = labels.dtype.kind in "iub"
    flat = labels.ndim == 1 or labels.shape[1:] == (1,)
    if whole and flat and width > 1:
        _check_classes(labels, width)
        return Scorer("classes", logits=not shares)
    if whole and flat and width == 1 and set(np.unique(labels)) <= {0, 1}:
        return Scorer("binary", logits=not bounded)
    if width > 1 and labels.shape[1:] == outputs.shape[1:] and _one_hot(_flat(labels)):
        return Scorer("one-hot", logits=not shares)
    if int(np.prod(labels.shape[1:], dtype=np.int64)) == width:
        return Scorer("regression", logits=False)
    raise DataError(
        f"labels of shape {labels.shape} and type {labels.dtype} do not fit answers of shape "
        f"(batch, {', '.join(map(str, outputs.shape[1:]))})\n"
        "  expected class numbers for a score a class, 0/1 for one score, or the answers' shape"
    )


def _check_classes(labels: NDArray[Any], classes: int) -> None:
    bad = np.flatnonzero((labels.reshape(-1) < 0) | (labels.reshape(-1) >= classes))
    if len(bad):
        row = int(bad[0])
        raise DataError(
            f"row {row}: label {labels.reshape(-1)[row]} is no class of a target with "
            f"{classes} scores a row (0 to {classes - 1})"
        )


def _flat(values: NDArray[Any]) -> NDArray[Any]:
    """Rows by elements; -1 would not do, as there may be no row."""
    return values.reshape(len(values), int(np.prod(values.shape[1:], dtype=np.int64)))


def _one_hot(labels: NDArray[Any]) -> bool:
    return bool((labels.sum(axis=1) == 1).all() and np.isin(labels, (0, 1)).all())


def _log_softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted = scores - scores.max(axis=1, keepdims=True)
    result: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result
