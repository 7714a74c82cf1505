"""The check of rows: rows that are mixed up are found, and nothing else is called so."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pytest
from fakes import FakeClock, TimedTarget, array_layout

from pytest_dlperf.clock import StoppableClock
from pytest_dlperf.data.dataset import as_data
from pytest_dlperf.measure.answers import AnswerEvaluation
from pytest_dlperf.measure.reference_answers import (
    ALIKE,
    FAILED,
    FEW,
    OF_BATCH,
    ONE_ROW,
    UNSTABLE,
    ReferenceAnswers,
    SingleRows,
    ask_alone,
)
from pytest_dlperf.measure.row_check import Finding, RowCheck

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Model: TypeAlias = Callable[[NDArray[Any]], NDArray[Any]]

LONGEST = 8
ROWS = np.random.default_rng(3).standard_normal((200, 6))
WEIGHTS = np.random.default_rng(4).standard_normal((6, 10))


def softmax(batch: NDArray[Any]) -> NDArray[Any]:
    """Scores of ten classes."""
    scores = np.exp(batch @ WEIGHTS)
    shares: NDArray[Any] = scores / scores.sum(axis=1, keepdims=True)
    return shares


def classes(batch: NDArray[Any]) -> NDArray[Any]:
    """Class numbers."""
    return np.asarray(softmax(batch).argmax(axis=1)[:, np.newaxis])


def bit(batch: NDArray[Any]) -> NDArray[Any]:
    """One bit."""
    return np.asarray((batch[:, :1] > 0).astype(np.int64))


def one(batch: NDArray[Any]) -> NDArray[Any]:
    """One number."""
    return batch[:, :1]


def two(batch: NDArray[Any]) -> NDArray[Any]:
    """Two numbers, of which one says little."""
    return batch[:, :2] * [1, 1e-3]


def half(batch: NDArray[Any]) -> NDArray[Any]:
    """Scores of a model that calculates with 16 bits."""
    return softmax(batch.astype(np.float16).astype(np.float64)).astype(np.float16)


def offset(batch: NDArray[Any]) -> NDArray[Any]:
    """A large constant beside a small number."""
    return np.hstack([np.full((len(batch), 1), 1000.0), batch[:, :1]])


def outlier(batch: NDArray[Any]) -> NDArray[Any]:
    """One number, which is a million times as large for one row."""
    return batch[:, :1] * np.where(batch[:, :1] == ROWS[17, 0], 1e6, 1)


def large(batch: NDArray[Any]) -> NDArray[Any]:
    """More elements than are compared."""
    return np.repeat(batch, 2000, axis=1)


def checked(  # noqa: PLR0913 - a load has this many properties
    target: Model,
    rows: NDArray[Any] = ROWS,
    *,
    longest: int = LONGEST,
    calls: int = 400,
    sizes: tuple[int, ...] = (),
    call_ns: int = 1000,
) -> tuple[Finding, str]:
    """What is found in a load of a target, and the note of before."""
    clock = FakeClock()
    data = as_data((rows, None))
    order = np.random.default_rng(0).permutation(len(rows))
    timed = TimedTarget(clock, lambda _: call_ns, target)
    sent = np.resize(rows[order], (max(longest, len(rows)), *rows.shape[1:]))
    together = np.asarray(timed.infer(sent[:longest]))
    layout = array_layout(*together.shape[1:])
    single = SingleRows(timed, sent[: len(rows)], layout)
    reference, remark = ask_alone(single, together, clock)
    source = AnswerEvaluation(
        data=data,
        order=order,
        longest=longest,
        layout=layout,
        scorer=None,
        reference=reference,
        clock=StoppableClock(clock),
    )
    start = 0
    for call in range(calls):
        stop = start + (sizes[call % len(sizes)] if sizes else longest)
        source.answer(start, stop, np.array(timed.infer(source.inputs(start, stop))))
        start = stop
    source.finish()
    assert source.errors == ()
    if reference is None or not source.wrong.count:
        return Finding(), remark
    check = RowCheck(
        single=replace(single, elements=reference.elements),
        reference=reference,
        inputs=source.inputs,
        order=order,
        reach=longest,
        clock=clock,
    )
    finding = check.explain(source.wrong)
    if finding.error is not None:
        assert finding.error.requests == source.wrong.count
    return finding, remark


def rolled(model: Model) -> Model:
    """Each answer is that of the row before it in the batch."""
    return lambda batch: np.roll(model(batch), 1, axis=0)


def turned(model: Model) -> Model:
    """The answers of a batch, in reverse order."""
    return lambda batch: model(batch)[::-1].copy()


def swapped(model: Model) -> Model:
    """The first two rows of each batch are swapped."""

    def target(batch: NDArray[Any]) -> NDArray[Any]:
        order = np.arange(len(batch))
        order[:2] = order[:2][::-1]
        return model(batch)[order]

    return target


def seldom(model: Model) -> Model:
    """One batch of a hundred is permuted."""
    random = np.random.default_rng(9)

    def target(batch: NDArray[Any]) -> NDArray[Any]:
        if len(batch) > 1 and random.random() < 0.01:
            batch = random.permutation(batch)
        return model(batch)

    return target


def behind(model: Model) -> Model:
    """Each call returns the answers of the call before, cut or repeated to its size."""
    last: list[NDArray[Any]] = []

    def target(batch: NDArray[Any]) -> NDArray[Any]:
        last.append(model(batch))
        return np.resize(last.pop(0) if len(last) > 1 else last[0], last[-1].shape)

    return target


def padding(model: Model) -> Model:
    """A batch is padded with zeros in front, and the answers are cut at the end."""

    def target(batch: NDArray[Any]) -> NDArray[Any]:
        filled = np.zeros((16, *batch.shape[1:]))
        filled[16 - len(batch) :] = batch
        return model(filled)[: len(batch)] if len(batch) > 1 else model(batch)

    return target


MODELS = [softmax, one, two, half, offset, outlier]


@pytest.mark.parametrize("mixing", [rolled, turned, swapped, seldom, behind])
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("rows", "longest"), [(200, 8), (100, 64), (30, 8)])
def test_rows_that_are_mixed_up_are_found(
    mixing: Callable[[Model], Model], model: Model, rows: int, longest: int
) -> None:
    """Whatever the answers are, where the rows' differ, and a pair of rows is named."""
    calls = 2000 if mixing is seldom else 60
    finding, remark = checked(mixing(model), ROWS[:rows], longest=longest, calls=calls)

    assert remark == ""
    assert finding.error is not None, finding
    assert finding.error.kind == "rows mixed up"
    assert "got the answer of row" in finding.error.example
    assert finding.note == ""


