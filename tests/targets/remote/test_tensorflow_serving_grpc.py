"""TensorFlow Serving over gRPC: the messages are TensorFlow's own, and faults are told apart."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from servers import free_port

from pytest_dlperf import RemoteError, TensorFlowServing, UsageError
from pytest_dlperf.targets.remote.serving_messages import array_of, message, tensor_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

grpc = pytest.importorskip("grpc")

ROWS = np.random.default_rng(0).random((3, 4))
FLOAT, INT64, TEXT = 1, 9, 7
SERVICE = "/tensorflow.serving.PredictionService"


def metadata(**inputs: int) -> Any:  # noqa: ANN401 - a message
    """What a server says of a model with these inputs."""
    named = [
        message("NamedInfo")(key=name, value=message("TensorInfo")(dtype=dtype))
        for name, dtype in inputs.items()
    ]
    signature = message("NamedSignature")(
        key="serving_default", value=message("Signature")(inputs=named)
    )
    content = message("Signatures")(signature_def=[signature]).SerializeToString()
    entry = message("NamedAny")(key="signature_def", value=message("Any")(value=content))
    return message("MetadataResponse")(metadata=[entry])


@contextlib.contextmanager
def serving(
    predict: Callable[[Any, Any], Any],
    described: Any = None,  # noqa: ANN401 - messages
) -> Iterator[tuple[str, list[Any]]]:
    """A server, by its URL, and the requests that it received."""
    requests: list[Any] = []

    def answer(request: Any, context: Any) -> Any:  # noqa: ANN401
        requests.append(request)
        return predict(request, context)

    def describe(request: Any, context: Any) -> Any:  # noqa: ANN401
        del request, context
        return metadata(rows=FLOAT) if described is None else described

    class Handler(grpc.GenericRpcHandler):  # type: ignore[misc, name-defined]
        def service(self, details: Any) -> Any:  # noqa: ANN401
            name = details.method.removeprefix(f"{SERVICE}/")
            kinds = {
                "Predict": (answer, "PredictRequest", "PredictResponse"),
                "GetModelMetadata": (describe, "MetadataRequest", "MetadataResponse"),
            }
            call, request, response = kinds[name]
            return grpc.unary_unary_rpc_method_handler(
                call, message(request).FromString, message(response).SerializeToString
            )

    server = grpc.server(ThreadPoolExecutor(4), handlers=[Handler()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"grpc://127.0.0.1:{port}", requests
    finally:
        server.stop(None).wait()


def echo(request: Any, _: object) -> Any:  # noqa: ANN401 - messages
    """The inputs as outputs."""
    return message("PredictResponse")(outputs=request.inputs)


def test_an_array() -> None:
    """It is sent as the only input, in the type that the model takes."""
    with serving(echo) as (url, requests):
        answers = TensorFlowServing(url, "digits", 3).infer(ROWS)
        TensorFlowServing(url, "digits").infer(ROWS)

    np.testing.assert_array_equal(answers, ROWS.astype(np.float32))
    assert requests[0].model_spec.name == "digits"
    assert requests[0].model_spec.version.value == 3
    assert requests[0].model_spec.signature_name == "serving_default"
    assert not requests[1].model_spec.HasField("version")
    assert [entry.key for entry in requests[0].inputs] == ["rows"]


def test_several_inputs_and_text() -> None:
    """By name; several outputs are a dict."""
    batch = {"user": np.arange(3, dtype=np.int32), "title": np.array(["a", "ö", ""], object)}
    with serving(echo, metadata(user=INT64, title=TEXT)) as (url, _):
        answers = TensorFlowServing(url, "digits").infer(batch)

    assert isinstance(answers, dict)
    assert answers["user"].dtype == np.int64
    assert answers["user"].tolist() == [0, 1, 2]
    assert [text.decode() for text in answers["title"]] == ["a", "ö", ""]


@pytest.mark.parametrize(
    ("batch", "said"),
    [
        ({"film": ROWS}, "inputs: user, title; the data has: film"),
        (ROWS, "inputs: user, title; the data has: one array"),
        ({"user": ROWS, "title": np.array(["a"] * 3, object)}, "takes int64, not float64"),
    ],
)
def test_inputs_that_the_model_does_not_take(batch: Any, said: str) -> None:  # noqa: ANN401
    """Nothing is rounded in silence."""
    described = metadata(user=INT64, title=TEXT)
    with serving(echo, described) as (url, _), pytest.raises(UsageError) as caught:
        TensorFlowServing(url, "digits").infer(batch)

    assert said in str(caught.value)


def test_faults() -> None:
    """A status is a kind; nobody there is another; headers are sent, and secrets not shown."""
    seen = []

    def refuse(_: object, context: Any) -> Any:  # noqa: ANN401
        seen.append(dict(context.invocation_metadata())["authorization"])
        context.abort(grpc.StatusCode.NOT_FOUND, "no model Bearer s3cr3t-t0ken")

    headers = {"Authorization": "Bearer s3cr3t-t0ken"}
    with serving(refuse) as (url, _), pytest.raises(RemoteError) as caught:
        TensorFlowServing(url, "digits", headers=headers).infer(ROWS)
    assert caught.value.kind == "status NOT_FOUND"
    assert seen == ["Bearer s3cr3t-t0ken"]
    assert "s3cr3t" not in caught.value.detail
    with pytest.raises(RemoteError) as caught:
        TensorFlowServing(f"grpc://127.0.0.1:{free_port()}", "digits").infer(ROWS)
    assert caught.value.kind == "connection refused"
    empty = message("MetadataResponse")()
    with serving(echo, empty) as (url, _), pytest.raises(RemoteError) as caught:
        TensorFlowServing(url, "digits").infer(ROWS)
    assert "without the signature serving_default" in caught.value.detail


@pytest.mark.tensorflow
@pytest.mark.parametrize(
    "array",
    [
        ROWS,
        *(ROWS.astype(kind) for kind in ("float32", "float16", "int8", "uint8", "int64", "bool")),
        np.array([["a"], ["ö"]], object),
        np.zeros((0, 3), np.float32),
        np.array([7, 7, 7], np.int32),
        np.array([1.5, 1.5], np.float64),
    ],
    ids=lambda array: f"{array.dtype}{array.shape}",
)
def test_tensors_are_those_of_tensorflow(array: np.ndarray) -> None:
    """TensorFlow reads what is written here, and what it writes is read."""
    import tensorflow as tf
    from tensorflow.core.framework import tensor_pb2

    sent = tensor_of(array, None).SerializeToString()
    read = tf.make_ndarray(tensor_pb2.TensorProto.FromString(sent))
    expected = (
        np.array([text.encode() for text in array.flat], object).reshape(array.shape)
        if array.dtype.hasobject
        else array
    )
    np.testing.assert_array_equal(read, expected)
    written = tf.make_tensor_proto(array).SerializeToString()
    np.testing.assert_array_equal(array_of(message("Tensor").FromString(written)), expected)
