"""The Open Inference Protocol over gRPC, with servers that do as told, wrong things included."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
from servers import free_port
from tritonclient.grpc import service_pb2 as messages
from tritonclient.grpc import service_pb2_grpc as service

from pytest_dlperf import OpenInference, RemoteError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROWS = np.random.default_rng(0).random((3, 4)).astype(np.float32)
TENSOR = {"name": "rows", "datatype": "FP32", "shape": [-1, 4]}


@dataclass
class Model(service.GRPCInferenceServiceServicer):  # type: ignore[misc]
    """A model behind gRPC, and the requests it received."""

    answer: Callable[[Any, grpc.ServicerContext], object]
    requests: list[Any] = field(default_factory=list)

    def ModelMetadata(self, request: Any, _: grpc.ServicerContext) -> object:  # noqa: ANN401, N802
        """One input and one output."""
        tensor = messages.ModelMetadataResponse.TensorMetadata(**TENSOR)
        return messages.ModelMetadataResponse(name=request.name, inputs=[tensor], outputs=[tensor])

    def ModelInfer(self, request: Any, context: grpc.ServicerContext) -> object:  # noqa: ANN401, N802
        """Whatever the test wants."""
        self.requests.append(request)
        return self.answer(request, context)


@contextlib.contextmanager
def over_grpc(model: Model, port: int = 0) -> Iterator[str]:
    """Serve a model over gRPC, until the end of the block."""
    server = grpc.server(ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0)])
    service.add_GRPCInferenceServiceServicer_to_server(model, server)
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    try:
        yield f"grpc://127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


def echoed(request: Any, **fields: Any) -> object:  # noqa: ANN401 - messages without types
    """An answer with the input as it came."""
    output = messages.ModelInferResponse.InferOutputTensor(
        name="rows", datatype="FP32", shape=request.inputs[0].shape
    )
    arguments = {"outputs": [output], "raw_output_contents": request.raw_input_contents, **fields}
    return messages.ModelInferResponse(**arguments)


def fault_over_grpc(
    answer: Callable[[Any, grpc.ServicerContext], object], timeout: float = 10.0
) -> RemoteError:
    """The error that an inference request ends in, after which it was sent just once."""
    model = Model(answer)
    with over_grpc(model) as url:
        target = OpenInference(url, "echo", timeout=timeout)
        with pytest.raises(RemoteError) as raised:
            target.infer(ROWS)
    assert len(model.requests) == 1
    return raised.value


@pytest.mark.parametrize("typed", [False, True])
def test_both_ways_to_answer_over_grpc(*, typed: bool) -> None:
    """A tensor may come back as bytes or as a list of numbers; NaN is one of them."""
    rows = np.array([[0.1, np.nan, np.inf, -0.0]], np.float32)

    def answer(request: Any, _: grpc.ServicerContext) -> object:  # noqa: ANN401 - has no types
        if not typed:
            return echoed(request)
        contents = messages.InferTensorContents(fp32_contents=rows.ravel().tolist())
        output = messages.ModelInferResponse.InferOutputTensor(
            name="rows", datatype="FP32", shape=rows.shape, contents=contents
        )
        return messages.ModelInferResponse(outputs=[output])

    with over_grpc(Model(answer)) as url:
        answers = OpenInference(url, "echo", "7").infer(rows)

    assert answers.dtype == np.float32
    assert answers.tobytes() == rows.tobytes()


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.UNAVAILABLE, "status UNAVAILABLE"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "status RESOURCE_EXHAUSTED"),
        (grpc.StatusCode.INVALID_ARGUMENT, "status INVALID_ARGUMENT"),
    ],
)
def test_a_grpc_status_is_a_kind_of_its_own(code: grpc.StatusCode, kind: str) -> None:
    """Errors are told apart by their status, say what the server said, and are not retried."""

    def refuse(_: object, context: grpc.ServicerContext) -> object:
        context.abort(code, "overloaded")

    error = fault_over_grpc(refuse)

    assert (error.kind, error.detail) == (kind, "overloaded")


@pytest.mark.parametrize(
    "fields",
    [{"raw_output_contents": [b"\0" * 5]}, {"raw_output_contents": []}, {"outputs": []}],
    ids=["too short", "no numbers", "no output"],
)
def test_malformed_answers_over_grpc(fields: dict[str, Any]) -> None:
    """An answer whose numbers do not make up its shape is no answer."""
    error = fault_over_grpc(lambda request, _: echoed(request, **fields))

    assert error.kind == "malformed answer"


def test_no_answer_in_time_over_grpc() -> None:
    """A model that hangs is waited for only so long."""
    over = threading.Event()

    def hang(request: Any, _: grpc.ServicerContext) -> object:  # noqa: ANN401 - has no types
        over.wait(30)
        return echoed(request)

    with contextlib.ExitStack() as stack:
        # Called before the server stops, which waits for its calls.
        model = Model(hang)
        target = OpenInference(stack.enter_context(over_grpc(model)), "echo", timeout=0.5)
        stack.callback(over.set)
        with pytest.raises(RemoteError) as raised:
            target.infer(ROWS)

    assert raised.value.kind == "timeout"
    assert len(model.requests) == 1


@contextlib.contextmanager
def listening(talk: Callable[[socket.socket], None]) -> Iterator[str]:
    """Take connections one after another, and close each when the talk is over."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def take() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with connection, contextlib.suppress(OSError):
                        talk(connection)

        thread = threading.Thread(target=take)
        thread.start()
        try:
            yield f"grpc://127.0.0.1:{server.getsockname()[1]}"
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_a_grpc_connection_that_breaks_off() -> None:
    """A server that closes the connections that it takes is no refused connection."""
    with listening(lambda _: None) as url, pytest.raises(RemoteError) as raised:
        OpenInference(url, "echo").infer(ROWS)

    assert raised.value.kind == "connection failed"


