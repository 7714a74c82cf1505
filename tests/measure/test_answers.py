"""The evaluation: every row equally often, and every wrong answer found."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import numpy as np
import pytest
from fakes import FakeClock, TimedTarget, array_layout

from pytest_dlperf.clock import StoppableClock
from pytest_dlperf.data.dataset import as_data
from pytest_dlperf.data.scoring import Scorer
from pytest_dlperf.errors import RemoteError
from pytest_dlperf.load.answer_layout import layout_of
from pytest_dlperf.load.answer_tree import Sample
from pytest_dlperf.load.samples import Outcome
from pytest_dlperf.measure.answers import AnswerEvaluation
from pytest_dlperf.measure.reference_answers import ReferenceAnswers, SingleRows, ask_alone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

ROWS, CLASSES = 30, 3
LABELS = np.arange(ROWS) % CLASSES
ANSWERS = np.eye(CLASSES)[LABELS] * 0.8 + 0.1 * np.arange(ROWS)[:, None] / ROWS
DATA = as_data((np.arange(ROWS, dtype=float)[:, None], LABELS))
ORDER = np.random.default_rng(5).permutation(ROWS)


def evaluation(
    *,
    reference: bool = True,
    longest: int = 8,
    copying: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
) -> AnswerEvaluation:
    """An evaluation of 30 rows whose right answers are known."""
    return AnswerEvaluation(
        data=DATA,
        order=ORDER,
        longest=longest,
        layout=array_layout(CLASSES),
        scorer=Scorer("classes", logits=False),
        reference=ReferenceAnswers(ANSWERS[ORDER]) if reference else None,
        clock=StoppableClock(FakeClock()),
        copying=copying,
    )


def right(source: AnswerEvaluation, start: int, stop: int) -> NDArray[np.float64]:
    """The right answers to some requests."""
    answers: NDArray[np.float64] = ANSWERS[source.inputs(start, stop)[:, 0].astype(int)]
    return answers


def test_rows_are_asked_equally_often() -> None:
    """Over whole passes every row is asked the same number of times, in the seeded order."""
    source = evaluation(longest=7)

    rows = np.concatenate([source.inputs(i, i + 7)[:, 0] for i in range(0, 7 * ROWS, 7)])

    assert set(np.bincount(rows.astype(int))) == {7}
    np.testing.assert_array_equal(rows[:ROWS], ORDER)


def test_a_batch_may_be_larger_than_the_data() -> None:
    """Rows are repeated to fill a batch."""
    source = evaluation(longest=100)

    np.testing.assert_array_equal(source.inputs(0, 100)[:, 0], np.resize(ORDER, 100))


def test_inputs_cannot_be_changed_by_the_target() -> None:
    """A target that works in place would spoil later requests; it gets an error instead."""
    with pytest.raises(ValueError, match="read-only"):
        evaluation().inputs(0, 4)[0] = 1


def test_right_answers_score_fully() -> None:
    """Every row right: accuracy 1, no errors, outcomes all OK."""
    source = evaluation()
    for start in range(0, ROWS, 6):
        source.answer(start, start + 6, right(source, start, start + 6))
    source.finish()

    assert source.score is not None
    np.testing.assert_array_equal(source.score.answered, np.ones(ROWS))
    np.testing.assert_array_equal(source.score.right, np.ones(ROWS))
    assert source.errors == ()
    assert not source.outcomes(0, ROWS).any()


def test_the_score_is_by_original_row() -> None:
    """A row that is answered wrongly is found at its own place in the data."""
    source = evaluation(reference=False)
    answers = right(source, 0, 8)
    answers[3] = np.roll(answers[3], 1)
    source.answer(0, 8, answers)
    source.finish()

    assert source.score is not None
    wrong = np.flatnonzero((source.score.answered > 0) & (source.score.right == 0))
    np.testing.assert_array_equal(wrong, [ORDER[3]])


def test_answers_that_are_not_their_rows_own_are_kept() -> None:
    """They are scored as they are and count as good, until the load is over."""
    source = evaluation()
    answers = right(source, 0, 8)
    first = 0
    second = next(i for i in range(8) if LABELS[ORDER[i]] != LABELS[ORDER[0]])
    answers[[first, second]] = answers[[second, first]]
    source.answer(0, 8, answers)
    source.finish()

    assert source.errors == ()
    assert not source.outcomes(0, 8).any()
    assert (source.wrong.checked, source.wrong.count) == (8, 2)
    assert set(source.wrong.exhibits) == {first, second}
    shown = source.wrong.exhibits[second]
    assert (shown.start, shown.stop, shown.row) == (0, 8, second)
    np.testing.assert_array_equal(shown.answer, answers[second])
    assert source.score is not None
    assert source.score.right.sum() == 6


def test_values_that_are_not_finite_are_named_by_row() -> None:
    """NaN and infinity are errors, each row named, and are not scored."""
    source = evaluation()
    answers = right(source, 0, 4)
    answers[1, 0], answers[2, 2] = np.nan, np.inf
    source.answer(0, 4, answers)
    source.finish()

    (error,) = source.errors
    assert (error.kind, error.requests) == ("not finite", 2)
    assert ", ".join(str(row) for row in sorted(ORDER[1:3])) in error.example
    assert source.score is not None
    assert source.score.answered.sum() == 2


@pytest.mark.parametrize(
    "outputs",
    [np.zeros((3, CLASSES)), np.zeros((4, CLASSES + 1)), np.zeros(4), None, [[1, 2], [3]], "text"],
    ids=["rows missing", "another width", "no width", "nothing", "ragged", "text"],
)
def test_answers_of_another_shape_are_errors(outputs: object) -> None:
    """A wrong shape is an error of the whole batch."""
    source = evaluation()

    source.answer(0, 4, outputs)
    source.finish()

    assert [(error.kind, error.requests) for error in source.errors] == [("wrong shape", 4)]
    assert set(source.outcomes(0, 4)) == {Outcome.WRONG_SHAPE}


def test_exceptions_are_counted_by_type() -> None:
    """Each type is a kind of its own, with its first message."""
    source = evaluation()
    source.fail(0, 4, ValueError("first"))
    source.fail(4, 6, ValueError("second"))
    source.fail(6, 7, KeyError("third"))

    errors = [(error.kind, error.requests, error.example) for error in source.errors]
    assert errors == [("ValueError", 6, "first"), ("KeyError", 1, "'third'")]


def test_outcomes_are_handed_over_once() -> None:
    """Each request's outcome is returned once, in whatever order answers came."""
    source = evaluation()
    source.answer(8, 12, None)
    source.fail(0, 4, ValueError())
    source.answer(4, 8, right(source, 4, 8) * [[np.nan], [1], [1], [1]])

    bad, shape = Outcome.EXCEPTION, Outcome.WRONG_SHAPE
    assert list(source.outcomes(0, 6)) == [bad] * 4 + [Outcome.NOT_FINITE, Outcome.OK]
    source.fail(14, 16, KeyError())
    assert list(source.outcomes(6, 10)) == [Outcome.OK] * 2 + [shape] * 2
    assert list(source.outcomes(10, 16)) == [shape] * 2 + [Outcome.OK] * 2 + [bad] * 2
    assert sum(error.requests for error in source.errors) == 11


