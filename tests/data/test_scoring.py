"""Scoring: which answers are right and how far off they are."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import special
from sklearn import metrics

from pytest_dlperf.data.scoring import Scorer, scorer_for
from pytest_dlperf.errors import DataError

if TYPE_CHECKING:
    from pytest_dlperf.config.options import Task

SHARES = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4], [0.6, 0.3, 0.1]])
CLASSES = np.array([0, 1, 0, 2])
LOGITS = np.log(SHARES) + np.array([[1.0], [-3.0], [0.5], [0.0]])
ONE_HOT = np.eye(3)[CLASSES]
ODDS = np.array([[0.9], [0.2], [0.6], [0.4]])
BITS = np.array([1, 0, 0, 1])


@pytest.mark.parametrize("labels", [CLASSES, CLASSES[:, None], CLASSES.astype(np.uint8)])
@pytest.mark.parametrize("outputs", [SHARES, LOGITS, SHARES.astype(np.float32)])
def test_classes(outputs: np.ndarray, labels: np.ndarray) -> None:
    """Class numbers: right where the highest score is, with sklearn's cross-entropy."""
    scorer = scorer_for(outputs, labels)
    right, loss = scorer.score(outputs, labels)
    assert (scorer.reading, scorer.classifies) == ("classes", True)
    assert scorer.logits is (outputs is LOGITS)
    assert right.tolist() == [1, 1, 0, 0]
    want = metrics.log_loss(CLASSES, SHARES, labels=[0, 1, 2])
    assert loss.mean() == pytest.approx(want, rel=1e-6)


@pytest.mark.parametrize("outputs", [SHARES, LOGITS])
@pytest.mark.parametrize("kind", [np.int64, np.float32])
def test_one_hot(outputs: np.ndarray, kind: type) -> None:
    """One-hot labels score as the class numbers that they stand for."""
    labels = ONE_HOT.astype(kind)
    scorer = scorer_for(outputs, labels)
    assert scorer.reading == "one-hot"
    for got, want in zip(
        scorer.score(outputs, labels),
        scorer_for(outputs, CLASSES).score(outputs, CLASSES),
        strict=True,
    ):
        assert got == pytest.approx(want)


@pytest.mark.parametrize("outputs", [ODDS, ODDS[:, 0], special.logit(ODDS)])
@pytest.mark.parametrize("labels", [BITS, BITS[:, None], BITS.astype(bool)])
def test_binary(outputs: np.ndarray, labels: np.ndarray) -> None:
    """0/1 labels and one score: right at even odds, with sklearn's cross-entropy."""
    scorer = scorer_for(outputs, labels)
    right, loss = scorer.score(outputs, labels)
    assert scorer.reading == "binary"
    assert scorer.logits is bool((outputs < 0).any())
    assert right.tolist() == [1, 1, 0, 0]
    assert loss.mean() == pytest.approx(metrics.log_loss(BITS, ODDS[:, 0]))


def test_truth_values_as_two_classes() -> None:
    """Truth values label two classes as 0 and 1 do."""
    outputs = np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7]])
    bits = np.array([0, 1, 0])
    right, loss = scorer_for(outputs, bits.astype(bool)).score(outputs, bits.astype(bool))
    want_right, want_loss = scorer_for(outputs, bits).score(outputs, bits)
    assert np.array_equal(right, want_right)
    assert np.array_equal(loss, want_loss)


@pytest.mark.parametrize("shape", [(5,), (5, 1), (5, 3), (5, 2, 2)])
def test_regression(shape: tuple[int, ...]) -> None:
    """Labels of the answers' shape that are no classes: squared error, and no accuracy."""
    generator = np.random.default_rng(0)
    outputs, labels = generator.normal(size=shape), generator.normal(size=shape)
    scorer = scorer_for(outputs, labels)
    right, loss = scorer.score(outputs, labels)
    assert (scorer.reading, scorer.classifies) == ("regression", False)
    assert not right.any()
    assert loss.shape == (5,)
    assert loss.mean() == pytest.approx(
        metrics.mean_squared_error(labels.reshape(5, -1), outputs.reshape(5, -1))
    )


def test_regression_of_ones() -> None:
    """Targets that all happen to be 1.0 are no one-hot labels of a single class."""
    outputs, labels = np.array([[0.1], [0.5]]), np.ones((2, 1))
    scorer = scorer_for(outputs, labels)
    right, loss = scorer.score(outputs, labels)
    assert scorer.reading != "one-hot"
    assert loss[0] > loss[1] > 0
    assert right.sum() < 2


