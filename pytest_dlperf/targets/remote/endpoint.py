"""The endpoint of a model server, read from a URL."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlsplit

from pytest_dlperf._values import check_number
from pytest_dlperf.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

_SECRETS: Final = re.compile(r"(?<=//)[^/@]*(?=@)|(?<=[?#]).*", re.DOTALL)
_PATH: Final = "/%!$&'()*+,;=:@"  # RFC 3986 allows these in a path; quote() keeps the others


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The address of a server.

    Attributes:
        scheme: `http`, `https`, `grpc` or `grpcs`.
        host: a name or an address, IPv6 without brackets.
        port: where it listens.
        path: prefix of every path, without a slash at its end; usually empty.
    """

    scheme: str
    host: str
    port: int
    path: str

    @property
    def address(self) -> str:
        """`host:port`, with the brackets that IPv6 needs."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def read_url(url: object, what: str, ports: Mapping[str, int | None], example: str) -> Endpoint:
    """Parse and check a user's URL.

    `what` names its owner in messages; `ports` has the default port of each allowed scheme.

    Raises:
        UsageError: naming the part that cannot be understood or would be ignored.
    """
    __tracebackhide__ = True
    hint = f"expected a URL such as {example!r}"
    if not isinstance(url, str):
        raise UsageError(f"{what}(url={url!r:.200})", hint)
    problem = f"{what}(url={_SECRETS.sub('***', url)!r:.200})"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UsageError(f"{problem}: {error}", hint) from None
    if parts.scheme not in ports or not parts.hostname:
        raise UsageError(problem, hint)
    if parts.username is not None or parts.query or parts.fragment:
        # Not shown: it may hold a password.
        hint += "; a token or a user goes into headers={'Authorization': ...}"
        raise UsageError(f"{what}(url): a user, a query or a fragment cannot be sent", hint)
    if port is None:
        port = ports[parts.scheme]
    if not port:
        raise UsageError(f"{problem} has no port", hint)
    return Endpoint(parts.scheme, parts.hostname, port, quote(parts.path.rstrip("/"), safe=_PATH))


def check_model(what: str, model: object, timeout: object) -> None:
    """Refuse an empty model name, and a timeout that is not above 0, in the arguments of `what`."""
    __tracebackhide__ = True
    if not isinstance(model, str) or not model:
        raise UsageError(f"{what}(model={model!r:.80})", "expected the model's name on the server")
    check_number(timeout, f"{what}(timeout)", above=0.0)


def segment(name: object) -> str:
    """A name as one segment of a path."""
    return quote(str(name), safe="")