def test_large_answers_are_compared_in_part() -> None:
    """A sample of the elements is enough to tell rows apart."""
    finding, _ = checked(rolled(large), ROWS[:30], calls=20)

    assert finding.error is not None
    assert finding.error.kind == "rows mixed up"


@pytest.mark.parametrize("mixing", [rolled, turned, swapped])
@pytest.mark.parametrize("model", [softmax, one, two])
@pytest.mark.parametrize(("milliseconds", "calls"), [(20, 25), (60, 8), (400, 2)])
@pytest.mark.parametrize("longest", [2, 4, 32])
def test_mixed_up_rows_of_slow_targets_are_found(
    mixing: Callable[[Model], Model], model: Model, milliseconds: int, calls: int, longest: int
) -> None:
    """Few rows are known, and few calls are made under load: batches are sent for the check."""
    finding, _ = checked(mixing(model), longest=longest, calls=calls, call_ns=milliseconds * 10**6)

    assert finding.error is not None, finding
    assert finding.error.kind == "rows mixed up"


@pytest.mark.parametrize("longest", [3, 8, 12])
def test_answers_of_padding_are_found(longest: int) -> None:
    """Whether only rows of padding are returned, or other rows as well."""
    finding, _ = checked(padding(softmax), longest=longest)

    assert finding.error is not None
    assert finding.error.kind == "rows mixed up"


def test_the_right_pair_is_named() -> None:
    """The row that got an answer, and the row whose answer it is, by their place in the data."""
    rows = np.random.default_rng(1).random((200, 1))
    finding, _ = checked(turned(one), rows, longest=2, calls=50)

    order = np.random.default_rng(0).permutation(200).tolist()
    assert finding.error is not None
    row, owner = map(int, finding.error.example[4:].split(" got the answer of row "))
    assert order.index(row) ^ 1 == order.index(owner)


def drifting(step: float) -> Callable[[Model], Model]:
    """Answers that grow by `step` a call."""

    def of(model: Model) -> Model:
        calls = 0

        def target(batch: NDArray[Any]) -> NDArray[Any]:
            nonlocal calls
            calls += 1
            return np.asarray(model(batch) + step * calls)

        return target

    return of


