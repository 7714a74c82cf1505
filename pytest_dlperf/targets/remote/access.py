"""What it takes to be let in: headers of every request, and settings of TLS."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pytest_dlperf.errors import UsageError

if TYPE_CHECKING:
    from pytest_dlperf.targets.remote.endpoint import Endpoint

ENCRYPTED: Final = frozenset({"https", "grpcs"})
"""Schemes of URLs whose connections use TLS."""

_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE: Final = re.compile(r"[\x20-\x7e]+")
_OWN: Final = frozenset(
    {
        *("accept-encoding", "connection", "content-encoding", "content-length", "content-type"),
        *("expect", "inference-header-content-length", "te", "trailer", "transfer-encoding"),
        *("upgrade",),
    }
)
_OF_GRPC: Final = re.compile(r"grpc-.*|.*-bin|user-agent|:.*")
_HOST: Final = "host"
_LONG: Final = 6  # shorter parts of a value are no secrets, and occur in any text
_HIDDEN: Final = "***"
_HEADERS: Final = (
    'expected texts by name, such as {"Host": "models.example", '
    '"Authorization": f"Bearer {os.environ[\'TOKEN\']}"}'
)

_REDIRECT: Final = "redirects are not followed: to https://, or to a login?"
_NO_CREDENTIALS: Final = "no valid credentials: sent {sent}; see headers="
_NOT_ALLOWED: Final = "the credentials do not allow it, or a proxy refuses: sent {sent}"
_ADVICE: Final = {
    **dict.fromkeys(("301", "302", "303", "307", "308"), _REDIRECT),
    **dict.fromkeys(("401", "UNAUTHENTICATED"), _NO_CREDENTIALS),
    **dict.fromkeys(("403", "PERMISSION_DENIED"), _NOT_ALLOWED),
    "421": "the ingress wants one name: Host in headers=, server_name= of TLS",
}
_MISSING: Final = frozenset({"404", "UNIMPLEMENTED"})
_BEHIND: Final = frozenset({"502", "503", "504"})


@dataclass(frozen=True, slots=True)
class TLS:
    """Settings of encrypted connections to a model server. Files are in PEM.

    Attributes:
        ca: file of the certificates of authorities to trust; empty trusts the system's.
        certificate: file of the client's certificate, for servers that want one (mTLS).
        key: file of its private key, not encrypted; empty if `certificate` holds it too.
        server_name: the name that the server's certificate must have; empty takes the URL's.
        verify: False trusts any server (HTTPS only).

    Raises:
        UsageError: for files that cannot be used, and settings that contradict each other.
    """

    ca: str = ""
    certificate: str = ""
    key: str = ""
    server_name: str = ""
    verify: bool = True

    def __post_init__(self) -> None:
        __tracebackhide__ = True
        for name in ("ca", "certificate", "key", "server_name"):
            value = getattr(self, name)
            if hasattr(value, "__fspath__") and name != "server_name":
                object.__setattr__(self, name, value := value.__fspath__())
            if not isinstance(value, str):
                expected = "a text" if name == "server_name" else "the path of a file"
                raise UsageError(f"TLS({name}={value!r:.80})", f"expected {expected}")
        if not isinstance(self.verify, bool):
            raise UsageError(f"TLS(verify={self.verify!r:.80})", "expected True or False")
        if self.key and not self.certificate:
            raise UsageError("TLS(key) without a certificate", "name its file: certificate=")
        if not self.verify and self.ca:
            raise UsageError("TLS(ca, verify=False): no authority is asked without verification")
        self.context()

    def context(self) -> ssl.SSLContext:
        """The settings as Python's `ssl` takes them."""
        __tracebackhide__ = True
        try:
            context = ssl.create_default_context(cafile=self.ca or None)
        except (OSError, ValueError) as error:
            raise _unusable("ca", self.ca, error, "certificates") from None
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.certificate:
            self._present(context)
        return context

    def _present(self, context: ssl.SSLContext) -> None:
        __tracebackhide__ = True

        def password() -> str:  # Python would ask for it at the terminal
            raise UsageError(
                f"TLS(key={self.key or self.certificate!r}) is encrypted",
                "openssl pkey -in KEY -out PLAIN writes one that is not",
            )

        try:
            context.load_cert_chain(self.certificate, self.key or None, password)
        except UsageError:
            raise
        except (OSError, ValueError) as error:
            files = self.certificate + (f", key={self.key}" if self.key else "")
            what = "a certificate and its private key"
            raise _unusable("certificate", files, error, what) from None


def _unusable(name: str, path: str, error: Exception, expected: str) -> UsageError:
    if isinstance(error, OSError) and not isinstance(error, ssl.SSLError):
        return UsageError(f"TLS({name}={path!r}): {error.strerror or error}", "is the path right?")
    reason = getattr(error, "reason", None) or error
    return UsageError(f"TLS({name}={path!r}): {reason}", f"expected {expected} in PEM")


