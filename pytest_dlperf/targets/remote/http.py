"""Persistent HTTP connections; every request is sent at most once."""

from __future__ import annotations

import contextlib
import json
import select
import ssl
import time
from collections import deque
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection, IncompleteRead
from typing import TYPE_CHECKING, Final

from pytest_dlperf.errors import RemoteError
from pytest_dlperf.targets.remote.access import advice_on, advice_on_tls

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping
    from http.client import HTTPMessage, HTTPResponse

    from pytest_dlperf.targets.remote.access import Access
    from pytest_dlperf.targets.remote.endpoint import Endpoint

_OK: Final = 200
_NOT_FOUND: Final = 404
_CHUNK: Final = 1 << 18
_SHOWN_TEXT: Final = 200


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request.

    Attributes:
        method: `GET` or `POST`.
        path: begins with a slash; the path of the server's URL is put before it.
        body: of a `POST`.
        headers: in addition to those that HTTP itself needs.
    """

    method: str
    path: str
    body: bytes | None = None
    headers: Mapping[str, str] | None = None

    def __str__(self) -> str:
        return f"{self.method} {self.path}".rstrip()


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A complete response with status 200."""

    headers: HTTPMessage
    body: bytes


@dataclass(frozen=True, slots=True)
class _Deadline:
    """The end of a request's timeout, in seconds of the monotonic clock."""

    ends: float

    def limit(self, sock: socket.socket) -> None:
        """Set the timeout of the next operation on a socket; raise TimeoutError if none is left."""
        left = self.ends - time.monotonic()
        if left <= 0:  # settimeout(0) would make the socket non-blocking; less is an error
            raise TimeoutError
        sock.settimeout(left)


class HttpPool:
    """Sends requests to one server from any number of threads, each on a connection of its own.

    A request that fails is a result, so it is never sent again. Written by hand: urllib3 takes
    1.5 times as long for a request, and has no deadline for a whole response.

    Args:
        endpoint: the server.
        access: headers of every request, and TLS settings.
        timeout: seconds from the start of a request to the end of its response, connecting
            included. (A server that sends its headers byte by byte can stretch it.)
    """

    def __init__(self, endpoint: Endpoint, access: Access, timeout: float) -> None:
        self._endpoint = endpoint
        self._access = access
        self._context: ssl.SSLContext | None = None
        if endpoint.scheme == "https":
            tls = access.tls
            self._context = tls.context() if tls else ssl.create_default_context()
        self._timeout = timeout
        # A deque's append and pop are atomic, so threads need no lock.
        self._idle: deque[HTTPConnection] = deque()

    def __del__(self) -> None:
        while self._idle:
            self._idle.pop().close()

    def exchange(self, request: HttpRequest) -> HttpResponse:
        """Send a request and wait for the response.

        Raises:
            RemoteError: if the response is missing, incomplete, or has another status than 200.
        """
        deadline = _Deadline(time.monotonic() + self._timeout)
        connection = self._connection()
        # The connection drops its socket once the server announces that it will close it.
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
            message = self._access.redacted(_error_message(body) or response.reason)
            # A model server says what it lacks in JSON, an ingress without a route does not.
            lacks = response.status == _NOT_FOUND and body.lstrip().startswith(b"{")
            advice = "" if lacks else advice_on(str(response.status), self._access)
            detail = f"{request}: {message}" + (f" ({advice})" if advice else "")
            raise RemoteError(f"status {response.status}", detail)
        return HttpResponse(response.headers, body)

    def _connection(self) -> HTTPConnection:
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:  # another thread took it
                break
            if not _ended(connection):
                return connection
            connection.close()
        return self._connect()

    def _connect(self) -> HTTPConnection:
        host, port, address = self._endpoint.host, self._endpoint.port, self._endpoint.address
        connection: HTTPConnection
        if self._context is None:
            connection = HTTPConnection(host, port, timeout=self._timeout)
        else:
            name = (self._access.tls.server_name if self._access.tls else "") or host
            connection = _NamedConnection(host, port, self._context, name, self._timeout)
        try:
            connection.connect()
        except ConnectionRefusedError:
            raise RemoteError("connection refused", f"nothing listens at {address}") from None
        except TimeoutError:
            raise self._timed_out(f"{address} did not accept a connection") from None
        except ssl.SSLError as error:
            raise _tls_failed(address, error) from None
        except OSError as error:
            raise RemoteError("connection failed", f"{address}: {error}") from None
        return connection

    def _send(
        self, request: HttpRequest, connection: HTTPConnection, deadline: _Deadline
    ) -> HTTPResponse:
        path = self._endpoint.path + request.path
        headers = {**self._access.headers, **(request.headers or {})}
        try:
            deadline.limit(connection.sock)
            connection.request(request.method, path, request.body, headers)
            deadline.limit(connection.sock)
            return connection.getresponse()
        except TimeoutError:
            raise self._timed_out(f"{request}: no answer") from None
        except ssl.SSLEOFError as error:
            raise _closed(request, error) from None
        except ssl.SSLError as error:  # a server that refuses a client says so after the handshake
            raise _tls_failed(f"{request}", error) from None
        except OSError as error:
            raise _closed(request, error) from None
        except HTTPException as error:
            detail = f"{request}: no HTTP: {type(error).__name__}: {error!s:.80}"
            raise RemoteError("malformed answer", detail) from None

    def _receive(self, response: HTTPResponse, sock: socket.socket, deadline: _Deadline) -> bytes:
        parts: list[bytes] = []
        try:
            deadline.limit(sock)
            while part := response.read1(_CHUNK):
                parts.append(part)
                if response.isclosed():  # and with it a connection that was for one answer
                    break
                deadline.limit(sock)
        except TimeoutError:
            raise self._timed_out(f"{_length(parts)} of an answer") from None
        except (OSError, IncompleteRead) as error:
            raise _half(parts, type(error).__name__) from None
        # Unlike read(), read1() does not raise if the connection ends before the response does.
        if response.length:
            raise _half(parts, f"{response.length:,} more were announced")
        return b"".join(parts)

    def _timed_out(self, detail: str) -> RemoteError:
        return RemoteError("timeout", f"{detail} within {self._timeout:g} s")


