"""The check of rows: whether wrong answers are those of other rows, and else what they depend on.

Rows are sent in a random order that the target does not know. So if an answer that is not its own
row's happens to be another row's, that row is one of those sent beside it with a known chance: the
share of rows that were. Wrong answers are called mixed up if they are those of rows sent beside
them so often that under that chance it would happen in one of a million runs at most.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_dlperf.measure.reference_answers import same_answers
from pytest_dlperf.results.measurement import ErrorCount
from pytest_dlperf.trees import mapped

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pytest_dlperf.clock import Clock
    from pytest_dlperf.measure.reference_answers import ReferenceAnswers, SingleRows
    from pytest_dlperf.trees import Tree


_ERROR: Final = 1e-6
"""Chance of a false accusation."""
_EXHIBITS: Final = 64
_EXHIBITS_A_BATCH: Final = 8
_CLOSENESS: Final = (1.0, 0.1, 0.01, 0.001)  # of an answer and a row's own, in tolerances
_SHARES: Final = (0.98, 0.9, 0.5, 0.2)  # of the wrong answers that are those of rows beside them
_MOST_BESIDE: Final = 0.5  # with more of the rows beside, order tells little
_MOVED_ROWS: Final = 64
_ELEMENTS: Final = 64
_SEED: Final = 0
_AGAIN_ROWS: Final = 32
_AGAIN_SECONDS: Final = 0.5
_AGAIN_CALLS: Final = 4000
_REPLAYED: Final = 8

_RIGHT, _REPEATED, _OTHER = "right", "repeated", "other"  # answers of a batch sent again

MIXED_UP: Final = "rows mixed up"
CHANGED: Final = "answer changed"


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


@dataclass(slots=True)
class WrongAnswers:
    """The answers of a load that are not their rows' own; a few are kept, one of a row."""

    checked: int = 0
    count: int = 0
    exhibits: dict[int, Exhibit] = field(default_factory=dict)

    def wants(self, start: int, row: int) -> bool:
        """Whether an exhibit of this batch and row is still of use."""
        return (
            len(self.exhibits) < _EXHIBITS
            and row not in self.exhibits
            and sum(x.start == start for x in self.exhibits.values()) < _EXHIBITS_A_BATCH
        )

    @property
    def share(self) -> float:
        """The share of the checked answers that are wrong."""
        return self.count / max(1, self.checked)


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of wrong answers: an error, or a note."""

    error: ErrorCount | None = None
    note: str = ""


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
    away = np.stack([_away(x.answer, answers, tolerance, np.equal(known, x.row)) for x in exhibits])
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
            chance = 1 - (1 - share_beside) ** owners.sum(axis=1)
            if by_moving is not None:
                chance[many] = by_moving[number]
            hit = (owners & beside).any(axis=1)
            used = _disjoint(owners)
            new = [_ratio(hit[used], chance[used], share) for share in _SHARES]
            ratios += new
            if max(new) > strongest and hit[used].any():
                at = int(used[np.argmax(hit[used])])
                owner = int(known[np.argmax(owners[at] & beside[at])])
                strongest, pair = max(new), (exhibits[at].row, owner)
    return sum(ratios) / len(ratios), pair


def _disjoint(owners: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Rows of `owners` that share no column: whether one is a hit says nothing of the others."""
    seen = np.zeros(owners.shape[1], np.bool_)
    chosen = []
    for number, some in enumerate(owners):
        if not (some & seen).any():
            chosen.append(number)
            seen |= some
    return np.array(chosen, np.intp)


def _beside(
    exhibit: Exhibit, known: NDArray[np.intp], rows: int, ahead: int, behind: int
) -> NDArray[np.bool_]:
    first, length = exhibit.start - ahead, exhibit.stop - exhibit.start + ahead + behind
    return np.asarray((known - first) % rows < length)


def _ratio(hit: NDArray[np.bool_], chance: NDArray[np.float64], share: float) -> float:
    """The likelihood ratio of `share` against the chance of each hit."""
    chance = np.clip(chance, 1e-9, 1.0)
    useful = chance < share
    logs = np.where(hit, np.log(share / chance), np.log((1 - share) / np.maximum(1 - chance, 1e-9)))
    return math.exp(min(700.0, float(logs[useful].sum())))


