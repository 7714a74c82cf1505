"""Model servers under load: a served Keras model, and servers that die in mid-run."""

from __future__ import annotations

import contextlib
import json
import socketserver
import subprocess
import sys
import threading
import wsgiref.simple_server
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from builders import ENVIRONMENT
from fakes import FakeClock, FakeMeter, FakeProgress, fake_instruments
from servers import free_port

from pytest_dlperf import ClosedLoop, OpenInference, RemoteError, Serving, TensorFlowServing
from pytest_dlperf.clock import MonotonicClock
from pytest_dlperf.config.options import Options
from pytest_dlperf.config.plan import plan
from pytest_dlperf.data.dataset import as_data
from pytest_dlperf.judge.judge import judge
from pytest_dlperf.measure.measure import measure
from pytest_dlperf.measure.prepared import Instruments
from pytest_dlperf.results.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path
    from wsgiref.types import StartResponse, WSGIEnvironment

    from numpy.typing import NDArray

    from pytest_dlperf.load.runner import Target

ROWS = np.random.default_rng(0).random((40, 4)).astype(np.float32)
DATA = as_data((ROWS, ROWS.argmax(axis=1)))

HTTP_SERVER = """
import json, os, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

port, last = map(int, sys.argv[1:])
tensor = {"name": "rows", "datatype": "FP32", "shape": [-1, 4]}
received = 0

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and body in one packet, as the second would wait for an ACK

    def do_GET(self):
        self.reply({"inputs": [tensor], "outputs": [tensor], "extensions": []})

    def do_POST(self):
        global received
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        received += 1
        if received == last:
            os._exit(1)
        self.reply({"predictions": body.get("instances"), "outputs": body.get("inputs")})

    def reply(self, document):
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
print("ready", flush=True)
server.serve_forever()
"""

GRPC_SERVER = """
import os, sys
from concurrent.futures import ThreadPoolExecutor
import grpc
from tritonclient.grpc import service_pb2 as messages, service_pb2_grpc as service

port, last = map(int, sys.argv[1:])
received = 0

class Model(service.GRPCInferenceServiceServicer):
    def ModelMetadata(self, request, context):
        tensor = {"name": "rows", "datatype": "FP32", "shape": [-1, 4]}
        return messages.ModelMetadataResponse(inputs=[tensor], outputs=[tensor])

    def ModelInfer(self, request, context):
        global received
        received += 1
        if received == last:
            os._exit(1)
        output = {"name": "rows", "datatype": "FP32", "shape": request.inputs[0].shape}
        raw = request.raw_input_contents
        return messages.ModelInferResponse(outputs=[output], raw_output_contents=raw)

server = grpc.server(ThreadPoolExecutor(2))
service.add_GRPCInferenceServiceServicer_to_server(Model(), server)
server.add_insecure_port(f"127.0.0.1:{port}")
server.start()
print("ready", flush=True)
server.wait_for_termination()
"""


@dataclass
class Process:
    """A server in a process of its own, which ends itself at a request of a given number."""

    source: str
    port: int
    running: subprocess.Popen[str] = field(init=False)

    def start(self, last: int) -> None:
        """Start it, and wait until it listens."""
        command = [sys.executable, "-c", self.source, str(self.port), str(last)]
        self.running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own interpreter
        assert self.running.stdout is not None
        assert self.running.stdout.readline() == "ready\n"

    def stop(self) -> None:
        """End it, however it is."""
        self.running.kill()
        self.running.communicate(timeout=30)


NOBODY = {"connection refused", "connection failed"}
"""What is said where nobody listens; gRPC may say the latter."""


