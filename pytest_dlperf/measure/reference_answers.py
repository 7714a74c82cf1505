"""Reference answers: each row asked alone, before the load, to hold its answers under load to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_dlperf.clock import Clock
    from pytest_dlperf.targets.target import Target

_ROWS: Final = 256
_SECONDS: Final = 0.5
_REPEATED: Final = 8
_TOLERANCE: Final = 0.05


@dataclass(frozen=True, slots=True)
class ReferenceAnswers:
    """What the target answers to the first rows when it is asked for one at a time.

    Attributes:
        answers: flattened, shape `(rows, width)`; rows without an answer hold NaN.
        tolerance: an answer under load that is further away than this in any element is another
            answer: 5 % of the range of all answers, so that what batching does to rounding, or
            8-bit arithmetic to digits, is left to the accuracy.
    """

    answers: NDArray[np.float64]
    tolerance: float

    def wrong(self, outputs: NDArray[np.float64], rows: NDArray[np.int64]) -> NDArray[np.intp]:
        """Indices of the answers that are not their row's; a row without a reference passes.

        Args:
            outputs: finite answers, flattened, shape `(n, width)`.
            rows: the row that each belongs to, shape `(n,)`.
        """
        known = np.flatnonzero(rows < len(self.answers))
        gap = np.abs(outputs[known] - self.answers[rows[known]]).max(axis=1, initial=0)
        wrong: NDArray[np.intp] = known[gap > self.tolerance]  # NaN compares false
        return wrong

    def owner(self, output: NDArray[np.float64]) -> int | None:
        """The row whose answer this is, if it is any known row's."""
        away = np.abs(self.answers - output).max(axis=1, initial=0)
        close = np.flatnonzero(away <= self.tolerance)
        return int(close[0]) if len(close) else None


def ask_alone(
    target: Target, inputs: NDArray[Any], width: int, clock: Clock
) -> tuple[ReferenceAnswers | None, str]:
    """Ask for single rows, up to 256 of them and half a second.

    Args:
        target: who is asked.
        inputs: the rows in the order in which the load will ask for them.
        width: elements of one answer.
        clock: time.

    Returns:
        The answers, or None and the reason why rows cannot be told apart.
    """
    answers = np.full((min(_ROWS, len(inputs)), width), np.nan)
    end_ns = clock.now_ns() + int(_SECONDS * 1e9)
    for row in range(len(answers)):
        answers[row] = _answer(target, inputs[row : row + 1], width)
        if clock.now_ns() >= end_ns and row >= 1:
            answers = answers[: row + 1]
            break
    known = answers[np.isfinite(answers).all(axis=1)]
    if len(known) < 2:  # noqa: PLR2004 - one row cannot be mixed up with another
        return None, "" if len(inputs) == 1 else "rows asked alone had no answer to compare with"
    tolerance = _TOLERANCE * float(known.max() - known.min())
    again = np.stack(
        [_answer(target, inputs[row : row + 1], width) for row in range(min(_REPEATED, len(known)))]
    )
    if (np.abs(again - answers[: len(again)]) > tolerance).any():
        return None, "the target answers differently from call to call, so rows are not checked"
    return (ReferenceAnswers(answers, tolerance), "") if tolerance > 0 else (None, "")


def _answer(target: Target, batch: NDArray[Any], width: int) -> NDArray[np.float64]:
    # What fails alone is not held against the target here: under load it is counted.
    try:
        # A copy: the target may use its buffer again for the next row.
        answer = np.array(target.infer(batch), np.float64).reshape(-1)
    except Exception:  # noqa: BLE001
        return np.full(width, np.nan)
    return answer if len(answer) == width else np.full(width, np.nan)
