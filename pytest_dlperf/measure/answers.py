"""Rows of requests, and the checks and scores of their answers.

`AnswerEvaluation` is the request source of a load. It keeps answers that differ from those to the
same rows alone: batches can mix rows up. `row_check` finds out afterwards whether they did.
"""

from __future__ import annotations

from collections import deque
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pytest_dlperf.data.position_scoring import PositionScorer, labels_by_row
from pytest_dlperf.data.scoring import user_scores
from pytest_dlperf.errors import AnswerError, kind_of
from pytest_dlperf.load.answer_leaves import MisfitError, joined_leaves
from pytest_dlperf.load.outputs import owned, owned_copy, size_of_outputs
from pytest_dlperf.load.positions import RowPositions, cut, joined
from pytest_dlperf.load.samples import Outcome
from pytest_dlperf.load.summary import Score
from pytest_dlperf.measure.mixing_evidence import Exhibit
from pytest_dlperf.measure.row_check import WrongAnswers
from pytest_dlperf.measure.scored_rows import finite_scores, length_words
from pytest_dlperf.measure.scorer import labels_by_position, labels_to_score, lengths_of
from pytest_dlperf.results.measurement import ErrorCount
from pytest_dlperf.trees import RowTree, read_only, taken

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

    from pytest_dlperf.clock import StoppableClock
    from pytest_dlperf.data.dataset import Data
    from pytest_dlperf.data.scoring import Scorer
    from pytest_dlperf.load.answer_layout import AnswerLayout
    from pytest_dlperf.load.answer_leaves import Leaf
    from pytest_dlperf.measure.reference_answers import ReferenceAnswers
    from pytest_dlperf.measure.scored_rows import Scored
    from pytest_dlperf.trees import Rows, Tree


_KEPT_BYTES: Final = 32 << 20
_LARGE_BYTES: Final = 1 << 16
_CHUNK_ROWS: Final = 1 << 14  # scored at a time, so that scoring needs little memory
_COMPARED_ROWS: Final = 1 << 11  # at a time
_NOT_TAKEN: Final = frozenset(
    {"connection refused", "connection failed", "TLS failed"}
    | {f"status {status}" for status in ("429", "503", "RESOURCE_EXHAUSTED", "UNAVAILABLE")}
)
"""Kinds of errors of servers that have not looked at the request, as where a queue is full."""
_SHOWN_ROWS: Final = 5
_SHOWN_TEXT: Final = 200


