"""Measurements whose labels and answers have the length of their row: padding never counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from fakes import FakeClock, TimedTarget, fake_instruments

from pytest_dlperf.config.options import Options
from pytest_dlperf.config.plan import plan
from pytest_dlperf.data.dataset import as_data
from pytest_dlperf.data.scoring import metric
from pytest_dlperf.errors import DlperfError
from pytest_dlperf.load.scenarios import ClosedLoop, SingleStream
from pytest_dlperf.load.serving import Serving
from pytest_dlperf.measure.measure import measure
from pytest_dlperf.ragged import Ragged

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pytest_dlperf.results.measurement import Measurement

RANDOM = np.random.default_rng(0)
CLASSES = 5
TOKENS = [RANDOM.integers(0, 50, RANDOM.integers(0, 12)) for _ in range(90)]
TAGS = [row % CLASSES for row in TOKENS]
POSITIONS = sum(map(len, TOKENS))
MISTAKES = sum(int((row == 7).sum()) for row in TOKENS)
"""Every target here gets token 7 wrong, so the accuracy is known."""
ACCURACY = (POSITIONS - MISTAKES) / POSITIONS
PAD = -1
DATA = (Ragged(TOKENS, pad=PAD), Ragged(TAGS))


def tag(batch: NDArray[Any]) -> NDArray[Any]:
    """Scores of the classes of each token, NaN where there is none."""
    wanted = np.where(batch == 7, batch + 1, batch) % CLASSES
    scores = 0.05 + 0.75 * np.eye(CLASSES)[wanted] + 1e-3 * batch[..., np.newaxis]
    scores /= scores.sum(axis=-1, keepdims=True)
    scores[batch == PAD] = np.nan
    return scores


def rows_of_tags(batch: NDArray[Any]) -> list[NDArray[Any]]:
    """An array for each row, of its own length."""
    return [
        scores[:end] for scores, end in zip(tag(batch), (batch != PAD).sum(axis=1), strict=True)
    ]


def numbers(batch: NDArray[Any]) -> NDArray[Any]:
    """Class numbers, padded with a class."""
    return np.where(batch == 7, batch + 1, batch) % CLASSES


def longer(batch: NDArray[Any]) -> NDArray[Any]:
    """Padded to one length, whatever the batch."""
    scores = tag(batch)
    return np.pad(scores, [(0, 0), (0, 20 - scores.shape[1]), (0, 0)], constant_values=np.nan)


def with_mask(batch: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Beside a mask of the batch's length."""
    return {"tags": tag(batch), "mask": batch != PAD}


def measured(
    target: Callable[[NDArray[Any]], object],
    data: object = DATA,
    *budgets: str,
    **options: Any,  # noqa: ANN401 - any option
) -> Measurement:
    """A measurement on a clock that stands still but for the calls."""
    clock = FakeClock()
    chosen = {"scenario": ClosedLoop(16), "duration": 0.2, **options}
    chosen["budgets"] = budgets
    timed = TimedTarget(clock, lambda _: 1_000_000, target)
    the_plan = plan([Options(**chosen)])
    return measure(timed, as_data(data), the_plan, fake_instruments(clock), test="t", name="")


@pytest.mark.parametrize("target", [tag, rows_of_tags, numbers, longer])
@pytest.mark.parametrize("scenario", [SingleStream(), ClosedLoop(16), ClosedLoop(64)], ids=str)
def test_the_accuracy_is_the_share_of_positions(
    target: Callable[[NDArray[Any]], Any], scenario: ClosedLoop
) -> None:
    """The same in padded batches of any size as row by row, to the last bit."""
    found = measured(target, scenario=scenario)

    assert found.errors == ()
    assert found.accuracy == pytest.approx(ACCURACY, abs=1e-15)
    assert found["accuracy"] == measured(tag, scenario=SingleStream())["accuracy"]
    assert found.rows is not None
    assert found.rows.positions is not None
    assert found.rows.positions.sum() == POSITIONS
    assert found.rows.right.sum() == POSITIONS - MISTAKES
    assert not any("depend" in note or "mixed" in note for note in found.notes)


@pytest.mark.parametrize("output", ["tags", lambda outputs: outputs["tags"]])
def test_an_output_with_positions_is_chosen(output: object) -> None:
    """By its path or by a function; a mask beside it is only looked at."""

    def target(batch: NDArray[Any]) -> dict[str, NDArray[Any]]:
        return {**with_mask(batch), "tags": tag(np.where(batch == PAD, 3, batch))}

    found = measured(target, output=output)

    assert found.errors == ()
    assert found.accuracy == pytest.approx(ACCURACY)


def test_labels_by_path() -> None:
    """A tree of labels: those of the output's path."""
    data = (DATA[0], {"tags": Ragged(TAGS), "length": np.array([len(row) for row in TAGS])})

    assert measured(with_mask, data, output="tags").accuracy == pytest.approx(ACCURACY)


