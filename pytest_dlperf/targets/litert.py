"""Targets on LiteRT; ai_edge_litert is imported inside functions only."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from pytest_dlperf.errors import TargetError, UsageError, in_a_line
from pytest_dlperf.targets.arguments import as_type
from pytest_dlperf.trees import first_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_dlperf.trees import Rows, Tree


class _Interpreter(Protocol):
    def get_input_details(self) -> list[dict[str, Any]]: ...

    def get_output_details(self) -> list[dict[str, Any]]: ...

    def resize_tensor_input(self, index: int, shape: tuple[int, ...]) -> None: ...

    def allocate_tensors(self) -> None: ...

    def set_tensor(self, index: int, value: NDArray[Any]) -> None: ...

    def invoke(self) -> None: ...

    def get_tensor(self, index: int) -> NDArray[Any]: ...

    def get_signature_runner(self) -> Any: ...  # noqa: ANN401 - has no types


class _BoundInterpreter:
    """An interpreter with its inputs and outputs; for one thread at a time."""

    def __init__(self, interpreter: _Interpreter) -> None:
        self._interpreter = interpreter
        self._inputs = [(each["index"], each["dtype"]) for each in interpreter.get_input_details()]
        self._outputs: list[int] = [each["index"] for each in interpreter.get_output_details()]
        self._shapes: list[tuple[int, ...]] = []
        self._runner: Any = None

    def infer(self, batch: Tree) -> object:
        """Answer a batch: an array, a list or tuple in the order of the inputs, or a dict."""
        if isinstance(batch, Mapping):
            return self._by_name(batch)
        parts = [batch] if isinstance(batch, np.ndarray) else [np.asarray(part) for part in batch]
        shapes = [part.shape for part in parts]
        if shapes != self._shapes:
            # About 20 microseconds: padding batches would cost more.
            for (index, _), shape in zip(self._inputs, shapes, strict=True):
                self._interpreter.resize_tensor_input(index, shape)
            self._interpreter.allocate_tensors()
            self._shapes = shapes
        for (index, dtype), part in zip(self._inputs, parts, strict=True):
            self._interpreter.set_tensor(index, as_type(part, dtype, f"input {index} in LiteRT"))
        self._interpreter.invoke()
        answers = [self._interpreter.get_tensor(index) for index in self._outputs]
        return answers[0] if len(answers) == 1 else answers

    def _by_name(self, batch: Mapping[str, Any]) -> object:
        if self._runner is None:
            self._runner = self._interpreter.get_signature_runner()
        dtypes = {name: each["dtype"] for name, each in self._runner.get_input_details().items()}
        if set(dtypes) != set(batch):
            raise UsageError(
                f"the model takes the inputs {', '.join(dtypes)}; the data has {', '.join(batch)}",
                "give a dict with these names",
            )
        return self._runner(
            **{
                name: as_type(part, dtypes[name], f"input {name} in LiteRT")
                for name, part in batch.items()
            }
        )


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

    def infer(self, batch: Tree) -> object:
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


def litert_target(content: bytes, sample: Rows, description: str) -> LiteRTTarget:
    """A target that serves a converted model; it has answered one row of the sample.

    Raises:
        UsageError: if it takes other inputs.
        TargetError: if LiteRT cannot run it.
    """
    target = LiteRTTarget(content, description)
    try:
        target.infer(first_rows(sample, 1)[:])
    except UsageError:
        raise
    except (RuntimeError, ValueError) as error:
        raise TargetError(f"{description} cannot be run: {in_a_line(error)}") from error
    return target


def _interpreter(content: bytes) -> _Interpreter:
    from ai_edge_litert.interpreter import Interpreter

    made: _Interpreter = Interpreter(model_content=content)
    return made
