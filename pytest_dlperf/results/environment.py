"""Machine class and software environment of a measurement."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, cast

from pytest_dlperf.results.codec import fields_from_json, fields_to_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Severity: TypeAlias = Literal["blocking", "warning"]

_VERSIONS: Final = frozenset({"python", "tensorflow", "keras", "numpy", "frameworks"})
_SELDOM: Final = ("backend", "frameworks", "instrumentation")


@dataclass(frozen=True, slots=True)
class MachineClass:
    """What must be equal for speeds of two machines to be comparable.

    Attributes:
        cpu: model of the processor.
        cores: processors that the process may use, or its quota, rounded down.
        memory: memory in GiB, as the next power of two at or above it.
        accelerators: model and number of accelerators; empty if there is none.
        driver: the accelerator's driver; empty if there is none.
    """

    cpu: str
    cores: int
    memory: int
    accelerators: str
    driver: str

    @property
    def slug(self) -> str:
        """Name of its folder: lower-case letters, digits, dots and dashes."""
        parts = [self.cpu, f"{self.cores}cpu", f"{self.memory}gib", self.accelerators, self.driver]
        plain = (re.sub(r"[^a-z0-9.]+", "-", part.lower()).strip("-.") for part in parts)
        return "-".join(filter(None, plain))

    def to_json(self) -> dict[str, object]:
        """Plain values."""
        return fields_to_json(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> MachineClass:
        """The inverse of `to_json`."""
        return fields_from_json(cls, value)

    def changes(self, base: MachineClass) -> dict[Severity, tuple[str, ...]]:
        """The differences from another machine class, by severity.

        Other processors or accelerators block a comparison. More memory or another driver only
        warns: the same hardware may well be as fast, but that is unknown until it is measured.
        """
        return _changes(base, self, frozenset({"memory", "driver"}), {"memory": " GiB"})

    def differs(self, base: MachineClass) -> str:
        """All differences from another machine class, as text."""
        changes = self.changes(base)
        return ", ".join((*changes["blocking"], *changes["warning"]))

    def nearest(self, others: Iterable[MachineClass]) -> MachineClass | None:
        """The other class with the fewest differences, blocking ones first; None without others."""

        def distance(other: MachineClass) -> tuple[int, int, str]:
            changes = self.changes(other)
            return len(changes["blocking"]), len(changes["warning"]), other.slug

        return min(others, key=distance, default=None)


@dataclass(frozen=True, slots=True)
class Environment:
    """The software that a measurement ran with.

    Attributes:
        python: minor version.
        tensorflow: version, empty if it is not installed.
        keras: version, empty if it is not installed.
        numpy: version.
        threads: settings that fix the number of threads, as in the environment variables.
        precision: Keras' default precision (dtype policy).
        backend: Keras' backend; empty for TensorFlow, and where Keras is not imported.
        frameworks: versions of other frameworks that are imported, such as `torch 2.13.0`.
        instrumentation: what slows Python code down and cannot be suspended, such as
            `python -X dev`; empty if nothing does.
    """

    python: str
    tensorflow: str
    keras: str
    numpy: str
    threads: str
    precision: str
    backend: str = ""
    frameworks: str = ""
    instrumentation: str = ""

    @property
    def distortion(self) -> str:
        """Why its speeds are not those of the code; empty if they are."""
        slower = "which slows Python code down"
        return f"measured under {self.instrumentation}, {slower}" if self.instrumentation else ""

    def to_json(self) -> dict[str, str]:
        """Plain values; without those that are seldom there where they are not."""
        plain = cast("dict[str, str]", fields_to_json(self))
        return {name: text for name, text in plain.items() if text or name not in _SELDOM}

    @classmethod
    def from_json(cls, value: dict[str, object]) -> Environment:
        """The inverse of `to_json`."""
        return fields_from_json(cls, {**dict.fromkeys(_SELDOM, ""), **value})

    def changes(self, base: Environment) -> dict[Severity, tuple[str, ...]]:
        """The differences from the baseline's environment, by severity.

        Thread settings, precision, Keras' backend and instrumentation block a comparison, since
        they change what is measured.
        Versions only warn: users want to see that a new version is slower.
        """
        return _changes(base, self, _VERSIONS, {})


def _changes(
    base: MachineClass | Environment,
    now: MachineClass | Environment,
    warnings: frozenset[str],
    units: Mapping[str, str],
) -> dict[Severity, tuple[str, ...]]:
    """The fields that differ, each with its old and new value."""
    changes: dict[Severity, list[str]] = {"blocking": [], "warning": []}
    for field in fields(now):
        old, new = getattr(base, field.name), getattr(now, field.name)
        severity: Severity = "warning" if field.name in warnings else "blocking"
        if old != new:
            unit = units.get(field.name, "")
            changes[severity].append(f"{field.name} {old or 'none'} -> {new or 'none'}{unit}")
    return {severity: tuple(texts) for severity, texts in changes.items()}
