"""Built-in knobs: `knobs.units(512, 128, 64)` tries these values, `knobs.units()` default ones.

Whatever their order, the value of the setup without tuning comes first.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from pytest_dlperf.data.cleaning import Cleaning
from pytest_dlperf.data.normalisation import Normalisation
from pytest_dlperf.errors import UsageError
from pytest_dlperf.targets.conversion import Quantisation
from pytest_dlperf.training.compression import Distillation, MagnitudePruning, NeuronPruning
from pytest_dlperf.training.graph_layers import Augmentation, InGraphNormalisation
from pytest_dlperf.training.recipe import WITH_MOMENTUM
from pytest_dlperf.tuning.configuration import Knob
from pytest_dlperf.units import parse_duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_dlperf.tuning.configuration import Setup, Stage

T = TypeVar("T")
Pruning: TypeAlias = MagnitudePruning | NeuronPruning

_SMALLER: Final = (512, 256, 128, 64, 32)
_FINISHES: Final = (Distillation, MagnitudePruning, NeuronPruning, Quantisation)
"""In the order of their application: steps that make a smaller model come first."""


def cleaning(*values: object) -> Knob:
    """Rules by which training rows are cleaned: `Cleaning(...)`, or None for rows as they are."""
    given = values or (None, Cleaning(missing="median"), Cleaning(duplicates="drop"))
    _check_kinds("cleaning", given, (Cleaning, type(None)))

    def apply(setup: Setup, value: object) -> Setup:
        first = (value,) if isinstance(value, Cleaning) else ()
        preparations = (*first, *_without(setup.preparations, Cleaning))
        return dataclasses.replace(setup, preparations=preparations)

    def read(setup: Setup) -> object:
        return _first(setup.preparations, Cleaning)

    return Knob("cleaning", given, "data", apply, read)


def normalisation(*values: object) -> Knob:
    """Feature scaling ahead of time: `none`, `standard` or `min-max`."""

    def apply(setup: Setup, value: object) -> Setup:
        rest = _without(setup.preparations, Normalisation)
        if value != "none":
            _check_once(setup.fronts, InGraphNormalisation)
            rest.append(Normalisation(value))  # type: ignore[arg-type]  # checked there
        return dataclasses.replace(setup, preparations=tuple(rest))

    def read(setup: Setup) -> object:
        return getattr(_first(setup.preparations, Normalisation), "kind", "none")

    return Knob("normalisation", values or ("none", "standard", "min-max"), "data", apply, read)


def normalisation_in_graph(*values: object) -> Knob:
    """Feature scaling in the served model, so that requests carry raw rows."""

    def apply(setup: Setup, value: object) -> Setup:
        rest = _without(setup.fronts, InGraphNormalisation)
        if value != "none":
            _check_once(setup.preparations, Normalisation)
            rest.insert(0, InGraphNormalisation(value))  # type: ignore[arg-type]  # checked there
        return dataclasses.replace(setup, fronts=tuple(rest))

    def read(setup: Setup) -> object:
        return getattr(_first(setup.fronts, InGraphNormalisation), "kind", "none")

    given = values or ("none", "standard", "min-max")
    return Knob("normalisation_in_graph", given, "data", apply, read)


def augmentation(*values: object) -> Knob:
    """Random changes of training rows: `Augmentation.image(...)` and so on, or None.

    The choice depends on the rows; the default is noise, for normalised features.
    """
    given = values or (None, Augmentation.noise(deviation=0.05), Augmentation.noise(deviation=0.2))
    _check_kinds("augmentation", given, (Augmentation, type(None)))

    def apply(setup: Setup, value: object) -> Setup:
        added = () if value is None else (value,)
        fronts = (*_without(setup.fronts, Augmentation), *added)
        return dataclasses.replace(setup, fronts=fronts)

    def read(setup: Setup) -> object:
        return _first(setup.fronts, Augmentation)

    return Knob("augmentation", given, "data", apply, read)


def argument(name: str, *values: object) -> Knob:
    """A keyword argument of the function that builds the model."""

    def apply(setup: Setup, value: object) -> Setup:
        return dataclasses.replace(setup, arguments={**setup.arguments, name: value})

    return Knob(name, values, "model", apply, lambda setup: setup.arguments[name])


def units(*values: object) -> Knob:
    """Units of the hidden layers: the argument `units` of the function that builds the model."""
    return argument("units", *(values or _SMALLER))


def layers(*values: object) -> Knob:
    """Hidden layers: the argument `layers` of the function that builds the model."""
    return argument("layers", *(values or (1, 2, 3)))


def activation(*values: object) -> Knob:
    """Activation: the argument `activation` of the function that builds the model."""
    return argument("activation", *(values or ("relu", "gelu", "tanh")))


def distillation(*values: object) -> Knob:
    """A smaller model that learns from the trained one: `Distillation(...)`, or None."""
    given = values or (None, *(Distillation({"units": count}) for count in (64, 32)))
    return _finish("distillation", given, (Distillation,))


def pruning(*values: object) -> Knob:
    """Removal of weights or units: `MagnitudePruning(...)`, `NeuronPruning(...)`, or None."""
    given = values or (None, NeuronPruning(0.5), NeuronPruning(0.75))
    return _finish("pruning", given, (MagnitudePruning, NeuronPruning))


def quantisation(*values: object) -> Knob:
    """Weights rounded to 8 bits: `Quantisation("int8")`, or None."""
    return _finish("quantisation", values or (None, Quantisation("int8")), (Quantisation,))


def optimizer(*values: object) -> Knob:
    """Optimizer: `gradient_descent`, `sgd`, `rmsprop`, `adam` or `adamw`; None as compiled."""

    def apply(setup: Setup, value: object) -> Setup:
        momentum = setup.recipe.momentum if value in WITH_MOMENTUM else None
        decay = setup.recipe.weight_decay if value == "adamw" else None
        recipe = dataclasses.replace(
            setup.recipe,
            optimizer=value,  # type: ignore[arg-type]  # checked there
            momentum=momentum,
            weight_decay=decay,
        )
        return dataclasses.replace(setup, recipe=recipe)

    given = values or (None, "adam", "adamw", "rmsprop", "sgd")
    return Knob("optimizer", given, "training", apply, lambda setup: setup.recipe.optimizer)


def learning_rate(*values: object) -> Knob:
    """A number, or a schedule such as `CosineDecay(...)`; None as compiled."""
    return _recipe("learning_rate", values or (None, 0.0003, 0.001, 0.003, 0.01))


def batch_size(*values: object) -> Knob:
    """Rows of one training step; None is 32."""
    return _recipe("batch_size", values or (None, 64, 128, 256))


def epochs(*values: object) -> Knob:
    """Passes over the training rows."""
    return _recipe("epochs", values or (5, 10, 20))


def precision(*values: object) -> Knob:
    """Number format of training."""
    return _recipe("precision", values or ("float32", "mixed_bfloat16"))


def steps_per_execution(*values: object) -> Knob:
    """Training steps per call of TensorFlow."""
    return _recipe("steps_per_execution", values or (1, 8, 32))


def max_batch_size(*values: object) -> Knob:
    """The most requests per call; allowed batch sizes above it are dropped, and it is added."""

    def apply(setup: Setup, value: object) -> Setup:
        serving = setup.serving
        allowed = serving.allowed_batch_sizes
        if allowed is not None and isinstance(value, int):
            allowed = (*(size for size in allowed if size < value), value)
        serving = dataclasses.replace(
            serving,
            max_batch_size=value,  # type: ignore[arg-type]  # checked there
            allowed_batch_sizes=allowed,
        )
        return dataclasses.replace(setup, serving=serving)

    given = values or (64, 16, 32, 128, 256)
    return Knob(
        "max_batch_size", given, "serving", apply, lambda setup: setup.serving.max_batch_size
    )


def batch_timeout(*values: object) -> Knob:
    """The longest wait for a batch to fill: seconds, or text such as `2ms`."""
    knob = _serving("batch_timeout", tuple(map(_seconds, values)) or (0.0, 0.001, 0.005))
    return dataclasses.replace(knob, apply=lambda setup, value: knob.apply(setup, _seconds(value)))


def replicas(*values: object) -> Knob:
    """Copies of the model that run in parallel."""
    return _serving("replicas", values or (1, 2, 4))


def intra_op_threads(*values: object) -> Knob:
    """Threads per operation; each replica then is a process. None leaves it to TensorFlow."""
    return _serving("intra_op_threads", values or (None, 1, 2))


def runtime(*values: object) -> Knob:
    """Runtime of the served model: `tf.function`, `xla`, `litert` or `onnx`."""

    def apply(setup: Setup, value: object) -> Setup:
        return dataclasses.replace(setup, runtime=value)  # type: ignore[arg-type]  # checked there

    given = values or ("tf.function", "xla", "litert", "onnx")
    return Knob("runtime", given, "serving", apply, lambda setup: setup.runtime)


def _recipe(name: str, values: tuple[object, ...]) -> Knob:
    return _field("recipe", "training", name, values)


def _serving(name: str, values: tuple[object, ...]) -> Knob:
    return _field("serving", "serving", name, values)


def _field(part: str, stage: Stage, name: str, values: tuple[object, ...]) -> Knob:
    """A knob that sets a field of a part of the setup, which checks the value."""

    def apply(setup: Setup, value: object) -> Setup:
        changed = dataclasses.replace(getattr(setup, part), **{name: value})
        return dataclasses.replace(setup, **{part: changed})

    return Knob(name, values, stage, apply, lambda setup: getattr(getattr(setup, part), name))


def _seconds(value: object) -> float:
    __tracebackhide__ = True
    return parse_duration(value, "batch_timeout") if isinstance(value, str) else value  # type: ignore[return-value]  # checked by Serving


def _finish(name: str, values: tuple[object, ...], kinds: tuple[type, ...]) -> Knob:
    _check_kinds(name, values, (*kinds, type(None)))

    def apply(setup: Setup, value: object) -> Setup:
        added = () if value is None else (value,)
        finishes = sorted((*_without(setup.finishes, kinds), *added), key=_place)
        return dataclasses.replace(setup, finishes=tuple(finishes))

    def read(setup: Setup) -> object:
        return _first(setup.finishes, kinds)

    return Knob(name, values, "model", apply, read)


def _place(finish: object) -> int:
    """A user's own finishes come last, in the order in which they were given."""
    return next(
        (place for place, kind in enumerate(_FINISHES) if isinstance(finish, kind)), len(_FINISHES)
    )


def _first(steps: Sequence[object], kind: type | tuple[type, ...]) -> object:
    return next((step for step in steps if isinstance(step, kind)), None)


def _without(steps: Sequence[T], kind: type | tuple[type, ...]) -> list[T]:
    return [step for step in steps if not isinstance(step, kind)]


def _check_once(steps: Sequence[object], kind: type) -> None:
    __tracebackhide__ = True
    if getattr(_first(steps, kind), "kind", "none") != "none":
        raise UsageError(
            "rows would be normalised twice, ahead of time and in the graph", "choose one of them"
        )


def _check_kinds(name: str, values: tuple[object, ...], kinds: tuple[type, ...]) -> None:
    __tracebackhide__ = True
    for value in values:
        if not isinstance(value, kinds):
            names = ", ".join("None" if kind is type(None) else kind.__name__ for kind in kinds)
            raise UsageError(f"knobs.{name}({value!r:.80})", f"expected one of {names}")
