"""Where something was measured: the machine class and the software environment."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, cast

from pytest_dlperf.results.codec import fields_from_json, fields_to_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Severity: TypeAlias = Literal["blocking", "warning"]

_VERSIONS: Final = frozenset({"python", "tensorflow", "keras", "numpy"})


@dataclass(frozen=True, slots=True)
class MachineClass:
    """What must be equal for the speeds of two machines to be compared.

    Attributes:
        cpu: model of the processor.
        cores: processors that this process may use, or its quota, rounded down.
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
        """A name for folders: lower case, digits, dots and dashes."""
        parts = [self.cpu, f"{self.cores}cpu", f"{self.memory}gib", self.accelerators, self.driver]
        plain = (re.sub(r"[^a-z0-9.]+", "-", part.lower()).strip("-.") for part in parts)
        return "-".join(filter(None, plain))

    def to_json(self) -> dict[str, object]:
        """Plain values."""
        return fields_to_json(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> MachineClass:
        """The inverse of `to_json`.

        Raises:
            KeyError, TypeError, ValueError: if the values are not of this shape.
        """
        return fields_from_json(cls, value)

    def changes(self, base: MachineClass) -> dict[Severity, tuple[str, ...]]:
        """What differs from another machine class, by what it means for a comparison.

        Blocking: processors and accelerators are what is measured with. Warning: with more memory
        or another driver the same hardware may well be as fast, but nobody knows before it is
        measured.
        """
        return _changes(base, self, frozenset({"memory", "driver"}), {"memory": " GiB"})

    def differs(self, base: MachineClass) -> str:
        """All that differs from another machine class, in words."""
        changes = self.changes(base)
        return ", ".join((*changes["blocking"], *changes["warning"]))

    def nearest(self, others: Iterable[MachineClass]) -> MachineClass | None:
        """The other class that the fewest fields tell from this one, those that block first.

        Args:
            others: among which this one is not; None is returned if there are none.
        """

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
    """

    python: str
    tensorflow: str
    keras: str
    numpy: str
    threads: str
    precision: str

    def to_json(self) -> dict[str, str]:
        """Plain values."""
        return cast("dict[str, str]", fields_to_json(self))

    @classmethod
    def from_json(cls, value: dict[str, object]) -> Environment:
        """The inverse of `to_json`.

        Raises:
            KeyError: if a field is missing.
        """
        return fields_from_json(cls, value)

    def changes(self, base: Environment) -> dict[Severity, tuple[str, ...]]:
        """What differs from the baseline's environment, by what it means for a comparison.

        Blocking: thread settings and precision change what is measured. Warning: versions; a
        slower version is something that a user wants to see.
        """
        return _changes(base, self, _VERSIONS, {})


def _changes(
    base: MachineClass | Environment,
    now: MachineClass | Environment,
    warned_of: frozenset[str],
    units: Mapping[str, str],
) -> dict[Severity, tuple[str, ...]]:
    """The fields that differ, each with what it was and is."""
    found: dict[Severity, list[str]] = {"blocking": [], "warning": []}
    for field in fields(now):
        old, new = getattr(base, field.name), getattr(now, field.name)
        severity: Severity = "warning" if field.name in warned_of else "blocking"
        if old != new:
            unit = units.get(field.name, "")
            found[severity].append(f"{field.name} {old or 'none'} -> {new or 'none'}{unit}")
    return {severity: tuple(texts) for severity, texts in found.items()}
