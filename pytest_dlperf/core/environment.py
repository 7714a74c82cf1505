"""Where something was measured: the machine class and the software environment."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, fields
from typing import Literal, TypeAlias, cast

Severity: TypeAlias = Literal["blocking", "warning"]


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
        return asdict(self)


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
        return cast("dict[str, str]", asdict(self))

    @classmethod
    def from_json(cls, value: dict[str, object]) -> Environment:
        """The inverse of `to_json`.

        Raises:
            KeyError: if a field is missing.
        """
        return cls(**{field.name: str(value[field.name]) for field in fields(cls)})

    def changes(self, base: Environment) -> dict[Severity, tuple[str, ...]]:
        """What differs from the baseline's environment, by what it means for a comparison.

        Blocking: thread settings and precision change what is measured. Warning: versions; a
        slower version is something that a user wants to see.
        """
        found: dict[Severity, list[str]] = {"blocking": [], "warning": []}
        for field in fields(self):
            old, new = getattr(base, field.name), getattr(self, field.name)
            severity: Severity = "blocking" if field.name in {"threads", "precision"} else "warning"
            if old != new:
                found[severity].append(f"{field.name} {old or 'none'} -> {new or 'none'}")
        return {severity: tuple(texts) for severity, texts in found.items()}
