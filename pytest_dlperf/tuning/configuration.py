"""Setups, knobs, and configurations: a value for each knob, which together make a setup."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from pytest_dlperf.errors import DlperfError, UsageError
from pytest_dlperf.load.serving import Serving
from pytest_dlperf.targets.conversion import Runtime
from pytest_dlperf.training.recipe import Recipe

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_dlperf.data.dataset import Preparation
    from pytest_dlperf.training.compression import PostTrainingStep
    from pytest_dlperf.training.graph_layers import GraphLayer

Stage: TypeAlias = Literal["data", "model", "training", "serving"]
"""The part of a setup that a knob changes."""


@dataclass(frozen=True, slots=True)
class Setup:
    """A way to prepare data, to build and train a model, and to serve it.

    Attributes:
        preparations: steps of data preprocessing, in their order, ahead of time.
        fronts: layers in front of the model, the first one first.
        arguments: of the function that builds the model, by keyword.
        recipe: how it is trained.
        finishes: post-training steps, in their order.
        runtime: what computes its answers.
        serving: how requests reach it.
    """

    preparations: tuple[Preparation, ...] = ()
    fronts: tuple[GraphLayer, ...] = ()
    arguments: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))
    recipe: Recipe = field(default_factory=Recipe)
    finishes: tuple[PostTrainingStep, ...] = ()
    runtime: Runtime = "tf.function"
    serving: Serving = field(default_factory=Serving)

    def __post_init__(self) -> None:
        __tracebackhide__ = True
        for name in ("preparations", "fronts", "finishes"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        object.__setattr__(self, "arguments", MappingProxyType(dict(self.arguments)))
        if self.runtime not in get_args(Runtime):
            raise UsageError(
                f"Setup(runtime={self.runtime!r:.80})", f"one of {', '.join(get_args(Runtime))}"
            )
        threads = self.serving.intra_op_threads
        if threads is not None and self.runtime != "tf.function":
            raise UsageError(
                f"Setup(runtime={self.runtime!r}) with Serving(intra_op_threads={threads})",
                "only a tf.function can be sent to a process with threads of its own; leave the "
                "threads out, or choose runtime='tf.function'",
            )

    @property
    def trained(self) -> str:
        """Everything that the trained model depends on, as text; neither runtime nor serving."""
        parts = (
            *map(str, self.preparations),
            *map(str, self.fronts),
            *(f"{name}={value!r}" for name, value in sorted(self.arguments.items())),
            str(self.recipe),
            *map(str, self.finishes),
        )
        return "; ".join(parts)


@dataclass(frozen=True, slots=True)
class Knob:
    """A setting to tune.

    Attributes:
        name: as in tables and in code to paste; a Python identifier.
        values: to try, the value without tuning first; at least two, with different `str()`. One
            is enough with `read`.
        stage: the part of a setup that it changes.
        apply: returns the setup with this value.
        read: returns the value of a setup, which then comes first among the values of a study.
            None leaves the values as they are.
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
        """The value without tuning."""
        return self.values[0]

    def value_of(self, text: str) -> object:
        """The value with this text; a ValueError if there is none."""
        for value in self.values:
            if str(value) == text:
                return value
        raise ValueError(f"knob {self.name} has no value {text!r:.80}")


@dataclass(frozen=True, slots=True, eq=False)
class Configuration:
    """A value for each knob of a study; equal where the texts of all values are.

    `values` is by the name of the knob, in the order of the knobs.
    """

    values: Mapping[str, object]

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", MappingProxyType(dict(self.values)))

    @property
    def key(self) -> str:
        """As text, sorted by name: `max_batch_size=64, units=512`."""
        return ", ".join(f"{name}={value}" for name, value in sorted(self.texts().items()))

    def texts(self) -> dict[str, str]:
        """The values as texts."""
        return {name: str(value) for name, value in self.values.items()}

    def differences(self, other: Configuration) -> dict[str, object]:
        """The values that differ from another configuration of the same knobs."""
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
    """The configuration of these values, and the defaults of all other knobs."""
    given = chosen or {}
    return Configuration({knob.name: given.get(knob.name, knob.default) for knob in knobs})


def configuration_from_texts(texts: Mapping[str, str], knobs: Sequence[Knob]) -> Configuration:
    """The inverse of `Configuration.texts`; a ValueError if knobs or values are others."""
    if set(texts) != {knob.name for knob in knobs}:
        raise ValueError(f"{', '.join(texts)} are not the knobs of this study")
    return Configuration({knob.name: knob.value_of(texts[knob.name]) for knob in knobs})


def setup_of(base: Setup, configuration: Configuration, knobs: Sequence[Knob]) -> Setup:
    """The base with every knob at its value.

    The order of the knobs does not matter: a value that another one still forbids is applied
    after it.

    Raises:
        UsageError: if values do not go together.
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
    """The knobs with the value of the base first, where they can read it.

    `parameters` are the defaults of the function that builds the model.
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
