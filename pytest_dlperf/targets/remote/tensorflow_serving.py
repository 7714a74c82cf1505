"""TensorFlow Serving: a model behind its REST predict API, as a target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pytest_dlperf._values import check_count
from pytest_dlperf.errors import RemoteError, UsageError
from pytest_dlperf.targets.remote.access import TLS, read_access
from pytest_dlperf.targets.remote.endpoint import check_model, read_url, segment
from pytest_dlperf.targets.remote.http import HttpPool, HttpRequest
from pytest_dlperf.targets.remote.json_body import decode, encode

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pytest_dlperf.trees import Tree

# Of the module: pytest would show what the `__init__` of a dataclass was given, such as tokens.
__tracebackhide__ = True

_PORTS: Final = {"http": 80, "https": 443, "grpc": None, "grpcs": 443}
_EXAMPLE: Final = "http://localhost:8501 or grpc://localhost:8500"
_HEADERS: Final = {"Content-Type": "application/json"}


@dataclass(frozen=True, slots=True)
class TensorFlowServing:
    """A model of a TensorFlow Serving server, over REST (`POST .../models/NAME:predict`) or gRPC.

    The model's inputs and outputs have a leading batch axis. A request that fails is an error of
    the measurement, counted by its kind, and never sent again.

    Attributes:
        url: of the server, such as `http://localhost:8501`, or `grpc://localhost:8500` (without
            encryption; `grpcs://` with it), which needs the extra `remote`.
        model: its name there.
        version: which one; None leaves the choice to the server.
        timeout: seconds within which a request must be answered.
        headers: sent with every request, such as `Host` and `Authorization`; their values are
            shown and stored nowhere.
        tls: settings of `https://` and `grpcs://`; None for those of the system.
        signature: of the model, over gRPC.
    """

    url: str
    model: str
    version: int | None = None
    timeout: float = 10.0
    headers: Mapping[str, str] = field(
        default_factory=lambda: MappingProxyType({}), repr=False, hash=False
    )
    tls: TLS | None = None
    signature: str = "serving_default"
    _predict: Callable[[Tree], Tree] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_model("TensorFlowServing", self.model, self.timeout)
        if self.version is not None:
            check_count(self.version, "TensorFlowServing(version)")
        endpoint = read_url(self.url, "TensorFlowServing", _PORTS, _EXAMPLE)
        access = read_access("TensorFlowServing", self.headers, self.tls, endpoint)
        predict: Callable[[Tree], Tree]
        if endpoint.scheme in {"grpc", "grpcs"}:
            from pytest_dlperf.targets.remote.tensorflow_serving_grpc import PredictChannel

            model = self.model, self.version, self.signature
            predict = PredictChannel(endpoint, access, model, self.timeout).predict
        else:
            version = "" if self.version is None else f"/versions/{self.version}"
            path = f"/v1/models/{segment(self.model)}{version}:predict"
            predict = _RestPredict(HttpPool(endpoint, access, self.timeout), path)
        object.__setattr__(self, "_predict", predict)

    @property
    def description(self) -> str:
        """The model and its server, for reports."""
        version = "" if self.version is None else f" version {self.version}"
        return f"model {self.model}{version} of TensorFlow Serving at {self.url}"

    def infer(self, batch: Tree) -> Tree:
        """Request the predictions for a batch.

        Args:
            batch: an array, sent as `instances` over REST, or a dict of arrays by the names of the
                model's inputs, sent as `inputs`.

        Raises:
            RemoteError: if there is no valid response.
            UsageError: for inputs without names.
        """
        if not isinstance(batch, np.ndarray | Mapping):
            raise UsageError(
                f"{self.description} takes several inputs by name, not as a {type(batch).__name__}",
                "give the inputs as a dict, such as {'user': ..., 'item': ...}",
            )
        return self._predict(batch)


@dataclass(frozen=True, slots=True, eq=False)
class _RestPredict:
    pool: HttpPool
    path: str

    def __call__(self, batch: Tree) -> Tree:
        form = "instances" if isinstance(batch, np.ndarray) else "inputs"
        body = encode({form: batch})
        return _predictions(self.pool.exchange(HttpRequest("POST", self.path, body, _HEADERS)).body)


def _predictions(body: bytes) -> Tree:
    """The outputs of a model: by row for `instances`, by output for `inputs`."""
    document = decode(body)
    fields = document if isinstance(document, dict) else {}
    answers = fields.get("predictions", fields.get("outputs"))
    if isinstance(answers, dict):
        return {name: _array(output) for name, output in answers.items()}
    if not isinstance(answers, list):
        raise RemoteError("malformed answer", "JSON without predictions or outputs")
    if answers and isinstance(answers[0], dict):
        try:
            return {name: _array([row[name] for row in answers]) for name in answers[0]}
        except (KeyError, TypeError) as error:
            raise RemoteError(
                "wrong shape", f"predictions differ in their names: {error}"
            ) from None
    return _array(answers)


def _array(values: object) -> NDArray[Any]:
    try:
        answers = np.array(values)
        # JSON has no NaN: servers write it as NaN or as null.
        return answers.astype(np.float64) if answers.dtype == object else answers
    except (ValueError, TypeError) as error:
        raise RemoteError("wrong shape", f"predictions make no array: {error}") from None
