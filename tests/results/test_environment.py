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
_ENVIRONMENTS = st.builds(Environment, *[_TEXTS] * 7)


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


@given(_ENVIRONMENTS)
def test_environment_round_trip(environment: Environment) -> None:
    """An environment survives being written as JSON."""
    assert Environment.from_json(json.loads(json.dumps(environment.to_json()))) == environment


@given(_ENVIRONMENTS, _ENVIRONMENTS)
def test_changes_are_what_differs(now: Environment, base: Environment) -> None:
    """Each field that differs is listed once; equal environments have no changes."""
    fields = [f.name for f in dataclasses.fields(Environment)]
    differing = [f for f in fields if getattr(now, f) != getattr(base, f)]
    changes = now.changes(base)
    texts = [*changes["blocking"], *changes["warning"]]
    assert sorted(text.split(" ", 1)[0] for text in texts) == sorted(differing)
    assert now.changes(now) == {"blocking": (), "warning": ()}


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
    """No other class has fewer differences, blocking ones first, in any order of the classes."""
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


@pytest.mark.parametrize(
    ("stored", "field"),
    [
        *((MACHINE, f.name) for f in dataclasses.fields(MACHINE)),
        *((ENVIRONMENT, f.name) for f in dataclasses.fields(ENVIRONMENT)[:-3]),
    ],
)
def test_every_field_is_needed(stored: MachineClass | Environment, field: str) -> None:
    """A machine class or environment with a field missing is refused."""
    value: dict[str, object] = {**stored.to_json()}
    del value[field]
    with pytest.raises(KeyError, match=field):
        type(stored).from_json(value)


def test_instrumentation_is_written_where_there_is_some() -> None:
    """A file of an ordinary run does not name it; what is not named is none."""
    assert not {"instrumentation", "backend", "frameworks"} & set(ENVIRONMENT.to_json())
    traced = dataclasses.replace(ENVIRONMENT, instrumentation="python -X dev")
    assert Environment.from_json({**traced.to_json()}) == traced
    assert traced.distortion == "measured under python -X dev, which slows Python code down"


@pytest.mark.parametrize(
    ("base", "field", "value", "severity", "text"),
    [
        (ENVIRONMENT, "python", "3.12", "warning", "python 3.11 -> 3.12"),
        (ENVIRONMENT, "tensorflow", "2.19.0", "warning", "tensorflow 2.18.0 -> 2.19.0"),
        (ENVIRONMENT, "keras", "", "warning", "keras 3.8.0 -> none"),
        (ENVIRONMENT, "numpy", "2.2.0", "warning", "numpy 2.1.0 -> 2.2.0"),
        (ENVIRONMENT, "threads", "OMP=1", "blocking", "threads none -> OMP=1"),
        (ENVIRONMENT, "precision", "f16", "blocking", "precision f32 -> f16"),
        (ENVIRONMENT, "backend", "jax", "blocking", "backend none -> jax"),
        (ENVIRONMENT, "frameworks", "jax 1", "warning", "frameworks none -> jax 1"),
        (ENVIRONMENT, "instrumentation", "-X", "blocking", "instrumentation none -> -X"),
        (MACHINE, "cpu", "Other CPU", "blocking", "cpu Test CPU @ 2.4GHz -> Other CPU"),
        (MACHINE, "cores", 8, "blocking", "cores 4 -> 8"),
        (MACHINE, "accelerators", "1x A100", "blocking", "accelerators none -> 1x A100"),
        (MACHINE, "memory", 32, "warning", "memory 16 -> 32 GiB"),
        (MACHINE, "driver", "560.1", "warning", "driver none -> 560.1"),
    ],
)
def test_changes(
    base: MachineClass | Environment, field: str, value: object, severity: str, text: str
) -> None:
    """Threads, precision, processors and accelerators block a comparison; the rest only warns."""
    now = dataclasses.replace(base, **{field: value})
    changes: dict[str, tuple[str, ...]] = {**now.changes(base)}  # type: ignore[arg-type]  # of one kind
    assert changes.pop(severity) == (text,)
    assert list(changes.values()) == [()]
    assert base.changes(base) == {"blocking": (), "warning": ()}  # type: ignore[arg-type]