def test_a_reused_output_buffer_does_no_harm() -> None:
    """A target that writes every answer into the same array is scored as it answered."""
    source = evaluation()
    buffer = np.empty((5, CLASSES))
    for start in range(0, ROWS, 5):
        buffer[:] = right(source, start, start + 5)
        source.answer(start, start + 5, source.secure([buffer]))
    source.finish()

    assert source.errors == ()
    assert source.score is not None
    assert source.score.right.sum() == ROWS


@pytest.mark.parametrize("size", [10, 1 << 20])
def test_only_an_answer_that_its_target_keeps_is_copied(size: int) -> None:
    """The clock stops for the copy of a large one, as copying is not the target's work."""
    stops = 0

    @contextlib.contextmanager
    def copying() -> Iterator[None]:
        nonlocal stops
        stops += 1
        yield

    source = evaluation(copying=copying)
    kept = np.zeros(size, np.uint8)
    fresh = np.zeros(size, np.uint8)
    place = fresh.ctypes.data

    for shared in (kept, kept[:]):
        assert not np.shares_memory(source.secure([shared]), kept)  # type: ignore[arg-type]
    held: list[object] = [fresh]
    del fresh, shared
    assert source.secure(held).ctypes.data == place  # type: ignore[attr-defined]
    assert stops == (2 if size > 1 << 16 else 0)


def test_a_dict_that_its_target_forgets_is_not_copied() -> None:
    """Only arrays that something else refers to are."""
    source = evaluation()
    kept = np.zeros(10, np.uint8)
    fresh = np.zeros(10, np.uint8)
    place = fresh.ctypes.data

    held: list[object] = [{"scores": fresh}]
    del fresh
    assert source.secure(held)["scores"].ctypes.data == place  # type: ignore[index]
    for shared in (kept, kept[:]):
        held = [{"scores": np.zeros(10, np.uint8), "classes": shared}]
        assert not np.shares_memory(source.secure(held)["classes"], kept)  # type: ignore[index]


