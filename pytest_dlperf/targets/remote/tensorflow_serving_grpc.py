"""TensorFlow Serving's prediction service over gRPC."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pytest_dlperf.errors import UsageError
from pytest_dlperf.targets.remote.grpc_channel import CHANNEL, error_of, names_of
from pytest_dlperf.targets.remote.serving_messages import (
    array_of,
    input_types,
    message,
    model_spec,
    tensor_of,
)

if TYPE_CHECKING:
    from pytest_dlperf.targets.remote.access import Access
    from pytest_dlperf.targets.remote.endpoint import Endpoint
    from pytest_dlperf.trees import Tree

_SERVICE: Final = "/tensorflow.serving.PredictionService"


class PredictChannel:
    """A connection to one model; all threads share it, and no request is sent twice.

    Args:
        endpoint: the server.
        access: headers, sent as metadata, and TLS settings.
        model: name, version and signature.
        timeout: seconds within which a request must be answered.

    Raises:
        UsageError: if `grpcio` is not installed.
    """

    def __init__(
        self, endpoint: Endpoint, access: Access, model: tuple[str, int | None, str], timeout: float
    ) -> None:
        try:
            import grpc
        except ImportError:
            raise UsageError(
                "TensorFlowServing over grpc needs grpcio, which is not installed",
                "pip install 'pytest-dlperf[remote]'",
            ) from None
        self._failed = grpc.RpcError
        options = (*CHANNEL, *names_of(access))
        if endpoint.scheme == "grpcs":
            tls = access.tls
            credentials = grpc.ssl_channel_credentials(
                _content(tls.ca if tls else ""),
                _content((tls.key or tls.certificate) if tls else ""),
                _content(tls.certificate if tls else ""),
            )
            channel = grpc.secure_channel(endpoint.address, credentials, options)
        else:
            channel = grpc.insecure_channel(endpoint.address, options)
        self._channel = channel
        self._access = access
        name, version, self._signature = model
        self._spec = model_spec(name, version)
        self._spec.signature_name = self._signature
        self._timeout = timeout
        self._types: Mapping[str, int] | None = None
        self._ask = self._method("Predict", "PredictRequest", "PredictResponse")
        self._describe = self._method("GetModelMetadata", "MetadataRequest", "MetadataResponse")

    def predict(self, batch: Tree) -> Tree:
        """The outputs for a batch: an array if there is one, else a dict of them."""
        if self._types is None:
            request = message("MetadataRequest")(
                model_spec=self._spec, metadata_field=["signature_def"]
            )
            self._types = input_types(self._call(self._describe, request), self._signature)
        types = self._types
        named = batch if isinstance(batch, Mapping) else dict.fromkeys(types, batch)
        if set(named) != set(types) or (len(types) > 1 and not isinstance(batch, Mapping)):
            given = ", ".join(batch) if isinstance(batch, Mapping) else "one array"
            raise UsageError(
                f"the model has the inputs: {', '.join(types)}; the data has: {given}",
                "give the inputs as a dict with these names",
            )
        request = message("PredictRequest")(model_spec=self._spec)
        for name, part in named.items():
            tensor = tensor_of(np.asarray(part), types[name] or None)
            request.inputs.append(message("NamedTensor")(key=name, value=tensor))
        response = self._call(self._ask, request)
        answers = {entry.key: array_of(entry.value) for entry in response.outputs}
        return next(iter(answers.values())) if len(answers) == 1 else answers

    def _method(self, name: str, request: str, response: str) -> Any:  # noqa: ANN401 - of grpcio
        return self._channel.unary_unary(
            f"{_SERVICE}/{name}",
            request_serializer=message(request).SerializeToString,
            response_deserializer=message(response).FromString,
        )

    def _call(self, method: Any, request: Any) -> Any:  # noqa: ANN401 - of grpcio
        try:
            headers = [(name.lower(), value) for name, value in self._access.others.items()]
            return method(request, timeout=self._timeout, metadata=headers)
        except self._failed as error:
            raise error_of(str(error.code()), str(error.details()), self._access) from None


def _content(path: str) -> bytes | None:
    if not path:
        return None
    with open(path, "rb") as file:  # noqa: PTH123 - as users give it
        return file.read()
