"""Setup: one whole way to prepare data, build and train a model, and serve it."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, get_args

from pytest_dlperf.errors import UsageError
from pytest_dlperf.load.serving import Serving
from pytest_dlperf.training.recipe_core import Recipe

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_dlperf.data.examples import Preparation

Runtime: TypeAlias = Literal["tf.function", "xla", "litert", "onnx"]


class Front(Protocol):
    """What is put in front of a model, in its graph: normalisation, augmentation.

    Its `str()` tells it from every other one.
    """


class Finish(Protocol):
    """What is done to a model beside plain training: pruning, distillation, quantisation.

    Its `str()` tells it from every other one.
    """


@dataclass(frozen=True, slots=True)
class Setup:
    """One whole way to prepare data, build and train a model, and serve it.

    Attributes:
        preparations: steps of data preprocessing, in their order, ahead of time.
        fronts: layers in front of the model, the first one first.
        arguments: of the function that builds the model, by keyword.
        recipe: how it is trained.
        finishes: what is done to it beside plain training, in their order.
        runtime: what computes its answers.
        serving: how requests reach it.
    """

    preparations: tuple[Preparation, ...] = ()
    fronts: tuple[Front, ...] = ()
    arguments: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))
    recipe: Recipe = field(default_factory=Recipe)
    finishes: tuple[Finish, ...] = ()
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
        """All that the trained model depends on here, as text: what only serves it is left out."""
        parts = (
            *map(str, self.preparations),
            *map(str, self.fronts),
            *(f"{name}={value!r}" for name, value in sorted(self.arguments.items())),
            str(self.recipe),
            *map(str, self.finishes),
        )
        return "; ".join(parts)
