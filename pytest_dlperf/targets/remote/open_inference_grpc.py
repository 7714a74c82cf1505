"""The Open Inference Protocol over gRPC."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pytest_dlperf.errors import RemoteError
from pytest_dlperf.targets.remote.open_inference_tensors import ModelMetadata, Tensor, missing, pick

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from pytest_dlperf.targets.remote.endpoint import Endpoint

_CHANNEL: Final = (
    # Neither the retries of a service's configuration nor the "transparent" ones.
    ("grpc.enable_retries", 0),
    # After a failed connection calls fail at once until the next attempt, by default for up to
    # two minutes: long after a server that was started again.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 100),
    # A connection of its own, not one that another target in this process has, or has lost.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
)

# gRPC has one status for all that goes wrong on the way, and tells more in its text only.
_KINDS: Final = (
    ("DEADLINE_EXCEEDED", "", "timeout"),
    ("UNAVAILABLE", "Connection refused", "connection refused"),
    ("UNAVAILABLE", "failed to connect", "connection failed"),
    ("UNAVAILABLE", "DNS resolution failed", "connection failed"),
    ("UNAVAILABLE", "errors resolving", "connection failed"),
    ("UNAVAILABLE", "Socket closed", "connection closed"),
    ("UNAVAILABLE", "Connection reset", "connection closed"),
    ("UNAVAILABLE", "Broken pipe", "connection closed"),
    ("UNAVAILABLE", "Stream removed", "connection closed"),
    ("UNAVAILABLE", "GOAWAY", "connection closed"),
    ("INTERNAL", "Exception deserializing response", "malformed answer"),
)


class GrpcWire:
    """Asks a model over gRPC; all threads share one HTTP/2 connection.

    Args:
        endpoint: the server.
        model: its name there.
        version: empty leaves the choice to the server.
        timeout: seconds for each request.

    Raises:
        UsageError: if `tritonclient[grpc]` is not installed.
    """

    def __init__(self, endpoint: Endpoint, model: str, version: str, timeout: float) -> None:
        try:
            from tritonclient import grpc, utils
        except (ImportError, RuntimeError):  # the latter if its extra is missing
            raise missing("grpc") from None
        self._grpc = grpc
        self._failed = utils.InferenceServerException
        self._dtype = utils.triton_to_np_dtype
        self._client = grpc.InferenceServerClient(endpoint.address, channel_args=_CHANNEL)
        self._model = model
        self._version = version
        self._timeout = timeout

    def metadata(self) -> ModelMetadata:
        """Ask what the model takes and gives."""
        try:
            model = self._client.get_model_metadata(
                self._model, self._version, client_timeout=self._timeout
            )
        except self._failed as error:
            raise _error(error.status(), error.message()) from None
        return ModelMetadata(_tensors(model.inputs), _tensors(model.outputs))

    def infer(self, asked: Tensor, batch: NDArray[Any], output: str) -> NDArray[Any]:
        """Ask for one output; an empty name means the only one."""
        tensor = self._grpc.InferInput(asked.name, list(batch.shape), asked.datatype)
        tensor.set_data_from_numpy(batch)
        wanted = [self._grpc.InferRequestedOutput(output)] if output else None
        try:
            result = self._client.infer(
                self._model,
                [tensor],
                self._version,
                outputs=wanted,
                client_timeout=self._timeout,
            )
        except self._failed as error:
            raise _error(error.status(), error.message()) from None
        name = pick([one.name for one in result.get_response().outputs], output)
        try:
            return self._array(result, name)
        except (ValueError, TypeError) as error:
            raise RemoteError("malformed answer", f"output {name!r}: {error}") from None

    def _array(self, result: Any, name: str) -> NDArray[Any]:  # noqa: ANN401 - has no types
        typed = result.get_output(name)
        contents = typed.contents.ListFields()
        if result.get_response().raw_output_contents or not contents:
            answers: NDArray[Any] = result.as_numpy(name)
            return answers
        # A server may answer with a list of numbers, which tritonclient does not read.
        return np.array(contents[0][1], self._dtype(typed.datatype)).reshape(typed.shape)


def _tensors(described: Iterable[Any]) -> tuple[Tensor, ...]:
    return tuple(Tensor(one.name, one.datatype) for one in described)


def _error(status: str, message: str) -> RemoteError:
    code = status.removeprefix("StatusCode.")
    for its_code, text, kind in _KINDS:
        if code == its_code and text in message:
            return RemoteError(kind, message)
    return RemoteError(f"status {code}", message)
