"""Targets on LiteRT; ai_edge_litert is imported inside functions only."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from pytest_dlperf.errors import TargetError, UsageError, in_a_line

if TYPE_CHECKING:
    from numpy.typing import NDArray


class _Interpreter(Protocol):
    def get_input_details(self) -> list[dict[str, Any]]: ...

    def get_output_details(self) -> list[dict[str, Any]]: ...

    def resize_tensor_input(self, index: int, shape: tuple[int, ...]) -> None: ...

    def allocate_tensors(self) -> None: ...

    def set_tensor(self, index: int, value: NDArray[Any]) -> None: ...

    def invoke(self) -> None: ...

    def get_tensor(self, index: int) -> NDArray[Any]: ...


class _BoundInterpreter:
    """An interpreter with its input and output; for one thread at a time."""

    def __init__(self, interpreter: _Interpreter) -> None:
        (input_,) = interpreter.get_input_details()
        (output,) = interpreter.get_output_details()
        self._interpreter = interpreter
        self._input: int = input_["index"]
        self._dtype = np.dtype(input_["dtype"])
        self._output: int = output["index"]
        self._shape: tuple[int, ...] = ()

    def infer(self, batch: NDArray[Any]) -> NDArray[Any]:
        if batch.shape != self._shape:
            # About 20 microseconds: padding batches would cost more.
            self._interpreter.resize_tensor_input(self._input, batch.shape)
            self._interpreter.allocate_tensors()
            self._shape = batch.shape
        self._interpreter.set_tensor(self._input, np.ascontiguousarray(batch, self._dtype))
        self._interpreter.invoke()
        return self._interpreter.get_tensor(self._output)


@dataclass(frozen=True, slots=True, eq=False)
class LiteRTTarget:
    """A converted model that several threads may call at once.

    Interpreters are not thread-safe but release the GIL, so each call takes an idle one or makes
    one. Each computes in one thread, LiteRT's default.
    """

    content: bytes
    description: str
    _idle: deque[_BoundInterpreter] = field(default_factory=deque)

    @property
    def size(self) -> int:
        """Bytes of the converted model."""
        return len(self.content)

    def __deepcopy__(self, memo: object) -> LiteRTTarget:
        """The same with weights and interpreters of its own: these read the weights in place."""
        del memo
        return LiteRTTarget(bytes(bytearray(self.content)), self.description)

    def infer(self, batch: NDArray[Any]) -> object:
        """Answer a batch."""
        try:
            # The one used last, whose memory is still in the caches.
            interpreter = self._idle.pop()
        except IndexError:
            interpreter = _BoundInterpreter(_interpreter(self.content))
        outputs = interpreter.infer(batch)
        # After an exception its state is unknown: it is dropped.
        self._idle.append(interpreter)
        return outputs


def litert_target(content: bytes, sample: NDArray[Any], description: str) -> LiteRTTarget:
    """A target that serves a converted model; it has answered one row of the sample.

    Raises:
        UsageError: if it has several outputs.
        TargetError: if LiteRT cannot run it.
    """
    try:
        outputs = _interpreter(content).get_output_details()
        target = LiteRTTarget(content, description)
        if len(outputs) == 1:
            target.infer(sample[:1])
    except (RuntimeError, ValueError) as error:
        raise TargetError(f"{description} cannot be run: {in_a_line(error)}") from error
    if len(outputs) != 1:
        raise UsageError(
            f"{description} has {len(outputs)} outputs", "a model with one output can be measured"
        )
    return target


def _interpreter(content: bytes) -> _Interpreter:
    from ai_edge_litert.interpreter import Interpreter

    made: _Interpreter = Interpreter(model_content=content)
    return made
