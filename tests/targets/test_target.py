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
