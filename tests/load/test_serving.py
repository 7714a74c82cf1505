"""Serving: where replicas are, and which sizes of batches are allowed."""

from __future__ import annotations

import pytest

from pytest_dlperf.errors import UsageError
from pytest_dlperf.load.serving import Serving


def test_devices_are_kept_as_names() -> None:
    """One text, a list and a tuple say the same; no devices are none."""
    assert Serving(devices="cpu:0,cpu:1") == Serving(devices=["cpu:0", "cpu:1"])
    assert Serving(devices=("cpu:0",)).devices == Serving(devices="CPU:0").devices == ("cpu:0",)
    assert Serving(devices=()) == Serving()


def test_texts_of_new_settings() -> None:
    """Settings at their defaults do not change the text that baselines store."""
    assert str(Serving(devices=None, allowed_batch_sizes=None)) == "Serving()"
    assert str(Serving(devices="cpu:0")) == "Serving(devices=('cpu:0',))"
    assert str(Serving(8, allowed_batch_sizes=[1, 8])) == (
        "Serving(max_batch_size=8, allowed_batch_sizes=(1, 8))"
    )


def test_replicas_are_counted_on_each_device() -> None:
    """Two replicas on each of two devices are four."""
    assert Serving(replicas=2).everywhere == 2
    assert Serving(replicas=2, devices="cpu:0,cpu:1").everywhere == 4


def test_unknown_devices() -> None:
    """A misspelt device is refused where it is written."""
    with pytest.raises(UsageError, match=r"Serving\(devices\)='cpu:x': 'cpu:x' is no device"):
        Serving(devices="cpu:x")


@pytest.mark.parametrize(
    ("sizes", "problem"),
    [
        ((), "does not end with max_batch_size=64"),
        ((1, 8), "does not end with max_batch_size=64"),
        ((1, 64, 128), "does not end with max_batch_size=64"),
        ((8, 1, 64), "expected increasing sizes"),
        ((8, 8, 64), "expected increasing sizes"),
        ((0, 64), "expected a whole number"),
        ((1.5, 64), "expected a whole number"),
        ("1,64", "expected a whole number"),
        (64, "expected sizes of batches"),
    ],
)
def test_sizes_that_are_refused(sizes: object, problem: str) -> None:
    """Allowed sizes increase and end with the largest batch, as in TensorFlow Serving."""
    with pytest.raises(UsageError) as caught:
        Serving(allowed_batch_sizes=sizes)  # type: ignore[arg-type]  # which is the point

    assert str(caught.value).startswith("Serving(allowed_batch_sizes)=")
    assert problem in str(caught.value)


def test_processes_and_devices() -> None:
    """A replica cannot be in a process of its own and on a device of this one."""
    with pytest.raises(UsageError, match=r"intra_op_threads=1\) with devices=\('cpu:0',\)"):
        Serving(intra_op_threads=1, devices="cpu:0")
