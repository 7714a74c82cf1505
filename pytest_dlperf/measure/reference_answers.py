"""The target's answers to single rows, with which its answers under load are compared."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pytest_dlperf.load.outputs import read_outputs
from pytest_dlperf.trees import rows_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_dlperf.clock import Clock
    from pytest_dlperf.load.answer_layout import AnswerLayout
    from pytest_dlperf.load.runner import Target
    from pytest_dlperf.trees import Rows, Tree


_ROWS: Final = 256
_SECONDS: Final = 0.5
_MOST_SECONDS: Final = 2.0  # until there are rows enough to tell anything
_TWICE: Final = 8  # rows asked twice in a row, to see whether a row's answer depends on it alone
_ELEMENTS: Final = 4096  # of an answer; of a larger one, some are compared
_SEED: Final = 0
_OF_SPREAD: Final = 0.05
_OF_VALUE: Final = 1e-4  # sums in another order, and arithmetic of 16 bits
_TINY: Final = 1e-7  # of the largest value: rounding of 32 bits
_HALF: Final = 0.5  # whole numbers that differ are different answers
_OUTLIERS: Final = 50  # one of so many rows may stand out on each side, and at least one
_SAME: Final = 0.02  # of the tolerance
_FEW_ROWS: Final = 5

UNSTABLE: Final = (
    "rows are not checked for mix-ups: the same row asked twice is answered differently, so the "
    "answers are random or depend on earlier calls"
)
FAILED: Final = "rows are not checked for mix-ups: rows asked alone had no answer to compare with"
ONE_ROW: Final = "rows are not checked for mix-ups: the data has one row"
FEW: Final = f"rows are not checked for mix-ups: fewer than {_FEW_ROWS} rows are too few to tell"
ALIKE: Final = (
    "rows are not checked for mix-ups: all rows asked alone are answered alike, so the answers "
    "cannot tell rows apart"
)
NOTHING_TO_COMPARE: Final = (
    "rows are not checked for mix-ups: no output has numbers of one shape for each row"
)
OF_BATCH: Final = (
    "rows are not checked for mix-ups: asked alone all are answered alike, but not in a batch, so "
    "the answers depend on the batch (batch normalisation in training mode, a mean over the batch)"
)


@dataclass(frozen=True, slots=True)
class ReferenceAnswers:
    """The target's answers to the first rows, sent one at a time.

    Attributes:
        answers: flattened answers, shape `(rows, elements)`; NaN for rows without an answer.
        elements: which elements of an answer are compared; None for all.
        known: which rows have an answer, shape `(rows,)`.
        tolerance: how far an answer may be from a row's own, shape of `answers`: 5 % of the spread
            of the answers or of the value's distance from the middle, so that rounding and 8-bit
            arithmetic, which may depend on the batch, are left to the accuracy; less than one
            between whole numbers.
    """

    answers: NDArray[np.float64]
    elements: NDArray[np.intp] | None = None
    known: NDArray[np.bool_] = field(init=False)
    tolerance: NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        known = np.isfinite(self.answers).all(axis=1)
        object.__setattr__(self, "known", known)
        object.__setattr__(self, "tolerance", _tolerance(self.answers, self.answers[known]))

    def compared(self, flat: NDArray[Any]) -> NDArray[np.float64]:
        """The elements to compare of flattened answers, shape `(n, elements)`."""
        chosen = flat if self.elements is None else flat[:, self.elements]
        return chosen.astype(np.float64)


def _tolerance(answers: NDArray[np.float64], known: NDArray[np.float64]) -> NDArray[np.float64]:
    if not len(known):
        return np.full_like(answers, np.nan)
    away = np.maximum(spread(known), np.abs(answers - np.median(known, axis=0)))
    allowed: NDArray[np.float64] = _OF_SPREAD * away + _OF_VALUE * np.abs(answers)
    return np.minimum(allowed, _HALF) if (known == np.rint(known)).all() else allowed


def spread(answers: NDArray[np.float64]) -> float:
    """The largest range of an element over the rows, without outliers where there are others."""
    cut = max(1, len(answers) // _OUTLIERS) if len(answers) >= _FEW_ROWS else 0
    ordered = np.sort(answers, axis=0)
    trimmed = float((ordered[len(answers) - 1 - cut] - ordered[cut]).max(initial=0.0))
    return trimmed or float((ordered[-1] - ordered[0]).max(initial=0.0))


@dataclass(frozen=True, slots=True)
class SingleRows:
    """Asks a target for single rows.

    Attributes:
        target: answers batches.
        inputs: the rows.
        layout: of its answers.
        elements: which elements of an answer are compared; None for all.
    """

    target: Target
    inputs: Rows
    layout: AnswerLayout
    elements: NDArray[np.intp] | None = None

    def answers(self, batch: Tree) -> NDArray[np.float64]:
        """The elements to compare of the answer to a batch, shape `(rows, elements)`.

        Raises:
            Exception: whatever the target raises; MisfitError for an answer of another layout.
        """
        rows = rows_of(batch)
        read = self.layout.read(read_outputs(self.target.infer(batch)), rows)
        flat = read.reshape(rows, -1)
        # A copy, as the target may reuse its buffer for the next row.
        return np.array(flat if self.elements is None else flat[:, self.elements], np.float64)

    def alone(self, row: int) -> NDArray[np.float64]:
        """The elements to compare of the answer to one row; NaN if it fails."""
        try:
            answer = self.answers(self.inputs[row : row + 1]).reshape(-1)
        except Exception:  # noqa: BLE001 - a failure is not an error here: under load it is counted
            width = int(np.prod(self.layout.shape, dtype=np.int64))
            answer = np.full(width if self.elements is None else len(self.elements), np.nan)
        return answer

    def again(self, row: int) -> NDArray[np.float64]:
        """As `alone`; asked twice, as the first answer may be that of the call before."""
        self.alone(row)
        return self.alone(row)


def ask_alone(
    single: SingleRows, together: NDArray[Any], clock: Clock
) -> tuple[ReferenceAnswers | None, str]:
    """Ask for single rows in the order of the load, at most 256 and for half a second.

    With fewer than five rows by then it asks on, for at most two seconds.

    Args:
        single: asks the target, in the order of the load.
        together: what is scored of the target's answer to the first rows, shape `(n, ...)`.
        clock: time.

    Returns:
        The answers, or None; and a note if they cannot tell rows apart, with the reason.
    """
    width = together[0].size
    if not width:
        return None, NOTHING_TO_COMPARE
    if width > _ELEMENTS:
        chosen = np.random.default_rng(_SEED).choice(width, _ELEMENTS, replace=False)
        single = replace(single, elements=np.sort(chosen))
    rows = min(_ROWS, len(single.inputs))
    started_ns = clock.now_ns()
    first: list[NDArray[np.float64]] = []
    last: list[NDArray[np.float64]] = []
    times = 2
    for row in range(rows):
        if row == _TWICE and (times := _times_to_ask(np.stack(first), np.stack(last))) == 0:
            return None, UNSTABLE
        first.append(single.alone(row))
        last.append(single.alone(row) if times > 1 else first[-1])
        seconds = (clock.now_ns() - started_ns) * 1e-9
        if row >= 1 and seconds >= (_SECONDS if len(last) >= _FEW_ROWS else _MOST_SECONDS):
            break
    if len(last) <= _TWICE and _times_to_ask(np.stack(first), np.stack(last)) == 0:
        return None, UNSTABLE
    answers = ReferenceAnswers(np.stack(last), single.elements)
    return _judged(answers, together, len(single.inputs))


def same_answers(
    answers: NDArray[np.float64], reference: NDArray[np.float64], tolerance: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Whether answers are the reference's but for rounding, by row; all of shape `(n, width)`."""
    return np.asarray((np.abs(answers - reference) <= _SAME * tolerance).all(axis=1))


