"""TensorFlow Serving's REST API: the numbers arrive as they are, and every fault is told apart."""

from __future__ import annotations

import contextlib
import gc
import threading
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from servers import ReceivedRequest, Reply, free_port, http, serve

import pytest_dlperf
from pytest_dlperf import RemoteError, TensorFlowServing, UsageError
from pytest_dlperf.clock import MonotonicClock
from pytest_dlperf.config.options import Options
from pytest_dlperf.config.plan import plan
from pytest_dlperf.errors import TargetError
from pytest_dlperf.load.serving import Serving
from pytest_dlperf.targets.remote import json_body
from pytest_dlperf.targets.target import prepare

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

ROWS = np.random.default_rng(0).random((3, 4)).astype(np.float32)


def echo(request: ReceivedRequest) -> Reply:
    """A model that answers with its inputs."""
    return http({"predictions": request.json["instances"]})


def ask(answer: Callable[[ReceivedRequest], Reply], timeout: float = 10.0) -> NDArray[Any]:
    """What one request to a server brings back."""
    with serve(answer) as server:
        return TensorFlowServing(server.url, "digits", timeout=timeout).infer(ROWS)


def kind_of(answer: Callable[[ReceivedRequest], Reply], timeout: float = 10.0) -> RemoteError:
    """The error in which one request ends; the server received just this one."""
    with serve(answer) as server:
        with pytest.raises(RemoteError) as raised:
            TensorFlowServing(server.url, "digits", timeout=timeout).infer(ROWS)
        assert len(server.requests) == 1
    return raised.value


@pytest.mark.parametrize(
    ("version", "path"),
    [(None, "/v1/models/my%20digits:predict"), (3, "/v1/models/my%20digits/versions/3:predict")],
)
def test_the_request_is_the_api_s(version: int | None, path: str) -> None:
    """A POST of the instances, row by row, to the path of the model's version."""
    with serve(echo) as server:
        TensorFlowServing(f"{server.url}/gateway/", "my digits", version).infer(ROWS)

    request = server.requests[0]
    assert (request.method, request.path) == ("POST", f"/gateway{path}")
    assert request.headers["content-type"] == "application/json"
    assert np.array_equal(np.array(request.json["instances"], np.float32), ROWS)


@pytest.mark.parametrize(
    "rows",
    [
        np.array([[0.1, 1e-45, 3.4028235e38, -0.0], [1 / 3, 1e-8, 16777217, 2.5]], np.float32),
        np.array([[0.1, 5e-324, 1.7976931348623157e308, -0.0]]),
        np.array([[0, 255], [7, 128]], np.uint8),
        np.array([[2**63 - 1, -(2**63)]]),
        np.array([[[True], [False]]]),
        ROWS[:, ::-2],
    ],
    ids=["float32", "float64", "uint8", "int64", "bool", "strided"],
)
def test_numbers_survive_the_text(rows: NDArray[Any]) -> None:
    """Every number that is sent and comes back is the very same, in the same shape."""
    with serve(echo) as server:
        answers = TensorFlowServing(server.url, "digits").infer(rows)

    assert answers.shape == rows.shape
    assert answers.astype(rows.dtype).tobytes() == np.ascontiguousarray(rows).tobytes()


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "null"])
def test_what_is_not_finite_arrives_as_such(text: str) -> None:
    """It is an answer, which the measurement counts as not finite, and no malformed JSON."""
    body = f'{{"predictions": [[1.5, {text}]]}}'.encode()

    answers = ask(lambda _: http(body))

    assert answers[0, 0] == 1.5
    assert not np.isfinite(answers[0, 1])


def test_a_connection_is_kept_for_the_next_request() -> None:
    """Requests after one another share a connection, also when one had status 503."""
    replies = iter([http(b"", "503 Service Unavailable"), *[http({"predictions": [[1]]})] * 2])
    with serve(lambda _: next(replies)) as server:
        target = TensorFlowServing(server.url, "digits")
        with pytest.raises(RemoteError, match="status 503"):
            target.infer(ROWS)
        target.infer(ROWS)
        target.infer(ROWS)

    assert [request.connection for request in server.requests] == [0, 0, 0]


