"""The check of rows: whether wrong answers are other rows', and else what they depend on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_dlperf.measure.mixing_evidence import ERROR, Exhibit, mean_ratio, mixed_up
from pytest_dlperf.measure.mixing_trials import tried_mixing
from pytest_dlperf.measure.reference_answers import same_answers
from pytest_dlperf.results.measurement import ErrorCount
from pytest_dlperf.trees import mapped

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pytest_dlperf.clock import Clock
    from pytest_dlperf.measure.reference_answers import ReferenceAnswers, SingleRows
    from pytest_dlperf.trees import Tree


_EXHIBITS: Final = 64
_EXHIBITS_A_BATCH: Final = 8
_AGAIN_ROWS: Final = 32
_AGAIN_SECONDS: Final = 0.5
_AGAIN_CALLS: Final = 4000
_REPLAYED: Final = 8

_RIGHT, _REPEATED, _OTHER = "right", "repeated", "other"  # answers of a batch sent again

MIXED_UP: Final = "rows mixed up"
CHANGED: Final = "answer changed"


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
        if evidence < 1 / ERROR:
            # Under a slow target few rows are known, and few wrong answers are theirs.
            sizes = [x.stop - x.start for x in exhibits]
            evidence, pair = tried_mixing(self.single, self.reference, sizes, self.clock)
        if evidence >= 1 / ERROR and pair is not None:
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
        if calls is None or (1 - wrong.share) ** calls > ERROR:
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
        return mean_ratio(hit, chance) >= 1 / ERROR
