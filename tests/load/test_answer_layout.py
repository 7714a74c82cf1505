"""Answers with several outputs are taken apart the same way each time, or their misfit is named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pytest_dlperf.errors import UsageError
from pytest_dlperf.load.answer_layout import AnswerLayout, layout_of
from pytest_dlperf.load.answer_leaves import MisfitError
from pytest_dlperf.load.answer_tree import Sample
from pytest_dlperf.load.outputs import read_outputs

SIZES = (1, 2, 4)


def scores(rows: int) -> np.ndarray:
    """Scores of 3 classes."""
    return np.arange(3.0 * rows).reshape(rows, 3)


def boxes(rows: int) -> list[np.ndarray]:
    """As many boxes as the row has objects."""
    return [np.ones((1 + row % 3, 4)) for row in range(rows)]


def odd(rows: int) -> list[np.ndarray]:
    """Rows that have no length in common with the others, nor anything else."""
    return [np.ones((1 + row % 3, 1 + row % 2)) for row in range(rows)]


def laid_out(answer: Any, output: Any = None) -> AnswerLayout:  # noqa: ANN401 - a function of a size
    """The layout of what a function answers to batches."""
    return layout_of([Sample(read_outputs(answer(rows)), rows) for rows in SIZES], output)


@pytest.mark.parametrize(
    ("answer", "paths"),
    [
        (scores, ("",)),
        (lambda rows: scores(rows).tolist(), ("",)),
        (lambda rows: list(scores(rows)), ("",)),
        (lambda rows: {"scores": scores(rows)}, ("scores",)),
        (lambda rows: [scores(rows)], ("0",)),
        (lambda rows: {"scores": scores(rows), "size": scores(rows)[:, 0]}, ("scores", "size")),
        (lambda rows: (scores(rows), {"a": [scores(rows)] * 2}), ("0", "1.a.0", "1.a.1")),
        (lambda rows: {"boxes": boxes(rows), "scores": scores(rows)}, ("boxes", "scores")),
        (lambda rows: ["a"] * rows, ("",)),
        (boxes, ("",)),
    ],
)
def test_paths(answer: Any, paths: tuple[str, ...]) -> None:  # noqa: ANN401
    """Of dicts, lists, tuples, and of what is in them."""
    assert laid_out(answer).paths == paths


def test_a_dict_for_each_row() -> None:
    """As detectors answer: each name is an output, with rows of many lengths."""

    def answer(rows: int) -> list[dict[str, np.ndarray]]:
        return [{"boxes": box, "scores": box[:, 0]} for box in boxes(rows)]

    layout = laid_out(answer)
    parts = layout.parts(read_outputs(answer(4)), 4)

    assert layout.paths == ("boxes", "scores")
    assert [len(row) for row in parts[0]] == [1, 2, 3, 1]
    assert layout.scored is None


def test_a_dict_of_values_for_each_row() -> None:
    """As pipelines answer: a name and a score of the class, and no array at all."""

    def answer(rows: int) -> list[dict[str, object]]:
        return [{"label": "ab"[row % 2], "score": row / 4} for row in range(rows)]

    layout = laid_out(answer, "score")

    assert layout.paths == ("label", "score")
    np.testing.assert_array_equal(layout.read(read_outputs(answer(4)), 4), [0, 0.25, 0.5, 0.75])


def test_what_is_scored() -> None:
    """The output that was named, or what a function makes of all; else the widest with numbers."""

    def answer(rows: int) -> dict[str, Any]:
        return {"n": np.arange(rows), "scores": scores(rows), "boxes": boxes(rows)}

    outputs = answer(2)
    assert laid_out(answer, "n").read(outputs, 2).tolist() == [0, 1]
    assert laid_out(answer).read(outputs, 2).shape == (2, 3)
    assert not laid_out(answer).is_chosen
    by_function = laid_out(answer, lambda outputs: [len(box) for box in outputs["boxes"]])
    assert by_function.read(outputs, 2).tolist() == [1, 2]
    assert by_function.shape == ()


def test_one_array_has_no_name() -> None:
    """It is scored without one."""
    with pytest.raises(UsageError, match="answers one array") as error:
        layout_of([Sample(scores(size), size) for size in SIZES], "scores")
    assert "leave output= out" in str(error.value)


def test_the_only_output_has_its_name() -> None:
    """It is scored without being chosen; by its name, or by a function of the dict, as well."""

    def answer(rows: int) -> dict[str, Any]:
        return {"scores": scores(rows)}

    for output in (None, "scores", lambda outputs: outputs["scores"]):
        layout = laid_out(answer, output)
        assert layout.is_chosen
        assert layout.read(answer(2), 2).tolist() == scores(2).tolist()
    with pytest.raises(UsageError, match="output='boxes': the target answers 'scores'"):
        laid_out(answer, "boxes")


def test_users_get_their_structure_back() -> None:
    """Some rows of an answer, as the target lays it out; only the chosen output if one is."""

    def answer(rows: int) -> dict[str, Any]:
        return {"scores": scores(rows), "boxes": tuple(boxes(rows))}

    layout = laid_out(answer)
    parts = layout.parts(answer(3), 3)
    some = layout.of_rows(parts, layout.to_score(parts), np.array([2, 0]))

    assert some["scores"].tolist() == scores(3)[[2, 0]].tolist()
    assert [len(box) for box in some["boxes"]] == [3, 1]
    chosen = laid_out(answer, "scores")
    assert chosen.of_rows(parts, scores(3), np.array([1])).tolist() == [[3, 4, 5]]


@pytest.mark.parametrize(
    ("outputs", "said"),
    [
        ({"a": scores(3), "b": scores(4)}, "a: 3 rows for a batch of 4"),
        ({"a": scores(4)}, "answered without the output b"),
        (scores(4), "answered without the output a"),
        ({"a": scores(4), "b": "text"}, "b: <U4[] for a batch of 4"),
        ({"a": scores(4), "b": object()}, "b: object[] for a batch of 4"),
        ({"a": scores(4)[:, :2], "b": scores(4)}, "a: float64[4, 2] for a batch of 4"),
    ],
)
def test_misfits(outputs: object, said: str) -> None:
    """What does not fit is named by its path."""
    layout = laid_out(lambda rows: {"a": scores(rows), "b": scores(rows)}, "a")

    with pytest.raises(MisfitError) as caught:
        layout.parts(outputs, 4)

    assert said in str(caught.value)


def test_an_output_that_is_not_scored_may_change_its_shape() -> None:
    """Only what is compared with labels has to stay as it is."""
    layout = laid_out(lambda rows: {"a": scores(rows), "b": np.zeros((rows, rows))}, "a")

    assert layout.parts({"a": scores(3), "b": np.zeros((3, 9))}, 3)[1].shape == (3, 9)


@pytest.mark.parametrize(
    ("outputs", "said"),
    [
        (scores(3), "answered float64[3, 3] to a batch of 4: expected 4 rows"),
        (scores(4)[:, :1], "answered float64[4, 1] to a batch of 4"),
        (np.full(4, "a"), "answered <U1[4] to a batch of 4"),
        ([[1], [2, 3]], "answered 2 rows of different shapes to a batch of 4: expected 4 rows"),
    ],
)
def test_misfits_of_one_array(outputs: object, said: str) -> None:
    """It has no path to name."""
    with pytest.raises(MisfitError) as caught:
        laid_out(scores).parts(outputs, 4)

    assert str(caught.value) == said


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("c", r"output='c': the target answers 'a', 'odd', 'text'"),
        ("odd", r"output='odd' is 4 rows of different shapes: it cannot be scored"),
        ("text", r"output='text' is <U1\[4\]: it cannot be scored"),
    ],
)
def test_outputs_that_cannot_be_scored(output: str, said: str) -> None:
    """What the target has is said, or why it cannot be."""
    with pytest.raises(UsageError, match=said):
        laid_out(lambda rows: {"a": scores(rows), "odd": odd(rows), "text": ["x"] * rows}, output)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda outputs: outputs["b"], "output= raised IndexError"),
        (lambda _: "text", "output= returned <U4"),
        (lambda outputs: outputs[:1], r"output= returned float64\[1, 3\] for a batch of 4"),
    ],
)
def test_functions_that_fail(function: Any, said: str) -> None:  # noqa: ANN401
    """The user's own mistake is named as such."""
    with pytest.raises(UsageError, match=said):
        laid_out(scores, function)


