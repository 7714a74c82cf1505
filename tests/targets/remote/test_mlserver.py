"""The Open Inference Protocol against a real server: MLServer, over HTTP and gRPC."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from fakes import FakeMeter, FakeProgress
from servers import free_port, wait_for

from pytest_dlperf import ClosedLoop, OpenInference, RemoteError, Serving, UsageError
from pytest_dlperf.clock import MonotonicClock
from pytest_dlperf.config.options import Options
from pytest_dlperf.config.plan import plan
from pytest_dlperf.data.dataset import as_data
from pytest_dlperf.measure.measure import measure
from pytest_dlperf.measure.prepared import Instruments

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

pytestmark = pytest.mark.skipif(
    find_spec("mlserver") is None, reason="MLServer does not install on this Python"
)

ROWS = np.random.default_rng(0).random((40, 4)).astype(np.float32)
SCORES = np.exp(ROWS) / np.exp(ROWS).sum(axis=1, keepdims=True)

MODELS = """
import numpy as np
from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.errors import MLServerError
from mlserver.types import InferenceResponse


class Model(MLModel):
    async def predict(self, payload):
        answers = self.answer(NumpyCodec.decode_input(payload.inputs[0]))
        outputs = [NumpyCodec.encode_output(name, array) for name, array in answers.items()]
        return InferenceResponse(model_name=self.name, outputs=outputs)


class Softmax(Model):
    def answer(self, rows):
        exps = np.exp(rows)
        return {"scores": exps / exps.sum(axis=1, keepdims=True), "classes": rows.argmax(axis=1)}


class Echo(Model):
    def answer(self, rows):
        return {"rows": rows}


class Pairs(MLModel):
    async def predict(self, payload):
        parts = {part.name: part for part in payload.inputs}
        user, item = (NumpyCodec.decode_input(parts[name]) for name in ("user", "item"))
        title = StringCodec.decode_input(parts["title"])
        outputs = [
            NumpyCodec.encode_output("score", (user * 10 + item).astype(np.float32)),
            StringCodec.encode_output("shout", [text.upper() for text in title]),
        ]
        return InferenceResponse(model_name=self.name, outputs=outputs)


class Nan(Model):
    def answer(self, rows):
        return {"rows": np.full_like(rows, np.nan)}


class Busy(Model):
    def answer(self, rows):
        raise MLServerError("come back later", 503)
"""


def settings(kind: str, **more: object) -> dict[str, object]:
    """The settings of one model."""
    name = kind.lower()
    return {"name": name, "implementation": f"served.{kind}", **more}


TENSOR = {"datatype": "FP32", "shape": [-1, 4]}
SETTINGS = [
    settings(
        "Softmax",
        inputs=[{"name": "pixels", **TENSOR}],
        outputs=[{"name": "scores", **TENSOR}, {"name": "classes", **TENSOR}],
    ),
    settings("Echo"),
    settings(
        "Pairs",
        inputs=[
            {"name": "user", "datatype": "INT64", "shape": [-1, 1]},
            {"name": "item", "datatype": "INT64", "shape": [-1, 1]},
            {"name": "title", "datatype": "BYTES", "shape": [-1, 1]},
        ],
        outputs=[
            {"name": "score", "datatype": "FP32", "shape": [-1, 1]},
            {"name": "shout", "datatype": "BYTES", "shape": [-1, 1]},
        ],
    ),
    settings("Nan"),
    settings("Busy", inputs=[{"name": "rows", **TENSOR}]),
]


@pytest.fixture(scope="module")
def urls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A server that is up, by scheme."""
    folder = tmp_path_factory.mktemp("mlserver")
    ports = {"http": free_port(), "grpc": free_port(), "metrics": free_port()}
    server = {f"{name}_port": port for name, port in ports.items()}
    server |= {"host": "127.0.0.1", "parallel_workers": 0}
    (folder / "settings.json").write_text(json.dumps(server))
    (folder / "served.py").write_text(MODELS)
    for model in SETTINGS:
        place = folder / str(model["name"])
        place.mkdir()
        (place / "model-settings.json").write_text(json.dumps(model))
    start = "from mlserver.cli import main; main()"
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter
            [sys.executable, "-c", start, "start", "."], cwd=folder, stdout=log, stderr=log
        )
    try:
        wait_for(f"http://127.0.0.1:{ports['http']}/v2/models/busy/ready", process)
        yield {scheme: f"{scheme}://127.0.0.1:{ports[scheme]}" for scheme in ("http", "grpc")}
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(params=["http", "grpc"])
def url(urls: dict[str, str], request: pytest.FixtureRequest) -> str:
    """The server's URL, over each transport."""
    return urls[request.param]


def test_a_model_answers(url: str) -> None:
    """The requested output comes back; the input is found in the server's metadata."""
    answers = OpenInference(url, "softmax", output_name="scores").infer(ROWS)

    assert answers.dtype == np.float32
    np.testing.assert_allclose(answers, SCORES, rtol=1e-6)


def test_data_is_sent_in_the_type_that_the_model_takes(url: str) -> None:
    """Data of another type is converted, as users of such a server do."""
    target = OpenInference(url, "softmax", output_name="scores")

    np.testing.assert_allclose(target.infer(ROWS.astype(np.float64)), SCORES, rtol=1e-6)
    pixels = np.array([[0, 1, 2, 9]], np.uint8)
    assert target.infer(pixels).argmax() == 3


