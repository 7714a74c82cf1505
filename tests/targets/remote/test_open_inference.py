"""The Open Inference Protocol over HTTP, with servers that do as told, wrong things included."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from servers import ReceivedRequest, Reply, free_port, http, serve

from pytest_dlperf import OpenInference, RemoteError, UsageError
from pytest_dlperf.clock import MonotonicClock
from pytest_dlperf.config.plan import plan
from pytest_dlperf.errors import TargetError
from pytest_dlperf.targets.target import prepare

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

ROWS = np.random.default_rng(0).random((3, 4)).astype(np.float32)
TENSOR = {"name": "rows", "datatype": "FP32", "shape": [-1, 4]}
MODEL = {"name": "echo", "inputs": [TENSOR], "outputs": [TENSOR]}
ECHOED = {"name": "rows", "datatype": "FP32", "shape": [3, 4], "data": ROWS.ravel().tolist()}


def over_http(
    infer: Callable[[ReceivedRequest], Reply],
    *,
    model: object = MODEL,
    extensions: tuple[str, ...] = (),
) -> Callable[[ReceivedRequest], Reply]:
    """A server's answers to metadata and inference requests."""

    def answer(request: ReceivedRequest) -> Reply:
        if request.method == "POST":
            return infer(request)
        return http({"extensions": extensions} if request.path == "/v2" else model)

    return answer


def fault_over_http(reply: Reply, timeout: float = 10.0) -> RemoteError:
    """The error that an inference request ends in, after which it was sent just once."""
    with serve(over_http(lambda _: reply)) as server:
        target = OpenInference(server.url, "echo", timeout=timeout)
        with pytest.raises(RemoteError) as raised:
            target.infer(ROWS)
        assert sum(request.method == "POST" for request in server.requests) == 1
    return raised.value


def test_json_is_the_protocol_s() -> None:
    """Without extensions tensors are JSON; the model's metadata is requested only once."""
    with serve(over_http(lambda _: http({"outputs": [ECHOED]}))) as server:
        target = OpenInference(f"{server.url}/gateway", "my echo", "7")
        np.testing.assert_array_equal(target.infer(ROWS), ROWS)
        np.testing.assert_array_equal(target.infer(ROWS), ROWS)

    path = "/gateway/v2/models/my%20echo/versions/7"
    paths = [path, "/gateway/v2", f"{path}/infer", f"{path}/infer"]
    assert [request.path for request in server.requests] == paths
    assert len(server.connections) == 1
    sent = server.requests[-1].json
    assert sent["inputs"] == [ECHOED]
    assert [output["name"] for output in sent["outputs"]] == ["rows"]


