"""Configuration: a value for each knob, and the setup that they make."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from pytest_dlperf.errors import DlperfError, UsageError
from pytest_dlperf.tuning.setup import Setup

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_dlperf.tuning.knob import Knob


@dataclass(frozen=True, slots=True, eq=False)
class Configuration:
    """A value for each knob of a study; equal where the texts of all values are.

    Attributes:
        values: by the name of the knob, in the order of the knobs.
    """

    values: Mapping[str, object]

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", MappingProxyType(dict(self.values)))

    @property
    def key(self) -> str:
        """All of it as text: `max_batch_size=64, units=512`, by name."""
        return ", ".join(f"{name}={value}" for name, value in sorted(self.texts().items()))

    def texts(self) -> dict[str, str]:
        """The values as texts."""
        return {name: str(value) for name, value in self.values.items()}

    def differences(self, other: Configuration) -> dict[str, object]:
        """The values that are not those of another configuration of the same knobs."""
        others = other.texts()
        return {
            name: value for name, value in self.values.items() if str(value) != others.get(name)
        }

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Configuration) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __str__(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in self.texts().items())


def configured(knobs: Sequence[Knob], chosen: Mapping[str, object] | None = None) -> Configuration:
    """These values, and the defaults of all other knobs."""
    given = chosen or {}
    return Configuration({knob.name: given.get(knob.name, knob.default) for knob in knobs})


def configuration_from_texts(texts: Mapping[str, str], knobs: Sequence[Knob]) -> Configuration:
    """The inverse of `Configuration.texts`.

    Raises:
        ValueError: if it is not about these knobs and their values.
    """
    if set(texts) != {knob.name for knob in knobs}:
        raise ValueError(f"{', '.join(texts)} are not the knobs of this study")
    return Configuration({knob.name: knob.value_of(texts[knob.name]) for knob in knobs})


def setup_of(base: Setup, configuration: Configuration, knobs: Sequence[Knob]) -> Setup:
    """The base with every knob at its value.

    Values that go together go in any order: one that another value still forbids waits for it.

    Raises:
        UsageError: if there is no such setup, since values do not go together.
    """
    __tracebackhide__ = True
    setup, waiting = base, tuple(knobs)
    while waiting:
        refused: list[tuple[Knob, UsageError]] = []
        for knob in waiting:
            try:
                setup = _applied(knob, setup, configuration.values[knob.name])
            except UsageError as error:
                refused.append((knob, error))
        if len(refused) == len(waiting):
            first, why = refused[0]
            value = configuration.values[first.name]
            raise UsageError(f"{first.name}={value}: {why.problem}", why.hint)
        waiting = tuple(knob for knob, _ in refused)
    return setup


def _applied(knob: Knob, setup: Setup, value: object) -> Setup:
    __tracebackhide__ = True
    try:
        changed = knob.apply(setup, value)
    except DlperfError:
        raise
    except Exception as error:  # a user's function, whatever it does
        raise UsageError(
            f"its apply ended with {type(error).__name__}: {error!s:.200}",
            "expected the setup with this value",
        ) from error
    if not isinstance(changed, Setup):
        raise UsageError(
            f"its apply made {type(changed).__name__}", "expected the setup with this value"
        )
    return changed


def anchored(
    knobs: Sequence[Knob], base: Setup, parameters: Mapping[str, object]
) -> tuple[Knob, ...]:
    """The knobs with what the base has as the first of their values, where they can read it.

    Args:
        knobs: of a study.
        base: the setup without tuning.
        parameters: of the function that builds the model: those with defaults, and these.
    """
    whole = dataclasses.replace(base, arguments={**parameters, **base.arguments})
    return tuple(_anchored(knob, whole) for knob in knobs)


def _anchored(knob: Knob, base: Setup) -> Knob:
    if knob.read is None:
        return knob
    try:
        now = knob.read(base)
    except LookupError:  # an argument without a default, that the setup does not give
        return knob
    others = (value for value in knob.values if str(value) != str(now))
    return dataclasses.replace(knob, values=(now, *others))
