"""What connections over gRPC have in common: settings, names, and kinds of errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pytest_dlperf.errors import RemoteError
from pytest_dlperf.targets.remote.access import advice_on

if TYPE_CHECKING:
    from pytest_dlperf.targets.remote.access import Access

CHANNEL: Final = (
    # A request is sent once: no retries by configuration, and no "transparent" ones.
    ("grpc.enable_retries", 0),
    # After a failed connection all calls fail until gRPC tries again: by default for up to two
    # minutes, even if the server is back earlier.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 100),
    # By default, channels of one process share connections, also broken ones.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
)

# gRPC reports most network errors as UNAVAILABLE; only the text tells them apart.
_KINDS: Final = (
    ("DEADLINE_EXCEEDED", "", "timeout"),
    ("UNAVAILABLE", "Connection refused", "connection refused"),
    ("UNAVAILABLE", "failed to connect", "connection failed"),
    ("UNAVAILABLE", "DNS resolution failed", "connection failed"),
    ("UNAVAILABLE", "errors resolving", "connection failed"),
    ("UNAVAILABLE", "Socket closed", "connection closed"),
    ("UNAVAILABLE", "Connection reset", "connection closed"),
    ("UNAVAILABLE", "Broken pipe", "connection closed"),
    ("UNAVAILABLE", "Stream removed", "connection closed"),
    ("UNAVAILABLE", "GOAWAY", "connection closed"),
    ("INTERNAL", "Exception deserializing response", "malformed answer"),
)

_OF_TLS: Final = ("Ssl handshake", "SSL_ERROR", "handshake failed", "certificate", "Verification")
_CHECK_TLS: Final = (
    "tls=TLS(ca=...) names the authority's file, server_name= the certificate's name, certificate= "
    "the client's; a server without TLS: grpc://"
)


def names_of(access: Access) -> tuple[tuple[str, str], ...]:
    """Channel arguments for the names by which the server is asked for."""
    names = []
    if access.host:
        names.append(("grpc.default_authority", access.host))
    if access.tls and access.tls.server_name:
        names.append(("grpc.ssl_target_name_override", access.tls.server_name))
    return tuple(names)


def error_of(status: str, message: str, access: Access) -> RemoteError:
    """What a failed call is counted as."""
    code, message = status.removeprefix("StatusCode."), access.redacted(message)
    if code == "UNAVAILABLE" and any(word in message for word in _OF_TLS):
        return RemoteError("TLS failed", f"{message} ({_CHECK_TLS})")
    for known_code, text, kind in _KINDS:
        if code == known_code and text in message:
            return RemoteError(kind, message)
    advice = advice_on(code, access)
    return RemoteError(f"status {code}", message + (f" ({advice})" if advice else ""))
