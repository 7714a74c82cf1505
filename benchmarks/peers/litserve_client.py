"""Closed-loop clients of a LitServe server, over HTTP connections that stay open."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_dlperf.data.digits import load_digits

if TYPE_CHECKING:
    from collections.abc import Iterator

START_S = 90
WARM_S = 1.0


def closed_loop(folder: Path, clients: int, seconds: float) -> float:
    """Requests a second; the server batches up to as many as there are clients."""
    bodies = [json.dumps({"row": row.tolist()}) for row in load_digits().test.inputs]
    with _server(folder / "model.keras", clients) as port:
        _ask(port, bodies, clients, WARM_S)
        return _ask(port, bodies, clients, seconds)


def _ask(port: int, bodies: list[str], clients: int, seconds: float) -> float:
    end = time.perf_counter() + seconds

    def client(number: int) -> int:
        answered = 0
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        while time.perf_counter() < end:
            body = bodies[(number + clients * answered) % len(bodies)]
            connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            if response.status != http.HTTPStatus.OK:
                raise RuntimeError(f"LitServe answered {response.status}: {response.read()!r}")
            response.read()
            answered += 1
        return answered

    started = time.perf_counter()
    with ThreadPoolExecutor(clients) as threads:
        answered = sum(threads.map(client, range(clients)))
    return answered / (time.perf_counter() - started)


@contextlib.contextmanager
def _server(model: Path, largest: int) -> Iterator[int]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    script = Path(__file__).with_name("litserve_server.py")
    command = [sys.executable, str(script), str(port), str(model), str(largest)]
    # A session of its own, so that its workers end with it.
    server = subprocess.Popen(command, start_new_session=True)  # noqa: S603 - our own script
    try:
        _await(port, server)
        yield port
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _await(port: int, server: subprocess.Popen[bytes]) -> None:
    given_up = time.monotonic() + START_S
    while time.monotonic() < given_up and server.poll() is None:
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/health")
            if connection.getresponse().status == http.HTTPStatus.OK:
                return
        time.sleep(0.2)
    raise RuntimeError("LitServe did not start")