class _NamedConnection(HTTPSConnection):
    """A connection to a server whose certificate may have another name than its address."""

    def __init__(
        self, host: str, port: int, context: ssl.SSLContext, name: str, timeout: float
    ) -> None:
        super().__init__(host, port, timeout=timeout, context=context)
        self._tls = context
        self._name = name

    def connect(self) -> None:
        """Connect, and ask for the server by its name."""
        HTTPConnection.connect(self)
        plain = self.sock
        try:
            self.sock = self._tls.wrap_socket(plain, server_hostname=self._name)
        except BaseException:
            plain.close()
            raise


def _closed(request: HttpRequest, error: OSError) -> RemoteError:
    detail = f"{request}: closed without an answer ({type(error).__name__})"
    return RemoteError("connection closed", detail)


def _tls_failed(where: str, error: ssl.SSLError) -> RemoteError:
    advice = advice_on_tls(error)
    reason = getattr(error, "verify_message", "") or error.reason or error
    return RemoteError("TLS failed", f"{where}: {reason}" + (f" ({advice})" if advice else ""))


def _ended(connection: HTTPConnection) -> bool:
    """Whether an idle connection was closed, or holds unexpected data."""
    # Servers close idle connections. Sending on one fails, which is not the model's fault; but
    # to send again would hide requests that failed while they were processed. So it is checked
    # before anything is sent. One that is closed between the two counts as an error.
    poll = select.poll()
    poll.register(connection.sock, select.POLLIN)
    return bool(poll.poll(0))


def _half(parts: list[bytes], why: str) -> RemoteError:
    return RemoteError("half an answer", f"closed after {_length(parts)}: {why}")


def _length(parts: list[bytes]) -> str:
    return f"{sum(map(len, parts)):,} bytes"


def _error_message(body: bytes) -> str:
    """The message of an error response, usually `{"error": "..."}`."""
    text = body.decode(errors="replace")
    with contextlib.suppress(ValueError, KeyError, TypeError, RecursionError):
        text = str(json.loads(text)["error"])
    return " ".join(text.split())[:_SHOWN_TEXT]
