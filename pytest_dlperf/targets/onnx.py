"""Targets on ONNX Runtime; onnxruntime is imported inside functions only."""

from __future__ import annotations

import logging
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from pytest_dlperf._processes import call_with_timeout
from pytest_dlperf.errors import TargetError, UsageError, in_a_line
from pytest_dlperf.targets.arguments import as_type
from pytest_dlperf.targets.compiled import CompiledTarget, batched
from pytest_dlperf.trees import as_tree, first_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pytest_dlperf.clock import Clock
    from pytest_dlperf.config.plan import Plan
    from pytest_dlperf.targets.padding import Infer
    from pytest_dlperf.trees import Rows

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
    shape: Sequence[object]


class _Session(Protocol):
    def get_inputs(self) -> Sequence[_Node]: ...

    def get_outputs(self) -> Sequence[_Node]: ...

    def run(self, names: list[str], feeds: dict[str, NDArray[Any]]) -> Sequence[NDArray[Any]]: ...


def recognises(target: object) -> bool:
    """Whether this is a session of ONNX Runtime; never imports it."""
    module = sys.modules.get("onnxruntime")
    return module is not None and isinstance(target, module.InferenceSession)


def name_of(target: _Session) -> str:
    """A session in words."""
    inputs = ", ".join(node.name for node in target.get_inputs())
    return f"ONNX Runtime session ({inputs})"


def devices_here() -> tuple[str, ...]:
    """The CPU: a session's providers say where it runs."""
    return ("cpu:0",)


def batch_size(target: _Session) -> int | None:
    """The batch size of the session's inputs; None if they take any."""
    sizes = {node.shape[0] for node in target.get_inputs() if node.shape}
    size = next(iter(sizes)) if len(sizes) == 1 else None
    return size if isinstance(size, int) else None


def compile_target(
    target: _Session, sample: Rows, plan: Plan, clock: Clock, device: str | None
) -> CompiledTarget:
    """The session's run as a target; raises a UsageError if the rows are no inputs of it."""
    infer = session_call(target, sample, name_of(target))
    remark = f"the session places itself: that it ran on {device} was not verified"

    def tried() -> CompiledTarget:
        return CompiledTarget(*batched(infer, sample, plan, clock), remark if device else "")

    return call_with_timeout(plan.compile_timeout, tried)


def session_call(session: _Session, sample: Rows, name: str) -> Infer:
    """A session as a function of batches, which are cast to the types of its inputs.

    One output comes as an array, several as a dict.

    Raises:
        UsageError: if it takes other inputs than the sample has.
    """
    nodes = {node.name: node for node in session.get_inputs()}
    outputs = [node.name for node in session.get_outputs()]
    tree = as_tree(sample)
    if isinstance(tree, Mapping):
        keys: list[Any] = list(tree)
        names = keys
    else:
        keys = list(range(len(tree))) if isinstance(tree, list | tuple) else []
        names = list(nodes)
    if set(names) != set(nodes) or (len(keys) or 1) != len(nodes):
        given = ", ".join(map(str, keys)) or "one array"
        raise UsageError(
            f"{name} takes the inputs {', '.join(nodes)}; the data has {given}",
            "give a dict with these names, or a tuple of as many arrays",
        )
    dtypes = [_DTYPES.get(nodes[name].type) for name in names]

    def infer(batch: Any) -> object:  # noqa: ANN401 - a tree
        parts = [batch[key] for key in keys] if keys else [batch]
        feeds = {
            node: part if dtype is None else as_type(part, dtype, f"{name}, input {node}")
            for node, part, dtype in zip(names, parts, dtypes, strict=True)
        }
        answers = session.run(outputs, feeds)
        return answers[0] if len(outputs) == 1 else dict(zip(outputs, answers, strict=True))

    return infer


@dataclass(frozen=True, slots=True, eq=False)
class OnnxTarget:
    """A converted model that several threads may call at once: they share one session.

    Attributes:
        session: of ONNX Runtime.
        sample: a row that it takes.
        size: bytes of the converted model.
        description: the target in words.
    """

    session: _Session
    sample: Rows
    size: int
    description: str
    infer: Infer = field(init=False)

    def __post_init__(self) -> None:
        infer = session_call(self.session, self.sample, self.description)
        object.__setattr__(self, "infer", infer)


def onnx_target(content: bytes, sample: Rows, description: str) -> OnnxTarget:
    """A target that serves a converted model; it has answered one row of the sample.

    Raises:
        UsageError: if it takes other inputs.
        TargetError: if ONNX Runtime cannot run it.
    """
    session = session_of(content, description)
    first = first_rows(sample, 1)
    target = OnnxTarget(session, first, len(content), description)
    try:
        target.infer(first[:])
    except Exception as error:
        raise TargetError(f"{description} cannot be run: {in_a_line(error)}") from error
    return target


def session_of(model: bytes | str, description: str) -> _Session:
    """A session of a model, or of the file with this path.

    Raises:
        TargetError: if ONNX Runtime cannot read it.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # In the caller's thread: replicas add up, and no idle thread spins, as those of ONNX Runtime
    # do while they wait, at the cost of the others.
    options.intra_op_num_threads = 1
    options.log_severity_level = _ERRORS
    try:
        session: _Session = onnxruntime.InferenceSession(model, options)
    except Exception as error:  # ONNX Runtime's exceptions come from a C module
        raise TargetError(f"{description} cannot be run: {in_a_line(error)}") from error
    return session


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