def test_as_many_arrays_as_rows() -> None:
    """If batches of one size only were asked, rows and outputs cannot be told apart."""
    sample = Sample([np.zeros((2, 3)), np.zeros((2, 3))], 2)

    with pytest.raises(UsageError, match="these may be rows, or outputs"):
        layout_of([sample])


def test_bfloat16() -> None:
    """Types that numpy does not have become floats of 32 bits."""
    ml_dtypes = pytest.importorskip("ml_dtypes")
    values = scores(4).astype(ml_dtypes.bfloat16)

    assert laid_out(lambda rows: values[:rows]).read(values, 4).dtype == np.float32


@pytest.mark.parametrize(
    "answer",
    [
        lambda rows: np.array(["a", "b", "c", "d"], object)[:rows],
        boxes,
        lambda rows: np.ones((rows, rows)),
    ],
    ids=["text", "rows of many shapes", "calls of many shapes"],
)
def test_users_metrics_get_answers_that_cannot_be_scored(answer: Any) -> None:  # noqa: ANN401
    """As they are: never an array without columns."""
    layout = laid_out(answer)
    parts = layout.parts(read_outputs(answer(4)), 4)

    given = layout.of_rows(parts, layout.to_score(parts), np.array([1, 3]))

    assert not layout.has_score
    assert [np.shape(row) for row in given] == [np.shape(answer(4)[row]) for row in (1, 3)]


