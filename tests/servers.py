"""Servers on loopback whose replies a test chooses, right or wrong."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import subprocess
import threading
import time
import urllib.request
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


KEYS = Path(__file__).parent / "tls"
"""A CA of these tests, and certificates by it for `models.example` and `localhost`, to 2126."""


def encrypted(*, clients: bool = False) -> ssl.SSLContext:
    """TLS of a server with a certificate by the tests' own CA; it may want one of its clients."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(KEYS / "server.pem", KEYS / "server.key")
    if clients:
        context.load_verify_locations(KEYS / "ca.pem")
        context.verify_mode = ssl.CERT_REQUIRED
    return context


@dataclass(frozen=True)
class ReceivedRequest:
    """A request as a server saw it."""

    method: str
    path: str
    body: bytes
    headers: dict[str, str]
    connection: int
    number: int

    @property
    def json(self) -> Any:  # noqa: ANN401 - whatever was sent
        """The body, read."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    """What goes back over the wire, byte by byte; None closes without a word."""

    raw: bytes | None
    close: bool = False


def http(body: bytes | object, status: str = "200 OK", **headers: str) -> Reply:
    """A good HTTP answer, of bytes or of something that becomes JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = {"Content-Length": str(len(content)), **headers}
    lines = "".join(f"{name.replace('_', '-')}: {text}\r\n" for name, text in fields.items())
    close = headers.get("Connection") == "close"
    return Reply(f"HTTP/1.1 {status}\r\n{lines}\r\n".encode() + content, close)


@dataclass
class Server:
    """A running server, and the requests it received."""

    port: int
    scheme: str = "http"
    requests: list[ReceivedRequest] = field(default_factory=list)
    connections: list[int] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"{self.scheme}://127.0.0.1:{self.port}"


@contextlib.contextmanager
def serve(
    answer: Callable[[ReceivedRequest], Reply], tls: ssl.SSLContext | None = None
) -> Iterator[Server]:
    """Serve HTTP on a free port until the end of the block, a thread for each connection."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            if tls is not None:  # here, as each connection has a thread
                self.request = tls.wrap_socket(self.request, server_side=True)
            super().setup()
            with lock:
                server.connections.append(len(server.connections))
                self.connection_number = server.connections[-1]

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            with lock:
                request = ReceivedRequest(
                    self.command,
                    self.path,
                    body,
                    {name.lower(): text for name, text in self.headers.items()},
                    self.connection_number,
                    len(server.requests),
                )
                server.requests.append(request)
            reply = answer(request)
            self.close_connection = reply.close or reply.raw is None
            self.wfile.write(reply.raw or b"")

        do_GET = do_POST  # noqa: N815 - the base class's name

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        httpd.daemon_threads = True
        httpd.handle_error = lambda *_: None  # type: ignore[method-assign]  # refused handshakes
        server = Server(httpd.server_address[1], "https" if tls else "http")
        thread = threading.Thread(target=httpd.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            httpd.shutdown()
            thread.join()


def free_port() -> int:
    """A port of loopback on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(url: str, process: subprocess.Popen[Any], seconds: float = 60.0) -> None:
    """Wait until a URL answers with a good status, as long as its process lives."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5):  # noqa: S310 - ours
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.02)
            break
    pytest.fail(f"no answer from {url}; its process: {process.poll()}")
