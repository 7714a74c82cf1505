"""Finishes: what is done to a model beside plain training, before it is served."""

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
class MagnitudePruning(Described):
    """The smallest weights of each kernel set to zero, and the others trained on.

    The file shrinks where it is compressed. No runtime here computes faster for it: a zero is
    multiplied like any other number. `NeuronPruning` is what gains speed.

    Attributes:
        share: of the weights of each kernel, above 0 and below 1.
        epochs: of training afterwards, in which what is zero stays zero; 0 trains no more.
    """

    share: float
    epochs: int = 1

    def __post_init__(self) -> None:
        __tracebackhide__ = True
        _check_share(self.share, "MagnitudePruning(share)")
        _check_epochs(self.epochs, "MagnitudePruning(epochs)")


@dataclass(frozen=True, slots=True)
class NeuronPruning(Described):
    """Whole units of hidden Dense layers taken out, and the smaller model trained on.

    Those go whose weights have the smallest norm, in and out: `(||w_in||^2 + b^2) ||w_out||^2`,
    with batch normalisation between the two counted in. A unit that answers 0 to everything, or
    that nothing comes out of, is missed by nobody.

    Attributes:
        share: of the units of each hidden Dense layer, above 0 and below 1; one unit stays.
        epochs: of training afterwards; 0 trains no more.
    """

    share: float
    epochs: int = 1

    def __post_init__(self) -> None:
        __tracebackhide__ = True
        _check_share(self.share, "NeuronPruning(share)")
        _check_epochs(self.epochs, "NeuronPruning(epochs)")


@dataclass(frozen=True, slots=True)
class Distillation:
    """A smaller model that learns from the trained one beside the labels.

    Hinton, Vinyals and Dean, Distilling the Knowledge in a Neural Network (2015): the loss is
    `weight * CE(labels, student) + (1 - weight) * T^2 * KL(teacher at T || student at T)`, with
    answers at temperature T being `softmax(logits / T)`.

    Attributes:
        arguments: of the function that builds the smaller model, by keyword, such as
            `{"units": 32}`; they go over the setup's own.
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
    finishes: Sequence[PostTrainingStep], runtime: Runtime
) -> tuple[tuple[PostTrainingStep, ...], Quantisation | None]:
    """What is done to the Keras model, and what is left to the converter of a runtime.

    Keras' own int8 layers cannot be converted for LiteRT, and ran 20 times slower in ONNX Runtime
    than what they replace; converters round the weights of the float model themselves.

    Args:
        finishes: of a setup, in their order.
        runtime: what will compute the answers.

    Returns:
        The finishes to carry out with Keras, and the quantisation that `as_target` takes.

    Raises:
        UsageError: if something comes after a quantisation.
    """
    for one in finishes[:-1]:
        if isinstance(one, Quantisation):
            raise UsageError(
                f"{one} is followed by {finishes[-1]}", "quantisation comes last: it ends training"
            )
    last = finishes[-1] if finishes else None
    if isinstance(last, Quantisation) and runtime in CONVERTED:
        return tuple(finishes[:-1]), last
    return tuple(finishes), None


def _check_share(share: object, what: str) -> None:
    __tracebackhide__ = True
    check_number(share, what, above=0)
    if not isinstance(share, int | float) or share >= 1:
        raise UsageError(f"{what}={share!r:.80}", "expected less than 1")


def _check_epochs(epochs: object, what: str) -> None:
    __tracebackhide__ = True
    if epochs != 0 or isinstance(epochs, bool):
        check_count(epochs, what)


class PostTrainingStep(Protocol):
    """What is done to a model beside plain training: pruning, distillation, quantisation.

    Its `str()` tells it from every other one.
    """