def test_one_one_in_a_sequence() -> None:
    """A sequence with a single 1 in it scores one value a row, whatever it is taken for."""
    outputs = np.random.default_rng(0).uniform(size=(4, 3, 1))
    labels = np.eye(3)[[0, 1, 2, 0]][:, :, None]
    right, loss = scorer_for(outputs, labels).score(outputs, labels)
    assert right.shape == (4,)
    assert loss.shape == (4,)


@pytest.mark.parametrize(
    ("outputs", "logits"),
    [
        (np.array([[0.5, 0.5], [0.9, 0.1]]), False),
        (np.array([[0.5, 0.4], [0.9, 0.05]]), True),
        (np.array([[1.5, -0.5], [0.9, 0.1]]), True),
        (np.array([[np.nan, 0.5], [0.9, 0.1]]), False),
        (np.array([[np.nan, 0.5], [3.0, 0.1]]), True),
    ],
)
def test_logits_are_told_from_probabilities(outputs: np.ndarray, *, logits: bool) -> None:
    """Scores are probabilities if they lie within 0 and 1 and sum to 1, in all finite rows."""
    assert scorer_for(outputs, np.array([0, 1])).logits is logits


def test_probabilities_of_16_bits() -> None:
    """They sum to one but for what 16 bits round: no logits, in whose place they would be."""
    shares = special.softmax(np.random.default_rng(0).normal(size=(200, 10)) * 3, axis=1)
    # As bfloat16 has them, whose digits are 8 bits.
    rounded = (shares.astype(np.float32).view(np.uint32) & 0xFFFF0000).view(np.float32)
    assert np.abs(rounded.sum(axis=1) - 1).max() > 1e-3
    labels = np.arange(200) % 10

    assert not scorer_for(rounded.astype(np.float16), labels).logits
    assert scorer_for(rounded, labels).logits


@pytest.mark.parametrize("labels", [CLASSES, ONE_HOT, np.array([0.5, 1.5, 2.5, 3.5])[:, None]])
def test_a_target_that_answers_nothing_finite(labels: np.ndarray) -> None:
    """Answers that are all not finite still get a scorer; they are counted as errors elsewhere."""
    outputs = np.full((4, 1 if labels.dtype == float and labels.shape[1:] == (1,) else 3), np.nan)
    assert isinstance(scorer_for(outputs, labels), Scorer)


@pytest.mark.parametrize("task", ["classes", "one-hot", "binary", "regression"])
def test_nothing_to_score(task: str) -> None:
    """No answers (none was finite) score as no answers, not as an exception."""
    scorer = Scorer(task, logits=False)  # type: ignore[arg-type]
    labels = {
        "classes": np.zeros(0, int),
        "one-hot": np.zeros((0, 3)),
        "binary": np.zeros(0, int),
        "regression": np.zeros((0, 3)),
    }[task]
    right, loss = scorer.score(np.zeros((0, 1 if task == "binary" else 3)), labels)
    assert right.shape == loss.shape == (0,)


def test_label_that_is_no_class() -> None:
    """A label beyond the scores is refused by its row."""
    with pytest.raises(DataError, match=r"row 2: label 3 is no class.*3 scores.*0 to 2"):
        scorer_for(SHARES, np.array([0, 1, 3, 2]))
    with pytest.raises(DataError, match="row 0: label -1"):
        scorer_for(SHARES, np.array([-1, 1, 0, 2]))


@pytest.mark.parametrize("shape", [(4, 0), (4, 2, 3), (4, 3, 0)])
def test_answers_that_are_no_scores_of_classes(shape: tuple[int, ...]) -> None:
    """Nothing is never right; scores of each token are not those of a row."""
    with pytest.raises(DataError, match="do not fit answers of shape"):
        scorer_for(np.ones(shape), np.array([0, 1, 1, 0]))


@pytest.mark.parametrize("shape", [(4, 1, 3), (4, 3, 1)])
def test_axes_of_length_1(shape: tuple[int, ...]) -> None:
    """They do not hide the scores of classes."""
    assert scorer_for(np.ones(shape), np.array([0, 1, 2, 0])).reading == "classes"


@pytest.mark.parametrize("labels", [np.zeros((4, 2)), np.zeros((4, 4)), np.full(4, 0.5)])
def test_labels_that_do_not_fit(labels: np.ndarray) -> None:
    """Labels that fit no reading of the answers are refused with both shapes."""
    with pytest.raises(DataError, match="do not fit answers of shape"):
        scorer_for(SHARES, labels)


def test_labels_of_positions_in_one_array() -> None:
    """Said is how they are given."""
    with pytest.raises(DataError, match=r"labels of each position are given as Ragged\(labels\)"):
        scorer_for(np.ones((4, 6, 3)), np.zeros((4, 6), int))