@dataclass
class Watched:
    """A remote target on a fake clock, whose server is started again once nobody gets in."""

    target: Target
    clock: FakeClock
    server: Process
    restarts: int = 0

    def infer(self, batch: NDArray[Any]) -> object:
        """Ask; each request takes a millisecond of the fake clock."""
        self.clock.now += 1_000_000
        try:
            return self.target.infer(batch)
        except RemoteError as error:
            self.server.running.wait(30)
            if error.kind in NOBODY:
                self.restarts += 1
                self.server.stop()
                self.server.start(last=0)
            # gRPC needs a while to see either; what it says meanwhile is not part of the run.
            while (self.ask(batch) in NOBODY) != (self.restarts == 0):
                pass
            raise

    def ask(self, batch: NDArray[Any]) -> str:
        """The kind of error that a request ends in now, if any."""
        try:
            self.target.infer(batch)
        except RemoteError as error:
            return error.kind
        return ""


def killed_and_started_again(source: str, make: Callable[[int], Target]) -> dict[str, int]:
    """Failed requests, by kind, of a run whose server dies and comes back; all else is right."""
    server = Process(source, free_port())
    clock = FakeClock()
    target = Watched(make(server.port), clock, server)
    the_plan = plan([Options(scenario=ClosedLoop(8), serving=Serving(8), quick=True)])
    server.start(last=100)
    try:
        measurement = measure(target, DATA, the_plan, fake_instruments(clock), test="test", name="")
    finally:
        server.stop()

    assert target.restarts == 1
    assert measurement.requests > 1000
    assert measurement.accuracy == 1.0
    judged = judge(measurement, the_plan.judged, None, ENVIRONMENT, "")
    assert [(j.metric, j.verdict) for j in judged] == [("errors", Verdict.FAIL)]
    return {error.kind: error.requests for error in measurement.errors}


@pytest.mark.parametrize("make", [TensorFlowServing, OpenInference])
def test_a_server_that_is_killed_and_started_again(make: Callable[[str, str], Target]) -> None:
    """One batch is cut off and one refused, each counted as such; all others are right: FAIL."""
    failed = killed_and_started_again(
        HTTP_SERVER, lambda port: make(f"http://127.0.0.1:{port}", "echo")
    )

    assert failed == {"connection closed": 8, "connection refused": 8}


def test_a_grpc_server_that_is_killed_and_started_again() -> None:
    """The same, but for what gRPC says of an attempt to connect that meets the dying server."""
    failed = killed_and_started_again(
        GRPC_SERVER, lambda port: OpenInference(f"grpc://127.0.0.1:{port}", "echo")
    )

    assert failed.pop("connection closed") == 8
    assert failed in ({"connection refused": 8}, {"connection failed": 8})


class _Threads(socketserver.ThreadingMixIn, wsgiref.simple_server.WSGIServer):
    daemon_threads = True


class _Silent(wsgiref.simple_server.WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def wsgi(app: Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]]) -> Iterator[str]:
    """Serve a WSGI application, and yield its URL."""
    server = wsgiref.simple_server.make_server("127.0.0.1", 0, app, _Threads, _Silent)
    with server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.tensorflow
def test_a_served_keras_model(tmp_path: Path) -> None:
    """A saved model answers over REST as it does here, from two replicas, one row or many."""
    import keras

    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation="softmax")])
    model.save(tmp_path / "model.keras")
    expected = model.predict(ROWS, verbose=0)
    served = keras.models.load_model(tmp_path / "model.keras")

    def app(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        assert environ["PATH_INFO"] == "/v1/models/digits:predict"
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        rows = np.array(json.loads(body)["instances"], np.float32)
        predictions = served(rows).numpy().tolist()
        start("200 OK", [("Content-Type", "application/json")])
        return [json.dumps({"predictions": predictions}).encode()]

    clock = MonotonicClock()
    with wsgi(app) as url:
        target = TensorFlowServing(url, "digits")
        np.testing.assert_allclose(target.infer(ROWS), expected, rtol=1e-5)
        measurement = measure(
            target,
            as_data((ROWS, expected.argmax(axis=1))),
            plan([Options(scenario=ClosedLoop(8), serving=Serving(4, replicas=2), duration=0.5)]),
            Instruments(clock, FakeMeter(), FakeProgress()),
            test="test",
            name="",
        )

    assert measurement.errors == ()
    assert measurement.accuracy == 1.0
