"""Users' metrics: a function becomes a metric, and its answers are checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import pytest_dlperf as dlperf
from pytest_dlperf.data.scoring import defined_here, user_scores
from pytest_dlperf.errors import UsageError
from pytest_dlperf.metrics import metric_named, read_definitions

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

pytestmark = pytest.mark.usefixtures("own_metrics")

OUTPUTS = np.array([[0.1, 0.7, 0.2], [0.5, 0.3, 0.2]])
LABELS = np.array([1, 2])


def top1(outputs: NDArray[Any], labels: NDArray[Any]) -> NDArray[Any]:
    """Whether the highest score is the label's."""
    hits: NDArray[Any] = outputs.argmax(axis=1) == labels
    return hits


def from_file(path: str, answer: float) -> Callable[..., Any]:
    """A function called `hits` that another file defines."""
    space: dict[str, Any] = {}
    code = f"def hits(outputs, labels):\n    return [{answer}] * len(outputs)\n"
    exec(compile(code, path, "exec"), space)  # noqa: S102 - what an import does
    function: Callable[..., Any] = space["hits"]
    return function


def test_a_function_becomes_a_metric() -> None:
    """Its name is the function's, the function stays as it was, and its scores are rows'."""
    assert dlperf.metric(unit="share", better="higher", detect=0.02)(top1) is top1

    metric = metric_named("top1")
    assert (metric.unit, metric.better, metric.detect) == ("share", "higher", 0.02)
    assert metric.by_user
    assert metric.of_answers
    assert not metric.is_speed
    scores = user_scores(OUTPUTS, LABELS, ["top1"], len(LABELS))
    assert scores["top1"].tolist() == [1.0, 0.0]
    assert scores["top1"].dtype == np.float64


def test_a_name_of_its_own() -> None:
    """`name=` is what budgets call it; a lambda needs one."""
    dlperf.metric(unit="s", better="lower", name="delay")(lambda outputs, _: outputs[:, 0])
    assert user_scores(OUTPUTS, LABELS, ["delay"], len(LABELS))["delay"].tolist() == [0.1, 0.5]
    with pytest.raises(UsageError, match="'<lambda>': that is no name"):
        dlperf.metric()(lambda outputs, _: outputs[:, 0])


def test_without_brackets() -> None:
    """The forgotten call is named, not answered with a traceback of ours."""
    with pytest.raises(UsageError, match="@metric needs brackets"):
        dlperf.metric(top1)  # type: ignore[arg-type]  # the mistake


def test_not_a_function() -> None:
    """Nor is what cannot be called a metric."""
    with pytest.raises(UsageError, match="a metric of 3"):
        dlperf.metric(name="three")(3)  # type: ignore[type-var]  # the mistake


def test_a_module_that_is_imported_twice() -> None:
    """Defines the same metric, whose function is the newest one's."""
    for answer in (0.25, 0.75):
        dlperf.metric(unit="share")(from_file("a.py", answer))
    assert user_scores(OUTPUTS, LABELS, ["hits"], len(LABELS))["hits"].tolist() == [0.75, 0.75]


def test_two_files_with_one_name() -> None:
    """Are refused, as one of their tests would be measured by the other's function."""
    dlperf.metric(unit="share")(from_file("a.py", 0.25))
    with pytest.raises(UsageError, match=r"'hits' is defined twice: in a.py and in b.py"):
        dlperf.metric(unit="share")(from_file("b.py", 0.75))
    assert user_scores(OUTPUTS, LABELS, ["hits"], len(LABELS))["hits"].tolist() == [0.25, 0.25]


def broken(*_: object) -> NDArray[Any]:
    """Raise, as a mistake in a user's function does."""
    raise ValueError("no such\n  column")


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        (broken, r"raised ValueError: no such column\s+it was given outputs of shape \(2, 3\)"),
        (lambda *_: 0.5, r"answered float64\[\] to 2 rows"),
        (lambda *_: [0.5], r"answered float64\[1\] to 2 rows"),
        (lambda outputs, _: outputs, r"answered float64\[2, 3\] to 2 rows"),
        (lambda *_: ["a", "b"], r"answered <U1\[2\] to 2 rows"),
        (lambda *_: None, r"answered object\[\] to 2 rows"),
        (lambda *_: [0.5, float("nan")], "answered nan to a row"),
        (lambda *_: [0.5, float("inf")], "answered inf to a row"),
        (lambda *_: [0.5, -0.1], "answered -0.1 to a row"),
        (lambda *_: [0.5, 1.1], r"answered 1.1 to a row\s+.* of a share at most 1"),
        (lambda: [0.5, 0.5], "raised TypeError"),
    ],
)
def test_what_its_function_must_not_do(function: Callable[..., Any], problem: str) -> None:
    """Each ends in an error that names the metric and what was expected."""
    dlperf.metric(unit="share", name="own")(function)
    with pytest.raises(UsageError, match=f"metric 'own': its function {problem}"):
        user_scores(OUTPUTS, LABELS, ["own"], len(LABELS))


def test_what_is_no_share_may_be_large() -> None:
    """Scores in any other unit are only bounded below."""
    dlperf.metric(unit="1", better="lower", name="rank")(lambda *_: [1.0, 300.0])
    assert user_scores(OUTPUTS, LABELS, ["rank"], len(LABELS))["rank"].tolist() == [1.0, 300.0]


def test_a_metric_that_is_only_known_from_a_file() -> None:
    """Can be named, but not measured."""
    read_definitions({"mrr": {"unit": "share", "better": "higher", "detect": 0.05}})
    assert metric_named("mrr").unit == "share"
    with pytest.raises(UsageError, match="'mrr' is not defined here, so it cannot be measured"):
        defined_here("mrr")


def test_no_rows() -> None:
    """Where nothing was answered well, the function is not asked."""
    dlperf.metric(name="own")(broken)
    assert user_scores(OUTPUTS[:0], LABELS[:0], ["own"], 0)["own"].shape == (0,)
