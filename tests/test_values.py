"""Names of devices, and users' values as JSON."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_dlperf._values import (
    absence,
    device_names,
    expand,
    explicit,
    plain_values,
    short_values,
)
from pytest_dlperf.errors import UsageError

_SINGLE = st.builds("{}:{}".format, st.sampled_from(["cpu", "gpu"]), st.integers(0, 4))
_HERE = st.lists(_SINGLE, unique=True, min_size=1)
_NAMES = st.lists(_SINGLE | st.sampled_from(["cpu", "gpu", "all"]), unique=True)


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ("cpu:0", ("cpu:0",)),
        ("all", ("all",)),
        ("cpu, GPU:1", ("cpu", "gpu:1")),
        (["gpu", "cpu:12"], ("gpu", "cpu:12")),
        ((), ()),
    ],
)
def test_names_that_are_taken(value: object, names: tuple[str, ...]) -> None:
    """One text, with commas or without, or several texts; capitals do not matter."""
    assert device_names(value, "devices") == names


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("tpu", "'tpu' is no device"),
        ("cpu:x", "'cpu:x' is no device"),
        ("cpu:-1", "'cpu:-1' is no device"),
        ("cpu:01", "'cpu:01' is no device"),
        ("all:0", "'all:0' is no device"),
        ("cpu:0,", "'' is no device"),
        ("cpu:0 gpu:0", "'cpu:0 gpu:0' is no device"),
        (["cpu", 0], "0 is no device"),
        (0, "devices=0"),
        ("cpu:0,CPU:0", "names cpu:0 twice"),
    ],
)
def test_names_that_are_refused(value: object, problem: str) -> None:
    """What names no device, or one twice, is refused in words."""
    with pytest.raises(UsageError) as caught:
        device_names(value, "devices")

    assert problem in str(caught.value)
    assert str(caught.value).startswith("devices=")


def test_words_are_spread_over_what_is_here() -> None:
    """`cpu` and `gpu` mean all of a kind, `all` means all; what fits nothing stays."""
    here = ("cpu:0", "cpu:1", "gpu:0")

    assert expand(("all",), here) == here
    assert expand(("cpu",), here) == ("cpu:0", "cpu:1")
    assert expand(("gpu:0", "cpu"), here) == ("gpu:0", "cpu:0", "cpu:1")
    assert expand(("cpu:1", "all"), here) == ("cpu:1", "cpu:0", "gpu:0")
    assert expand(("gpu", "gpu:3"), here[:2]) == ("gpu", "gpu:3")


@given(_NAMES, _HERE)
def test_no_device_is_meant_twice_and_none_is_lost(names: list[str], here: list[str]) -> None:
    """Each single name that was given is meant, once; what else is meant is here."""
    meant = expand(names, here)

    assert len(set(meant)) == len(meant)
    assert {name for name in names if explicit([name])} <= set(meant)
    assert set(meant) <= {*here, *names}


def test_absence_says_what_is_here() -> None:
    """The message on a missing device lists the devices of the machine."""
    assert absence("gpu:1", ("cpu:0", "gpu:0")) == "there is no gpu:1 here, only cpu:0, gpu:0"


def test_parameters_stay_short() -> None:
    """Numbers and texts stay; of an array with a million numbers there is a line."""
    plain = short_values(
        {"a": 1, "b": "text", "c": None, "d": np.zeros(1_000_000), "e": list(range(10**5))}
    )

    assert {name: plain[name] for name in "abc"} == {"a": 1, "b": "text", "c": None}
    assert len(json.dumps(plain)) < 300


def test_extra_information_stays_whole() -> None:
    """What JSON knows stays; what it does not know is text, also what contains itself."""
    ring: list[object] = []
    ring.append(ring)
    values = {"a": {"b": [1, 2.5, None]}, 3: {4}, "c": ring, "d": {("k",): 1}}

    plain = plain_values(values)  # type: ignore[arg-type]

    assert plain["a"] == {"b": [1, 2.5, None]}
    assert plain["3"] == "{4}"
    assert isinstance(plain["c"], str)
    assert plain["d"] == {}
    json.dumps(plain)
