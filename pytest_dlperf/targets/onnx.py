"""Targets on ONNX Runtime; onnxruntime is imported inside functions only."""

from __future__ import annotations

import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from pytest_dlperf.errors import TargetError, UsageError, in_a_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_ERRORS: Final = 3
"""ONNX Runtime's log level that hides warnings."""

_DTYPES: Final = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(int8)": np.int8,
    "tensor(int16)": np.int16,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(uint8)": np.uint8,
    "tensor(bool)": np.bool_,
}


class _Node(Protocol):
    name: str
    type: str


class _Session(Protocol):
    def get_inputs(self) -> Sequence[_Node]: ...

    def get_outputs(self) -> Sequence[_Node]: ...

    def run(self, names: list[str], feeds: dict[str, NDArray[Any]]) -> Sequence[NDArray[Any]]: ...


@dataclass(frozen=True, slots=True, eq=False)
class OnnxTarget:
    """A converted model that several threads may call at once: they share one session.

    Attributes:
        session: with one input and one output.
        input_name: name of the input.
        dtype: type of the input.
        output_name: name of the output.
        size: bytes of the converted model.
        description: the target in words.
    """

    session: _Session
    input_name: str
    dtype: np.dtype[Any]
    output_name: str
    size: int
    description: str

    def infer(self, batch: NDArray[Any]) -> object:
        """Answer a batch."""
        feeds = {self.input_name: np.ascontiguousarray(batch, self.dtype)}
        return self.session.run([self.output_name], feeds)[0]


def onnx_target(content: bytes, sample: NDArray[Any], description: str) -> OnnxTarget:
    """A target that serves a converted model; it has answered one row of the sample.

    Raises:
        UsageError: if it has several inputs or outputs.
        TargetError: if ONNX Runtime cannot run it.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # In the caller's thread: replicas add up, and no idle thread spins, as those of ONNX Runtime
    # do while they wait, at the cost of the others.
    options.intra_op_num_threads = 1
    options.log_severity_level = _ERRORS
    try:
        session: _Session = onnxruntime.InferenceSession(content, options)
    except Exception as error:  # ONNX Runtime's exceptions come from a C module
        raise TargetError(f"{description} cannot be run: {in_a_line(error)}") from error
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1 or len(outputs) != 1:
        raise UsageError(
            f"{description} has {len(inputs)} inputs and {len(outputs)} outputs",
            "a model with one of each can be measured",
        )
    (input_,), (output,) = inputs, outputs
    dtype = np.dtype(_DTYPES.get(input_.type, sample.dtype))
    target = OnnxTarget(session, input_.name, dtype, output.name, len(content), description)
    try:
        target.infer(sample[:1])
    except Exception as error:
        raise TargetError(f"{description} cannot be run: {in_a_line(error)}") from error
    return target


def quantised(content: bytes) -> bytes:
    """The model with its matrices and tables in 8 bits (dynamic quantisation).

    Convolutions stay as they are: in ONNX Runtime integer convolutions were ten times slower.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder) / "before.onnx", Path(folder) / "after.onnx"
        before.write_bytes(content)
        # It recommends, on the root logger, a step that models from Keras do not need.
        root = logging.getLogger()
        root.addFilter(_not_a_warning)
        try:
            quantize_dynamic(
                before,
                after,
                weight_type=QuantType.QInt8,
                op_types_to_quantize=["MatMul", "Gemm", "Gather"],
            )
        finally:
            root.removeFilter(_not_a_warning)
        return after.read_bytes()


def _not_a_warning(record: logging.LogRecord) -> bool:
    return record.levelno > logging.WARNING