def running_mean(model: Model) -> Model:
    """Answers from which the mean of the calls so far is taken."""
    mean = np.zeros(1)

    def target(batch: NDArray[Any]) -> NDArray[Any]:
        nonlocal mean
        answers = model(batch)
        mean = 0.99 * mean + 0.01 * (5 + answers.mean(axis=0))
        return np.asarray(answers - mean)

    return target


def dropout(rate: float) -> Callable[[Model], Model]:
    """Inputs are dropped at random."""

    def of(model: Model) -> Model:
        random = np.random.default_rng(1)
        return lambda batch: model(batch * (random.random(batch.shape) > rate))

    return of


def normalised(model: Model) -> Model:
    """Batch normalisation in training mode."""

    def target(batch: NDArray[Any]) -> NDArray[Any]:
        scale = np.sqrt(batch.var(axis=0) + 1e-3)
        return model((batch - batch.mean(axis=0)) / scale)

    return target


def centred(model: Model) -> Model:
    """A tenth of the batch's mean is added."""
    return lambda batch: np.asarray(model(batch) + 0.1 * model(batch).mean(axis=0))


def pooled(model: Model) -> Model:
    """All rows of a batch get its mean."""
    return lambda batch: np.repeat(model(batch).mean(axis=0, keepdims=True), len(batch), axis=0)


def negated(model: Model) -> Model:
    """In a batch of several, each row is answered as its opposite would be."""
    return lambda batch: model(-batch if len(batch) > 1 else batch)


def smoothed(weight: float) -> Callable[[Model], Model]:
    """In a batch of several, rows are moved towards the mean: classes become those of others."""
    return lambda model: lambda batch: model((1 - weight) * batch + weight * batch.mean(axis=0))


