"""Evidence that wrong answers are those of other rows, which were sent beside theirs.

Rows are sent in a random order that the target does not know. So if an answer that is not its own
row's happens to be another row's, that row is one of those sent beside it with a known chance: the
share of rows that were. Wrong answers are called mixed up if they are those of rows sent beside
them so often that under that chance it would happen in one of a million runs at most.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_dlperf.measure.reference_answers import ReferenceAnswers


ERROR: Final = 5e-7
"""Chance of a false accusation, by each of two looks: at the load, and at trials after it."""

SHARES: Final = (0.98, 0.9, 0.5, 0.2)
"""Of the wrong answers that are those of rows beside them."""

_CLOSENESS: Final = (1.0, 0.1, 0.01, 0.001)  # of an answer and a row's own, in tolerances
_MOST_BESIDE: Final = 0.5  # with more of the rows beside, order tells little
_MOVED_ROWS: Final = 64
_ELEMENTS: Final = 64
_SEED: Final = 0


@dataclass(frozen=True, slots=True)
class Exhibit:
    """A wrong answer.

    Attributes:
        start: first request of its batch.
        stop: the request after the last.
        row: its row, by position in the order of sending.
        answer: the elements that are compared.
    """

    start: int
    stop: int
    row: int
    answer: NDArray[np.float64]


def mixed_up(
    exhibits: list[Exhibit], reference: ReferenceAnswers, rows: int, reach: int
) -> tuple[float, tuple[int, int] | None]:
    """The evidence that wrong answers are those of rows sent beside theirs.

    An e-value: its chance of reaching `x` is at most `1 / x` if they are not. It is the mean of
    likelihood ratios for several closenesses, ranges of "beside", and shares of such answers.

    Args:
        exhibits: wrong answers of different rows.
        reference: the rows' own answers.
        rows: how many rows there are.
        reach: how many requests may be in flight at a time.

    Returns:
        The evidence, and a pair of a row and the row whose answer it got.
    """
    known = np.flatnonzero(reference.known)
    answers, tolerance = reference.answers[known], reference.tolerance[known]
    away = np.stack(
        [away_from(x.answer, answers, tolerance, np.equal(known, x.row)) for x in exhibits]
    )
    own = np.stack([np.equal(known, x.row) for x in exhibits])
    by_moving: NDArray[np.float64] | None = None
    ratios: list[float] = []
    strongest, pair = 0.0, None
    for ahead, behind in ((0, 0), (2 * reach, reach)):
        beside = np.stack([_beside(x, known, rows, ahead, behind) for x in exhibits]) & ~own
        share_beside = beside.sum(axis=1) / max(1, len(known) - 1)
        many = share_beside > _MOST_BESIDE
        if many.any() and by_moving is None:
            by_moving = _chances_by_moving(exhibits, reference)
        for number, closeness in enumerate(_CLOSENESS):
            owners = (away <= closeness) & ~own
            chance = _chance_of_any(beside.sum(axis=1), owners.sum(axis=1), len(known) - 1)
            if by_moving is not None:
                chance[many] = by_moving[number]
            hit = (owners & beside).any(axis=1)
            used = _independent(owners, own)
            new = [ratio(hit[used], chance[used], share) for share in SHARES]
            ratios += new
            if max(new) > strongest and hit[used].any():
                at = int(used[np.argmax(hit[used])])
                owner = int(known[np.argmax(owners[at] & beside[at])])
                strongest, pair = max(new), (exhibits[at].row, owner)
    return sum(ratios) / len(ratios), pair


def _chance_of_any(
    drawn: NDArray[np.intp], owners: NDArray[np.intp], rows: int
) -> NDArray[np.float64]:
    """The chance that so many rows, drawn without replacement, have any of so many owners."""
    pairs = zip(drawn.tolist(), owners.tolist(), strict=True)
    none = [math.comb(rows - some, few) / math.comb(rows, few) for few, some in pairs]
    return 1 - np.array(none)


def _independent(owners: NDArray[np.bool_], own: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Exhibits of which a hit of one says nothing of the others.

    They share no owner. And of two rows that have each other's answer one is taken: both are hits
    if the two were sent together, also where each such row is answered as its mirror image.
    """
    seen = np.zeros(owners.shape[1], np.bool_)
    chosen: list[int] = []
    for number, some in enumerate(owners):
        theirs = (own[chosen] & some).any(axis=1)
        mutual = (owners[chosen] & own[number]).any(axis=1) & theirs
        if not (some & seen).any() and not mutual.any():
            chosen.append(number)
            seen |= some
    return np.array(chosen, np.intp)