def test_threads_never_share_a_connection() -> None:
    """As many threads as ask at the same time, as many connections, and no answer is mixed up."""
    threads, rounds = 4, 50
    together = threading.Barrier(threads)
    wrong: list[int] = []

    def answer(request: ReceivedRequest) -> Reply:
        if request.number < threads:
            together.wait(10)
        return echo(request)

    with serve(answer) as server:
        target = TensorFlowServing(server.url, "digits")

        def client(number: int) -> None:
            answers = [target.infer(np.full((2, 3), number)) for _ in range(rounds)]
            wrong.extend(number for answer in answers if (answer != number).any())

        clients = [threading.Thread(target=client, args=(number,)) for number in range(threads)]
        for thread in clients:
            thread.start()
        for thread in clients:
            thread.join()
        # Threads that come later take over the connections of those that are gone.
        target.infer(ROWS)

    assert wrong == []
    assert len(server.requests) == threads * rounds + 1
    assert len(server.connections) == threads


def test_a_connection_that_the_server_closed_meanwhile() -> None:
    """It is found out before anything is sent, so it costs no request and no error."""

    def answer(request: ReceivedRequest) -> Reply:
        # Closed without "Connection: close", as servers do with idle connections.
        return Reply(echo(request).raw, close=request.number == 0)

    with serve(answer) as server:
        target = TensorFlowServing(server.url, "digits")
        target.infer(ROWS)
        [idle] = target._predict.pool._idle  # noqa: SLF001 - its end needs a moment to arrive
        assert idle.sock.recv(1) == b""
        target.infer(ROWS)

    assert [request.connection for request in server.requests] == [0, 1]


def test_a_server_that_wants_no_connection_kept() -> None:
    """`Connection: close` is obeyed, and the answer is whole."""

    def answer(request: ReceivedRequest) -> Reply:
        return http({"predictions": request.json["instances"]}, Connection="close")

    with serve(answer) as server:
        target = TensorFlowServing(server.url, "digits")
        for _ in range(2):
            answers = np.asarray(target.infer(ROWS))
            np.testing.assert_array_equal(answers.astype(np.float32), ROWS)

    assert [request.connection for request in server.requests] == [0, 1]


def test_an_answer_in_chunks() -> None:
    """`Transfer-Encoding: chunked` is read to its end, and the connection is kept."""
    raw = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    raw += b'10\r\n{"predictions": \r\n6\r\n[[1]]}\r\n0\r\n\r\n'
    with serve(lambda _: Reply(raw)) as server:
        target = TensorFlowServing(server.url, "digits")
        assert target.infer(ROWS).tolist() == [[1]]
        assert target.infer(ROWS).tolist() == [[1]]

    assert len(server.connections) == 1


def test_nobody_listens() -> None:
    """A refused connection is its own kind of error."""
    with pytest.raises(RemoteError) as raised:
        TensorFlowServing(f"http://127.0.0.1:{free_port()}", "digits").infer(ROWS)

    assert raised.value.kind == "connection refused"


def test_a_host_that_does_not_exist() -> None:
    """A name that cannot be looked up says so."""
    with pytest.raises(RemoteError, match=r"connection failed: nowhere\.invalid:80"):
        TensorFlowServing("http://nowhere.invalid", "digits").infer(ROWS)


@pytest.mark.parametrize(
    "begun",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{",
    ],
)
def test_no_answer_in_time(begun: bytes) -> None:
    """A server that says nothing, or stops in the middle, is waited for only so long."""
    over = threading.Event()

    def answer(_: ReceivedRequest) -> Reply:
        over.wait(30)
        return Reply(None)

    def half(request: ReceivedRequest) -> Reply:
        return Reply(begun) if begun else answer(request)

    try:
        assert kind_of(half, timeout=0.2).kind == "timeout"
    finally:
        over.set()


