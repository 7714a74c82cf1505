"""The Open Inference Protocol over gRPC."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pytest_dlperf.errors import RemoteError
from pytest_dlperf.targets.remote.access import advice_on
from pytest_dlperf.targets.remote.open_inference_tensors import (
    ModelMetadata,
    Tensor,
    pick,
    triton_client,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from pytest_dlperf.targets.remote.access import Access
    from pytest_dlperf.targets.remote.endpoint import Endpoint

_CHANNEL: Final = (
    # A request is sent once: no retries by configuration, and no "transparent" ones.
    ("grpc.enable_retries", 0),
    # After a failed connection all calls fail until gRPC tries again: by default for up to two
    # minutes, even if the server is back earlier.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 100),
    # By default, channels of one process share connections, also broken ones.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
)

# gRPC reports most network errors as UNAVAILABLE; only the text tells them apart.
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

_OF_TLS: Final = ("Ssl handshake", "SSL_ERROR", "handshake failed", "certificate", "Verification")
_CHECK_TLS: Final = (
    "tls=TLS(ca=...) names the authority's file, server_name= the certificate's name, certificate= "
    "the client's; a server without TLS: grpc://"
)


class GrpcWire:
    """A model over gRPC; all threads share one HTTP/2 connection. See `OpenInference`."""

    def __init__(
        self, endpoint: Endpoint, access: Access, model: str, version: str, timeout: float
    ) -> None:
        self._grpc, utils = triton_client("grpc")
        self._failed = utils.InferenceServerException
        self._dtype = utils.triton_to_np_dtype
        self._access = access
        tls = access.tls
        self._client = self._grpc.InferenceServerClient(
            endpoint.address,
            channel_args=(*_CHANNEL, *_names(access)),
            ssl=endpoint.scheme == "grpcs",
            root_certificates=(tls.ca if tls else "") or None,
            private_key=(tls.key or tls.certificate if tls else "") or None,
            certificate_chain=(tls.certificate if tls else "") or None,
        )
        self._model = model
        self._version = version
        self._timeout = timeout

    def metadata(self) -> ModelMetadata:
        """Request the model's metadata."""
        try:
            model = self._client.get_model_metadata(
                self._model,
                self._version,
                headers=self._access.others,
                client_timeout=self._timeout,
            )
        except self._failed as error:
            raise _error(error.status(), error.message(), self._access) from None
        return ModelMetadata(_tensors(model.inputs), _tensors(model.outputs))

    def infer(
        self, inputs: Sequence[tuple[Tensor, NDArray[Any]]], outputs: Sequence[str]
    ) -> dict[str, NDArray[Any]]:
        """Request outputs for a batch; an empty name means the only output."""
        sent = []
        for tensor, batch in inputs:
            sent.append(self._grpc.InferInput(tensor.name, list(batch.shape), tensor.datatype))
            sent[-1].set_data_from_numpy(batch)
        wanted = [self._grpc.InferRequestedOutput(output) for output in outputs if output]
        try:
            result = self._client.infer(
                self._model,
                sent,
                self._version,
                outputs=wanted or None,
                headers=self._access.others,
                client_timeout=self._timeout,
            )
        except self._failed as error:
            raise _error(error.status(), error.message(), self._access) from None
        offered = [each.name for each in result.get_response().outputs]
        answers = {}
        for name in [pick(offered, output) for output in outputs]:
            try:
                answers[name] = self._array(result, name)
            except (ValueError, TypeError) as error:
                raise RemoteError("malformed answer", f"output {name!r}: {error}") from None
        return answers

    def _array(self, result: Any, name: str) -> NDArray[Any]:  # noqa: ANN401 - has no types
        typed = result.get_output(name)
        contents = typed.contents.ListFields()
        if result.get_response().raw_output_contents or not contents:
            answers: NDArray[Any] = result.as_numpy(name)
            return answers
        # tritonclient does not read answers that are sent as a list of numbers.
        return np.array(contents[0][1], self._dtype(typed.datatype)).reshape(typed.shape)


def _tensors(described: Iterable[Any]) -> tuple[Tensor, ...]:
    return tuple(Tensor(tensor.name, tensor.datatype) for tensor in described)


def _names(access: Access) -> tuple[tuple[str, str], ...]:
    """Channel arguments for the names by which the server is asked for."""
    names = []
    if access.host:
        names.append(("grpc.default_authority", access.host))
    if access.tls and access.tls.server_name:
        names.append(("grpc.ssl_target_name_override", access.tls.server_name))
    return tuple(names)


def _error(status: str, message: str, access: Access) -> RemoteError:
    code, message = status.removeprefix("StatusCode."), access.redacted(message)
    if code == "UNAVAILABLE" and any(word in message for word in _OF_TLS):
        return RemoteError("TLS failed", f"{message} ({_CHECK_TLS})")
    for known_code, text, kind in _KINDS:
        if code == known_code and text in message:
            return RemoteError(kind, message)
    advice = advice_on(code, access)
    return RemoteError(f"status {code}", message + (f" ({advice})" if advice else ""))
