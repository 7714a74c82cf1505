"""The target's answers to single rows, with which its answers under load are compared."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_dlperf.load.outputs import read_outputs
from pytest_dlperf.load.positions import RowPositions
from pytest_dlperf.measure.scored_rows import (
    RowLengthError,
    elements_of,
    finite_scores,
    longest,
    scored_of,
)
from pytest_dlperf.trees import rows_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_dlperf.clock import Clock
    from pytest_dlperf.load.answer_layout import AnswerLayout
    from pytest_dlperf.load.runner import Target
    from pytest_dlperf.measure.scored_rows import Scored
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
        present: which elements are before the end of their row, shape of `answers`; None if all.
            The others are 0, and match anything.
        tolerance: how far an answer may be from a row's own, shape of `answers`: 5 % of the spread
            of the answers or of the value's distance from the middle, so that rounding and 8-bit
            arithmetic, which may depend on the batch, are left to the accuracy; less than one
            between whole numbers.
    """

    answers: NDArray[np.float64]
    elements: NDArray[np.intp] | None = None
    present: NDArray[np.bool_] | None = None
    known: NDArray[np.bool_] = field(init=False)
    tolerance: NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "known", np.isfinite(self.answers).all(axis=1))
        tolerance = _tolerance(self.answers, self.own)
        if self.present is not None:
            tolerance[~self.present] = np.inf
        object.__setattr__(self, "tolerance", tolerance)

    @property
    def own(self) -> NDArray[np.float64]:
        """The answers that are known, NaN behind the end of a row."""
        if self.present is None:
            return self.answers[self.known]
        return np.where(self.present, self.answers, np.nan)[self.known]

    def compared(self, scored: Scored) -> NDArray[np.float64]:
        """The elements to compare of answers, shape `(n, elements)`."""
        return elements_of(scored, self.elements)


def _tolerance(answers: NDArray[np.float64], known: NDArray[np.float64]) -> NDArray[np.float64]:
    if not len(known):
        return np.full_like(answers, np.nan)
    away = np.maximum(spread(known), np.abs(answers - _middle(known)))
    allowed: NDArray[np.float64] = _OF_SPREAD * away + _OF_VALUE * np.abs(answers)
    whole = ((known == np.rint(known)) | np.isnan(known)).all()
    return np.minimum(allowed, _HALF) if whole else allowed


