"""Preparing a target: where its replicas are, and which batches reach them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from fakes import FakeClock

from pytest_dlperf.config.options import Options
from pytest_dlperf.config.plan import Plan, plan
from pytest_dlperf.errors import TargetError, UsageError
from pytest_dlperf.load.outputs import read_outputs
from pytest_dlperf.load.scenarios import ClosedLoop
from pytest_dlperf.load.serving import Serving
from pytest_dlperf.targets import local_devices as devices
from pytest_dlperf.targets.target import Prepared, placed, prepare

if TYPE_CHECKING:
    from numpy.typing import NDArray

SAMPLE = np.arange(64 * 2.0).reshape(64, 2)


class Doubler:
    """Doubles, and remembers the sizes of its batches."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def infer(self, batch: NDArray[Any]) -> NDArray[Any]:
        """Twice as much."""
        self.sizes.append(len(batch))
        return batch * 2


def prepared(target: object, serving: Serving, **options: Any) -> tuple[Prepared, Plan]:  # noqa: ANN401 - any option
    """Prepared on a fake clock, with the plan that it was prepared for."""
    the_plan = placed(target, plan([Options(serving=serving, **options)]))
    return prepare(
        target, SAMPLE[: the_plan.served.max_batch_size], the_plan, FakeClock()
    ), the_plan


@pytest.fixture
def _two_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "devices_here", lambda: ("cpu:0", "cpu:1"))


@pytest.fixture
def _no_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "devices_here", lambda: pytest.fail("no device is looked up"))


@pytest.mark.usefixtures("_no_look")
def test_without_devices_none_is_looked_up() -> None:
    """Replicas as many as were asked for, and nothing to remark."""
    ready, the_plan = prepared(Doubler(), Serving(8, replicas=3))

    assert len(ready.replicas) == 3
    assert (the_plan.serving, ready.remark) == (Serving(8, replicas=3), "")


@pytest.mark.usefixtures("_no_look")
def test_a_callable_on_devices_that_are_named() -> None:
    """Replicas on each; that they are there cannot be verified, and the report will say so."""
    ready, _ = prepared(Doubler(), Serving(8, replicas=2, devices="cpu:0,gpu:3"))

    assert len(ready.replicas) == 4
    assert ready.remark == (
        "the target places itself: that it ran on cpu:0, gpu:3 was not verified"
    )


@pytest.mark.usefixtures("_no_look")
def test_threads_that_are_clients_are_not_multiplied() -> None:
    """Five clients stay five, on however many devices they are served."""
    serving = Serving(1, devices="cpu:0,cpu:1")

    ready, _ = prepared(Doubler(), serving, clients="threads", scenario=ClosedLoop(5))

    assert len(ready.replicas) == 5


@pytest.mark.usefixtures("_two_cpus")
def test_words_become_names() -> None:
    """What is measured on `all` devices is told by their names."""
    ready, the_plan = prepared(Doubler(), Serving(8, devices="all"))

    assert the_plan.serving == Serving(8, devices="cpu:0,cpu:1")
    assert len(ready.replicas) == 2


@pytest.mark.usefixtures("_two_cpus")
def test_a_device_that_is_absent() -> None:
    """The error names it, those that are here, and the way to skip instead."""
    with pytest.raises(UsageError) as caught:
        prepared(Doubler(), Serving(8, devices="cpu,gpu"))

    assert "there is no gpu here, only cpu:0, cpu:1" in caught.value.problem
    assert "--dlperf-devices" in caught.value.hint


def test_only_allowed_sizes_reach_a_callable() -> None:
    """From the first call on; the answers are those of the rows."""
    target = Doubler()
    ready, _ = prepared(target, Serving(32, allowed_batch_sizes=(4, 16, 32)))

    for rows in (1, 4, 5, 17):
        np.testing.assert_array_equal(ready.replicas[0].infer(SAMPLE[:rows]), SAMPLE[:rows] * 2)
    assert target.sizes == [4, 16, 32, 4, 4, 16, 32]
    assert ready.description == "callable Doubler.infer, batches padded to 4, 16, 32"


def test_a_first_call_that_fails_names_the_allowed_size() -> None:
    """A target that cannot take a size that is allowed is found before any load."""

    def at_most_four(batch: NDArray[Any]) -> NDArray[Any]:
        if len(batch) > 4:
            raise MemoryError
        return batch

    with pytest.raises(TargetError, match=r"batch of shape \(8, 2\)"):
        prepared(at_most_four, Serving(8, allowed_batch_sizes=(4, 8)))


def test_a_setting_of_the_tests_own_thread_is_named() -> None:
    """The load calls from threads of its own, where such a setting does not hold."""
    setting = threading.local()
    setting.gradients = False

    def infer(batch: NDArray[Any]) -> NDArray[Any]:
        if getattr(setting, "gradients", True):
            raise RuntimeError("Can't call numpy() on Tensor that requires grad")
        return batch

    with pytest.raises(
        TargetError, match=r"requires grad\n.*must be entered inside of the callable"
    ):
        prepared(infer, Serving(8))