def test_regression_by_position() -> None:
    """The loss is the mean over all positions, here of 1 at each token 7."""
    amounts = (DATA[0], Ragged([row * 1.5 for row in TOKENS]))

    found = measured(lambda batch: batch * 1.5 + (batch == 7), amounts)

    assert found.loss == pytest.approx(MISTAKES / POSITIONS)
    assert "accuracy" not in found


@pytest.mark.usefixtures("own_metrics")
def test_users_metrics_get_rows_without_padding() -> None:
    """Lists of arrays of equal lengths, by which the share of whole rows is known."""

    @metric()
    def whole(outputs: list[NDArray[Any]], labels: list[NDArray[Any]]) -> list[bool]:
        pairs = list(zip(outputs, labels, strict=True))
        assert all(out.shape == (*label.shape, CLASSES) for out, label in pairs)
        return [bool((out.argmax(axis=-1) == label).all()) for out, label in pairs]

    found = measured(tag, DATA, "whole >= 0", "accuracy >= 0")

    distinct = {tuple(row): int(7 not in row) for row in TOKENS}
    copies = [distinct[tuple(row)] for row in TOKENS]
    assert found["whole"].value == pytest.approx(np.mean(copies))


@pytest.mark.usefixtures("own_metrics")
def test_users_metrics_of_answers_without_positions() -> None:
    """Scores of ten items beside the items that were wanted: they are no positions."""

    @metric()
    def found_first(outputs: NDArray[Any], labels: list[NDArray[Any]]) -> list[bool]:
        assert outputs.shape[1:] == (10,)
        return [out.argmax() in wanted for out, wanted in zip(outputs, labels, strict=True)]

    wanted = Ragged([[n % 10, (n + 1) % 10][: 1 + n % 2] for n in range(40)])
    inputs = np.arange(40)

    found = measured(
        lambda batch: np.eye(10)[batch % 10] * 0.5, (inputs, wanted), "found_first >= 0"
    )

    assert found["found_first"].value == 1


@pytest.mark.usefixtures("own_metrics")
def test_users_metrics_of_padded_answers_and_other_lengths() -> None:
    """Spans that are wanted in each row are no labels of its positions: answers stay whole."""

    @metric()
    def starts_found(outputs: list[NDArray[Any]], labels: list[NDArray[Any]]) -> list[bool]:
        assert min(map(len, outputs)) > 2  # padded to the longest row of their batch
        return [
            bool(out.argmax() == spans[0, 0]) for out, spans in zip(outputs, labels, strict=True)
        ]

    rows = [np.arange(3 + number % 5) for number in range(40)]
    spans = Ragged([[[len(row) - 1, len(row)]] * (1 + len(row) % 2) for row in rows])

    found = measured(
        lambda batch: np.where(batch == PAD, -1, batch) * 0.1,
        (Ragged(rows, pad=PAD), spans),
        "starts_found >= 0",
    )

    assert found["starts_found"].value == 1


@pytest.mark.usefixtures("own_metrics")
def test_users_metrics_of_lists_of_other_lengths() -> None:
    """Boxes that are found and boxes that are there, as many by chance in the first answer."""

    @metric()
    def all_found(outputs: list[NDArray[Any]], labels: list[NDArray[Any]]) -> list[bool]:
        return [len(out) >= len(there) for out, there in zip(outputs, labels, strict=True)]

    there = Ragged([np.ones((1 + number % 2, 4)) for number in range(40)])

    found = measured(
        lambda batch: [np.ones((1 + int(row) % 3, 4)) for row in batch],
        (np.arange(40), there),
        "all_found >= 0",
        scenario=SingleStream(),
    )

    assert found.errors == ()
    assert found["all_found"].value == 33 / 40


