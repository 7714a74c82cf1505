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
        embedding: numbers that stand for one word (`TEXT_EMBEDDING`).
        units: width of the hidden layer (`TEXT_UNITS`).
        epochs: passes over the training rows.
        seed: of the weights and of the order of the rows.
    """

    embedding: int = 128
    units: int = 256
    epochs: int = 5
    seed: int = 7

    @classmethod
    def from_environment(cls, variables: Mapping[str, str] = os.environ) -> Settings:
        """The settings that the environment variables give, the defaults for the rest."""
        return cls(
            embedding=int(variables.get("TEXT_EMBEDDING", cls.embedding)),
            units=int(variables.get("TEXT_UNITS", cls.units)),
        )
