"""Scenarios and serving: checked when built, and one text for equal settings."""

from __future__ import annotations

import dataclasses
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_dlperf.errors import UsageError
from pytest_dlperf.load.scenarios import (
    Burst,
    ClosedLoop,
    Constant,
    Exponential,
    MultiStream,
    Offline,
    Ramp,
    Scenario,
    Server,
    SingleStream,
    Trace,
)
from pytest_dlperf.load.serving import Serving

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        (ClosedLoop(clients=64), "ClosedLoop(clients=64)"),
        (ClosedLoop(clients=1, think_time=0.5), "ClosedLoop(clients=1, think_time=0.5)"),
        (Server(rate=12.5), "Server(rate=12.5)"),
        (SingleStream(), "SingleStream()"),
        (Offline(), "Offline()"),
        (MultiStream(), "MultiStream()"),
        (MultiStream(4), "MultiStream(samples=4)"),
        (Constant(5), "Constant(rate=5)"),
        (Burst(5, 0.5), "Burst(rate=5, burstiness=0.5)"),
        (Ramp(1, 9.5), "Ramp(start=1, stop=9.5)"),
        (Trace("traces/monday.csv"), "Trace(monday.csv)"),
        (Trace(PurePosixPath("traces/monday.csv")), "Trace(monday.csv)"),  # type: ignore[arg-type]  # what users do
        (
            ClosedLoop(2, think_time=Exponential(0.5)),
            "ClosedLoop(clients=2, think_time=Exponential(mean=0.5))",
        ),
        (Serving(), "Serving()"),
        (Serving(max_batch_size=8, replicas=2), "Serving(max_batch_size=8, replicas=2)"),
        (Serving(batch_timeout=0.01), "Serving(batch_timeout=0.01)"),
        (Serving(intra_op_threads=1), "Serving(intra_op_threads=1)"),
        (Serving(devices=None, allowed_batch_sizes=None), "Serving()"),
        (Serving(devices="cpu:0"), "Serving(devices=('cpu:0',))"),
        (
            Serving(8, allowed_batch_sizes=[1, 8]),
            "Serving(max_batch_size=8, allowed_batch_sizes=(1, 8))",
        ),
    ],
)
def test_text(setting: Scenario | Serving, text: str) -> None:
    """A setting's text names what differs from the defaults, as it would be written."""
    assert str(setting) == text


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (Server(rate=2000), Server(rate=2000.0)),
        (Server(rate=2000.0), Server(rate=np.float64(2000))),
        (ClosedLoop(clients=1, think_time=1), ClosedLoop(clients=1, think_time=1.0)),
        (Serving(batch_timeout=1), Serving(batch_timeout=1.0)),
        (Serving(batch_timeout=0), Serving()),
    ],
)
def test_equal_settings_have_equal_texts(
    first: Scenario | Serving, second: Scenario | Serving
) -> None:
    """Equal settings have equal texts, by which baselines are compared."""
    assert first == second
    assert str(first) == str(second)


@given(st.floats(1e-3, 1e6), st.floats(1e-3, 1e6))
def test_different_settings_have_different_texts(first: float, second: float) -> None:
    """Settings that differ read differently, however little it is."""
    assert (str(Server(rate=first)) == str(Server(rate=second))) is (first == second)


@pytest.mark.parametrize("clients", [0, -1, 1.5, True, "64", None, float("nan")])
def test_counts_are_checked(clients: object) -> None:
    """A count is a whole number of at least one, and the message names it."""
    with pytest.raises(UsageError, match=r"ClosedLoop\(clients\)=.*whole number"):
        ClosedLoop(clients=clients)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"Serving\(max_batch_size\)="):
        Serving(max_batch_size=clients)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"Serving\(replicas\)="):
        Serving(replicas=clients)  # type: ignore[arg-type]
    if clients is not None:
        with pytest.raises(UsageError, match=r"Serving\(intra_op_threads\)="):
            Serving(intra_op_threads=clients)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "number",
    [
        -1,
        -1e-9,
        float("nan"),
        float("inf"),
        True,
        "1",
        None,
        pytest.param(10**400, id="an integer beyond floats"),
    ],
)
def test_numbers_are_checked(number: object) -> None:
    """A time or a rate is a finite number that is not negative, and the message names it."""
    with pytest.raises(UsageError, match=r"Server\(rate\)=.*a number above 0"):
        Server(rate=number)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"ClosedLoop\(think_time\)=.*at least 0"):
        ClosedLoop(clients=1, think_time=number)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"Serving\(batch_timeout\)="):
        Serving(batch_timeout=number)  # type: ignore[arg-type]


def test_a_rate_is_above_zero() -> None:
    """No arrivals at all are no traffic, while no waiting is fine."""
    with pytest.raises(UsageError, match="above 0"):
        Server(rate=0)
    assert ClosedLoop(clients=1, think_time=0).think_time == 0


def test_settings_cannot_change() -> None:
    """Settings are frozen: the text in a baseline stays true."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        Serving().replicas = 2  # type: ignore[misc]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: MultiStream(0), r"MultiStream\(samples\)=0"),
        (lambda: Constant(0), r"Constant\(rate\)=0: expected a number above 0"),
        (lambda: Burst(5, 0), r"Burst\(burstiness\)=0"),
        (lambda: Burst(float("inf"), 1), r"Burst\(rate\)=inf"),
        (lambda: Ramp(-1, 5), r"Ramp\(start\)=-1"),
        (lambda: Ramp(0, 0), "has no requests"),
        (lambda: Exponential(0), r"Exponential\(mean\)=0"),
        (lambda: Trace(()), "there are no times"),
        (lambda: Trace((1.0, 0.5)), "time 1 is 0.5, after 1"),
        (lambda: Trace((0.0, float("nan"))), "time 1 is nan"),
        (lambda: Trace(5), r"Trace\(times\): 'int' object is not iterable"),
        (lambda: Trace(("soon",)), "could not convert"),
    ],
)
def test_senseless_traffic_is_refused(build: Callable[[], object], message: str) -> None:
    """Each scenario is checked when it is built, and the message names the field."""
    with pytest.raises(UsageError, match=message):
        build()


def test_traces_are_told_apart_by_their_times() -> None:
    """Equal times have equal texts, however they were given; others have not."""
    assert str(Trace((0, 1))) == str(Trace([0.0, 1.0]))  # type: ignore[arg-type]  # what users do
    assert str(Trace((0, 1))) != str(Trace((0, 2)))


def test_devices_are_kept_as_names() -> None:
    """One text, a list and a tuple say the same; no devices are none."""
    assert Serving(devices="cpu:0,cpu:1") == Serving(devices=["cpu:0", "cpu:1"])
    assert Serving(devices=("cpu:0",)).devices == Serving(devices="CPU:0").devices == ("cpu:0",)
    assert Serving(devices=()) == Serving()


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
