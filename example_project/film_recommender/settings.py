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
        embedding: numbers that stand for one film (`FILM_EMBEDDING`).
        units: width of the hidden layer (`FILM_UNITS`).
        epochs: passes over the training rows.
        batch_size: rows of one step.
        seed: of the weights and of the order of the rows.
    """

    embedding: int = 64
    units: int = 128
    epochs: int = 4
    batch_size: int = 512
    seed: int = 7

    @classmethod
    def from_environment(cls, variables: Mapping[str, str] = os.environ) -> Settings:
        """The settings that the environment variables give, the defaults for the rest."""
        return cls(
            embedding=int(variables.get("FILM_EMBEDDING", cls.embedding)),
            units=int(variables.get("FILM_UNITS", cls.units)),
        )
