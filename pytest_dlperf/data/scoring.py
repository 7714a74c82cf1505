"""Scores of answers: accuracy and loss, and users' metrics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, TypeVar

import numpy as np

from pytest_dlperf.errors import DataError, DlperfError, UsageError
from pytest_dlperf.metrics import Better, Metric, define, find_metric, users_metric
from pytest_dlperf.trees import described

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from pytest_dlperf.config.options import Task
    from pytest_dlperf.trees import Tree
    from pytest_dlperf.units import Dimension


ScoreFunction: TypeAlias = Callable[..., Any]
"""Outputs and labels, each an array or a tree, of `n` rows to one score a row, shape `(n,)`."""

F = TypeVar("F", bound=ScoreFunction)

_SHOWN: Final = 200
_EXPECTED: Final = "expected one finite number of at least 0 for each row"

# By name, as in `metrics.py`.
_functions: dict[str, ScoreFunction] = {}

Reading: TypeAlias = Literal["classes", "one-hot", "numbers", "binary", "multilabel", "regression"]
_TASKS: Final[dict[Reading, Task]] = {
    "classes": "classification",
    "one-hot": "classification",
    "numbers": "classification",
    "binary": "binary",
    "multilabel": "multilabel",
    "regression": "regression",
}
_EVEN_ODDS: Final = 0.5
_TINY: Final = 1e-7  # as Keras clips probabilities
_SUM_TOLERANCE: Final = 1e-3
_SHORT_TOLERANCE: Final = 0.02  # of 16-bit floats; a significand of bfloat16 has 8 bits
_SHORT: Final = 2  # bytes


def metric(
    unit: Dimension = "share",
    *,
    better: Better = "higher",
    detect: float = 0.01,
    name: str | None = None,
) -> Callable[[F], F]:
    """Make a function a metric that budgets can name: the mean of a score of each answered row.

    The function is called with outputs of shape `(n, ...)` and labels of shape `(n, ...)`, for any
    number of rows at a time, and answers one score a row, shape `(n,)`: finite, at least 0, and of
    a share at most 1. `Ragged` labels, and the answers to their positions, are lists of one array
    a row, without padding. It is measured in every test whose budgets name it. Define it where it
    is imported before tests are collected: in their module, or in a conftest.

    Args:
        unit: of the scores: `"share"`, `"1"`, `"s"`, `"1/s"` or `"bytes"`.
        better: whether `"higher"` or `"lower"` is an improvement.
        detect: the loss that a relative budget must find: a difference of shares (0.01 is one
            point), of anything else a ratio minus one (0.01 is 1 %).
        name: how budgets call it; by default as the function is called.

    Raises:
        UsageError: for a name that is taken or is none, for a property that makes no sense, and
            for a metric that is there already with other properties or of another file.

    >>> @metric(unit="share", better="higher", detect=0.01)
    ... def top1(outputs, labels):
    ...     return outputs.argmax(axis=1) == labels
    """
    __tracebackhide__ = True
    if callable(unit):
        raise UsageError("@metric needs brackets", 'write @dlperf.metric(unit="share")')

    def defined(function: F) -> F:
        __tracebackhide__ = True
        if not callable(function):
            raise UsageError(f"a metric of {function!r:.80}", "expected a function")
        called = name if name is not None else str(getattr(function, "__name__", ""))
        made = users_metric(called, unit, better, detect)
        known = _functions.get(called)
        if known is not None and _file_of(known) != _file_of(function):
            raise UsageError(
                f"metric {called!r} is defined twice: in {_file_of(known)} and in "
                f"{_file_of(function)}",
                "give one of them another name, or import it from one place",
            )
        define(made)
        _functions[called] = function
        return function

    return defined


def _file_of(function: ScoreFunction) -> str:
    # Compared instead of the functions: a module that is imported twice makes them anew.
    code = getattr(function, "__code__", None)
    if code is not None:
        return str(code.co_filename)
    return str(getattr(function, "__module__", type(function).__module__))


def user_scores(
    outputs: Tree, labels: Tree, names: Iterable[str], rows: int
) -> dict[str, NDArray[np.float64]]:
    """The scores of each row by users' metrics, shape `(rows,)`, for finite outputs.

    Raises:
        UsageError: for a metric that is not defined in this process, whose function raises, or
            returns anything but one score a row.
    """
    __tracebackhide__ = True
    return {name: _scored(name, outputs, labels, rows) for name in names}


def defined_here(name: str) -> Metric:
    """A user's metric; a UsageError if this process has no function for it."""
    __tracebackhide__ = True
    defined = find_metric(name)
    if defined is None or name not in _functions:
        raise UsageError(
            f"metric {name!r} is not defined here, so it cannot be measured",
            "import the module that has its @pytest_dlperf.metric in the test's, or in a conftest",
        )
    return defined