def _times_to_ask(first: NDArray[np.float64], last: NDArray[np.float64]) -> int:
    """How often a row must be asked for its own answer: once; twice if the first is late; or 0."""
    known = np.asarray(np.isfinite(np.hstack([first, last])).all(axis=1))
    if not known.any():
        return 1
    tolerance = ReferenceAnswers(last).tolerance
    if (np.abs(first - last) <= tolerance)[known].all():
        return 1
    # Each call may return the answer of the call before.
    late = known[1:] & known[:-1]
    follows = same_answers(first[1:], last[:-1], tolerance[:-1])
    differs = ~same_answers(last[1:], last[:-1], tolerance[:-1])
    enough = int((late & differs).sum()) >= _TWICE // 2
    return 2 if enough and follows[late].all() else 0


def _judged(
    reference: ReferenceAnswers, together: NDArray[Any], rows: int
) -> tuple[ReferenceAnswers | None, str]:
    known = reference.answers[reference.known]
    if len(known) < 2:  # noqa: PLR2004 - one row cannot be mixed up with another
        return None, ONE_ROW if rows == 1 else FAILED
    if _alike(known):
        batch = reference.compared(together.reshape(len(together), -1)[:rows])
        finite = batch[np.isfinite(batch).all(axis=1)]
        return None, ALIKE if len(finite) < 2 or _alike(finite) else OF_BATCH  # noqa: PLR2004
    return reference, FEW if len(known) < _FEW_ROWS else ""


def _alike(answers: NDArray[np.float64]) -> bool:
    size = np.abs(answers)
    rounding = _OF_VALUE * np.median(size, axis=0) + _TINY * size.max()
    return bool((np.ptp(answers, axis=0) <= rounding).all())