def of_batch(batch: NDArray[Any]) -> list[NDArray[Any]]:
    """A list of rows, each of which has an axis of its own."""
    return [row[np.newaxis] for row in batch]


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda batch: {"scores": batch * 2},
        lambda batch: {"outputs": {"scores": batch * 2}},
        lambda batch: [batch * 2],
        lambda batch: (batch * 2,),
        lambda batch: (batch * 2).tolist(),
        lambda batch: list(batch * 2),
    ],
)
@pytest.mark.parametrize("sizes", [None, (1, 4, 8)])
def test_a_structure_with_one_array_is_that_array(wrapped: Any, sizes: Any) -> None:  # noqa: ANN401
    """For batches of every size; a list of one row stays a list of rows."""
    ready, _ = prepared(wrapped, Serving(8, allowed_batch_sizes=sizes))

    assert np.shape(ready.sample_parts[0]) == (8, 2)
    for rows in (1, 3, 8):
        answer = ready.layout.read(read_outputs(ready.replicas[0].infer(SAMPLE[:rows])), rows)
        np.testing.assert_array_equal(answer, SAMPLE[:rows] * 2)


def test_a_list_of_rows_stays_one() -> None:
    """Also for a batch of one row, where it could be taken for a list of one array."""
    ready, _ = prepared(of_batch, Serving(8))

    for rows in (1, 3):
        answer = ready.layout.read(read_outputs(ready.replicas[0].infer(SAMPLE[:rows])), rows)
        assert answer.shape == (rows, 1, 2)


class Builder:
    """Has a method that builds a model."""

    def build(self) -> object:
        """Take no batch."""
        return self


def _build() -> object:
    return None


@pytest.mark.parametrize(
    ("target", "hinted"),
    [
        (_build, True),
        (lambda *, width=3: width, True),
        (Builder().build, True),
        (lambda _: _build(1), False),  # type: ignore[call-arg]
        (lambda _: Builder().build(1), False),  # type: ignore[call-arg]
    ],
)
def test_a_function_that_builds_a_model(target: Any, hinted: bool) -> None:  # noqa: ANN401, FBT001
    """It is told from a target that itself calls a function with too many arguments."""
    with pytest.raises(TargetError, match="positional argument") as caught:
        prepared(target, Serving(8))

    assert ("builds a model, give what it returns" in str(caught.value)) is hinted


@pytest.mark.parametrize(
    ("infer", "got", "hint"),
    [
        (lambda _: None, "with None;", "does the callable return its answer?"),
        (lambda _: len, "builtin_function", "give what it returns"),
        (lambda b: {"a": b, "b": b[:0]}, "a dict of 2 outputs", "b: 0 rows for a batch of 1"),
        (lambda b: (b, b.T), "a tuple of 2 arrays", "1: 2 rows for a batch of 1"),
        (lambda b: (row for row in b), "a generator, which has no values yet", r"list\("),
        (lambda _: [[1], [2, 3]], r"rows of different lengths \(1, 2\)", "shape"),
        (lambda _: "cat", "with text;", ""),
        (lambda b: np.array([{}] * len(b)), r"objects of shape \(1,\)", ""),
        (lambda _: object(), "an object of type object", ""),
        (lambda _: 0.5, "one float;", "keep the batch axis"),
        (lambda b: b.mean(), r"float64 of shape \(\)|one float64", "keep the batch axis"),
        (lambda b: b[0], r"float64 of shape \(2,\)", "clients='threads'"),
        (lambda b: b.T, r"float64 of shape \(2, 1\)", "keep the batch axis"),
        (lambda b: np.vstack([b, b[:1]]), r"1 row with float64 of shape \(2, 2\)", ""),
        (lambda b: b[:7], r"8 rows with float64 of shape \(7, 2\)", "keep the batch axis"),
        (lambda b: b[np.newaxis], r"2 rows with float64 of shape \(1, 2, 2\)", ""),
        (lambda b: b[:0], r"float64 of shape \(0, 2\)", ""),
        (lambda _: {}, "a dict of 0 outputs", ""),
        (lambda _: [], "a list of 0 values", ""),
    ],
)
def test_answers_that_are_no_array_with_a_row_a_request(infer: Any, got: str, hint: str) -> None:  # noqa: ANN401
    """The first call says what came and what was expected, and does not say that it failed."""
    with pytest.raises(TargetError, match=f"(?s)answered a batch of .*{got}.*{hint}") as caught:
        prepared(infer, Serving(8))

    assert "expected an array with one row a request, shape (" in str(caught.value)
    assert "failed on its first call" not in str(caught.value)


@pytest.mark.parametrize("row", [lambda row: {"a": row}, lambda row: row * 1.0, lambda row: [row]])
def test_answers_to_single_rows(row: Any) -> None:  # noqa: ANN401
    """A function of one row may answer with a structure of one array too."""
    ready, _ = prepared(row, Serving(1), clients="threads", scenario=ClosedLoop(2))

    assert len(ready.sample_parts[0]) == 1


@pytest.mark.parametrize(
    ("row", "got"),
    [
        (lambda _: None, "None"),
        (lambda _: [[1], [2, 3]], "different lengths"),
    ],
)
def test_answers_to_single_rows_that_are_no_numbers(row: Any, got: str) -> None:  # noqa: ANN401
    """As for batches."""
    with pytest.raises(TargetError, match=f"answered a batch of 1 row with .*({got})"):
        prepared(row, Serving(1), clients="threads", scenario=ClosedLoop(2))


def test_rows_in_lists_of_lists_are_refused_in_words() -> None:
    """The error is one of the public ones, without another behind it."""
    with pytest.raises(TargetError, match="expected an array with one row") as caught:
        prepared(lambda batch: [[batch[0]]], Serving(8))

    assert type(caught.value) is TargetError
    assert caught.value.__context__ is None or caught.value.__suppress_context__