def score_function(name: str) -> ScoreFunction:
    """The function of a user's metric; a UsageError if this process has none for it."""
    __tracebackhide__ = True
    defined_here(name)
    return _functions[name]


def _scored(name: str, outputs: Tree, labels: Tree, rows: int) -> NDArray[np.float64]:
    __tracebackhide__ = True
    share = defined_here(name).unit == "share"
    if not rows:
        return np.zeros(0)
    shapes = f"outputs {_shapes(outputs)}, labels {_shapes(labels)}"
    try:
        scores = np.asarray(_functions[name](outputs, labels))
    except DlperfError:
        raise
    except Exception as error:
        text = " ".join(str(error).split())[:_SHOWN]
        raise UsageError(
            f"metric {name!r}: its function raised {type(error).__name__}: {text}",
            f"it was given {shapes}",
        ) from error
    if scores.shape != (rows,) or scores.dtype.kind not in "biuf":
        raise UsageError(
            f"metric {name!r}: its function answered {scores.dtype}{list(scores.shape)} to "
            f"{rows} row{'s' if rows > 1 else ''}",
            f"{_EXPECTED}, shape ({rows},), for {shapes}",
        )
    scores = scores.astype(np.float64)
    bad = scores[~(np.isfinite(scores) & (scores >= 0) & ((scores <= 1) | (not share)))]
    if len(bad):
        most = ", of a share at most 1" if share else ""
        raise UsageError(
            f"metric {name!r}: its function answered {bad[0]:g} to a row", _EXPECTED + most
        )
    return scores


def _shapes(tree: Tree) -> str:
    if isinstance(tree, list) and all(isinstance(row, np.ndarray) for row in tree):
        return f"of {len(tree)} rows of many lengths"
    return f"of shape {tree.shape}" if isinstance(tree, np.ndarray) else f"({described(tree)})"


