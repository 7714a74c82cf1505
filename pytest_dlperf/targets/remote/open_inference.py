"""Open Inference Protocol: a model on Triton, KServe, MLServer or OpenVINO, as a target."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pytest_dlperf.errors import UsageError
from pytest_dlperf.targets.remote.access import TLS, read_access
from pytest_dlperf.targets.remote.endpoint import check_model, read_url
from pytest_dlperf.targets.remote.open_inference_tensors import Tensor, Wire

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from pytest_dlperf.targets.remote.access import Access
    from pytest_dlperf.targets.remote.endpoint import Endpoint

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
        input_name: the model's input; empty if the server's metadata names one.
        output_name: the output that is measured; empty if there is only one.
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
    _known: list[tuple[Tensor, str]] = field(
        init=False, repr=False, compare=False, default_factory=list
    )

    def __post_init__(self) -> None:
        __tracebackhide__ = True
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

    def infer(self, batch: NDArray[Any]) -> NDArray[Any]:
        """Request the answers to a batch.

        Args:
            batch: shape `(rows, ...)`; sent in the type of the model's input.

        Raises:
            RemoteError: if there is no valid response.
            UsageError: if the metadata does not determine the input or output, or the batch cannot
                be converted to the input's type.
        """
        if not self._known:
            self._known.append(self._input_and_output())
        expected, output = self._known[0]
        tensor, rows = _fit(batch, expected)
        return self._wire.infer(tensor, rows, output)

    def _connect(self, endpoint: Endpoint, access: Access) -> Wire:
        if endpoint.scheme in {"grpc", "grpcs"}:
            from pytest_dlperf.targets.remote.open_inference_grpc import GrpcWire

            return GrpcWire(endpoint, access, self.model, self.version, self.timeout)
        from pytest_dlperf.targets.remote.open_inference_http import HttpWire

        return HttpWire(endpoint, access, self.model, self.version, self.timeout)

    def _input_and_output(self) -> tuple[Tensor, str]:
        metadata = self._wire.metadata()
        input_ = self._choose("input", self.input_name, metadata.inputs)
        if input_ is None:
            problem = f"{self.description} does not say what its inputs are"
            raise UsageError(problem, "name the one to send: OpenInference(..., input_name=...)")
        output = self._choose("output", self.output_name, metadata.outputs)
        return input_, output.name if output else ""

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
            hint = "a model with several inputs is measured through a callable of your own"
        raise UsageError(f"{self.description} has {problem}; it has: {names}", hint)


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
