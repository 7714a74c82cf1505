"""The parts of the Open Inference Protocol that HTTP and gRPC share."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from pytest_dlperf.errors import RemoteError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input or output of a model.

    Attributes:
        name: on the server; empty for the only one there is.
        datatype: in the protocol's words, such as `FP32`; empty if the server does not name it.
    """

    name: str
    datatype: str = ""


@dataclass(frozen=True, slots=True)
class ModelMetadata:
    """Inputs and outputs of a model; empty on servers that do not describe them."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


class Wire(Protocol):
    """A connection to one model. Its methods raise RemoteError without a valid response."""

    def metadata(self) -> ModelMetadata:
        """Request the model's metadata."""
        ...

    def infer(
        self, inputs: Sequence[tuple[Tensor, NDArray[Any]]], outputs: Sequence[str]
    ) -> dict[str, NDArray[Any]]:
        """Request outputs for a batch; an empty name means the only output."""
        ...


def pick(offered: Sequence[str], wanted: str) -> str:
    """The name of the output to read: the wanted one, or else the only one.

    Raises:
        RemoteError: if the response has no such output.
    """
    if wanted in offered:
        return wanted
    if not wanted and len(offered) == 1:
        return offered[0]
    names = ", ".join(offered) or "none"
    expected = f"expected {wanted!r}" if wanted else "expected one: name it with output_name="
    raise RemoteError("malformed answer", f"outputs: {names}; {expected}")


def triton_client(protocol: str) -> tuple[ModuleType, ModuleType]:
    """The modules `tritonclient.http` or `.grpc`, and `tritonclient.utils`.

    Raises:
        UsageError: if they are not installed.
    """
    try:
        client = importlib.import_module(f"tritonclient.{protocol}")
        return client, importlib.import_module("tritonclient.utils")
    except (ImportError, RuntimeError):  # the latter if only tritonclient's extra is missing
        raise UsageError(
            f"OpenInference over {protocol} needs tritonclient[{protocol}], which is not installed",
            "pip install 'pytest-dlperf[remote]'",
        ) from None
