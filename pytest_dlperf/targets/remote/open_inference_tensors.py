"""What the Open Inference Protocol says, whether it travels over HTTP or over gRPC."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from pytest_dlperf.errors import RemoteError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input or output of a model.

    Attributes:
        name: on the server; empty for the only one there is.
        datatype: in the protocol's words, such as `FP32`; empty if the server does not say.
    """

    name: str
    datatype: str = ""


@dataclass(frozen=True, slots=True)
class ModelMetadata:
    """What a server says about a model; many say nothing about inputs and outputs."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


class Wire(Protocol):
    """A way to a model."""

    def metadata(self) -> ModelMetadata:
        """Ask what the model takes and gives.

        Raises:
            RemoteError: if there is no good answer.
        """
        ...

    def infer(self, asked: Tensor, batch: NDArray[Any], output: str) -> NDArray[Any]:
        """Ask for one output; an empty name means the only one.

        Raises:
            RemoteError: if there is no good answer.
        """
        ...


def pick(offered: Sequence[str], wanted: str) -> str:
    """The name of the output to read: the wanted one, or the only one.

    Raises:
        RemoteError: if it is not among those that the server answered with.
    """
    if wanted in offered:
        return wanted
    if not wanted and len(offered) == 1:
        return offered[0]
    names = ", ".join(offered) or "none"
    expected = f"expected {wanted!r}" if wanted else "expected one: name it with output_name="
    raise RemoteError("malformed answer", f"outputs: {names}; {expected}")


def missing(part: str) -> UsageError:
    """What to say when `tritonclient` or a part of it is not installed."""
    return UsageError(
        f"OpenInference over {part} needs tritonclient[{part}], which is not installed",
        "pip install 'pytest-dlperf[remote]'",
    )
