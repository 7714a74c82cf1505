"""The Open Inference Protocol over gRPC."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_dlperf.errors import RemoteError
from pytest_dlperf.targets.remote.grpc_channel import CHANNEL, error_of, names_of
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
            channel_args=(*CHANNEL, *names_of(access)),
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
            raise error_of(error.status(), error.message(), self._access) from None
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
            raise error_of(error.status(), error.message(), self._access) from None
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
