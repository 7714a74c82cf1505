"""Open Inference Protocol: a model on Triton, KServe, MLServer or OpenVINO, as a target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pytest_dlperf.errors import UsageError
from pytest_dlperf.targets.remote.access import TLS, read_access
from pytest_dlperf.targets.remote.endpoint import check_model, read_url
from pytest_dlperf.targets.remote.open_inference_tensors import Tensor, Wire

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_dlperf.targets.remote.access import Access
    from pytest_dlperf.targets.remote.endpoint import Endpoint
    from pytest_dlperf.trees import Tree

# Of the module: pytest would show what the `__init__` of a dataclass was given, such as tokens.
__tracebackhide__ = True

_PORTS: Final = {"http": 80, "https": 443, "grpc": None, "grpcs": 443}
_EXAMPLE: Final = "http://localhost:8000 or grpc://localhost:8001"


@dataclass(frozen=True, slots=True)
class OpenInference:
    """A model of a server that speaks the Open Inference Protocol (KServe V2).

    The model's metadata is requested once, before the first batch. A request that fails is an
    error of the measurement, counted by its kind, and never sent again. Tensors are sent in binary
    over gRPC, and over HTTP if the server's metadata names the extension `binary_tensor_data`,
    otherwise as JSON numbers.

    Attributes:
        url: of the server: `http://`, `https://`, `grpc://` (without encryption) or `grpcs://`.
        model: its name there.
        version: which one; empty leaves the choice to the server.
        input_name: the model's input, for data that is one array; empty if the server's metadata
            names one.
        output_name: the only output that is requested; empty for all.
        timeout: seconds within which a request must be answered.
        headers: sent with every request (over gRPC as metadata), such as `Host` and
            `Authorization`; their values are shown and stored nowhere.
        tls: settings of `https://` and `grpcs://`; None for those of the system.

    Raises:
        UsageError: if `tritonclient` is not installed.
    """

    url: str
    model: str
    version: str = ""
    input_name: str = ""
    output_name: str = ""
    timeout: float = 10.0
    headers: Mapping[str, str] = field(
        default_factory=lambda: MappingProxyType({}), repr=False, hash=False
    )
    tls: TLS | None = None
    _wire: Wire = field(init=False, repr=False, compare=False)
    _known: list[tuple[tuple[Tensor, ...], tuple[str, ...]]] = field(
        init=False, repr=False, compare=False, default_factory=list
    )

    def __post_init__(self) -> None:
        check_model("OpenInference", self.model, self.timeout)
        for name in ("version", "input_name", "output_name"):
            if not isinstance(getattr(self, name), str):
                problem = f"OpenInference({name}={getattr(self, name)!r:.80})"
                raise UsageError(problem, "expected a text")
        endpoint = read_url(self.url, "OpenInference", _PORTS, _EXAMPLE)
        access = read_access("OpenInference", self.headers, self.tls, endpoint)
        object.__setattr__(self, "_wire", self._connect(endpoint, access))

    @property
    def description(self) -> str:
        """The model and its server, for reports."""
        version = f" version {self.version}" if self.version else ""
        return f"model {self.model}{version} of the Open Inference server at {self.url}"

    def infer(self, batch: Tree) -> Tree:
        """Request the answers to a batch.

        Args:
            batch: an array; or a dict of arrays by the names of the model's inputs, or a list or
                tuple of them in the order of its metadata. Sent in the types of the inputs.

        Returns:
            The output; a dict of outputs if there are several and `output_name` names none.

        Raises:
            RemoteError: if there is no valid response.
            UsageError: if the metadata does not determine the inputs or outputs, or the batch
                cannot be converted to the inputs' types.
        """
        parts = _parts(batch)
        if not self._known:
            metadata = self._wire.metadata()
            inputs = self._inputs(parts, metadata.inputs)
            self._known.append((inputs, self._outputs(metadata.outputs)))
        expected, outputs = self._known[0]
        sent = [_fit(rows, tensor) for rows, tensor in zip(parts.values(), expected, strict=True)]
        answers = self._wire.infer(sent, outputs)
        return answers if len(answers) > 1 else next(iter(answers.values()))

    def _connect(self, endpoint: Endpoint, access: Access) -> Wire:
        if endpoint.scheme in {"grpc", "grpcs"}:
            from pytest_dlperf.targets.remote.open_inference_grpc import GrpcWire

            return GrpcWire(endpoint, access, self.model, self.version, self.timeout)
        from pytest_dlperf.targets.remote.open_inference_http import HttpWire

        return HttpWire(endpoint, access, self.model, self.version, self.timeout)

    def _inputs(
        self, parts: Mapping[str | int, NDArray[Any]], offered: tuple[Tensor, ...]
    ) -> tuple[Tensor, ...]:
        """The model's input for each part of a batch."""
        if len(parts) == 1 and 0 in parts:
            tensor = self._choose("input", self.input_name, offered)
            if tensor is None:
                problem = f"{self.description} does not say what its inputs are"
                raise UsageError(
                    problem, "name the one to send: OpenInference(..., input_name=...)"
                )
            return (tensor,)
        by_name = {tensor.name: tensor for tensor in offered}
        if offered and (set(parts) <= set(by_name) or set(parts) == set(range(len(offered)))):
            return tuple(by_name[n] if isinstance(n, str) else offered[n] for n in parts)
        if not offered and all(isinstance(name, str) for name in parts):
            return tuple(Tensor(str(name)) for name in parts)
        names = ", ".join(by_name) or "none that it names"
        given = ", ".join(map(str, parts))
        raise UsageError(
            f"{self.description} has the inputs: {names}; the data has: {given}",
            "give the inputs as a dict with these names",
        )

    def _outputs(self, offered: tuple[Tensor, ...]) -> tuple[str, ...]:
        """The names of the outputs to request; an empty one for the only output."""
        if not self.output_name and len(offered) > 1:
            return tuple(tensor.name for tensor in offered)
        tensor = self._choose("output", self.output_name, offered)
        return (tensor.name if tensor else "",)

    def _choose(self, side: str, given: str, offered: tuple[Tensor, ...]) -> Tensor | None:
        if not offered:
            return Tensor(given) if given else None
        for tensor in offered:
            if tensor.name == given or (not given and len(offered) == 1):
                return tensor
        names = ", ".join(tensor.name for tensor in offered)
        problem = f"no {side} {given!r}" if given else f"{len(offered)} {side}s"
        hint = f"name one: OpenInference(..., {side}_name=...)"
        if side == "input" and not given:
            hint = "give the inputs as a dict with these names"
        raise UsageError(f"{self.description} has {problem}; it has: {names}", hint)


def _parts(batch: Tree) -> dict[str | int, NDArray[Any]]:
    """The arrays of a batch by name, or by number."""
    match batch:
        case np.ndarray():
            return {0: batch}
        case Mapping():
            return {name: np.asarray(part) for name, part in batch.items()}
    return {number: np.asarray(part) for number, part in enumerate(batch)}


def _fit(batch: NDArray[Any], expected: Tensor) -> tuple[Tensor, NDArray[Any]]:
    """Convert a batch to the type of an input; integers are never rounded."""
    from tritonclient.utils import np_to_triton_dtype, triton_to_np_dtype

    own = np_to_triton_dtype(batch.dtype)
    if expected.datatype in {"", own}:
        if own is None:
            raise UsageError(f"inputs of type {batch.dtype} cannot be sent")
        return Tensor(expected.name, own), batch
    wanted = triton_to_np_dtype(expected.datatype)
    if wanted is not None and np.dtype(wanted).kind in "biuf":
        rows = batch.astype(wanted)
        if rows.dtype.kind == "f" or np.array_equal(rows, batch):
            return expected, rows
    raise UsageError(
        f"input {expected.name!r} of the model takes {expected.datatype}, not {batch.dtype}",
        "convert the data",
    )