def spread(answers: NDArray[np.float64]) -> float:
    """The largest range of an element over the rows, without outliers where there are others.

    NaN is no value: of rows that end before the element.
    """
    ordered = np.sort(answers, axis=0)  # NaN last
    count = (~np.isnan(answers)).sum(axis=0)
    cut = np.where(count >= _FEW_ROWS, np.maximum(1, count // _OUTLIERS), 0)
    last = np.maximum(count - 1, 0)

    def largest(above: NDArray[np.intp], below: NDArray[np.intp]) -> float:
        high, low = (np.take_along_axis(ordered, at[np.newaxis], axis=0) for at in (above, below))
        return float((high - low)[0][count > 0].max(initial=0.0))

    return largest(last - cut, cut) or largest(last, np.zeros_like(last))


def _middle(answers: NDArray[np.float64]) -> NDArray[np.float64]:
    """The median of each element over the rows that have it, 0 where none has."""
    has = ~np.isnan(answers).all(axis=0)
    middle = np.zeros(answers.shape[1])
    middle[has] = np.nanmedian(answers[:, has], axis=0)
    return middle


@dataclass(frozen=True, slots=True)
class SingleRows:
    """Asks a target for single rows.

    Attributes:
        target: answers batches.
        inputs: the rows.
        layout: of its answers.
        elements: which elements of an answer are compared; None for all.
        lengths: up to which rows are compared, shape `(rows,)`; None if answers have one of them.
    """

    target: Target
    inputs: Rows
    layout: AnswerLayout
    elements: NDArray[np.intp] | None = None
    lengths: NDArray[np.int64] | None = None

    def answers(self, batch: Tree, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """The elements to compare of the answer to a batch, shape `(rows, elements)`.

        Args:
            batch: to ask.
            rows: their numbers, in the order of the inputs.

        Raises:
            Exception: whatever the target raises; MisfitError for an answer of another layout.
        """
        parts = self.layout.parts(read_outputs(self.target.infer(batch)), rows_of(batch))
        lengths = None if self.lengths is None else self.lengths[rows]
        # A copy, as the target may reuse its buffer for the next row.
        return np.array(elements_of(scored_of(self.layout, parts, lengths), self.elements))

    def alone(self, row: int) -> NDArray[np.float64]:
        """The elements to compare of the answer to one row; NaN if it fails."""
        try:
            return self.of_its_length(row)
        except RowLengthError:
            return self._nothing

    def of_its_length(self, row: int) -> NDArray[np.float64]:
        """As `alone`; a RowLengthError, with this row, if its answer has not its length."""
        if self.lengths is not None and not self.lengths[row]:
            return self._nothing  # a row of no positions tells nothing
        try:
            return self.answers(self.inputs[row : row + 1], np.array([row])).reshape(-1)
        except RowLengthError as error:
            raise RowLengthError(str(error), row) from None
        except Exception:  # noqa: BLE001 - a failure is not an error here: under load it is counted
            return self._nothing

    @property
    def _nothing(self) -> NDArray[np.float64]:
        width = int(np.prod(self.layout.shape, dtype=np.int64))
        return np.full(width if self.elements is None else len(self.elements), np.nan)

    def again(self, row: int) -> NDArray[np.float64]:
        """As `alone`; asked twice, as the first answer may be that of the call before."""
        self.alone(row)
        return self.alone(row)


def ask_alone(
    single: SingleRows, together: Scored, clock: Clock
) -> tuple[ReferenceAnswers | None, str]:
    """Ask for single rows in the order of the load, at most 256 and for half a second.

    With fewer than five rows by then it asks on, for at most two seconds.

    Args:
        single: asks the target, in the order of the load.
        together: what is scored of the target's answer to the first rows.
        clock: time.

    Returns:
        The answers, or None; and a note if they cannot tell rows apart, with the reason.

    Raises:
        RowLengthError: if a row has more labels than its answer, which no padding makes longer
            here, has positions.
    """
    width = longest(together)
    if single.lengths is not None and isinstance(together, RowPositions):
        width = int(single.lengths.max(initial=0)) * together.width
    if not width:
        return None, NOTHING_TO_COMPARE
    if width > _ELEMENTS:
        chosen = np.random.default_rng(_SEED).choice(width, _ELEMENTS, replace=False)
        single = replace(single, elements=np.sort(chosen))
    elif single.lengths is not None:
        single = replace(single, elements=np.arange(width))
    rows = min(_ROWS, len(single.inputs))
    present = _present(single, together, rows)
    started_ns = clock.now_ns()
    first: list[NDArray[np.float64]] = []
    last: list[NDArray[np.float64]] = []
    times = 2
    for row in range(rows):
        if row == _TWICE and (times := _times_to_ask(first, last, present)) == 0:
            return None, UNSTABLE
        first.append(single.of_its_length(row))
        last.append(single.alone(row) if times > 1 else first[-1])
        seconds = (clock.now_ns() - started_ns) * 1e-9
        if row >= 1 and seconds >= (_SECONDS if len(last) >= _FEW_ROWS else _MOST_SECONDS):
            break
    if len(last) <= _TWICE and _times_to_ask(first, last, present) == 0:
        return None, UNSTABLE
    answers = _reference(last, present, single.elements)
    return _judged(answers, together, len(single.inputs))


def _present(single: SingleRows, together: Scored, rows: int) -> NDArray[np.bool_] | None:
    """Which of the elements are before the end of the first rows; None if rows have no lengths."""
    if single.lengths is None or single.elements is None or not isinstance(together, RowPositions):
        return None
    return RowPositions(together.values, single.lengths[:rows]).has_elements(single.elements)


def _reference(
    answers: list[NDArray[np.float64]],
    present: NDArray[np.bool_] | None,
    elements: NDArray[np.intp] | None = None,
) -> ReferenceAnswers:
    known = present[: len(answers)] if present is not None else None
    return ReferenceAnswers(np.stack(answers), elements, known)


def same_answers(
    answers: NDArray[np.float64], reference: NDArray[np.float64], tolerance: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Whether answers are the reference's but for rounding, by row; all of shape `(n, width)`."""
    return np.asarray((np.abs(answers - reference) <= _SAME * tolerance).all(axis=1))


def _times_to_ask(
    once: list[NDArray[np.float64]],
    twice: list[NDArray[np.float64]],
    present: NDArray[np.bool_] | None,
) -> int:
    """How often a row must be asked for its own answer: once; twice if the first is late; or 0."""
    first, last = np.stack(once), np.stack(twice)
    known = np.asarray(np.isfinite(np.hstack([first, last])).all(axis=1))
    if not known.any():
        return 1
    tolerance = _reference(twice, present).tolerance
    if (np.abs(first - last) <= tolerance)[known].all():
        return 1
    # Each call may return the answer of the call before.
    late = known[1:] & known[:-1]
    follows = same_answers(first[1:], last[:-1], tolerance[:-1])
    differs = ~same_answers(last[1:], last[:-1], tolerance[:-1])
    enough = int((late & differs).sum()) >= _TWICE // 2
    return 2 if enough and follows[late].all() else 0


def _judged(
    reference: ReferenceAnswers, together: Scored, rows: int
) -> tuple[ReferenceAnswers | None, str]:
    known = reference.own
    if len(known) < 2:  # noqa: PLR2004 - one row cannot be mixed up with another
        return None, ONE_ROW if rows == 1 else FAILED
    if _alike(known):
        some = together[np.arange(min(rows, len(together)))]
        batch = reference.compared(some)
        if isinstance(some, RowPositions) and reference.elements is not None:
            batch[~some.has_elements(reference.elements)] = np.nan
        finite = batch[finite_scores(some)]
        return None, ALIKE if len(finite) < 2 or _alike(finite) else OF_BATCH  # noqa: PLR2004
    return reference, FEW if len(known) < _FEW_ROWS else ""


def _alike(answers: NDArray[np.float64]) -> bool:
    answers = answers[:, ~np.isnan(answers).all(axis=0)]  # elements that some row has
    size = np.abs(answers)
    rounding = _OF_VALUE * _middle(size) + _TINY * np.nanmax(size, initial=0.0)
    ranges = np.nanmax(answers, axis=0) - np.nanmin(answers, axis=0)
    return bool((ranges <= rounding).all())