def _beside(
    exhibit: Exhibit, known: NDArray[np.intp], rows: int, ahead: int, behind: int
) -> NDArray[np.bool_]:
    first, length = exhibit.start - ahead, exhibit.stop - exhibit.start + ahead + behind
    return np.asarray((known - first) % rows < length)


def ratio(hit: NDArray[np.bool_], chance: NDArray[np.float64], share: float) -> float:
    """The likelihood ratio of `share` against the chance of each hit."""
    chance = np.clip(chance, 1e-9, 1.0)
    useful = chance < share
    logs = np.where(hit, np.log(share / chance), np.log((1 - share) / np.maximum(1 - chance, 1e-9)))
    return math.exp(min(700.0, float(logs[useful].sum())))


def away_from(
    answer: NDArray[np.float64],
    answers: NDArray[np.float64],
    tolerance: NDArray[np.float64],
    own: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """How far an answer is from each row's, in the smaller of the row's and its own tolerance."""
    allowed = np.minimum(tolerance, tolerance[own]) if own.any() else tolerance
    # Infinite behind the end of a row: only elements that both have can be compared.
    if np.isinf(tolerance).any():
        both = np.isfinite(tolerance) & (np.isfinite(tolerance[own]).all(axis=0))
        allowed = np.where(both, allowed, np.inf)
    far: NDArray[np.float64] = (np.abs(answers - answer) / allowed).max(axis=1)
    far[np.isinf(allowed).all(axis=1)] = np.inf
    return far


def _chances_by_moving(exhibits: list[Exhibit], reference: ReferenceAnswers) -> NDArray[np.float64]:
    """The chance that an answer is close to a row's, whatever moved it, for each closeness.

    It is the share of other rows that come close to a row when moved as far: whole numbers and
    other regular answers do so often, and so do all answers that are moved a little.
    """
    random = np.random.default_rng(_SEED)
    known = np.flatnonzero(reference.known)
    width = reference.answers.shape[1]
    # Fewer elements come close more often, so the chance is too large rather than too small.
    some = random.choice(width, min(width, _ELEMENTS), replace=False)
    answers, tolerance = reference.answers[known][:, some], reference.tolerance[known][:, some]
    hits, tried = np.zeros(len(_CLOSENESS)), 0
    for exhibit in exhibits:
        others = np.flatnonzero(known != exhibit.row)
        others = random.permutation(others)[:_MOVED_ROWS]
        moved = exhibit.answer[some] - reference.answers[exhibit.row, some]
        nearest = np.empty(len(others))
        for place, other in enumerate(others):
            far = away_from(
                answers[other] + moved, answers, tolerance, np.arange(len(known)) == other
            )
            far[other] = np.inf
            nearest[place] = far.min()
        hits += (nearest <= np.array(_CLOSENESS)[:, np.newaxis]).sum(axis=1)
        tried += len(others)
    chances: NDArray[np.float64] = (hits + 1) / (tried + 1)
    return chances


def mean_ratio(hit: NDArray[np.bool_], chance: NDArray[np.float64]) -> float:
    """The mean of `ratio` over the shares: an e-value."""
    return sum(ratio(hit, chance, share) for share in SHARES) / len(SHARES)