def tags(rows: int) -> np.ndarray:
    """Scores of 3 classes for each position; the longer the batch, the more positions."""
    return np.ones((rows, 2 + rows, 3))


@pytest.mark.parametrize(
    ("answer", "output", "shape", "vary"),
    [
        (tags, None, (3,), True),
        (lambda rows: np.ones((rows, 5, 3)), None, (3,), False),
        (lambda rows: np.ones((rows, 5)), None, (), False),
        (boxes, None, (4,), True),
        (lambda rows: {"tags": tags(rows), "mask": np.ones((rows, 2 + rows))}, "tags", (3,), True),
        (tags, lambda outputs: outputs[..., 0], (), True),
        (boxes, lambda outputs: [row[:, 0] for row in outputs], (), True),
        (lambda rows: [list(range(row)) for row in range(rows)], None, (), True),
    ],
)
def test_answers_that_can_be_read_by_position(
    answer: Any,  # noqa: ANN401
    output: Any,  # noqa: ANN401
    shape: tuple[int, ...],
    *,
    vary: bool,
) -> None:
    """Padded arrays and lists of rows, as they are or as a function makes them."""
    layout = laid_out(answer, output)

    assert layout.sequences is not None
    assert (layout.sequences.shape, layout.sequences.vary) == (shape, vary)
    assert layout.has_score is not vary
    by_position = layout.read_by_position()
    parts = by_position.parts(read_outputs(answer(8)), 8)
    assert by_position.has_score
    assert len(by_position.to_cut(parts)) == 8


@pytest.mark.parametrize(
    "answer",
    [
        np.ones,
        lambda rows: {"a": tags(rows), "b": tags(rows)},
        lambda rows: ["a"] * rows,
        odd,
        lambda rows: np.ones((rows, 3, 2 + rows)),
    ],
    ids=["one number", "none is chosen", "text", "odd", "the other axis"],
)
def test_answers_that_cannot_be_read_by_position(answer: Any) -> None:  # noqa: ANN401
    """They have no length, or nobody said which output is meant."""
    assert laid_out(answer).sequences is None


@pytest.mark.parametrize("outputs", [np.ones((4, 9, 2)), np.ones(4), np.ones((3, 9, 3)), None])
def test_misfits_by_position(outputs: object) -> None:
    """Only the length may change."""
    layout = laid_out(tags).read_by_position()

    with pytest.raises(MisfitError):
        layout.parts(outputs, 4)
