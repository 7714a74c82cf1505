"""Knob: one thing to try, with the values to try it at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from pytest_dlperf.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_dlperf.tuning.setup import Setup

Stage: TypeAlias = Literal["data", "model", "training", "serving"]
"""What a knob changes; a trained model is shared by all that differs in serving only."""


@dataclass(frozen=True, slots=True)
class Knob:
    """One thing to try.

    Attributes:
        name: as in tables and in code to paste; a Python identifier.
        values: to try, the first of them being what is there without tuning; at least two, each
            told from the others by its `str()`. One is enough where `read` tells the first.
        stage: what it changes.
        apply: the setup with this value.
        read: what a setup has of it; then this comes first among the values of a study, whatever
            the order here. None leaves the values as they are.
    """

    name: str
    values: tuple[object, ...]
    stage: Stage
    apply: Callable[[Setup, object], Setup]
    read: Callable[[Setup], object] | None = None

    def __post_init__(self) -> None:
        __tracebackhide__ = True
        if not isinstance(self.name, str) or not self.name.isidentifier():
            raise UsageError(f"Knob(name={self.name!r:.80})", "expected a Python identifier")
        if self.stage not in get_args(Stage):
            raise UsageError(
                f"Knob {self.name}: stage={self.stage!r:.80}",
                f"one of {', '.join(get_args(Stage))}",
            )
        object.__setattr__(self, "values", tuple(self.values))
        texts = [str(value) for value in self.values]
        least = 2 if self.read is None else 1
        if len(set(texts)) != len(texts) or len(texts) < least:
            raise UsageError(
                f"Knob {self.name}: values {', '.join(texts)}",
                f"expected at least {'two' if least > 1 else 'one'}, all different",
            )

    @property
    def default(self) -> object:
        """What is there without tuning."""
        return self.values[0]

    def value_of(self, text: str) -> object:
        """The value with this text.

        Raises:
            ValueError: if there is none.
        """
        for value in self.values:
            if str(value) == text:
                return value
        raise ValueError(f"knob {self.name} has no value {text!r:.80}")
