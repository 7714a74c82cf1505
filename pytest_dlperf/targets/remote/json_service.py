"""Any service that takes a batch as JSON, such as Ray Serve, BentoML or FastAPI, as a target."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pytest_dlperf._values import check_number
from pytest_dlperf.errors import RemoteError, UsageError, kind_of
from pytest_dlperf.targets.remote.access import TLS, read_access
from pytest_dlperf.targets.remote.endpoint import read_url
from pytest_dlperf.targets.remote.http import HttpPool, HttpRequest
from pytest_dlperf.targets.remote.json_body import decode, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_dlperf.trees import Tree

# Of the module: pytest would show what the `__init__` of a dataclass was given, such as tokens.
__tracebackhide__ = True

_PORTS: Final = {"http": 80, "https": 443}
_SHOWN: Final = 200
_EXAMPLE: Final = "http://localhost:8000/predict"
_JSON: Final = {"Content-Type": "application/json"}
_BYTES: Final = {"Content-Type": "application/octet-stream"}


@dataclass(frozen=True, slots=True)
class Http:
    """A service that answers `POST` requests with JSON.

    A request that fails is an error of the measurement, counted by its kind, and never sent again.

    Attributes:
        url: of the service, with its path, such as `http://localhost:8000/predict`.
        encode: makes what is sent of a batch: a document of dicts, lists and arrays, which is sent
            as JSON, or bytes, which are sent as they are. Without it the batch is the document.
        decode: makes the outputs of the document that comes back, one row for each request.
            Without it the document is the outputs: lists become arrays.
        timeout: seconds within which a request must be answered.
        headers: sent with every request, such as `Authorization`; their values are shown and
            stored nowhere.
        tls: settings of `https://`; None for those of the system.
    """

    url: str
    encode: Callable[[Any], object] | None = None
    decode: Callable[[Any], object] | None = None
    timeout: float = 10.0
    headers: Mapping[str, str] = field(
        default_factory=lambda: MappingProxyType({}), repr=False, hash=False
    )
    tls: TLS | None = None
    _pool: HttpPool = field(init=False, repr=False, compare=False)
    _path: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("encode", "decode"):
            if getattr(self, name) is not None and not callable(getattr(self, name)):
                raise UsageError(
                    f"Http({name}={getattr(self, name)!r:.80})", "expected a function, or None"
                )
        check_number(self.timeout, "Http(timeout)", above=0.0)
        endpoint = read_url(self.url, "Http", _PORTS, _EXAMPLE)
        access = read_access("Http", self.headers, self.tls, endpoint)
        object.__setattr__(self, "_pool", HttpPool(endpoint, access, self.timeout))
        object.__setattr__(self, "_path", "" if endpoint.path else "/")

    @property
    def description(self) -> str:
        """The service, for reports."""
        return f"service at {self.url}"

    def infer(self, batch: Tree) -> object:
        """Request the answers to a batch.

        Raises:
            RemoteError: if there is no valid response, or `encode` or `decode` fails.
        """
        try:
            document = batch if self.encode is None else self.encode(batch)
        except Exception as error:  # the user's own code
            detail = f"encode= raised {kind_of(error)}: {error}\n  it is given a batch of rows"
            raise RemoteError("malformed request", detail) from error
        if isinstance(document, bytes):
            request = HttpRequest("POST", self._path, document, _BYTES)
        else:
            request = HttpRequest("POST", self._path, encode(document), _JSON)
        answer = decode(self._pool.exchange(request).body)
        if self.decode is None:
            return _arrays(answer)
        try:
            return self.decode(answer)
        except Exception as error:  # the user's own code, on what the service sent
            detail = f"decode= raised {kind_of(error)}: {error}\n  it was given {_shown(answer)}"
            raise RemoteError("malformed answer", detail) from error


def _shown(answer: object) -> str:
    """What a service has answered, in a few words."""
    if isinstance(answer, dict):
        return f"an object with {', '.join(map(repr, answer)) or 'nothing in it'}"[:_SHOWN]
    return f"a {type(answer).__name__}: {answer!r}"[:_SHOWN]


def _arrays(document: object) -> object:
    """Lists as arrays; rows of different lengths stay lists."""
    if isinstance(document, dict):
        return {name: _arrays(part) for name, part in document.items()}
    try:
        return np.asarray(document)
    except ValueError:
        return document