@pytest.mark.parametrize(
    ("status", "body", "detail"),
    [
        ("503 Service Unavailable", b'{"error": "overloaded"}', "overloaded"),
        ("404 Not Found", b'{"error": "Servable not found"}', "Servable not found"),
        ("500 Internal Server Error", b"<h1>it broke</h1>\n\n<p>", "<h1>it broke</h1> <p>"),
        ("502 Bad Gateway", b"", "Bad Gateway"),
        (
            "301 Moved Permanently",
            b'["elsewhere"]',
            '["elsewhere"] (redirects are not followed: to https://, or to a login?)',
        ),
    ],
)
def test_a_status_is_a_kind_of_its_own(status: str, body: bytes, detail: str) -> None:
    """Answers with another status than 200 are told apart by it, and say what the server said."""
    error = kind_of(lambda _: http(body, status))

    assert error.kind == f"status {status[:3]}"
    assert error.detail == f"POST /v1/models/digits:predict: {detail}"


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (None, "connection closed"),
        (b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"predictions"', "half an answer"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{", "half an answer"),
        (b"HTTP/1.1 503 Oops\r\nContent-Length: 99\r\n\r\n{", "half an answer"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "malformed answer"),
        (http(b'{"predictions": [[1, 2').raw, "malformed answer"),
        (http(b'{"predictions": [[\xff]]}').raw, "malformed answer"),
        (http(b"[" * 100_000).raw, "malformed answer"),
        (http([[1, 2]]).raw, "malformed answer"),
        (http({"answers": [[1, 2]]}).raw, "malformed answer"),
        (http({"predictions": "none"}).raw, "malformed answer"),
        (http({"predictions": [[1, 2], [3]]}).raw, "wrong shape"),
        (http({"predictions": [{"scores": [1]}, {"class": 3}]}).raw, "wrong shape"),
        (http({"outputs": {"scores": [[1], [2, 3]]}}).raw, "wrong shape"),
    ],
)
def test_faults_are_told_apart(raw: bytes | None, kind: str) -> None:
    """Each way to break off or to garble an answer is counted as what it is."""
    assert kind_of(lambda _: Reply(raw, close=True)).kind == kind


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("localhost:8501", "digits"), r"url='localhost:8501'\)\n.*such as 'http://localhost"),
        (("ftp://localhost:8500", "digits"), "expected a URL"),
        (("http://", "digits"), "expected a URL"),
        (("http://localhost:99999", "digits"), "out of range"),
        (("http://localhost:x", "digits"), "expected a URL"),
        (("http://me:secret@localhost", "digits"), "a user, a query or a fragment"),
        (("http://localhost?a=b", "digits"), "a user, a query or a fragment"),
        ((8501, "digits"), "expected a URL"),
        (("http://localhost", ""), "expected the model's name"),
        (("http://localhost", 5), "expected the model's name"),
        (("http://localhost", "digits", "two"), r"TensorFlowServing\(version\)='two'"),
        (("http://localhost", "digits", None, 0), r"TensorFlowServing\(timeout\)=0"),
        (("http://localhost", "digits", None, float("nan")), r"timeout\)=nan"),
    ],
)
def test_what_makes_no_sense_is_refused_at_once(arguments: tuple[Any, ...], message: str) -> None:
    """A URL, name, version or timeout that cannot be used is said when the target is made."""
    with pytest.raises(UsageError, match=message) as raised:
        TensorFlowServing(*arguments)
    assert "secret" not in str(raised.value)


def test_targets_are_values() -> None:
    """Equal fields are equal targets, whose connections neither show nor count."""
    server = TensorFlowServing("http://localhost:8501", "digits", timeout=2)

    assert server == TensorFlowServing("http://localhost:8501", "digits", timeout=2.0)
    assert len({server, TensorFlowServing("http://localhost:8501", "digits")}) == 2
    assert repr(server).endswith(
        "model='digits', version=None, timeout=2, tls=None, signature='serving_default')"
    )
    with pytest.raises(AttributeError):
        server.model = "faces"  # type: ignore[misc]


def test_connections_do_not_outlive_their_target() -> None:
    """A target that is dropped closes its connections, and nothing warns of sockets left open."""
    with serve(echo) as server, warnings.catch_warnings():
        warnings.simplefilter("error")
        target = TensorFlowServing(server.url, "digits")
        target.infer(ROWS)
        [idle] = target._predict.pool._idle  # noqa: SLF001 - there is no other way to see it
        del target
        gc.collect()

        assert idle.sock is None


