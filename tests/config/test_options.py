"""Options: layers, and where each option can be given."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_dlperf.config.options import (
    DEFAULTS,
    Options,
    from_call,
    from_marker,
    from_texts,
    overlay,
    specs,
)
from pytest_dlperf.errors import UsageError
from pytest_dlperf.load.scenarios import ClosedLoop, Offline, Server
from pytest_dlperf.load.serving import Serving

_LAYERS = st.builds(
    Options,
    budgets=st.none() | st.just(()) | st.just(("p99 <= 1ms",)),
    duration=st.none() | st.floats(1, 9),
    missing=st.none() | st.sampled_from(["pass", "warn", "fail"]),
    quick=st.none() | st.booleans(),
)


@given(st.lists(_LAYERS, max_size=4))
def test_overlay_takes_the_nearest_value(layers: list[Options]) -> None:
    """Each option comes from the first layer that gives it, False included."""
    merged = overlay(layers)
    for field in dataclasses.fields(Options):
        given = [v for layer in layers if (v := getattr(layer, field.name)) is not None]
        assert getattr(merged, field.name) == (given[0] if given else None)


@given(_LAYERS, _LAYERS, _LAYERS)
def test_overlay_may_be_done_in_steps(a: Options, b: Options, c: Options) -> None:
    """Laying two layers over one another first makes no difference."""
    assert overlay((overlay((a, b)), c)) == overlay((a, b, c)) == overlay((a, overlay((b, c))))


def test_defaults() -> None:
    """Options have the documented defaults, except those without any."""
    unsaid = {n for n in specs() if getattr(DEFAULTS, n) is None}
    of_a_duel = {"against", "against_install", "against_python", "against_carry", "seed"}
    files = {"json", "metrics"}
    own = {"update", "history", "slo", "task", "output", "devices", "logical_cpus"}
    assert unsaid == {*own, *files, *of_a_duel}
    assert DEFAULTS.scenario == ClosedLoop(clients=64)
    assert (DEFAULTS.duration, DEFAULTS.missing, DEFAULTS.inconclusive) == (5.0, "pass", "warn")
    assert DEFAULTS.base_broken == "fail"


def test_every_option_is_described() -> None:
    """Each field of the options has a description for --help, which starts with no capital."""
    assert set(specs()) == {field.name for field in dataclasses.fields(Options)}
    assert all(spec.help and spec.help[0].islower() for spec in specs().values())


def test_marker_takes() -> None:
    """A marker takes budgets by position and the rest by name."""
    options = from_marker(
        ("p99 <= 20ms", "errors == 0"),
        {
            "scenario": Server(rate=10),
            "serving": Serving(max_batch_size=8),
            "duration": "500ms",
            "missing": "fail",
            "inconclusive": "pass",
        },
    )
    assert options == Options(
        budgets=("p99 <= 20ms", "errors == 0"),
        scenario=Server(rate=10),
        serving=Serving(max_batch_size=8),
        duration=0.5,
        missing="fail",
        inconclusive="pass",
    )


def test_bare_marker() -> None:
    """A marker without arguments leaves every option to the other layers."""
    assert from_marker((), {}) == Options()


@pytest.mark.parametrize(
    "name",
    [
        "budgets",
        "update",
        "update_in_ci",
        "quick",
        "json",
        "only",
        "skip",
        "scenari",
        "logical_cpus",
    ],
)
def test_marker_refuses_names(name: str) -> None:
    """Options of a whole run and misspelt names are no arguments of a marker."""
    with pytest.raises(UsageError, match=f"takes no argument '{name}'") as caught:
        from_marker((), {name: "new"})
    assert "scenario" in caught.value.hint


@pytest.mark.parametrize(
    ("kwargs", "problem"),
    [
        ({"scenario": "Offline"}, "scenario='Offline' is no scenario"),
        ({"scenario": Offline}, "is no scenario"),
        ({"serving": 64}, "serving=64"),
        ({"duration": "soon"}, "duration='soon'"),
        ({"missing": "maybe"}, "missing='maybe'"),
        ({"inconclusive": "FAIL"}, "inconclusive='FAIL'"),
    ],
)
def test_marker_refuses_values(kwargs: dict[str, object], problem: str) -> None:
    """A value that is not allowed is refused with its name and the value."""
    with pytest.raises(UsageError) as caught:
        from_marker((), kwargs)
    assert problem in caught.value.problem


@pytest.mark.parametrize("arg", [20, None, ClosedLoop(clients=1), b"p99 <= 1ms"])
def test_marker_refuses_positions(arg: object) -> None:
    """Only text may stand among the budgets."""
    with pytest.raises(UsageError, match="takes budgets as text"):
        from_marker(("p99 <= 1ms", arg), {})


def test_texts_take() -> None:
    """The command line and the ini file give texts, lists of texts and flags."""
    options = from_texts(
        {"budgets": ["p99 <= 1ms"], "duration": "2s", "update": "new", "quick": True}
    )
    assert options == Options(budgets=("p99 <= 1ms",), duration=2.0, update="new", quick=True)


def test_texts_that_are_not_given() -> None:
    """None and a flag that is off mean not given."""
    assert from_texts({"duration": None, "budgets": None, "quick": False}) == Options()


@pytest.mark.parametrize("value", ["", [], [""]])
def test_texts_that_are_given_and_empty(value: object) -> None:
    """They are refused: a variable of CI that is not set must not turn off what it gives."""
    with pytest.raises(UsageError, match="--dlperf-update-in-ci is given, and empty"):
        from_texts({"update_in_ci": value})


@pytest.mark.parametrize(
    ("name", "value"), [("update", "none"), ("missing", "x"), ("call_timeout", "0")]
)
def test_texts_refuse(name: str, value: str) -> None:
    """A wrong text is refused with the option's spelling on that level."""
    with pytest.raises(UsageError) as caught:
        from_texts({name: value})
    assert caught.value.problem.startswith(f"--dlperf-{name.replace('_', '-')}='{value}'")


