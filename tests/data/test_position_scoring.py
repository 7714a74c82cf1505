"""Scores by position: known answers, and labels that cannot be compared so."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from pytest_dlperf.data.position_scoring import labels_by_row, position_scorer
from pytest_dlperf.data.rows import read_rows
from pytest_dlperf.errors import DataError
from pytest_dlperf.load.positions import RowPositions
from pytest_dlperf.ragged import PaddedRows, Ragged, padded_rows

TAGS = [[0, 1, 2], [], [1, 1]]
LENGTHS = np.array([3, 0, 2])


def labels(rows: list[Any], **options: Any) -> PaddedRows:  # noqa: ANN401
    """Labels that were read."""
    return padded_rows(Ragged(rows, **options), "labels")


def answers(values: object) -> RowPositions:
    """Answers to the five positions of three rows."""
    return RowPositions(np.asarray(values), LENGTHS)


SCORES = np.array(
    [[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.8, 0.1, 0.1], [0.8, 0.1, 0.1], [0.1, 0.8, 0.1]]
)


@pytest.mark.parametrize(
    ("values", "given", "right", "loss"),
    [
        (SCORES, TAGS, [2, 0, 1], [0.2231, 0, 0.2231]),
        ([0, 1, 0, 0, 1], TAGS, [2, 0, 1], None),
        ([0.9, 0.2, 0.7, 0.1, 0.6], [[1, 1, 1], [], [0, 0]], [2, 0, 1], None),
        ([1.0, 2, 3, 4, 5], [[1.0, 2, 6], [], [4.5, 5.5]], [0, 0, 0], [3.0, 0, 0.25]),
    ],
    ids=["scores of classes", "class numbers", "bits", "regression"],
)
def test_known_answers(
    values: object, given: list[Any], right: list[int], loss: list[float] | None
) -> None:
    """How many positions of each row are right, and the mean loss of its positions."""
    read = labels(given, pad=1)
    scorer = position_scorer(answers(values), read)

    got, losses = scorer.score(answers(values), read)

    assert got.tolist() == right
    if loss is not None and scorer.each.reading == "classes":
        loss = [(2 * -math.log(0.8) - math.log(0.1)) / 3, 0, (-math.log(0.1) - math.log(0.8)) / 2]
    if loss is not None:
        assert losses == pytest.approx(loss)


def test_several_labels_a_position() -> None:
    """A position is right if all of its labels are."""
    given = [np.eye(3)[[0, 1, 1]], np.zeros((0, 3)), np.array([[1, 1, 0], [0, 0, 1]])]
    scorer = position_scorer(answers(SCORES), labels(given))

    assert scorer.each.reading == "multilabel"
    assert scorer.score(answers(SCORES), labels(given))[0].tolist() == [2, 0, 0]


def test_labels_for_users_metrics() -> None:
    """A list of rows without padding; other labels stay arrays."""
    rows = read_rows({"tags": Ragged(TAGS), "n": [7, 8, 9]}, "labels")

    given = labels_by_row(rows)

    assert [row.tolist() for row in given["tags"]] == TAGS
    assert given["n"].tolist() == [7, 8, 9]


@pytest.mark.parametrize(
    ("values", "given", "task", "said"),
    [
        (SCORES, [[], [], []], None, "labels: all rows are empty"),
        (SCORES, [[0, 1, 2], [], [1, 3]], None, "row 2, position 1: label 3 is no class"),
        (SCORES, [[0, -100, 2], [], [1, 1]], None, "row 0, position 1: label -100 is no class"),
        (SCORES[:, 0], TAGS, None, "labels are whole numbers, but answers of type float64"),
        ([True, True, True, False, False], TAGS, None, "labels are up to 2, but answers of type b"),
        (SCORES, TAGS, "regression", "position by position, labels"),
        (SCORES, [np.ones((3, 2)), np.ones((0, 2)), np.ones((2, 2))], None, "do not fit answers"),
    ],
)
def test_misuses(values: object, given: list[Any], task: Any, said: str) -> None:  # noqa: ANN401
    """The row and the position are named, or what is expected."""
    with pytest.raises(DataError) as caught:
        position_scorer(answers(values), labels(given), task)

    assert said in str(caught.value)


def test_amounts_may_be_whole_numbers() -> None:
    """If the task says so."""
    scorer = position_scorer(answers(SCORES[:, 0]), labels(TAGS), "regression")

    assert not scorer.classifies