class AnswerEvaluation:
    """A `RequestSource` that sends all rows in turn, and scores their answers.

    Answers are kept until the end of the load, so that scoring takes no time from it; when they
    exceed 32 MiB they are scored while the load's clock is stopped.

    Args:
        data: rows and labels.
        order: order in which rows are sent, shape `(rows,)`.
        longest: the largest batch size.
        layout: of the answers.
        scorer: None if labels fit no accuracy and no loss, or there are none.
        reference: answers to single rows, by position in `order`; None skips the comparison.
        clock: of the load.
        copying: entered while a large answer is copied; stops the clock where nothing else runs
            meanwhile.
        by_user: names of the users' metrics to measure; needs labels.
    """

    def __init__(  # noqa: PLR0913 - rows, labels and reference
        self,
        *,
        data: Data,
        order: NDArray[np.int64],
        longest: int,
        layout: AnswerLayout,
        scorer: Scorer | PositionScorer | None,
        reference: ReferenceAnswers | None,
        clock: StoppableClock,
        copying: Callable[[], AbstractContextManager[None]] = nullcontext,
        by_user: tuple[str, ...] = (),
    ) -> None:
        self._clock = clock
        self._copying = copying
        self._rows = len(order)
        self._order = order
        self._distinct = data.distinct
        self._inputs = repeated_rows(data, order, longest)
        self._labels = taken(data.labels, order) if data.labels is not None else None
        find = labels_by_position if layout.by_position else labels_to_score
        labels: Any = find(data.labels, layout)  # as the scorer takes them
        self._scored_labels = labels[order] if labels is not None else None
        lengths = lengths_of(data.labels, layout)
        self._lengths = lengths[order] if lengths is not None else None
        self._layout = layout
        self._scorer = scorer
        self._reference = reference
        self.wrong = WrongAnswers()
        """Answers scored so far that differ from those to the same rows alone."""
        self._kept: deque[tuple[int, int, tuple[Leaf, ...]]] = deque()
        self._kept_bytes = 0
        self._bad: list[tuple[NDArray[np.int64], Outcome]] = []
        self._errors: dict[str, ErrorCount] = {}
        self._answered = np.zeros(self._rows, np.int64)
        self._unusable = np.zeros(self._rows, np.int64)
        self._failed = np.zeros(self._rows, np.int64)
        self._right = np.zeros(self._rows)
        self._loss = np.zeros(self._rows)
        self._by_user = {name: np.zeros(self._rows) for name in by_user}

    def inputs(self, start: int, stop: int) -> Tree:
        """The rows of requests `start` to `stop - 1`, read-only."""
        first = start % self._rows
        return self._inputs[first : first + stop - start]

    def secure(self, outputs: list[object]) -> object:
        """Return the answer, copied if its target may reuse its buffer for the next batch."""
        if owned(outputs):
            return outputs.pop()
        shared = outputs.pop()
        large = size_of_outputs(shared) >= _LARGE_BYTES
        with self._copying() if large else nullcontext():
            return owned_copy(shared)

    def answer(self, start: int, stop: int, outputs: object) -> None:
        """Keep the answer to these requests, or count an error if it is laid out differently.

        Args:
            start: the first request.
            stop: the request after the last.
            outputs: as `secure` returned it.
        """
        try:
            parts = self._layout.parts(outputs, stop - start)
        except MisfitError as error:
            self._count_misfit(start, stop, error)
            return
        size = size_of_outputs(parts[0] if len(parts) == 1 else parts)
        self._kept.append((start, size, parts))
        self._kept_bytes += size
        if self._kept_bytes > _KEPT_BYTES:
            with self._clock.stopped():
                self.finish()

    def fail(self, start: int, stop: int, error: Exception) -> None:
        """Count the exception of these requests."""
        requests = np.arange(start, stop)
        detail = _first_line(error.detail) if isinstance(error, AnswerError) else _message(error)
        self._count(requests, Outcome.EXCEPTION, kind_of(error), detail)

    def finish(self) -> None:
        """Score all answers that are still kept."""
        while self._kept:
            self._score_oldest(_CHUNK_ROWS)

    def outcomes(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Score the answers kept; returns the next requests' `Outcome`, shape `(stop - start,)`.

        Each outcome is returned once: `start` is the `stop` of the call before.
        """
        self.finish()
        outcome = np.full(stop - start, Outcome.OK, np.uint8)
        later = []
        for requests, code in self._bad:
            now = requests < stop
            outcome[requests[now] - start] = code
            if not now.all():
                later.append((requests[~now], code))
        self._bad = later
        return outcome

    @property
    def errors(self) -> tuple[ErrorCount, ...]:
        """Kinds of errors, the most frequent first."""
        return tuple(sorted(self._errors.values(), key=lambda error: -error.requests))

    @property
    def score(self) -> Score | None:
        """Scores by original row; None if answers are not scored."""
        if self._scorer is None and not self._by_user:
            return None
        place = np.argsort(self._order)
        return Score(
            answered=self._answered[place],
            right=self._right[place],
            loss=self._loss[place] if self._scorer is not None and self._scorer.has_loss else None,
            classifies=self._scorer is not None and self._scorer.classifies,
            by_user={name: sums[place] for name, sums in self._by_user.items()},
            unusable=self._unusable[place],
            failed=self._failed[place],
            positions=self._lengths[place] if self._lengths is not None else None,
            distinct=self._distinct,
        )

    def _count(
        self, requests: NDArray[np.int64], outcome: Outcome, kind: str, example: str
    ) -> None:
        self._bad.append((requests, outcome))
        if outcome is not Outcome.EXCEPTION:
            np.add.at(self._unusable, requests % self._rows, 1)
        elif kind not in _NOT_TAKEN:
            np.add.at(self._failed, requests % self._rows, 1)
        known = self._errors.get(kind)
        if known is not None:
            example = known.example
        count = len(requests) + (known.requests if known else 0)
        self._errors[kind] = ErrorCount(kind, count, example)

    def _score_oldest(self, rows: int) -> None:
        starts: list[int] = []
        answers: list[tuple[Leaf, ...]] = []
        computed: list[Any] = []
        by_answer = self._layout.compute is not None or self._lengths is not None
        while self._kept and rows > 0:
            start, size, parts = self._kept.popleft()
            self._kept_bytes -= size
            stop = start + len(parts[0])
            rows -= stop - start
            if by_answer:
                try:
                    computed.append(self._read(parts, np.arange(start, stop)))
                except MisfitError as error:
                    self._count_misfit(start, stop, error)
                    continue
            starts.append(start)
            answers.append(parts)
        if not starts:
            return
        first = np.array(starts, np.int64)
        sizes = np.array([len(parts[0]) for parts in answers], np.int64)
        requests = np.concatenate([np.arange(a, a + n) for a, n in zip(first, sizes, strict=True)])
        batches = np.repeat(np.stack([first, first + sizes], axis=1), sizes, axis=0)
        parts = tuple(joined_leaves(leaf) for leaf in zip(*answers, strict=True))
        join = np.concatenate if self._lengths is None else joined
        scored = join(computed) if computed else self._layout.to_score(parts)
        self._score(requests, batches, parts, scored)

    def _read(self, parts: Sequence[Leaf], requests: NDArray[np.int64]) -> Scored:
        """What is scored of an answer; counts rows that have not the length of their labels."""
        if self._lengths is None:
            return self._layout.to_score(parts)
        positions = requests % self._rows
        lengths = self._lengths[positions]
        scored, found = cut(self._layout.to_cut(parts), lengths)
        wrong = np.flatnonzero(scored.lengths != lengths)
        if len(wrong):
            words = length_words(int(lengths[wrong[0]]), int(found[wrong[0]]))
            example = f"row {self._order[positions[wrong[0]]]}: {words}"
            self._count(requests[wrong], Outcome.WRONG_SHAPE, "wrong shape", example)
        return scored

    def _score(
        self,
        requests: NDArray[np.int64],
        batches: NDArray[np.int64],
        parts: tuple[Leaf, ...],
        scored: Scored,
    ) -> None:
        positions = requests % self._rows
        finite = np.ones(len(requests), np.bool_)
        named: list[tuple[str, Leaf | Scored]] = list(zip(self._layout.paths, parts, strict=True))
        if isinstance(scored, RowPositions) and self._lengths is not None:
            finite = scored.lengths == self._lengths[positions]
            if self._layout.scored is not None:  # not its padding
                named[self._layout.scored] = (named[self._layout.scored][0], scored)
        if self._layout.compute is not None:
            named.append(("what output= returned", scored))
        for path, part in named:
            bad = np.flatnonzero(finite & ~finite_scores(part))
            if len(bad):
                self._count_not_finite(requests[bad], positions[bad], path)
                finite[bad] = False
        good = np.flatnonzero(finite)
        if self._reference is not None:
            # Wrong answers are scored all the same: mixed-up rows cost accuracy, which must show.
            self._compare(self._reference, scored[good], positions[good], batches[good])
        if self._labels is not None:
            outputs = self._layout.of_rows(parts, scored, good)
            self._score_finite(outputs, scored[good], positions[good])

    def _compare(
        self,
        reference: ReferenceAnswers,
        scored: Scored,
        positions: NDArray[np.int64],
        batches: NDArray[np.int64],
    ) -> None:
        known = np.flatnonzero(positions < len(reference.answers))
        known = known[reference.known[positions[known]]]
        self.wrong.checked += len(known)
        for first in range(0, len(known), _COMPARED_ROWS):
            some = known[first : first + _COMPARED_ROWS]
            answers, rows = reference.compared(scored[some]), positions[some]
            away = np.abs(answers - reference.answers[rows])
            wrong = np.flatnonzero((away > reference.tolerance[rows]).any(axis=1))
            self.wrong.count += len(wrong)
            for place in wrong:
                start, stop = map(int, batches[some[place]])
                row = int(rows[place])
                if self.wrong.wants(start, row):
                    self.wrong.exhibits[row] = Exhibit(start, stop, row, answers[place].copy())

    def _score_finite(
        self,
        outputs: Tree,
        scored: Any,  # noqa: ANN401 - as the scorer takes it
        positions: NDArray[np.int64],
    ) -> None:
        np.add.at(self._answered, positions, 1)
        if self._scorer is not None and self._scored_labels is not None:
            right, loss = self._scorer.score(scored, self._scored_labels[positions])
            np.add.at(self._right, positions, right)
            np.add.at(self._loss, positions, loss)
        if self._by_user and self._labels is not None:
            labels = labels_by_row(taken(self._labels, positions))
            by_name = user_scores(outputs, labels, self._by_user, len(positions))
            for name, scores in by_name.items():
                np.add.at(self._by_user[name], positions, scores)

    def _count_misfit(self, start: int, stop: int, error: MisfitError) -> None:
        requests = np.arange(start, stop)
        self._count(requests, Outcome.WRONG_SHAPE, "wrong shape", _message(error))

    def _count_not_finite(
        self, requests: NDArray[np.int64], positions: NDArray[np.int64], path: str
    ) -> None:
        rows = np.unique(self._order[positions]).tolist()
        shown = ", ".join(map(str, rows[:_SHOWN_ROWS])) + (
            " ..." if len(rows) > _SHOWN_ROWS else ""
        )
        where = f" in {path}" if path else ""
        example = f"NaN or infinity{where}, for {'row' if len(rows) == 1 else 'rows'} {shown}"
        self._count(requests, Outcome.NOT_FINITE, "not finite", example)


def repeated_rows(data: Data, order: NDArray[np.int64], longest: int) -> Rows:
    """Rows in the order in which they are sent, the first `longest` repeated at the end; read-only.

    So each batch of at most `longest` rows is one slice, without a copy.
    """
    rows = taken(data.inputs, np.resize(order, len(order) + longest))
    return read_only(rows if isinstance(rows, RowTree) else np.ascontiguousarray(rows))


def _message(error: Exception) -> str:
    """First line of an exception's text, whose `__str__` may fail."""
    try:
        return _first_line(str(error))
    except Exception as failed:  # noqa: BLE001 - the target's own code
        return f"its text cannot be shown ({type(failed).__name__})"


def _first_line(text: str) -> str:
    lines = text.splitlines()
    return lines[0][:_SHOWN_TEXT] if lines else ""