def test_a_first_call_that_fails_names_the_server() -> None:
    """There is nothing to measure: the message has the URL, the reason, and what to check."""
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(TargetError) as raised:
        prepare(TensorFlowServing(url, "digits", 2), ROWS, plan([]), MonotonicClock())

    text = str(raised.value)
    assert f"model digits version 2 of TensorFlow Serving at {url} failed on its first call" in text
    assert "connection refused: nothing listens at 127.0.0.1:" in text
    assert text.endswith("the URL and the model's name are right")
    assert raised.value.__cause__ is None


def test_the_target_is_described() -> None:
    """Reports name the model and its server."""
    with serve(echo) as server:
        target = TensorFlowServing(server.url, "digits")
        prepared = prepare(
            target, ROWS, plan([Options(serving=Serving(replicas=2))]), MonotonicClock()
        )

    assert prepared.description == f"model digits of TensorFlow Serving at {server.url}"
    assert len(prepared.replicas) == 2


def test_the_names_are_public() -> None:
    """Users import them from the package."""
    assert {"TensorFlowServing", "OpenInference", "RemoteError"} <= set(pytest_dlperf.__all__)


def by_output(request: ReceivedRequest) -> Reply:
    """Inputs as outputs, by name."""
    return http({"outputs": request.json["inputs"]})


def test_inputs_by_name() -> None:
    """Several inputs are sent by column, and so are several outputs."""
    batch = {"user": np.arange(3), "rating": np.array([[0.5], [1.5], [2.5]], np.float32)}
    with serve(by_output) as server:
        answers = TensorFlowServing(server.url, "digits").infer(batch)

    assert server.requests[0].json == {
        "inputs": {"user": [0, 1, 2], "rating": [[0.5], [1.5], [2.5]]}
    }
    assert isinstance(answers, dict)
    assert {name: output.tolist() for name, output in answers.items()} == {
        "user": [0, 1, 2],
        "rating": [[0.5], [1.5], [2.5]],
    }


def test_outputs_by_row() -> None:
    """To instances a model with several outputs answers with a dict for each row."""
    rows = [{"scores": [0.1, 0.9], "class": 1}, {"scores": [0.8, 0.2], "class": 0}]
    with serve(lambda _: http({"predictions": rows})) as server:
        answers = TensorFlowServing(server.url, "digits").infer(ROWS[:2])

    assert isinstance(answers, dict)
    assert answers["scores"].shape == (2, 2)
    assert answers["class"].tolist() == [1, 0]


def test_text_and_bytes() -> None:
    """Text is JSON text; bytes are what the API calls binary values."""
    with serve(echo) as server:
        target = TensorFlowServing(server.url, "digits")
        target.infer(np.array(["a", "ö"], object))
        with contextlib.suppress(RemoteError):
            target.infer(np.array([b"a", b"\xff"], object))

    sent = [request.json["instances"] for request in server.requests]
    assert sent == [["a", "ö"], [{"b64": "YQ=="}, {"b64": "/w=="}]]


def test_inputs_without_names() -> None:
    """They are refused with what to give."""
    with pytest.raises(UsageError, match=r"by name, not as a tuple\n  give the inputs as a dict"):
        TensorFlowServing("http://localhost:1", "digits").infer((ROWS, ROWS))


@pytest.mark.parametrize("fast", [True, False])
def test_either_json(fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: FBT001 - a case
    """With and without orjson the same numbers arrive, those that are not finite too."""
    if not fast:
        monkeypatch.setattr(json_body, "fast_json", lambda: None)
    rows = np.array([[np.nan, np.inf, 0.1]], np.float32)
    document = {"inputs": {"a": rows, "b": np.array([[1, 2]])}}

    read = json_body.decode(json_body.encode(document))

    np.testing.assert_array_equal(np.array(read["inputs"]["a"], np.float32), rows)
    assert read["inputs"]["b"] == [[1, 2]]
    finite = json_body.decode(json_body.encode({"a": rows[:, 2:]}))
    assert np.array(finite["a"], np.float32).tolist() == rows[:, 2:].tolist()
    with pytest.raises(RemoteError, match="no JSON"):
        json_body.decode(b"{")
