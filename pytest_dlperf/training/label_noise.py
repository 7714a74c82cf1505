"""Looking for wrong labels: each row is judged by a model that has not seen it."""

from __future__ import annotations

import copy
import warnings
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from pytest_dlperf._values import check_count
from pytest_dlperf.data.dataset import check_finite
from pytest_dlperf.data.label_noise import LabelNoise, confident_learning
from pytest_dlperf.errors import DataError, UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_dlperf.data.dataset import Examples


class Classifier(Protocol):
    """What scikit-learn's classifiers can do."""

    def fit(self, inputs: NDArray[Any], labels: NDArray[Any]) -> object:
        """Learn from rows of shape `(rows, features)` and numbers of classes."""
        ...

    def predict_proba(self, inputs: NDArray[Any]) -> NDArray[Any]:
        """How probable each class is, shape `(rows, classes)`."""
        ...


def label_noise(
    examples: Examples, *, folds: int = 5, seed: int = 0, classifier: Classifier | None = None
) -> LabelNoise:
    """Rows whose label is probably wrong, and an estimate of how many labels are.

    The rows are split into folds with like shares of all classes, and each fold is judged by a
    model trained on the others. It is no proof: look at the rows before a label is changed.

    Args:
        examples: rows with class numbers as labels, shape `(rows,)`.
        folds: at least 2; each class needs as many rows.
        seed: of the split into folds.
        classifier: not fitted yet, a copy of it learns for each fold; None is logistic regression
            on features of variance 1, which is quick. Token ids of texts want another one.

    Raises:
        DataError: if labels are no class numbers, or a class has too few rows, or a value is
            missing or not finite.
        UsageError: if folds make no sense, or the classifier's answers do not.
    """
    __tracebackhide__ = True
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.model_selection import StratifiedKFold

    check_count(folds, "label_noise(folds)")
    if folds < 2:  # noqa: PLR2004 - one to learn from and one to judge
        raise UsageError(f"label_noise(folds={folds})", "expected at least 2")
    rows = examples.inputs.reshape(len(examples.inputs), -1)
    check_finite(rows, "inputs")
    classes, given = _classes(examples.labels, folds)
    judge = classifier if classifier is not None else _logistic_regression()
    shares = np.empty((len(rows), len(classes)))
    with warnings.catch_warnings():
        # A model that could still become better is no less a judge of rows it has not seen.
        warnings.simplefilter("ignore", ConvergenceWarning)
        split = StratifiedKFold(folds, shuffle=True, random_state=seed).split(rows, given)
        for learnt, judged in split:
            fresh = copy.deepcopy(judge)
            fresh.fit(rows[learnt], given[learnt])
            shares[judged] = _checked(
                fresh.predict_proba(rows[judged]), (len(judged), len(classes))
            )
    return confident_learning(shares, given, classes)


def _logistic_regression() -> Classifier:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    made: Classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    return made


def _classes(labels: NDArray[Any], folds: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The label of each class, and each row's number of its class."""
    __tracebackhide__ = True
    if labels.ndim != 1 or not np.array_equal(labels, np.floor(labels)):
        raise DataError(
            f"labels of shape {labels.shape} and type {labels.dtype} are no class numbers\n"
            "  expected whole numbers of shape (rows,); one-hot labels: labels.argmax(axis=1)"
        )
    classes, given, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if len(classes) < 2:  # noqa: PLR2004 - there is nothing to confuse
        raise DataError(f"all labels are {int(classes[0])}: there is no other label to suspect")
    if counts.min() < folds:
        rarest = int(counts.argmin())
        raise DataError(
            f"too few rows of label {int(classes[rarest])}: {counts[rarest]}, for {folds} folds\n"
            "  give fewer folds, or leave these rows out"
        )
    return classes, given.astype(np.int64)


def _checked(answer: NDArray[Any], expected: tuple[int, int]) -> NDArray[Any]:
    __tracebackhide__ = True
    shares = np.asarray(answer)
    if shares.shape != expected or not np.all((shares >= 0) & (shares <= 1)):
        raise UsageError(
            f"label_noise(classifier): predict_proba answers with shape {shares.shape}, "
            f"expected probabilities of shape {expected}",
            "one column for each class, in increasing order of the labels",
        )
    return shares