def test_call_takes_what_is_not_none() -> None:
    """Arguments of a call are options; None means not given."""
    assert from_call() == Options()
    assert from_call(scenario=Offline(), duration=3) == Options(scenario=Offline(), duration=3.0)
    with pytest.raises(UsageError, match="expected Serving"):
        from_call(serving={"replicas": 2})


def test_options_cannot_change() -> None:
    """Options are frozen, so that no test changes those of another."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        DEFAULTS.duration = 1.0  # type: ignore[misc]


def test_devices_from_texts_and_markers() -> None:
    """The command line names devices with commas between them, a marker as it likes."""
    assert from_texts({"devices": "cpu,gpu:1"}).devices == ("cpu", "gpu:1")
    assert from_marker((), {"devices": ("cpu:0", "cpu:1")}).devices == ("cpu:0", "cpu:1")
    assert from_marker((), {"devices": ()}).devices == ()
    with pytest.raises(UsageError, match="--dlperf-devices='tpu': 'tpu' is no device"):
        from_texts({"devices": "tpu"})


def test_a_marker_names_devices_once() -> None:
    """One test a device, or one test on all of them: a marker cannot ask for both."""
    with pytest.raises(UsageError, match="names devices twice"):
        from_marker((), {"devices": "all", "serving": Serving(devices="cpu:0")})


def test_logical_cpus_are_counted() -> None:
    """The CPU is split into a number of parts, from 1 to 64."""
    assert from_texts({"logical_cpus": "2"}).logical_cpus == 2
    for wrong in ("0", "65", "two", "1.5", "-1"):
        with pytest.raises(UsageError, match="expected a number from 1 to 64"):
            from_texts({"logical_cpus": wrong})


def test_an_option_that_takes_a_path_for_its_value() -> None:
    """`--dlperf-escalate tests` is no path to collect: the message says how to write it."""
    with pytest.raises(UsageError, match="before a path: --dlperf-escalate=always"):
        from_texts({"escalate": "tests"})