@dataclass(frozen=True, slots=True)
class Scorer:
    """How the answers of one measurement are scored.

    Attributes:
        reading: what labels and answers are: `classes` (class numbers, a score for each class),
            `one-hot` (labels of the answers' shape with one 1 a row), `numbers` (class numbers,
            and answers that are class numbers), `binary` (0/1 labels, one score), `multilabel`
            (0/1 labels of the answers' shape) or `regression`.
        logits: whether scores are logits; otherwise they are probabilities.
        assumed: a note on a reading that is in doubt; may be empty.
    """

    reading: Reading
    logits: bool
    assumed: str = ""

    @property
    def classifies(self) -> bool:
        """Whether an answer is right or wrong, so that there is an accuracy."""
        return self.reading != "regression"

    @property
    def has_loss(self) -> bool:
        """Whether answers tell how far off they are."""
        return self.reading != "numbers"

    def score(
        self, outputs: NDArray[Any], labels: NDArray[Any]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Whether each answer is right (1 or 0) and its loss, both of shape `(n,)`.

        With several labels a row, an answer is right if all of them are. The loss is the
        cross-entropy, or the squared error of a regression (whose answers are never called right),
        and 0 for answers that are class numbers.
        """
        rows = len(outputs)
        if self.reading == "numbers":  # as they are: float64 has no odd numbers beyond 2**53
            right = _flat(outputs)[:, 0] == labels.reshape(rows)
            return right.astype(np.float64), np.zeros(rows)
        scores = _flat(outputs).astype(np.float64)
        if self.reading == "regression":
            errors = scores - _flat(labels)
            return np.zeros(rows), np.mean(errors * errors, axis=1)
        if self.reading in {"binary", "multilabel"}:
            hits, losses = self._binary(scores, _flat(labels))
            return np.asarray(hits.all(axis=1), np.float64), np.mean(losses, axis=1)
        classes = (
            _flat(labels).argmax(axis=1)
            if self.reading == "one-hot"
            else labels.reshape(rows).astype(np.intp)
        )
        log_shares = _log_softmax(scores) if self.logits else np.log(np.maximum(scores, _TINY))
        hits = scores.argmax(axis=1) == classes
        return hits.astype(np.float64), -log_shares[np.arange(rows), classes]

    def _binary(
        self, scores: NDArray[np.float64], labels: NDArray[Any]
    ) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
        shares = 1 / (1 + np.exp(-np.clip(scores, -50, 50))) if self.logits else scores
        of_label = np.where(labels > _EVEN_ODDS, shares, 1 - shares)
        return (shares > _EVEN_ODDS) == (labels > _EVEN_ODDS), -np.log(np.maximum(of_label, _TINY))


def scorer_for(outputs: NDArray[Any], labels: NDArray[Any], task: Task | None = None) -> Scorer:
    """The scorer that fits labels and a sample of the outputs, both `(n, ...)`.

    Whole numbers are classes, whatever their type. Scores count as probabilities when they are
    within 0 and 1 and, for classes, sum to 1.

    Args:
        outputs: a sample of the answers.
        labels: of all rows.
        task: what they are for; None infers it from both.

    Raises:
        DataError: if labels and outputs do not fit together, or not the task.
    """
    fitting = tuple(_readings(outputs, labels))
    readings = [reading for reading in fitting if task in {None, _TASKS[reading]}]
    if not readings:
        of_task = f" of task={task!r}" if task else ""
        raise DataError(
            f"labels of shape {labels.shape} and type {labels.dtype} do not fit answers of shape "
            f"(batch, {', '.join(map(str, outputs.shape[1:]))}) and type {outputs.dtype}{of_task}\n"
            "  expected class numbers for a score a class, 0/1 for one score, or the answers' shape"
            f"{_of_positions(outputs, labels)}"
        )
    reading = readings[0]
    if reading == "classes":
        _check_classes(labels, _flat(outputs).shape[1])
    finite = _flat(outputs)[np.isfinite(_flat(outputs)).all(axis=1)]
    bounded = bool(((finite >= 0) & (finite <= 1)).all())
    tolerance = _SHORT_TOLERANCE if finite.dtype.itemsize <= _SHORT else _SUM_TOLERANCE
    shares = bool(np.allclose(finite.astype(np.float64).sum(axis=1), 1, atol=tolerance))
    sums_to_one = reading in {"classes", "one-hot"}
    tasks = tuple(dict.fromkeys(_TASKS[other] for other in fitting))
    doubt = task is None and len(tasks) > 1 and reading not in {"classes", "one-hot"}
    clear = labels.dtype.kind in "iub" and reading != "regression"
    return Scorer(
        reading,
        logits=reading not in {"numbers", "regression"}
        and not (bounded and (shares or not sums_to_one)),
        assumed=_assumption(labels, tasks) if doubt and not clear else "",
    )


def _of_positions(outputs: NDArray[Any], labels: NDArray[Any]) -> str:
    """A hint, if each row seems to have a label for each of its positions."""
    if labels.ndim > 1 and outputs.ndim > 2 and labels.shape[1] == outputs.shape[1]:  # noqa: PLR2004 - rows of positions with scores
        return "; labels of each position are given as Ragged(labels)"
    return ""


def _readings(outputs: NDArray[Any], labels: NDArray[Any]) -> Iterator[Reading]:
    """All that labels and answers can be, the likeliest first."""
    width = _flat(outputs).shape[1]
    flat = labels.ndim == 1 or labels.shape[1:] == (1,)
    bits = bool(np.isin(labels, (0, 1)).all())
    if flat and _whole(labels):
        yield from _readings_of_classes(outputs, width, bits=bits)
    if width > 1 and labels.shape[1:] == outputs.shape[1:] and bits:
        if (_flat(labels).sum(axis=1) == 1).all():
            yield "one-hot"
        yield "multilabel"
    if int(np.prod(labels.shape[1:], dtype=np.int64)) == width:
        yield "regression"
        if flat and _whole(labels) and _whole(outputs):
            yield "numbers"  # class numbers in a float column


def _readings_of_classes(outputs: NDArray[Any], width: int, *, bits: bool) -> Iterator[Reading]:
    """What answers of so many numbers can be where a label is one whole number."""
    if width > 1 and width in outputs.shape[1:]:  # else a row has scores for several things
        yield "classes"
    elif width == 1 and outputs.dtype.kind in "biu":
        yield "numbers"
    elif width == 1 and bits:
        yield "binary"


def _whole(values: NDArray[Any]) -> bool:
    return values.dtype.kind in "iub" or bool(
        values.dtype.kind == "f" and np.isfinite(values).all() and (values == np.rint(values)).all()
    )


def _assumption(labels: NDArray[Any], tasks: Sequence[Task]) -> str:
    others = " or ".join(f"task={task!r}" for task in tasks[1:])
    return (
        f"labels are whole numbers of type {labels.dtype}: taken for task={tasks[0]!r}, though "
        f"{others} would fit as well; name one"
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
    # With reshape(rows, -1), numpy could not infer the width of no rows.
    return values.reshape(len(values), int(np.prod(values.shape[1:], dtype=np.int64)))


def _log_softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted = scores - scores.max(axis=1, keepdims=True)
    result: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result