def test_labels_with_other_lengths_than_their_rows() -> None:
    """As of a model that halves the length: it is noted which positions are scored."""
    half = [row[: len(row) // 2] for row in TAGS]

    found = measured(tag, (DATA[0], Ragged(half)))

    assert any(
        "labels have other lengths than their rows" in note and "first positions" in note
        for note in found.notes
    )
    assert not any("other lengths" in note for note in measured(tag).notes)


def test_mixed_up_rows_are_found() -> None:
    """Rows of different lengths, compared up to these."""

    def mixed(batch: NDArray[Any]) -> NDArray[Any]:
        answers = tag(np.where(batch == PAD, 3, batch))
        return np.roll(answers, 1, axis=0)

    found = measured(mixed, duration=0.5)

    assert [error.kind for error in found.errors] == ["rows mixed up"]


def test_answers_that_depend_on_the_batch() -> None:
    """Said of rows' own positions."""

    def depends(batch: NDArray[Any]) -> NDArray[Any]:
        answers = tag(np.where(batch == PAD, 3, batch))
        return answers + 0.3 * (len(batch) > 1)

    found = measured(depends)

    assert any("answers depend on the batch" in note for note in found.notes)


def test_padding_that_differs_is_no_difference() -> None:
    """Whatever a target answers behind the end of a row."""
    random = np.random.default_rng(1)

    def target(batch: NDArray[Any]) -> NDArray[Any]:
        answers = tag(batch)
        noise = random.random(answers.shape)
        return np.where((batch == PAD)[..., np.newaxis], noise, answers)

    found = measured(target)

    assert found.errors == ()
    assert not [note for note in found.notes if "padding" not in note]


def test_rows_that_come_too_short_under_load() -> None:
    """A target that cuts long rows in some batches: these rows are wrong, and are named."""

    def cutting(batch: NDArray[Any]) -> NDArray[Any]:
        return tag(batch)[:, : 9 if len(batch) == 16 else None]

    found = measured(cutting)

    long = sum(len(row) > 9 for row in TOKENS)
    (error,) = found.errors
    assert error.kind == "wrong shape"
    assert "labels, but the answer has 9 positions" in error.example
    assert long > 0
    assert found.accuracy < ACCURACY


def test_values_that_are_not_finite() -> None:
    """Within a row they are an error that names it."""

    def bad(batch: NDArray[Any]) -> NDArray[Any]:
        answers = tag(batch)
        answers[batch == 11] = np.inf
        return answers

    found = measured(bad)

    assert found.errors[0].kind == "not finite"
    clean = measured(tag)
    assert clean.errors == ()


def test_the_mutation_that_counts_padding(monkeypatch: pytest.MonkeyPatch) -> None:
    """With lengths of the batch instead of the row's, the accuracy is another one."""
    from pytest_dlperf.load.positions import RowPositions
    from pytest_dlperf.measure import answers

    def whole(leaf: Any, lengths: NDArray[np.int64]) -> tuple[RowPositions, NDArray[np.int64]]:  # noqa: ANN401
        found = np.full(len(leaf), leaf.shape[1], np.int64)
        return RowPositions(leaf.reshape(-1, *leaf.shape[2:]), found), lengths

    monkeypatch.setattr(answers, "cut", whole)

    assert measured(numbers).errors != ()


@pytest.mark.parametrize(
    ("target", "labels", "options", "said"),
    [
        (lambda b: tag(b)[:, :-1], TAGS, {}, "labels, but the answer has"),
        (lambda b: [row[:-1] for row in rows_of_tags(b)], TAGS, {}, "cut them as the target cuts"),
        (lambda b: [np.pad(r, [(0, 1), (0, 0)]) for r in rows_of_tags(b)], TAGS, {}, "but the ans"),
        (tag, [[*row, 0] if len(row) == 5 else row for row in TAGS], {}, "6 labels, but the"),
        (tag, TAGS[:-1], {}, "90 rows of inputs, but 89 labels"),
        (tag, [[] for _ in TAGS], {}, "all rows are empty"),
        (tag, [row + 3 for row in TAGS], {}, "is no class of a target with 5 scores a position"),
        (with_mask, TAGS, {"output": "mask"}, "labels are up to 4, but answers of type bool"),
        (with_mask, TAGS, {}, "output='tags' names the one that the labels belong to"),
        (lambda b: tag(b)[:, :1, 0].reshape(-1), TAGS, {}, "no positions to compare"),
        (lambda b: np.nansum(tag(b), axis=1), TAGS, {}, "but the answer has 5 positions"),
        (lambda b: [["a"] * len(row) for row in b], TAGS, {}, "no positions to compare"),
        (lambda b: b * 0.5, TAGS, {}, "task='regression' says that labels are amounts"),
        (tag, np.zeros(90, int), {}, "labels of each position are given as Ragged(labels)"),
        (tag, TAGS, {"task": "regression"}, "position by position, labels of shape"),
    ],
)
def test_misuses(
    target: Callable[[NDArray[Any]], Any],
    labels: Any,  # noqa: ANN401
    options: dict[str, Any],
    said: str,
) -> None:
    """What was got, what is expected, and what to do."""
    given = labels if isinstance(labels, np.ndarray) else Ragged(labels)

    with pytest.raises(DlperfError) as caught:
        measured(target, (DATA[0], given), **options)

    assert said in str(caught.value)


def test_a_budget_on_an_accuracy_that_there_is_not() -> None:
    """Amounts by position have a loss only."""
    amounts = (DATA[0], Ragged([row * 1.5 for row in TOKENS]))

    with pytest.raises(DlperfError, match="a regression, which has no accuracy"):
        measured(lambda batch: batch * 1.5, amounts, "accuracy >= 90%")


def test_rows_grouped_by_length() -> None:
    """Each group is answered by itself, as arrays or as lists of rows."""
    inputs = {"ids": Ragged(TOKENS, pad=PAD, lengths=(4, 8, 16), mask="mask")}
    grouped = Serving(16, group_by_length=True)

    for target in (tag, rows_of_tags):
        found = measured(
            lambda batch, target=target: target(batch["ids"]), (inputs, DATA[1]), serving=grouped
        )
        assert found.errors == ()
        assert found.accuracy == pytest.approx(ACCURACY)
