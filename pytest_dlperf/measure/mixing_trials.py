"""Trials of mixing: batches of two rows that are drawn by lot, to see whose answers they get."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_dlperf.measure.mixing_evidence import ERROR, SHARES, away_from, ratio
from pytest_dlperf.measure.reference_answers import ReferenceAnswers
from pytest_dlperf.trees import taken

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pytest_dlperf.clock import Clock
    from pytest_dlperf.measure.reference_answers import SingleRows

_CLOSENESS: Final = (0.1, 0.01, 0.001)  # in tolerances, as answers of rows mixed up are exact
_ROWS: Final = 12
_TRIALS: Final = 32
_FRUITLESS: Final = 8  # trials without any answer of the other row, after which no more are made
_SECONDS: Final = 20.0
_SEED: Final = 0


def tried_mixing(
    single: SingleRows, reference: ReferenceAnswers, sizes: Sequence[int], clock: Clock
) -> tuple[float, tuple[int, int] | None]:
    """The evidence, from batches sent for it, that answers are those of rows in the same batch.

    Each batch has copies of two known rows at places drawn by lot, and a wrong answer to the first
    is looked at. The second is drawn among all others, so a wrong answer that happens to be one
    of theirs is the second's with a known chance, unless the target mixes up the rows of a batch.

    Args:
        single: asks the target.
        reference: the answers of rows that were asked alone; more are asked if these are few.
        sizes: of batches in which answers were wrong.
        clock: time; trials end after twenty seconds.

    Returns:
        An e-value: its chance of reaching `x` is at most `1 / x` if rows are not mixed up. And a
        pair of a row and the row whose answer it got.
    """
    started_ns, limit_ns = clock.now_ns(), int(_SECONDS * 1e9)
    several = [size for size in sizes if size > 1]
    evidence, pair = 0.0, None
    if not several:
        return evidence, pair
    reference = _with_more(single, reference, clock, started_ns + limit_ns // 2)
    known = np.flatnonzero(reference.known)
    random = np.random.default_rng(_SEED)
    logs = np.zeros((len(_CLOSENESS), len(SHARES)))
    for trial in range(_TRIALS):
        row, other = map(int, random.choice(known, 2, replace=False))
        size = several[trial % len(several)]
        places = random.permutation(np.resize([row, other], size))
        try:
            answers = single.answers(taken(single.inputs, places)[:], places)
        except Exception:  # noqa: BLE001 - the target may raise anything
            return 0.0, None
        owners = _owners(answers, places, row, known, reference)
        if owners is not None:
            hit = owners[:, known == other].ravel()
            logs += _log_ratios(hit, owners.sum(axis=1) / (len(known) - 1))
            pair = (row, other) if hit.any() else pair
            evidence = float(np.exp(np.minimum(logs, 700.0)).mean())
        if (
            evidence >= 1 / ERROR
            or (pair is None and trial + 1 >= _FRUITLESS)
            or clock.now_ns() - started_ns >= limit_ns
        ):
            break
    return evidence, pair


def _with_more(
    single: SingleRows, reference: ReferenceAnswers, clock: Clock, end_ns: int
) -> ReferenceAnswers:
    """The answers, with those of further rows where few were asked alone.

    Not of rows with lengths, whose answers are known up to these.
    """
    if reference.present is not None:
        return reference
    answers = list(reference.answers)
    while len(answers) < min(_ROWS, len(single.inputs)) and clock.now_ns() < end_ns:
        answers.append(single.again(len(answers)))
    return ReferenceAnswers(np.stack(answers), reference.elements)


def _owners(
    answers: NDArray[np.float64],
    places: NDArray[np.intp],
    row: int,
    known: NDArray[np.intp],
    reference: ReferenceAnswers,
) -> NDArray[np.bool_] | None:
    """Which known rows' a wrong answer to `row` may be, shape `(closenesses, known)`.

    None if no answer to `row` is wrong, or if all of a batch are the same whole number: among
    classes, that of the batch's mean is often the class of one of its rows.
    """
    theirs, tolerance = reference.answers[known], reference.tolerance[known]
    whole = bool((theirs == np.rint(theirs)).all())
    if whole and (answers == answers[0]).all():
        return None
    own = known == row
    for answer in answers[places == row]:
        away = away_from(answer, theirs, tolerance, own)
        if (away[own] > 1).any():
            close: NDArray[np.bool_] = away <= np.array(_CLOSENESS)[:, np.newaxis]
            close[:, own] = False
            return close
    return None


def _log_ratios(hit: NDArray[np.bool_], chance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logarithms of likelihood ratios, shape `(closenesses, shares)`."""
    each = zip(hit[:, np.newaxis], chance[:, np.newaxis], strict=True)
    return np.log([[ratio(one, of_one, share) for share in SHARES] for one, of_one in each])
