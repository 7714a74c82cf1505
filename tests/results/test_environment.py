"""Environment and machine class: what must be equal for a comparison."""

from __future__ import annotations

import dataclasses
import json
import re

import pytest
from builders import ENVIRONMENT, MACHINE
from hypothesis import example, given
from hypothesis import strategies as st

from pytest_dlperf.results.environment import Environment, MachineClass

_TEXTS = st.text(max_size=8)
_ENVIRONMENTS = st.builds(Environment, *[_TEXTS] * 6)


def test_slug() -> None:
    """A machine class is a readable folder name."""
    machine = MachineClass("AMD EPYC 7B13 (64-Core)", 8, 32, "2x NVIDIA A100", "550.54")
    assert machine.slug == "amd-epyc-7b13-64-core-8cpu-32gib-2x-nvidia-a100-550.54"


@given(st.builds(MachineClass, _TEXTS, st.integers(1, 99), st.integers(1, 99), _TEXTS, _TEXTS))
@example(MachineClass("???", 4, 8, "", ""))
@example(MachineClass("../..", 4, 8, "", ""))
def test_slug_is_a_safe_name(machine: MachineClass) -> None:
    """Whatever the machine calls itself, its folder is one plain name without a leading dash."""
    assert re.fullmatch(r"[a-z0-9][a-z0-9.-]*", machine.slug)


@pytest.mark.parametrize(
    "change",
    [
        {"cpu": "Other CPU"},
        {"cores": 8},
        {"memory": 32},
        {"accelerators": "1x A100"},
        {"driver": "550"},
    ],
)
def test_every_field_makes_another_class(change: dict[str, object]) -> None:
    """Machines that differ in any field have different folders."""
    assert dataclasses.replace(MACHINE, **change).slug != MACHINE.slug


def test_machine_to_json() -> None:
    """The fields of the machine can be read in a baseline file."""
    value = json.loads(json.dumps(MACHINE.to_json()))
    assert MachineClass.from_json(value) == MACHINE


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(MachineClass)])
def test_a_machine_needs_every_field(field: str) -> None:
    """A machine class with a field missing is none."""
    value = MACHINE.to_json()
    del value[field]
    with pytest.raises(KeyError, match=field):
        MachineClass.from_json(value)


@given(_ENVIRONMENTS)
def test_environment_round_trip(environment: Environment) -> None:
    """An environment survives being written as JSON."""
    assert Environment.from_json(json.loads(json.dumps(environment.to_json()))) == environment


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Environment)])
def test_environment_needs_every_field(field: str) -> None:
    """An environment with a field missing is none."""
    value: dict[str, object] = {**ENVIRONMENT.to_json()}
    del value[field]
    with pytest.raises(KeyError, match=field):
        Environment.from_json(value)


@pytest.mark.parametrize(
    ("field", "severity"),
    [
        ("python", "warning"),
        ("tensorflow", "warning"),
        ("keras", "warning"),
        ("numpy", "warning"),
        ("threads", "blocking"),
        ("precision", "blocking"),
    ],
)
def test_changes(field: str, severity: str) -> None:
    """Threads and precision forbid a comparison; a new version is only said."""
    now = dataclasses.replace(ENVIRONMENT, **{field: "new"})
    changes: dict[str, tuple[str, ...]] = {**now.changes(ENVIRONMENT)}
    old = getattr(ENVIRONMENT, field) or "none"
    assert changes.pop(severity) == (f"{field} {old} -> new",)
    assert list(changes.values()) == [()]


@given(_ENVIRONMENTS, _ENVIRONMENTS)
def test_changes_are_what_differs(now: Environment, base: Environment) -> None:
    """Nothing is said of equal environments, and each field that differs once."""
    fields = [f.name for f in dataclasses.fields(Environment)]
    differing = [f for f in fields if getattr(now, f) != getattr(base, f)]
    changes = now.changes(base)
    said = [*changes["blocking"], *changes["warning"]]
    assert sorted(text.split(" ", 1)[0] for text in said) == sorted(differing)
    assert now.changes(now) == {"blocking": (), "warning": ()}


@pytest.mark.parametrize(
    ("field", "value", "severity", "text"),
    [
        ("cpu", "Other CPU", "blocking", "cpu Test CPU @ 2.4GHz -> Other CPU"),
        ("cores", 8, "blocking", "cores 4 -> 8"),
        ("accelerators", "1x A100", "blocking", "accelerators none -> 1x A100"),
        ("memory", 32, "warning", "memory 16 -> 32 GiB"),
        ("driver", "560.1", "warning", "driver none -> 560.1"),
    ],
)
def test_changes_of_a_machine(field: str, value: object, severity: str, text: str) -> None:
    """What it computes with forbids a comparison; memory and driver are only said."""
    now = dataclasses.replace(MACHINE, **{field: value})
    changes: dict[str, tuple[str, ...]] = {**now.changes(MACHINE)}
    assert changes.pop(severity) == (text,)
    assert list(changes.values()) == [()]
    assert MACHINE.changes(MACHINE) == {"blocking": (), "warning": ()}


_MACHINES = st.builds(
    MachineClass,
    st.sampled_from(["a", "b"]),
    st.integers(1, 2),
    st.integers(1, 2),
    st.sampled_from(["", "x"]),
    st.sampled_from(["", "1"]),
)


@given(_MACHINES, st.lists(_MACHINES))
def test_the_nearest_machine(machine: MachineClass, others: list[MachineClass]) -> None:
    """None has fewer fields that block, nor as many and fewer others, in whatever order."""
    nearest = machine.nearest(others)
    assert nearest == machine.nearest(reversed(others))
    if nearest is None:
        assert not others
        return

    def differing(other: MachineClass) -> tuple[int, int]:
        changes = machine.changes(other)
        return len(changes["blocking"]), len(changes["warning"])

    assert nearest in others
    assert differing(nearest) == min(map(differing, others))