def of_size(model: Model) -> Model:
    """Answers that depend on the size of the batch."""
    return lambda batch: np.asarray(model(batch) + len(batch) // 2)


def of_place(model: Model) -> Model:
    """Answers that depend on the place in the batch."""
    return lambda batch: np.asarray(model(batch) + np.arange(len(batch))[:, np.newaxis])


def rounding(relative: float) -> Callable[[Model], Model]:
    """Sums in an order that differs from call to call."""

    def of(model: Model) -> Model:
        random = np.random.default_rng(2)

        def target(batch: NDArray[Any]) -> NDArray[Any]:
            answers = model(batch)
            return np.asarray(answers * (1 + relative * random.standard_normal(answers.shape)))

        return target

    return of


def plain(model: Model) -> Model:
    """The model itself."""
    return model


@pytest.mark.parametrize(
    "other",
    [
        *(plain, drifting(0.01), drifting(1), drifting(1e-5), running_mean, dropout(0.1)),
        *(dropout(0.001), normalised, centred, of_size, of_place, rounding(1e-5), rounding(1e-3)),
    ],
)
@pytest.mark.parametrize("model", [*MODELS, classes, bit, lambda batch: np.rint(10 * batch)])
@pytest.mark.parametrize(("rows", "longest"), [(200, 8), (100, 64), (12, 8)])
def test_nothing_else_is_called_mixed_up(
    other: Callable[[Model], Model], model: Model, rows: int, longest: int
) -> None:
    """Answers that drift, are random, depend on the batch, or are few numbers are no error."""
    finding, _ = checked(other(model), ROWS[:rows], longest=longest, calls=100)

    assert finding.error is None


@pytest.mark.parametrize(
    "other",
    [normalised, centred, pooled, of_size, of_place, negated, smoothed(0.5), smoothed(0.9)],
)
@pytest.mark.parametrize("model", [softmax, one, two, classes, bit, lambda x: np.rint(4 * x)])
@pytest.mark.parametrize(("milliseconds", "calls"), [(20, 25), (120, 4)])
@pytest.mark.parametrize("longest", [2, 32])
def test_answers_of_slow_targets_that_depend_on_the_batch_are_not_mixed_up(
    other: Callable[[Model], Model], model: Model, milliseconds: int, calls: int, longest: int
) -> None:
    """Nor is an answer that is another row's whoever is in the batch, as where rows are paired."""
    rows = np.concatenate([ROWS[:100], -ROWS[:100]])
    finding, _ = checked(
        other(model), rows, longest=longest, calls=calls, call_ns=milliseconds * 10**6
    )

    assert finding.error is None


@pytest.mark.parametrize("milliseconds", [0, 20])
@pytest.mark.parametrize("model", [softmax, two])
def test_rows_answered_as_their_mirror_images_are_not_mixed_up(
    model: Model, milliseconds: int
) -> None:
    """Rows of a pair that are in one batch are both answered as the other: one hit, not two."""
    rows = np.concatenate([ROWS[:6], -ROWS[:6]])
    finding, _ = checked(negated(model), rows, longest=2, calls=25, call_ns=milliseconds * 10**6)

    assert finding.error is None


@pytest.mark.parametrize("longest", [8, 64])
@pytest.mark.parametrize("other", [drifting(1), of_size, of_place])
def test_whole_numbers_that_move_to_others_are_not_mixed_up(
    other: Callable[[Model], Model], longest: int
) -> None:
    """A counter turns the answer of one row into that of another where answers are 0, 1, 2 ..."""
    finding, _ = checked(other(one), np.arange(100.0)[:, np.newaxis], longest=longest)

    assert finding.error is None


@pytest.mark.parametrize(
    ("other", "note"),
    [
        (drifting(0.01), r"changed since the first call.*32 of 32"),
        (drifting(1e-4), r"changed since the first call"),
        (normalised, "depend on the batch"),
        (centred, r"depend on the batch: .* nor are they"),
        (dropout(0.5), "asked twice is answered differently"),
    ],
)
def test_notes_say_what_answers_depend_on(other: Callable[[Model], Model], note: str) -> None:
    """Found out by asking again: the same rows alone, and in the same batch."""
    finding, remark = checked(other(one), calls=2000)

    assert re.search(note, finding.note or remark)


def garbage(share: float, seed: int = 5) -> Callable[[Model], Model]:
    """Batches of several rows are overwritten now and then, as by another thread."""

    def of(model: Model) -> Model:
        random = np.random.default_rng(seed)

        def target(batch: NDArray[Any]) -> NDArray[Any]:
            answers = np.array(model(batch))
            if len(batch) > 1 and random.random() < share:
                answers[:] = 9 * random.random(answers.shape)
            return answers

        return target

    return of


def test_answers_that_are_wrong_under_load_only_are_errors() -> None:
    """If thousands of calls alone show nothing, the load is to blame."""
    finding, _ = checked(garbage(0.05)(softmax), calls=2000)

    assert finding.error is not None
    assert finding.error.kind == "answer changed"


def test_a_few_wrong_answers_are_noted() -> None:
    """Where calls alone are too few to tell, there is a note."""
    finding, _ = checked(garbage(0.001)(softmax), calls=2000)

    assert finding.error is None
    assert "random answers, or calls that disturb each other" in finding.note


@pytest.mark.parametrize(
    ("model", "rows", "remark"),
    [
        (softmax, ROWS[:1], ONE_ROW),
        (softmax, ROWS[:3], FEW),
        (softmax, np.ones((9, 6)), ALIKE),
        (lambda batch: np.ones((len(batch), 2)), ROWS, ALIKE),
        (lambda batch: np.full((len(batch), 2), np.nan), ROWS, FAILED),
        (normalised(softmax), ROWS, OF_BATCH),
        (dropout(0.5)(softmax), ROWS, UNSTABLE),
        (lambda batch: np.random.default_rng().random((len(batch), 1)), ROWS[:4], UNSTABLE),
        (softmax, ROWS, ""),
    ],
)
def test_where_nothing_can_be_checked_a_note_says_why(
    model: Model, rows: NDArray[Any], remark: str
) -> None:
    """The check is never off in silence."""
    clock = FakeClock()
    target = TimedTarget(clock, lambda _: 1000, model)

    together = model(np.resize(rows, (8, 6)))
    single = SingleRows(target, rows, array_layout(*together.shape[1:]))

    reference, said = ask_alone(single, together, clock)

    assert said == remark
    assert (reference is None) == (remark not in {"", FEW})


def test_an_element_that_stands_far_out_does_not_widen_the_tolerance() -> None:
    """Neither a row that is far from all others nor an element that is the same for all rows."""
    values = np.hstack([np.full((100, 1), 1e6), np.linspace(0, 1, 100)[:, np.newaxis]])
    values[3, 1] = 1e6

    tolerance = ReferenceAnswers(values).tolerance

    assert tolerance[50, 1] < 0.06
    assert tolerance[3, 1] > 1e4


def test_whole_numbers_differ_by_one() -> None:
    """Among a thousand classes, neighbours are different answers."""
    reference = ReferenceAnswers(np.arange(1000.0)[:, np.newaxis])

    assert reference.tolerance.max() == 0.5
