"""Services that answer with JSON: a real one, and what can go wrong."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from fakes import FakeMeter, FakeProgress
from servers import KEYS, ReceivedRequest, Reply, encrypted, free_port, http, serve, wait_for

from pytest_dlperf import TLS, Http, RemoteError, UsageError
from pytest_dlperf.clock import MonotonicClock
from pytest_dlperf.config.options import Options
from pytest_dlperf.config.plan import plan
from pytest_dlperf.data.dataset import as_data
from pytest_dlperf.load.scenarios import ClosedLoop
from pytest_dlperf.measure.measure import measure
from pytest_dlperf.measure.prepared import Instruments

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROWS = np.random.default_rng(0).random((40, 4)).astype(np.float32)
SERVICE = """
import numpy as np
from fastapi import FastAPI

app = FastAPI()


@app.get("/health")
def health():
    return "well"


@app.post("/v1/predict")
def predict(request: dict):
    rows, names = np.array(request["features"]), request["names"]
    labels = rows.argmax(axis=1).tolist()
    return {"predictions": [{"label": n, "name": t.upper()} for n, t in zip(labels, names)]}
"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A FastAPI service under uvicorn."""
    if find_spec("fastapi") is None or find_spec("uvicorn") is None:
        pytest.skip("FastAPI is not installed")
    folder: Path = tmp_path_factory.mktemp("fastapi")
    (folder / "service.py").write_text(SERVICE)
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "service:app", "--port", str(port)]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)  # noqa: S603
    try:
        wait_for(f"http://127.0.0.1:{port}/health", process)
        yield f"http://127.0.0.1:{port}/v1/predict"
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.subprocess
def test_a_service_is_a_target(url: str) -> None:
    """Under load each row gets its own answer, with text beside numbers."""
    target = Http(
        url,
        encode=lambda batch: {"features": batch["rows"], "names": batch["names"]},
        decode=lambda answer: {
            "label": [row["label"] for row in answer["predictions"]],
            "name": [row["name"] for row in answer["predictions"]],
        },
    )
    inputs = {"rows": ROWS, "names": [f"row {n}" for n in range(len(ROWS))]}
    options = Options(scenario=ClosedLoop(8), duration=0.3, output="label", task="classification")
    bench = Instruments(MonotonicClock(), FakeMeter(), FakeProgress())

    data = as_data((inputs, ROWS.argmax(axis=1)))
    found = measure(target, data, plan([options]), bench, test="t", name="")

    assert found.metrics["accuracy"].value == 1
    assert found.errors == ()
    assert found.target == f"service at {url}"


def echo(request: ReceivedRequest) -> Reply:
    """What was sent."""
    return http(request.json)


@pytest.mark.parametrize("batch", [ROWS, {"a": ROWS, "b": ROWS[:, 0]}], ids=["array", "dict"])
def test_without_functions(batch: Any) -> None:  # noqa: ANN401
    """The batch is the document, and the document is the answer."""
    with serve(echo) as server:
        answer: Any = Http(f"{server.url}/ask").infer(batch)

    assert server.requests[0].path == "/ask"
    assert server.requests[0].headers["content-type"] == "application/json"
    first = answer["a"] if isinstance(batch, dict) else answer
    np.testing.assert_array_equal(first.astype(np.float32), ROWS)


def test_bytes_are_sent_as_they_are() -> None:
    """Such as an image; a URL without a path is the root."""
    with serve(lambda _: http([1])) as server:
        Http(server.url, encode=lambda batch: batch.tobytes()).infer(ROWS[:1])

    assert server.requests[0].path == "/"
    assert server.requests[0].body == ROWS[:1].tobytes()
    assert server.requests[0].headers["content-type"] == "application/octet-stream"


def test_headers_and_tls() -> None:
    """They reach the service, and are in no text."""
    secret = {"Authorization": "Bearer s3cr3t-t0ken"}
    with serve(echo, encrypted()) as server:
        url = server.url.replace("127.0.0.1", "localhost")
        target = Http(url, headers=secret, tls=TLS(ca=str(KEYS / "ca.pem")))
        target.infer(ROWS)

    assert server.requests[0].headers["authorization"] == "Bearer s3cr3t-t0ken"
    assert "s3cr3t" not in f"{target!r}{target.description}"


@pytest.mark.parametrize(
    ("reply", "decode", "kind", "said"),
    [
        (http(b"no json"), None, "malformed answer", "no JSON"),
        (http({}, "503 Busy"), None, "status 503", ""),
        (http({"a": 1}), lambda answer: answer["b"], "malformed answer", "decode= raised KeyError"),
        (http({"a": 1}), lambda answer: answer["b"], "malformed answer", "an object with 'a'"),
        (http([1, 2]), lambda answer: answer["b"], "malformed answer", "a list: [1, 2]"),
        (Reply(None), None, "connection closed", ""),
    ],
)
def test_faults(reply: Reply, decode: Any, kind: str, said: str) -> None:  # noqa: ANN401
    """Each has a kind of its own."""
    with serve(lambda _: reply) as server, pytest.raises(RemoteError) as caught:
        Http(server.url, decode=decode).infer(ROWS)

    assert caught.value.kind == kind
    assert said in caught.value.detail


def test_an_encode_that_fails() -> None:
    """It is named, with what it is given."""
    with pytest.raises(RemoteError, match="encode= raised KeyError: 'x'\n  it is given a batch"):
        Http("http://localhost:1", encode=lambda _: {}["x"]).infer(ROWS)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"url": "localhost:8000"}, "expected a URL such as 'http://localhost:8000/predict'"),
        ({"url": "http://localhost/?key=1"}, "cannot be sent"),
        ({"url": "http://localhost", "encode": "json"}, "Http(encode='json')"),
        ({"url": "http://localhost", "decode": 1}, "Http(decode=1)"),
        ({"url": "http://localhost", "timeout": 0}, "Http(timeout)"),
    ],
)
def test_misuses(arguments: dict[str, Any], said: str) -> None:
    """What makes no sense is refused at once."""
    with pytest.raises(UsageError) as caught:
        Http(**arguments)

    assert said in str(caught.value)