@dataclass(frozen=True, slots=True, repr=False)
class Access:
    """Headers and TLS settings of one server; its values are secret, and appear in no text.

    Attributes:
        headers: by name as given.
        tls: settings; None for those of the system.
    """

    headers: Mapping[str, str]
    tls: TLS | None

    def __repr__(self) -> str:
        return f"Access({', '.join(self.headers)})"

    @property
    def host(self) -> str:
        """The header `Host`; empty if it is the URL's."""
        return next((text for name, text in self.headers.items() if name.lower() == _HOST), "")

    @property
    def others(self) -> dict[str, str]:
        """The headers but `Host`, named in small letters."""
        return {name.lower(): text for name, text in self.headers.items() if name.lower() != _HOST}

    def redacted(self, text: str) -> str:
        """A text of the server's, which may repeat what it was sent, without secrets."""
        secrets = {part for value in self.others.values() for part in (value, *value.split())}
        for secret in sorted(secrets, key=len, reverse=True):
            if len(secret) >= _LONG:
                text = text.replace(secret, _HIDDEN)
        return text


def read_access(what: str, headers: object, tls: object, endpoint: Endpoint) -> Access:
    """Check a user's headers and TLS settings for a server.

    Raises:
        UsageError: naming the header, never its value.
    """
    __tracebackhide__ = True
    if not isinstance(headers, Mapping):
        kind = type(headers).__name__
        raise UsageError(f"{what}(headers) of type {kind}", _HEADERS)
    seen: set[str] = set()
    for name, value in headers.items():
        _check_header(what, name, value, grpc=endpoint.scheme.startswith("grpc"))
        if name.lower() in seen:
            raise UsageError(f"{what}(headers): {name!r} occurs twice")
        seen.add(name.lower())
    if tls is not None and not isinstance(tls, TLS):
        raise UsageError(f"{what}(tls={tls!r:.80})", "expected TLS(ca=..., ...)")
    if tls is not None and endpoint.scheme not in ENCRYPTED:
        encrypted = "grpcs" if endpoint.scheme == "grpc" else "https"
        raise UsageError(
            f"{what}(tls): {endpoint.scheme}:// is not encrypted",
            f"write {encrypted}://{endpoint.address}, or drop tls=",
        )
    if tls is not None and not tls.verify and endpoint.scheme == "grpcs":
        raise UsageError(
            f"{what}(tls=TLS(verify=False)): gRPC verifies every server",
            "trust its certificate: TLS(ca='FILE'), with server_name= if it has another name",
        )
    return Access(dict(headers), tls)


def _check_header(what: str, name: Any, value: Any, *, grpc: bool) -> None:  # noqa: ANN401
    __tracebackhide__ = True
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise UsageError(f"{what}(headers): {name!r:.40} is no name of a header", _HEADERS)
    header = f"{what}(headers): {name!r:.80}"
    if name.lower() in _OWN or (grpc and _OF_GRPC.fullmatch(name.lower())):
        raise UsageError(f"{header} is set by the protocol", "drop it")
    if value is None:
        hint = "a value from the environment: is the variable set?"
        raise UsageError(f"{header} is None", hint)
    if not isinstance(value, str):
        raise UsageError(f"{header} is of type {type(value).__name__}", "expected a text")
    if value != value.strip():
        hint = "strip() what was read from a file or from the environment; is the variable set?"
        raise UsageError(f"{header} begins or ends with a space or a line break", hint)
    if not value:
        hint = "drop it, or give it a value; is the variable of the environment set?"
        raise UsageError(f"{header} is empty", hint)
    if not _VALUE.fullmatch(value):
        raise UsageError(f"{header} has other characters than printable ASCII in its value")


def advice_on(code: str, access: Access) -> str:
    """The likely cause of a refusal by a server or by what stands before it; may be empty.

    `code` is a status of HTTP, or the name of one of gRPC.
    """
    if code in _BEHIND:
        return "the ingress reaches no server for this Host?" if access.host else ""
    if code in _MISSING:
        return "" if access.host else "behind an ingress: headers={'Host': ...}?"
    sent = ", ".join(access.headers) or "no headers of yours"
    return _ADVICE.get(code, "").format(sent=sent)


def advice_on_tls(error: ssl.SSLError) -> str:
    """The likely cause of a failed handshake; may be empty."""
    text = str(error)
    if "Hostname mismatch" in text or "IP address mismatch" in text:
        return "the certificate has another name: tls=TLS(server_name=...)"
    if "extension" in text:
        return "Python 3.13 and later refuse it, as RFC 5280 does: have it issued anew"
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return "name the file of its authority: tls=TLS(ca=...)"
    if "WRONG_VERSION_NUMBER" in text or "RECORD_LAYER_FAILURE" in text:
        return "does the port speak TLS? otherwise http://"
    if "CERTIFICATE_REQUIRED" in text or "HANDSHAKE_FAILURE" in text:
        return "it wants a client certificate: tls=TLS(certificate=..., key=...)"
    return ""
