"""Targets of other frameworks between two commits, and Keras on its other backends."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
from duel_projects import Project
from plugin_projects import HEADER, text

pytestmark = pytest.mark.subprocess

TORCH = """
import torch
from pytest_dlperf.clock import MonotonicClock

CLOCK = MonotonicClock()
WORK = 100

class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = torch.nn.Linear(4, 4)

    def forward(self, rows):
        CLOCK.sleep_until_ns(CLOCK.now_ns() + WORK * 1000)
        return self.layer(rows)

def build():
    return Model()
"""
KERAS_ON_JAX = """
import jax
import keras
from pytest_dlperf.clock import MonotonicClock

CLOCK = MonotonicClock()
WORK = 100

def wait(rows):
    CLOCK.sleep_until_ns(CLOCK.now_ns() + WORK * 1000)
    return rows

class Waiting(keras.layers.Layer):
    def call(self, rows):
        return jax.pure_callback(wait, jax.ShapeDtypeStruct(rows.shape, rows.dtype), rows)

def build():
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(4), Waiting()])
"""
MEASURED = """
@pytest.mark.dlperf("throughput >= baseline", detect="throughput 5%", **SHORT)
def test_it(dlperf):
    dlperf(model.build(), (INPUTS, None))
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A repository, and time that passes only while a target works."""
    return Project(pytester, monkeypatch)


@pytest.mark.parametrize(
    ("framework", "source"),
    [
        pytest.param("torch", TORCH, id="torch"),
        pytest.param("jax", KERAS_ON_JAX, id="jax", marks=pytest.mark.frameworks),
    ],
)
def test_between_two_commits(
    project: Project, monkeypatch: pytest.MonkeyPatch, framework: str, source: str
) -> None:
    """Unchanged code is green, and a tenth more work is red."""
    if find_spec(framework) is None:
        pytest.skip(f"{framework} is not installed")
    monkeypatch.setenv("KERAS_BACKEND", framework)
    project.write("model.py", source)
    project.tests(MEASURED)
    project.commit()
    project.write("README", "unchanged")

    same = project.duel()
    project.write("model.py", source.replace("WORK = 100", "WORK = 110"))
    slower = project.duel()

    same.assert_outcomes(passed=1)
    same.stdout.re_match_lines([r"test_it .*PASS"])
    slower.assert_outcomes(failed=1)
    slower.stdout.re_match_lines([r"test_it .*FAIL"])


KERAS = """
import keras

keras.utils.set_random_seed(0)
user, item = keras.Input((3,), name="user"), keras.Input((3,), name="item")
hidden = keras.layers.Dense(8, activation="relu")(keras.layers.concatenate([user, item]))
hidden = keras.layers.Dropout(0.5)(keras.layers.BatchNormalization()(hidden))
MODEL = keras.Model(
    {"user": user, "item": item}, {"score": keras.layers.Dense(2)(hidden), "hidden": hidden}
)
RNG = np.random.default_rng(0)
BOTH = {name: RNG.random((300, 3)).astype("float32") for name in ("user", "item")}
SAID = np.asarray(keras.ops.convert_to_numpy(MODEL(BOTH, training=False)["score"])).argmax(1)

@pytest.mark.dlperf("accuracy >= 98%", "errors == 0", output="score",
                    scenario=ClosedLoop(16), duration="0.2s")
def test_it(dlperf):
    found = dlperf(MODEL, (BOTH, SAID))
    assert found.target.startswith(f"Keras model {MODEL.name} on BACKEND"), found.target
    assert not any("mix-ups" in note or "eagerly" in note for note in found.notes), found.notes
"""


@pytest.mark.frameworks
@pytest.mark.parametrize(("backend", "name"), [("jax", "JAX"), ("torch", "PyTorch")])
def test_keras_on_other_backends(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, backend: str, name: str
) -> None:
    """A model of two inputs and outputs answers each row as it does by itself."""
    if find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("KERAS_BACKEND", backend)
    pytester.makepyfile(test_module=HEADER + KERAS.replace("on BACKEND", f"on {name}"))
    report = pytester.path / "out.json"

    result = pytester.runpytest_subprocess("-p", "dlperf", f"--dlperf-json={report}")

    result.assert_outcomes(passed=1)
    assert f'"backend": "{backend}"' in report.read_text(), text(result)


TRAINING = """
import keras

def build():
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(32, activation="relu"),
            keras.layers.Dense(4, activation="softmax"),
        ]
    )
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model

@pytest.mark.dlperf("accuracy >= 60%", "train.time <= 600s")
def test_training(dlperf):
    found = dlperf.train(build, DATA, recipe=Recipe(epochs=30, learning_rate=0.02))
    assert found.metrics["train.throughput"].value > 0

def build_two():
    rows = keras.Input((4,))
    kind = keras.layers.Dense(4, activation="softmax", name="kind")(rows)
    total = keras.layers.Dense(1, name="total")(rows)
    model = keras.Model(rows, {"kind": kind, "total": total})
    model.compile(loss={"kind": "sparse_categorical_crossentropy", "total": "mse"})
    return model

@pytest.mark.dlperf("accuracy >= 1%")
def test_two_outputs(dlperf):
    rows, labels = DATA
    both = {"kind": labels, "total": np.asarray(rows).sum(axis=1, keepdims=True)}
    found = dlperf.train(build_two, (rows, both), recipe=Recipe(1), output="kind")
    assert found.accuracy > 0
    assert "loss" in found.metrics

@pytest.mark.dlperf
def test_devices(dlperf):
    with pytest.raises(UsageError, match="MirroredStrategy, and Keras runs on"):
        dlperf.train(build, DATA, devices="cpu:0")

def test_reference(reference_model, reference_data, reference_training):
    answers = keras.ops.convert_to_numpy(reference_model(reference_data.test.inputs))
    assert (answers.argmax(1) == reference_data.test.labels).mean() > 0.9
"""


@pytest.mark.frameworks
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_training_on_other_backends(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    """By Keras' own `fit`, with several outputs too; sharing devices is TensorFlow's."""
    if find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("KERAS_BACKEND", backend)
    pytester.makepyfile(test_module=HEADER + TRAINING)

    result = pytester.runpytest_subprocess("-p", "dlperf", "-p", "no:cacheprovider")

    result.assert_outcomes(passed=4)
