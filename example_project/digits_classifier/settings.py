"""Settings, each with an environment variable that overrides it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Settings:
    """What the model looks like and how it is trained.

    Attributes:
        units: width of the hidden layer (`DIGITS_UNITS`).
        epochs: passes over the training rows.
        seed: of the weights and of the order of the rows.
    """

    units: int = 512
    epochs: int = 5
    seed: int = 7

    @classmethod
    def from_environment(cls, variables: Mapping[str, str] = os.environ) -> Settings:
        """The settings that the environment variables give, the defaults for the rest."""
        return cls(units=int(variables.get("DIGITS_UNITS", cls.units)))