def test_answers_are_scored_before_memory_fills(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit, answers are scored while the load goes on, with the same result."""
    monkeypatch.setattr("pytest_dlperf.measure.answers._KEPT_BYTES", 200)
    source = evaluation()
    for start in range(0, 2 * ROWS, 6):
        source.answer(start, start + 6, right(source, start, start + 6))

    assert source.score is not None
    assert source.score.answered.sum() >= 2 * ROWS - 12
    source.finish()
    np.testing.assert_array_equal(source.score.answered, np.full(ROWS, 2))


def alone(target: TimedTarget) -> tuple[ReferenceAnswers | None, str]:
    """Ask a target for the 30 rows one at a time."""
    single = SingleRows(target, DATA.inputs, array_layout(CLASSES))
    return ask_alone(single, ANSWERS[:8], target.clock)


def lookup(batch: NDArray[np.float64]) -> NDArray[np.float64]:
    """The right answers, by row number."""
    answers: NDArray[np.float64] = ANSWERS[batch[:, 0].astype(int)]
    return answers


def test_rows_are_asked_alone() -> None:
    """Each row's own answer is kept, and 5 % of their range is tolerated."""
    reference, remark = alone(TimedTarget(FakeClock(), lambda _: 1000, lookup))

    assert remark == ""
    assert reference is not None
    np.testing.assert_allclose(reference.answers, ANSWERS)
    assert reference.tolerance == pytest.approx(0.05 * np.ptp(np.sort(ANSWERS, 0)[1:-1]), rel=0.2)


def test_asking_alone_is_bounded_in_time() -> None:
    """A slow target is asked until there are a few rows, or for two seconds, not for every row."""
    for service_ns, rows in ((30_000_000, 9), (100_000_000, 5), (600_000_000, 2)):
        target = TimedTarget(FakeClock(), lambda _, service_ns=service_ns: service_ns, lookup)

        reference, remark = alone(target)

        assert reference is not None
        assert len(reference.answers) == rows
        assert ("too few to tell" in remark) == (rows < 5)


def test_a_target_that_answers_at_random_is_not_checked() -> None:
    """If single rows get different answers each time, rows are not checked, and a note says so."""
    random = np.random.default_rng(0)
    target = TimedTarget(FakeClock(), lambda _: 1000, lambda b: random.random((len(b), CLASSES)))

    reference, remark = alone(target)

    assert reference is None
    assert "asked twice is answered differently" in remark


def test_rows_that_fail_alone_are_not_checked_but_the_others_are() -> None:
    """An exception for one row leaves that row without a reference only."""

    def fails_for_row_two(batch: NDArray[np.float64]) -> NDArray[np.float64]:
        if 2 in batch:
            raise RuntimeError("no")
        return lookup(batch)

    reference, _ = alone(TimedTarget(FakeClock(), lambda _: 1000, fails_for_row_two))

    assert reference is not None
    assert list(np.flatnonzero(~reference.known)) == [2]


def test_a_buffer_that_is_used_again_does_not_look_random() -> None:
    """Each row's own answer is kept, though the target writes all of them to one place."""
    buffer = np.empty((1, CLASSES))

    def reuses(batch: NDArray[np.float64]) -> NDArray[np.float64]:
        buffer[:] = lookup(batch)
        return buffer

    reference, remark = alone(TimedTarget(FakeClock(), lambda _: 1000, reuses))

    assert remark == ""
    assert reference is not None
    np.testing.assert_allclose(reference.answers, ANSWERS)


class Unspeakable(Exception):  # noqa: N818 - made up
    """An exception whose text fails."""

    def __str__(self) -> str:
        raise RuntimeError


def test_errors_of_a_server_are_counted_by_kind() -> None:
    """Errors of a server count by their kind, not by the exception's type."""
    source = evaluation()

    source.fail(0, 3, RemoteError("timeout", "no answer within 10 s"))
    source.fail(3, 4, RemoteError("status 503", "overloaded\nsecond line"))
    source.fail(4, 6, RemoteError("timeout", "no answer, again"))

    assert [(e.kind, e.requests, e.example) for e in source.errors] == [
        ("timeout", 5, "no answer within 10 s"),
        ("status 503", 1, "overloaded"),
    ]
    assert source.outcomes(0, 7).tolist() == [Outcome.EXCEPTION] * 6 + [Outcome.OK]


@pytest.mark.parametrize(
    ("error", "example"),
    [
        (ValueError("first line\nsecond line"), "first line"),
        (ValueError("x" * 1000), "x" * 200),
        (ValueError(), ""),
        (Unspeakable(), "its text cannot be shown (RuntimeError)"),
    ],
)
def test_an_exceptions_text_is_kept_short(error: Exception, example: str) -> None:
    """One line of an exception's text is kept."""
    source = evaluation()

    source.fail(0, 1, error)

    assert source.errors[0].example == example


def test_answers_that_are_none_are_kept_by_row() -> None:
    """NaN and other shapes count as answers, exceptions as failures of rows that were asked."""
    source = evaluation()
    answers = right(source, 0, 4)
    answers[1, 0] = np.nan
    source.answer(0, 4, answers)
    source.answer(4, 6, np.zeros((2, CLASSES + 1)))
    source.fail(6, 8, ValueError())
    for kind in ("status 503", "connection refused", "status RESOURCE_EXHAUSTED"):
        source.fail(8, 10, RemoteError(kind, "the queue is full"))
    source.fail(10, 12, RemoteError("timeout", "no answer within 1 s"))
    source.finish()

    score = source.score
    assert score is not None
    assert score.unusable is not None
    assert score.failed is not None
    assert sorted(np.flatnonzero(score.unusable)) == sorted(ORDER[[1, 4, 5]])
    assert sorted(np.flatnonzero(score.failed)) == sorted(ORDER[[6, 7, 10, 11]])
    # A server that took no request was not asked, nor were the rows of later requests.
    assert sorted(np.flatnonzero(score.asked)) == sorted(ORDER[[*range(8), 10, 11]])
    assert score.right_shares.sum() == 3


BOXES = {"boxes": np.arange(ROWS * 2.0).reshape(ROWS, 2)}


def of_several_outputs(output: str | None = None) -> AnswerEvaluation:
    """An evaluation of answers with scores and boxes."""
    samples = [Sample({"scores": ANSWERS[:n], "boxes": BOXES["boxes"][:n]}, n) for n in (1, 8)]
    return AnswerEvaluation(
        data=DATA,
        order=ORDER,
        longest=8,
        layout=layout_of(samples, output),
        scorer=Scorer("classes", logits=False) if output else None,
        reference=None,
        clock=StoppableClock(FakeClock()),
    )


def test_the_output_that_was_chosen_is_scored() -> None:
    """All rows are right by their scores, whatever the boxes are."""
    source = of_several_outputs("scores")

    source.answer(0, 8, {"boxes": np.zeros((8, 9)), "scores": right(source, 0, 8)})

    source.finish()
    assert source.errors == ()
    assert source.score is not None
    assert source.score.right.sum() == 8


@pytest.mark.parametrize(
    ("boxes", "kind", "example"),
    [
        (np.zeros((9, 2)), "wrong shape", "boxes: 9 rows for a batch of 8"),
        (np.where(np.arange(16).reshape(8, 2) == 3, np.nan, 0), "not finite", "in boxes, for row"),
        (None, "wrong shape", "boxes: object[] for a batch of 8"),
    ],
)
def test_every_output_is_checked(boxes: object, kind: str, example: str) -> None:
    """Also those that are not scored; the path is named."""
    source = of_several_outputs("scores")

    source.answer(0, 8, {"boxes": boxes, "scores": right(source, 0, 8)})
    outcomes = source.outcomes(0, 8)

    (error,) = source.errors
    assert error.kind == kind
    assert example in error.example
    assert (outcomes != Outcome.OK).sum() == (1 if kind == "not finite" else 8)


def test_a_function_that_fails_under_load() -> None:
    """Its calls are errors, and the others are scored."""
    layout = layout_of(
        [Sample({"scores": ANSWERS[:n], "n": np.arange(n)}, n) for n in (1, 8)],
        lambda outputs: outputs["scores"] / 1,
    )
    source = AnswerEvaluation(
        data=DATA,
        order=ORDER,
        longest=8,
        layout=layout,
        scorer=Scorer("classes", logits=False),
        reference=None,
        clock=StoppableClock(FakeClock()),
    )

    source.answer(0, 8, {"scores": right(source, 0, 8), "n": np.arange(8)})
    source.answer(8, 16, {"scores": np.full(8, "text"), "n": np.arange(8)})

    assert (source.outcomes(0, 16) != Outcome.OK).tolist() == [False] * 8 + [True] * 8
    assert "output= raised" in source.errors[0].example


def test_a_tree_that_its_target_reuses() -> None:
    """Each array of it is copied."""
    source = of_several_outputs("scores")
    buffer = {"boxes": np.zeros((8, 2)), "scores": right(source, 0, 8)}

    held: list[object] = [buffer]
    kept = source.secure(held)
    buffer["scores"][:] = np.nan

    assert isinstance(kept, dict)
    assert np.isfinite(kept["scores"]).all()