@pytest.mark.parametrize(
    "rows",
    [
        np.array([[0.1, 1e-45, 3.4028235e38, -0.0]], np.float32),
        np.array([[0.1, 5e-324, 1.7976931348623157e308, -0.0]]),
        np.array([[0, 255]], np.uint8),
        np.array([[2**63 - 1, -(2**63)]]),
        ROWS[:2, ::-2],
    ],
    ids=["float32", "float64", "uint8", "int64", "strided"],
)
def test_numbers_survive_the_way(url: str, rows: NDArray[Any]) -> None:
    """Every number comes back as the very same, in its type and shape."""
    answers = OpenInference(url, "echo", input_name="rows").infer(rows)

    assert (answers.dtype, answers.shape) == (rows.dtype, rows.shape)
    assert answers.tobytes() == np.ascontiguousarray(rows).tobytes()


def test_nan_is_an_answer(urls: dict[str, str]) -> None:
    """This server writes null for NaN in JSON (and fails over gRPC); it is read as NaN."""
    assert np.isnan(OpenInference(urls["http"], "nan", input_name="rows").infer(ROWS)).all()


def test_a_model_whose_input_has_no_name(url: str) -> None:
    """A server that says nothing of a model's inputs leaves it to the user, who is told so."""
    with pytest.raises(UsageError, match=r"model echo of .* does not say .*\n.*input_name="):
        OpenInference(url, "echo").infer(ROWS)


def test_a_model_with_several_outputs(url: str) -> None:
    """All of them come, unless one is named."""
    answers = OpenInference(url, "softmax").infer(ROWS)

    assert isinstance(answers, dict)
    np.testing.assert_allclose(answers["scores"], SCORES, rtol=1e-6)
    assert answers["classes"].reshape(-1).tolist() == ROWS.argmax(axis=1).tolist()


PAIRS = {
    "user": np.arange(3)[:, np.newaxis],
    "item": np.arange(3)[::-1, np.newaxis].astype(np.int32),
    "title": np.array([["a"], ["bc"], ["ö"]], object),
}


@pytest.mark.parametrize("pairs", [PAIRS, tuple(PAIRS.values())], ids=["named", "in order"])
def test_several_inputs_and_text(url: str, pairs: object) -> None:
    """By name, or in the order of the metadata; text is UTF-8."""
    answers = OpenInference(url, "pairs").infer(pairs)

    assert isinstance(answers, dict)
    assert answers["score"].reshape(-1).tolist() == [2, 11, 20]
    shouted = [
        text.decode() if isinstance(text, bytes) else text for text in answers["shout"].reshape(-1)
    ]
    assert shouted == ["A", "BC", "Ö"]


def test_inputs_that_the_model_does_not_have(url: str) -> None:
    """Its names and those of the data are in the refusal."""
    with pytest.raises(UsageError, match=r"inputs: user, item, title; the data has: user, film"):
        OpenInference(url, "pairs").infer({"user": PAIRS["user"], "film": PAIRS["item"]})


@pytest.mark.parametrize("side", ["input", "output"])
def test_a_name_that_the_model_does_not_have(url: str, side: str) -> None:
    """The names that there are come with the refusal."""
    names = {"output_name": "scores", f"{side}_name": "nothing"}
    with pytest.raises(UsageError, match=f"no {side} 'nothing'; it has: (pixels|scores)"):
        OpenInference(url, "softmax", **names).infer(ROWS)


def test_a_model_that_is_not_there(urls: dict[str, str]) -> None:
    """Its absence is counted by the status that the transport has for it."""
    kinds = {}
    for scheme, url in urls.items():
        with pytest.raises(RemoteError) as raised:
            OpenInference(url, "nothing").infer(ROWS)
        kinds[scheme] = raised.value.kind
        assert "nothing" in raised.value.detail

    assert kinds == {"http": "status 404", "grpc": "status NOT_FOUND"}


def test_a_model_that_refuses(urls: dict[str, str]) -> None:
    """What the model says is in the error."""
    kinds = {}
    for scheme, url in urls.items():
        with pytest.raises(RemoteError, match="come back later") as raised:
            OpenInference(url, "busy").infer(ROWS)
        kinds[scheme] = raised.value.kind

    assert kinds["http"] == "status 503"
    assert kinds["grpc"].startswith("status ")


def test_threads_get_their_own_answers(url: str) -> None:
    """Many threads ask one target at the same time, and nothing is mixed up."""
    target = OpenInference(url, "echo", input_name="rows")

    def right(number: int) -> bool:
        return bool((target.infer(np.full((2, 3), number)) == number).all())

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(right, range(200)))


def test_a_measurement(url: str) -> None:
    """Under load from two replicas every answer is right, and belongs to its row."""
    chosen = Options(scenario=ClosedLoop(8), serving=Serving(4, replicas=2), duration=0.3)
    clock = MonotonicClock()
    measurement = measure(
        OpenInference(url, "softmax", output_name="scores"),
        as_data((ROWS, ROWS.argmax(axis=1))),
        plan([chosen]),
        Instruments(clock, FakeMeter(), FakeProgress()),
        test="test",
        name="",
    )

    assert measurement.errors == ()
    assert measurement.accuracy == 1.0
    assert measurement.requests > 8
    assert measurement.target == f"model softmax of the Open Inference server at {url}"
