"""The Open Inference Protocol over HTTP."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from pytest_dlperf.errors import RemoteError
from pytest_dlperf.targets.remote.endpoint import segment
from pytest_dlperf.targets.remote.http import HttpPool, HttpRequest
from pytest_dlperf.targets.remote.open_inference_tensors import (
    ModelMetadata,
    Tensor,
    pick,
    triton_client,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pytest_dlperf.targets.remote.access import Access
    from pytest_dlperf.targets.remote.endpoint import Endpoint

_BINARY: Final = "binary_tensor_data"
_LENGTH: Final = "Inference-Header-Content-Length"


class HttpWire:
    """A model over HTTP. See `OpenInference`.

    `tritonclient` encodes and decodes the messages, but does not send them: its client uses
    gevent, whose sockets belong to the thread that made them, and older releases send a request
    again on a closed connection. `HttpPool` does neither.
    """

    def __init__(
        self, endpoint: Endpoint, access: Access, model: str, version: str, timeout: float
    ) -> None:
        self._client, utils = triton_client("http")
        self._malformed = (
            *(ValueError, KeyError, TypeError, AttributeError, RecursionError),
            utils.InferenceServerException,
        )
        self._pool = HttpPool(endpoint, access, timeout)
        self._path = f"/v2/models/{segment(model)}"
        if version:
            self._path += f"/versions/{segment(version)}"
        self._binary = False

    def metadata(self) -> ModelMetadata:
        """Request the model's metadata, and whether the server takes binary tensors."""
        model, server = self._get(self._path), self._get("/v2")
        # Servers without this extension answer binary tensors with status 500.
        self._binary = _BINARY in (server.get("extensions") or ())
        try:
            return ModelMetadata(_tensors(model.get("inputs")), _tensors(model.get("outputs")))
        except (KeyError, TypeError) as error:
            detail = f"metadata of the model: {type(error).__name__}: {error}"
            raise RemoteError("malformed answer", detail) from None

    def infer(
        self, inputs: Sequence[tuple[Tensor, NDArray[Any]]], outputs: Sequence[str]
    ) -> dict[str, NDArray[Any]]:
        """Request outputs for a batch; an empty name means the only output."""
        http = self._client
        sent = []
        for tensor, batch in inputs:
            sent.append(http.InferInput(tensor.name, list(batch.shape), tensor.datatype))
            sent[-1].set_data_from_numpy(batch, binary_data=self._binary)
        named = [http.InferRequestedOutput(n, binary_data=self._binary) for n in outputs if n]
        body, length = http.InferenceServerClient.generate_request_body(sent, outputs=named or None)
        headers = {"Content-Type": "application/json"}
        if length is not None:
            headers = {"Content-Type": "application/octet-stream", _LENGTH: str(length)}
        answer = self._pool.exchange(HttpRequest("POST", f"{self._path}/infer", body, headers))
        try:
            header = answer.headers.get(_LENGTH)
            result = http.InferResult.from_response_body(
                answer.body, header_length=None if header is None else int(header)
            )
            offered = [str(each["name"]) for each in result.get_response()["outputs"]]
            picked = [pick(offered, output) for output in outputs]
            answers: dict[str, NDArray[Any]] = {name: result.as_numpy(name) for name in picked}
        except self._malformed as error:
            detail = f"{type(error).__name__}: {error!s:.120}"
            raise RemoteError("malformed answer", detail) from None
        return answers

    def _get(self, path: str) -> dict[str, Any]:
        body = self._pool.exchange(HttpRequest("GET", path)).body
        try:
            document: object = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise RemoteError("malformed answer", f"GET {path}: no JSON: {error}") from None
        if not isinstance(document, dict):
            raise RemoteError("malformed answer", f"GET {path}: no JSON object")
        return document


def _tensors(described: list[dict[str, str]] | None) -> tuple[Tensor, ...]:
    return tuple(Tensor(tensor["name"], tensor.get("datatype", "")) for tensor in described or ())