def test_binary_tensors_where_the_server_knows_them() -> None:
    """With the extension numbers travel as bytes both ways, behind a JSON header."""
    rows = np.array([[0.1, np.nan, np.inf, -0.0]], np.float32)

    def infer(request: ReceivedRequest) -> Reply:
        length = int(request.headers["inference-header-content-length"])
        header, tensor = json.loads(request.body[:length]), request.body[length:]
        assert header["inputs"][0]["parameters"] == {"binary_data_size": len(tensor)}
        assert header["outputs"][0]["parameters"] == {"binary_data": True}
        output = {**TENSOR, "shape": [1, 4], "parameters": {"binary_data_size": len(tensor)}}
        text = json.dumps({"outputs": [output]}).encode()
        return http(text + tensor, Inference_Header_Content_Length=str(len(text)))

    known = ("classification", "binary_tensor_data")
    with serve(over_http(infer, extensions=known)) as server:
        answers = OpenInference(server.url, "echo").infer(rows)

    assert answers.tobytes() == rows.tobytes()
    assert server.requests[-1].body.endswith(rows.tobytes())


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Reply(None), "connection closed"),
        (http({"error": "overloaded"}, "503 Service Unavailable"), "status 503"),
        (Reply(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{", close=True), "half an answer"),
        (Reply(b"SSH-2.0\r\n", close=True), "malformed answer"),
        (http(b'{"outputs": ['), "malformed answer"),
        (http([]), "malformed answer"),
        (http({"answers": 5}), "malformed answer"),
        (http({"outputs": []}), "malformed answer"),
        (http({"outputs": [{**ECHOED, "name": "columns"}]}), "malformed answer"),
        (http({"outputs": [{**ECHOED, "shape": [3, 5]}]}), "malformed answer"),
        (http({"outputs": [{**ECHOED, "data": ["a"] * 12}]}), "malformed answer"),
        (http({"outputs": [ECHOED]}, Inference_Header_Content_Length="x"), "malformed answer"),
        (http({"outputs": [ECHOED]}, Inference_Header_Content_Length="9"), "malformed answer"),
    ],
)
def test_faults_over_http_are_told_apart(reply: Reply, kind: str) -> None:
    """Each is counted as what it is, and nothing is sent twice."""
    assert fault_over_http(reply).kind == kind


def test_no_answer_in_time_over_http() -> None:
    """A server that stops in the middle is waited for only so long."""
    begun = Reply(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{")
    assert fault_over_http(begun, timeout=0.3).kind == "timeout"


@pytest.mark.parametrize(
    "model", [b"{", [], {"inputs": [{}]}, {"inputs": 5}, {"inputs": [5], "outputs": []}]
)
def test_metadata_that_makes_no_sense(model: object) -> None:
    """A server of another kind is a malformed answer, no traceback."""
    with (
        serve(over_http(lambda _: http({}), model=model)) as server,
        pytest.raises(RemoteError, match="malformed answer"),
    ):
        OpenInference(server.url, "echo").infer(ROWS)


def test_metadata_are_asked_for_again_after_a_fault() -> None:
    """The next request asks again a server that was not ready for the first one."""
    replies = iter([http(b"", "503 Not Ready"), http(MODEL), http({}), http({"outputs": [ECHOED]})])
    with serve(lambda _: next(replies)) as server:
        target = OpenInference(server.url, "echo")
        with pytest.raises(RemoteError, match="status 503"):
            target.infer(ROWS)
        np.testing.assert_array_equal(target.infer(ROWS), ROWS)


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_a_first_call_that_fails_names_the_server(scheme: str) -> None:
    """There is nothing to measure: the message has the URL, the reason, and what to check."""
    url = f"{scheme}://127.0.0.1:{free_port()}"
    with pytest.raises(TargetError) as raised:
        prepare(OpenInference(url, "echo", "7"), ROWS, plan([]), MonotonicClock())

    text = str(raised.value)
    assert f"model echo version 7 of the Open Inference server at {url} failed on" in text
    assert ": connection refused: " in text
    assert text.endswith("the URL and the model's name are right")


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_without_tritonclient(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    """What to install is said when the target is made."""
    monkeypatch.setitem(sys.modules, f"tritonclient.{scheme}", None)

    with pytest.raises(UsageError, match=rf"{scheme} needs.*\n.*'pytest-dlperf\[remote\]'"):
        OpenInference(f"{scheme}://localhost:8000", "echo")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"url": "localhost:8000"}, "expected a URL such as 'http://localhost:8000 or grpc"),
        ({"url": "grpc://localhost"}, "has no port"),
        ({"model": ""}, "expected the model's name"),
        ({"version": 7}, r"OpenInference\(version=7\)\n.*expected a text"),
        ({"input_name": None}, r"OpenInference\(input_name=None\)"),
        ({"timeout": -1}, r"OpenInference\(timeout\)=-1"),
    ],
)
def test_what_makes_no_sense_is_refused_at_once(arguments: dict[str, Any], message: str) -> None:
    """A field that cannot be used is said when the target is made."""
    with pytest.raises(UsageError, match=message):
        OpenInference(**{"url": "http://localhost:8000", "model": "echo", **arguments})


@pytest.mark.parametrize(
    ("datatype", "rows"),
    [
        ("INT64", ROWS),
        ("UINT8", np.array([[256]])),
        ("UINT8", np.array([[-1]])),
        ("BYTES", ROWS),
        ("FP8", ROWS),
        ("", np.array([[1.0]], np.longdouble)),
    ],
)
def test_data_that_the_model_does_not_take(datatype: str, rows: NDArray[Any]) -> None:
    """Data is never rounded or cut to whole numbers, and texts are not made of numbers."""
    tensor = {**TENSOR, "datatype": datatype}
    with serve(over_http(lambda _: http({}), model={**MODEL, "inputs": [tensor]})) as server:
        target = OpenInference(server.url, "echo")
        with pytest.raises(UsageError, match=r"model takes|cannot be sent"):
            target.infer(rows)
        with pytest.raises(UsageError, match=r"model takes|cannot be sent"):
            prepare(target, rows, plan([]), MonotonicClock())


def test_a_model_with_several_inputs() -> None:
    """One array does not say which it is for; the message says what to do."""
    model = {**MODEL, "inputs": [TENSOR, {**TENSOR, "name": "columns"}]}
    with (
        serve(over_http(lambda _: http({}), model=model)) as server,
        pytest.raises(UsageError, match=r"has 2 inputs; it has: rows, columns\n.*as a dict"),
    ):
        OpenInference(server.url, "echo").infer(ROWS)
