"""HTTP connections that are kept between requests; every request is sent once, or not at all."""

from __future__ import annotations

import contextlib
import json
import select
import time
from collections import deque
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection, IncompleteRead
from typing import TYPE_CHECKING, Final

from pytest_dlperf.errors import RemoteError

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping
    from http.client import HTTPMessage, HTTPResponse

    from pytest_dlperf.targets.remote.endpoint import Endpoint

_OK: Final = 200
_CHUNK: Final = 1 << 18
_SHOWN_TEXT: Final = 200


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """What is asked.

    Attributes:
        method: `GET` or `POST`.
        path: begins with a slash; the path of the server's URL goes before it.
        body: of a `POST`.
        headers: beside those that HTTP itself needs.
    """

    method: str
    path: str
    body: bytes | None = None
    headers: Mapping[str, str] | None = None

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A whole answer with status 200."""

    headers: HTTPMessage
    body: bytes


@dataclass(frozen=True, slots=True)
class _Deadline:
    """The end of a request's time, in seconds of the monotonic clock."""

    ends: float

    def limit(self, sock: socket.socket) -> None:
        """Let the next wait on a socket end in time.

        Raises:
            TimeoutError: if it is over already.
        """
        left = self.ends - time.monotonic()
        if left <= 0:  # zero would mean not to wait at all, less is no timeout
            raise TimeoutError
        sock.settimeout(left)


class HttpPool:
    """Sends requests to one server, from any number of threads, a connection for each at a time.

    A request that fails is not sent again, whatever the reason: it is a result.

    Args:
        endpoint: the server.
        timeout: seconds from the start of a request to the end of its answer, connecting
            included. (A server that sends its headers byte by byte can stretch it.)
    """

    def __init__(self, endpoint: Endpoint, timeout: float) -> None:
        self._endpoint = endpoint
        self._timeout = timeout
        # Of a deque, append and pop are atomic: threads need no lock, and may come and go.
        self._idle: deque[HTTPConnection] = deque()

    def __del__(self) -> None:
        while self._idle:
            self._idle.pop().close()

    def exchange(self, request: HttpRequest) -> HttpResponse:
        """Send a request and wait for its answer.

        Raises:
            RemoteError: if there is no answer, half of one, or one with another status than 200.
        """
        deadline = _Deadline(time.monotonic() + self._timeout)
        connection = self._connection()
        # Kept here: the connection lets go of its socket when the server says it will close it.
        sock = connection.sock
        try:
            response = self._send(request, connection, deadline)
            with contextlib.closing(response):
                body = self._receive(response, sock, deadline)
        except BaseException:
            connection.close()
            raise
        if connection.sock is not None:
            self._idle.append(connection)
        if response.status != _OK:
            complaint = _complaint(body) or response.reason
            raise RemoteError(f"status {response.status}", f"{request}: {complaint}")
        return HttpResponse(response.headers, body)

    def _connection(self) -> HTTPConnection:
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:  # another thread was faster
                break
            if not _ended(connection):
                return connection
            connection.close()
        return self._connect()

    def _connect(self) -> HTTPConnection:
        kind = HTTPSConnection if self._endpoint.scheme == "https" else HTTPConnection
        connection = kind(self._endpoint.host, self._endpoint.port, timeout=self._timeout)
        address = self._endpoint.address
        try:
            connection.connect()
        except ConnectionRefusedError:
            raise RemoteError("connection refused", f"nothing listens at {address}") from None
        except TimeoutError:
            raise self._timed_out(f"{address} did not accept a connection") from None
        except OSError as error:
            raise RemoteError("connection failed", f"{address}: {error}") from None
        return connection

    def _send(
        self, request: HttpRequest, connection: HTTPConnection, deadline: _Deadline
    ) -> HTTPResponse:
        path, headers = self._endpoint.path + request.path, request.headers or {}
        try:
            deadline.limit(connection.sock)
            connection.request(request.method, path, request.body, headers)
            deadline.limit(connection.sock)
            return connection.getresponse()
        except TimeoutError:
            raise self._timed_out(f"{request}: no answer") from None
        except OSError as error:
            detail = f"{request}: closed without an answer ({type(error).__name__})"
            raise RemoteError("connection closed", detail) from None
        except HTTPException as error:
            detail = f"{request}: no HTTP: {type(error).__name__}: {error!s:.80}"
            raise RemoteError("malformed answer", detail) from None

    def _receive(self, response: HTTPResponse, sock: socket.socket, deadline: _Deadline) -> bytes:
        parts: list[bytes] = []
        try:
            deadline.limit(sock)
            while part := response.read1(_CHUNK):
                parts.append(part)
                deadline.limit(sock)
        except TimeoutError:
            raise self._timed_out(f"{_length(parts)} of an answer") from None
        except (OSError, IncompleteRead) as error:
            raise _half(parts, type(error).__name__) from None
        # Unlike read(), read1() does not tell the end of an answer from that of a connection.
        if response.length:
            raise _half(parts, f"{response.length:,} more were announced")
        return b"".join(parts)

    def _timed_out(self, detail: str) -> RemoteError:
        return RemoteError("timeout", f"{detail} within {self._timeout:g} s")


def _ended(connection: HTTPConnection) -> bool:
    """Whether a connection that should be idle is at its end, or holds what nobody asked for.

    Servers close idle connections. Sending on one fails, and that is no fault of the model's; to
    send again would hide requests that failed after they had been worked on. So it is looked at
    before anything is sent. What is closed between this look and the sending counts as an error.
    """
    poll = select.poll()
    poll.register(connection.sock, select.POLLIN)
    return bool(poll.poll(0))


def _half(parts: list[bytes], why: str) -> RemoteError:
    return RemoteError("half an answer", f"closed after {_length(parts)}: {why}")


def _length(parts: list[bytes]) -> str:
    return f"{sum(map(len, parts)):,} bytes"


def _complaint(body: bytes) -> str:
    """What a server says about an error, mostly `{"error": "..."}`."""
    text = body.decode(errors="replace")
    with contextlib.suppress(ValueError, KeyError, TypeError, RecursionError):
        text = str(json.loads(text)["error"])
    return " ".join(text.split())[:_SHOWN_TEXT]