def test_a_grpc_host_that_does_not_exist() -> None:
    """A name that cannot be looked up says so."""
    with pytest.raises(RemoteError, match=r"connection failed: .*nowhere\.invalid"):
        OpenInference("grpc://nowhere.invalid:8001", "echo").infer(ROWS)


def test_a_grpc_request_is_sent_once_even_where_it_could_be_sent_again() -> None:
    """A server that goes away says which requests it never saw; even these are not retried."""
    requests = []

    def go_away(connection: socket.socket) -> None:
        connection.sendall(bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))  # SETTINGS, none
        with connection.makefile("rb") as frames:
            frames.read(len(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
            while len(header := frames.read(9)) == 9:
                frames.read(int.from_bytes(header[:3], "big"))
                if header[3] == 1:  # HEADERS: a request
                    requests.append(header)
                    break
        connection.sendall(bytes([0, 0, 8, 7, 0, 0, 0, 0, 0]) + bytes(8))  # GOAWAY, none was seen

    with listening(go_away) as url:
        with pytest.raises(RemoteError) as raised:
            OpenInference(url, "echo").infer(ROWS)
        assert raised.value.kind == "connection closed"

    assert len(requests) == 1


def test_a_grpc_server_that_was_started_again() -> None:
    """While it is away connections are refused; soon after its return answers are right."""
    port = free_port()
    model = Model(lambda request, _: echoed(request))
    with over_grpc(model, port) as url:
        target = OpenInference(url, "echo")
        np.testing.assert_array_equal(target.infer(ROWS), ROWS)
    kind = ""
    while kind != "connection refused":
        # The first requests may meet what is left of the old connection.
        assert kind in {"", "connection closed", "connection failed"}
        with pytest.raises(RemoteError) as raised:
            target.infer(ROWS)
        kind = raised.value.kind
    answers, ends = None, time.monotonic() + 30
    with over_grpc(model, port):
        while answers is None and time.monotonic() < ends:
            with contextlib.suppress(RemoteError):
                answers = target.infer(ROWS)

    assert answers is not None
    np.testing.assert_array_equal(answers, ROWS)
    assert len(model.requests) == 2
