"""Post-training steps as values: pruning and distillation; quantisation is a runtime's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

from pytest_dlperf._values import Described, check_count, check_number
from pytest_dlperf.errors import UsageError
from pytest_dlperf.targets.conversion import CONVERTED, Quantisation, Runtime

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class _Pruning(Described):
    share: float
    epochs: int = 1

    def __post_init__(self) -> None:
        __tracebackhide__ = True
        name = type(self).__name__
        check_number(self.share, f"{name}(share)", above=0)
        if not isinstance(self.share, int | float) or self.share >= 1:
            raise UsageError(f"{name}(share)={self.share!r:.80}", "expected less than 1")
        if self.epochs != 0 or isinstance(self.epochs, bool):
            check_count(self.epochs, f"{name}(epochs)")


@dataclass(frozen=True, slots=True)
class MagnitudePruning(_Pruning):
    """Sets the smallest weights of each kernel to zero, and trains the others on.

    A compressed file shrinks. No runtime here gets faster, as zeros are multiplied like other
    numbers; `NeuronPruning` gains speed.

    Attributes:
        share: of the weights of each kernel, above 0 and below 1.
        epochs: of training afterwards, in which zeros stay zero; may be 0.
    """


@dataclass(frozen=True, slots=True)
class NeuronPruning(_Pruning):
    """Removes whole units of hidden Dense layers, and trains the smaller model on.

    It removes the units of the smallest norm `(||w_in||^2 + b^2) ||w_out||^2`, batch normalisation
    between the two included. Removing a unit that is always 0, or whose outgoing weights are 0,
    changes no answer.

    Attributes:
        share: of the units of each hidden Dense layer, above 0 and below 1; one unit stays.
        epochs: of training afterwards; may be 0.
    """


@dataclass(frozen=True, slots=True)
class Distillation:
    """Trains a smaller model on the labels and on the answers of the trained one.

    Hinton, Vinyals and Dean, Distilling the Knowledge in a Neural Network (2015): the loss is
    `weight * CE(labels, student) + (1 - weight) * T^2 * KL(teacher at T || student at T)`, where
    answers at temperature T are `softmax(logits / T)`.

    Attributes:
        arguments: of the function that builds the smaller model, by keyword, such as
            `{"units": 32}`; they override the setup's.
        weight: of the labels, from 0 to 1.
        temperature: T, above 0.
    """

    arguments: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))
    weight: float = 0.5
    temperature: float = 2.0

    def __post_init__(self) -> None:
        __tracebackhide__ = True
        if not isinstance(self.arguments, Mapping) or not all(
            isinstance(name, str) for name in self.arguments
        ):
            raise UsageError(
                f"Distillation(arguments={self.arguments!r:.80})",
                "expected arguments of the function that builds the model, as {'units': 32}",
            )
        object.__setattr__(self, "arguments", MappingProxyType(dict(self.arguments)))
        check_number(self.weight, "Distillation(weight)")
        if self.weight > 1:
            raise UsageError(f"Distillation(weight={self.weight:g})", "expected at most 1")
        check_number(self.temperature, "Distillation(temperature)", above=0)

    def __str__(self) -> str:
        given = [f"{name}={value!r}" for name, value in sorted(self.arguments.items())]
        given += [f"weight={self.weight:g}", f"temperature={self.temperature:g}"]
        return f"Distillation({', '.join(given)})"

    def __hash__(self) -> int:
        return hash(str(self))


def split_steps(
    steps: Sequence[PostTrainingStep], runtime: Runtime
) -> tuple[tuple[PostTrainingStep, ...], Quantisation | None]:
    """The steps for Keras to carry out, and the quantisation that a runtime's converter does.

    Keras' own int8 layers cannot be converted for LiteRT, and ran 20 times slower in ONNX Runtime
    than the float layers; converters round the weights of the float model themselves.

    Raises:
        UsageError: if a step comes after a quantisation.
    """
    for step in steps[:-1]:
        if isinstance(step, Quantisation):
            raise UsageError(
                f"{step} is followed by {steps[-1]}", "quantisation comes last: it ends training"
            )
    last = steps[-1] if steps else None
    if isinstance(last, Quantisation) and runtime in CONVERTED:
        return tuple(steps[:-1]), last
    return tuple(steps), None


class PostTrainingStep(Protocol):
    """Pruning, distillation or quantisation; different steps have different `str()`."""
