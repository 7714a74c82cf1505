"""TensorFlow Serving: a model behind its REST predict API, as a target."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pytest_dlperf._values import check_count
from pytest_dlperf.errors import RemoteError
from pytest_dlperf.targets.remote.access import TLS, read_access
from pytest_dlperf.targets.remote.endpoint import check_model, read_url, segment
from pytest_dlperf.targets.remote.http import HttpPool, HttpRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

_PORTS: Final = {"http": 80, "https": 443}
_EXAMPLE: Final = "http://localhost:8501"
_HEADERS: Final = {"Content-Type": "application/json"}


@dataclass(frozen=True, slots=True)
class TensorFlowServing:
    """A model of a TensorFlow Serving server, over REST (`POST .../models/NAME:predict`).

    The model has one input and one output, both with a leading batch axis. A request that fails
    is an error of the measurement, counted by its kind, and never sent again.

    Attributes:
        url: of the server, such as `http://localhost:8501`.
        model: its name there.
        version: which one; None leaves the choice to the server.
        timeout: seconds within which a request must be answered.
        headers: sent with every request, such as `Host` and `Authorization`; their values are
            shown and stored nowhere.
        tls: settings of `https://`; None for those of the system.
    """

    url: str
    model: str
    version: int | None = None
    timeout: float = 10.0
    headers: Mapping[str, str] = field(
        default_factory=lambda: MappingProxyType({}), repr=False, hash=False
    )
    tls: TLS | None = None
    _pool: HttpPool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        __tracebackhide__ = True
        check_model("TensorFlowServing", self.model, self.timeout)
        if self.version is not None:
            check_count(self.version, "TensorFlowServing(version)")
        endpoint = read_url(self.url, "TensorFlowServing", _PORTS, _EXAMPLE)
        access = read_access("TensorFlowServing", self.headers, self.tls, endpoint)
        object.__setattr__(self, "_pool", HttpPool(endpoint, access, self.timeout))

    @property
    def description(self) -> str:
        """The model and its server, for reports."""
        version = "" if self.version is None else f" version {self.version}"
        return f"model {self.model}{version} of TensorFlow Serving at {self.url}"

    def infer(self, batch: NDArray[Any]) -> NDArray[Any]:
        """Request the predictions for a batch, shape `(rows, ...)`.

        Raises:
            RemoteError: if there is no valid response.
        """
        version = "" if self.version is None else f"/versions/{self.version}"
        path = f"/v1/models/{segment(self.model)}{version}:predict"
        # Decimal text by repr: it reads back as the same float32 or float64.
        body = json.dumps({"instances": batch.tolist()}).encode()
        return _predictions(self._pool.exchange(HttpRequest("POST", path, body, _HEADERS)).body)


def _predictions(body: bytes) -> NDArray[Any]:
    try:
        document: object = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RemoteError("malformed answer", f"no JSON: {error}") from None
    predictions = document.get("predictions") if isinstance(document, dict) else None
    if not isinstance(predictions, list):
        raise RemoteError("malformed answer", "JSON without a list of predictions")
    if predictions and isinstance(predictions[0], dict):
        names = ", ".join(map(str, predictions[0]))
        detail = f"the model has several outputs ({names}), expected one"
        raise RemoteError("wrong shape", detail)
    try:
        answers = np.array(predictions)
        # JSON has no NaN: servers write it as NaN or as null.
        return answers.astype(np.float64) if answers.dtype == object else answers
    except (ValueError, TypeError) as error:
        raise RemoteError("wrong shape", f"predictions make no array: {error}") from None