def _away(
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
            far = _away(answers[other] + moved, answers, tolerance, np.arange(len(known)) == other)
            far[other] = np.inf
            nearest[place] = far.min()
        hits += (nearest <= np.array(_CLOSENESS)[:, np.newaxis]).sum(axis=1)
        tried += len(others)
    chances: NDArray[np.float64] = (hits + 1) / (tried + 1)
    return chances


@dataclass(frozen=True, slots=True)
class RowCheck:
    """Finds out, after a load, why answers under it are not those to the same rows alone.

    Attributes:
        single: asks a replica for single rows.
        reference: the answers to single rows.
        inputs: the rows of requests `start` to `stop - 1`.
        order: the data's row at each position of the order of sending.
        reach: how many requests may be in flight at a time.
        clock: time.
    """

    single: SingleRows
    reference: ReferenceAnswers
    inputs: Callable[[int, int], Tree]
    order: NDArray[np.int64]
    reach: int
    clock: Clock

    def explain(self, wrong: WrongAnswers) -> Finding:
        """Ask for some of the rows again, alone and in their batches."""
        exhibits = list(wrong.exhibits.values())
        again = self._asked_again(exhibits[:_AGAIN_ROWS])
        if not all(again):
            return Finding(
                note="answers changed since the first call, so they depend on earlier calls or "
                f"are random: {again.count(False)} of {len(again)} rows that were asked alone "
                "again after the load are answered differently; rows are not checked for mix-ups"
            )
        evidence, pair = mixed_up(exhibits, self.reference, len(self.order), self.reach)
        if evidence >= 1 / _ERROR and pair is not None:
            got = f"row {self.order[pair[0]]} got the answer of row {self.order[pair[1]]}"
            return Finding(ErrorCount(MIXED_UP, wrong.count, got))
        row = int(self.order[exhibits[0].row])
        differ = f"under load {wrong.share:.2%} of the answers are not those of the same rows alone"
        replays = [self._replay(x) for x in exhibits[:_REPLAYED]]
        if any(replay != _RIGHT for replay in replays):
            if replays.count(_REPEATED) == len(replays) and self._of_padding(exhibits):
                got = f"row {row} got the answer of a row of zeros, as batches are padded with"
                return Finding(ErrorCount(MIXED_UP, wrong.count, got))
            return Finding(
                note=f"answers depend on the batch: {differ} (row {row} for one), nor are they "
                "when the same batch is sent after the load"
            )
        calls = self._calls_alike(exhibits)
        if calls is None or (1 - wrong.share) ** calls > _ERROR:
            return Finding(
                note=f"{differ} (row {row} for one), for a reason that rows asked again do not "
                "show: random answers, or calls that disturb each other"
            )
        otherwise = f"row {row} is answered otherwise under load than alone, before and after it"
        return Finding(ErrorCount(CHANGED, wrong.count, otherwise))

    def _asked_again(self, exhibits: list[Exhibit]) -> list[bool]:
        end_ns = self.clock.now_ns() + int(_AGAIN_SECONDS * 1e9)
        again: list[bool] = []
        for exhibit in exhibits:
            again.append(self._alone(exhibit.row))
            if self.clock.now_ns() >= end_ns:
                break
        return again

    def _alone(self, row: int) -> bool:
        """Whether a row asked alone is still answered as before the load."""
        answer = self.single.again(row)
        at = slice(row, row + 1)
        tolerance = self.reference.tolerance[at]
        return bool(same_answers(answer[np.newaxis], self.reference.answers[at], tolerance)[0])

    def _calls_alike(self, exhibits: list[Exhibit]) -> int | None:
        """How many times rows were asked alone and all answered alike; None if not all were."""
        end_ns = self.clock.now_ns() + int(_AGAIN_SECONDS * 1e9)
        for call in range(_AGAIN_CALLS):
            if not self._alone(exhibits[call % len(exhibits)].row):
                return None
            if self.clock.now_ns() >= end_ns:
                return call + 1
        return _AGAIN_CALLS

    def _replay(self, exhibit: Exhibit) -> str:
        """Send a batch again: is the wrong answer repeated, all right, or is any other wrong?"""
        positions = np.arange(exhibit.start, exhibit.stop) % len(self.order)
        try:
            batch = self.inputs(exhibit.start, exhibit.stop)
            answers = self.single.answers(batch, positions)
        except Exception:  # noqa: BLE001 - the target may raise anything
            return _OTHER
        tolerance = self.reference.tolerance
        at = np.flatnonzero(positions == exhibit.row)
        repeated = same_answers(answers[at], exhibit.answer[np.newaxis], tolerance[[exhibit.row]])
        if repeated.any():
            return _REPEATED
        known = positions < len(self.reference.answers)
        own = positions[known]
        away = np.abs(answers[known] - self.reference.answers[own])
        return _OTHER if (away > tolerance[own]).any() else _RIGHT

    def _of_padding(self, exhibits: list[Exhibit]) -> bool:
        """Whether most wrong answers are that to a row of zeros, which is no row's own.

        Not known of rows with lengths, of which a row of zeros has none.
        """
        if self.single.lengths is not None:
            return False
        zeros = mapped(np.zeros_like, self.inputs(0, 1))
        try:
            self.single.answers(zeros, np.zeros(1, np.int64))
            (answer,) = self.single.answers(zeros, np.zeros(1, np.int64))
        except Exception:  # noqa: BLE001 - the target may raise anything
            return False
        tolerance = self.reference.tolerance
        own = (np.abs(self.reference.answers - answer) <= tolerance).all(axis=1).any()
        if own or not np.isfinite(answer).all():
            return False
        others = np.stack([x.answer for x in exhibits])
        of_rows = tolerance[[x.row for x in exhibits]]
        hit = same_answers(others, np.broadcast_to(answer, others.shape), of_rows)
        chance = np.full(len(exhibits), 1 / (1 + int(self.reference.known.sum())))
        ratios = [_ratio(hit, chance, share) for share in _SHARES]
        return sum(ratios) / len(ratios) >= 1 / _ERROR