@given(
    hnp.arrays(np.float64, (6, 4), elements=st.floats(-30, 30)),
    st.lists(st.integers(0, 3), min_size=6, max_size=6),
)
def test_softmax_changes_nothing(logits: np.ndarray, labels: list[int]) -> None:
    """A model that ends in a softmax scores as the same model without it does."""
    classes = np.array(labels)
    loose = Scorer("classes", logits=True).score(logits, classes)
    tight = Scorer("classes", logits=False).score(special.softmax(logits, axis=1), classes)
    cap = -math.log(1e-7)
    ordered = np.sort(logits, axis=1)
    clear = ordered[:, -1] - ordered[:, -2] > 1e-9  # equal to rounding: either may be the first
    assert np.array_equal(loose[0][clear], tight[0][clear])
    assert np.minimum(loose[1], cap) == pytest.approx(tight[1], abs=1e-6)


@pytest.mark.parametrize(
    ("outputs", "labels", "reading", "assumed"),
    [
        (SHARES, CLASSES.astype(float), "classes", ""),
        (ODDS, BITS.astype(float), "binary", "taken for task='binary', though task='regression'"),
        (ODDS, BITS, "binary", ""),
        (ODDS, np.array([3, 1, 4, 1]), "regression", ""),
        (CLASSES, np.array([0, 1, 1, 2]), "numbers", ""),
        (CLASSES.astype(float), CLASSES, "regression", "though task='classification' would fit"),
        (SHARES, np.array([[1, 1, 0], [0, 1, 0], [0, 0, 0], [1, 0, 1]]), "multilabel", ""),
        (SHARES, np.array([[0.5, 1, 0]] * 4), "regression", ""),
    ],
)
def test_the_reading_is_inferred_from_labels_and_answers_together(
    outputs: np.ndarray, labels: np.ndarray, reading: str, assumed: str
) -> None:
    """Whole numbers are classes, whatever their type; a reading that is in doubt is reported."""
    scorer = scorer_for(outputs, labels)

    assert scorer.reading == reading
    assert assumed in scorer.assumed
    assert bool(scorer.assumed) is bool(assumed)


@pytest.mark.parametrize(
    ("outputs", "labels", "task", "reading"),
    [
        (ODDS, BITS.astype(float), "regression", "regression"),
        (ODDS, BITS.astype(float), "binary", "binary"),
        (CLASSES.astype(float), CLASSES, "classification", "numbers"),
        (SHARES, ONE_HOT, "multilabel", "multilabel"),
        (SHARES, ONE_HOT, "classification", "one-hot"),
        (SHARES, ONE_HOT, "regression", "regression"),
    ],
)
def test_a_task_that_is_given_decides(
    outputs: np.ndarray, labels: np.ndarray, task: Task, reading: str
) -> None:
    """Nothing is assumed then."""
    scorer = scorer_for(outputs, labels, task)

    assert (scorer.reading, scorer.assumed) == (reading, "")


def test_a_task_that_does_not_fit() -> None:
    """It is refused with the shapes."""
    with pytest.raises(DataError, match=r"\(4,\) .* \(batch, 3\) .* of task='multilabel'"):
        scorer_for(SHARES, CLASSES, "multilabel")


def test_answers_that_are_class_numbers() -> None:
    """They are right or wrong, and tell no loss."""
    scorer = scorer_for(np.array([0, 1, 0, 0]), CLASSES)

    assert scorer.score(np.array([0, 1, 0, 0]), CLASSES)[0].tolist() == [1, 1, 1, 0]
    assert scorer.classifies
    assert not scorer.has_loss


@pytest.mark.parametrize("kind", [np.int64, np.uint64])
def test_large_class_numbers(kind: type[np.integer[Any]]) -> None:
    """Hashes as class numbers are told apart beyond the whole numbers of a float."""
    labels = np.array([2**60, 2**60 + 1], kind)

    hits, _ = scorer_for(labels, labels).score(labels[::-1], labels)

    assert hits.tolist() == [0, 0]


@pytest.mark.parametrize(
    "outputs", [np.array([[0.9, 0.2], [0.7, 0.6]]), np.array([[2, -2], [1, 1]])]
)
def test_several_labels_a_row(outputs: np.ndarray) -> None:
    """A row is right if all its labels are; its loss is the mean of their cross-entropies."""
    labels = np.array([[1, 0], [1, 0]])
    scorer = scorer_for(outputs.astype(float), labels, "multilabel")
    right, loss = scorer.score(outputs, labels)

    shares = special.expit(outputs) if scorer.logits else outputs
    assert right.tolist() == [1, 0]
    assert loss == pytest.approx(
        [metrics.log_loss(row, share) for row, share in zip(labels, shares, strict=True)]
    )
