"""The pipeline: models of setups, each trained once, asked the same rows however prepared."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from fakes import FakeMeter, FakeProgress

from pytest_dlperf.clock import MonotonicClock
from pytest_dlperf.data.dataset import Examples, Split
from pytest_dlperf.data.normalisation import Normalisation
from pytest_dlperf.errors import DataError, TrainingError
from pytest_dlperf.load.serving import Serving
from pytest_dlperf.measure.prepared import Instruments
from pytest_dlperf.training.compression import NeuronPruning
from pytest_dlperf.training.recipe import Recipe
from pytest_dlperf.tuning.configuration import Setup
from pytest_dlperf.tuning.pipeline import Pipeline, architecture, source_hash

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_dlperf.targets.keras import Model

pytestmark = pytest.mark.tensorflow

RANDOM = np.random.default_rng(0)
ROWS = RANDOM.normal(3.0, 2.0, (300, 6)).astype(np.float32)
LABELS = ROWS.argmax(axis=1)
SPLIT = Split(Examples(ROWS[:200], LABELS[:200]), Examples(ROWS[200:], LABELS[200:]))
BASE = Setup(arguments={"units": 16}, recipe=Recipe(epochs=1))


def build(units: int = 16) -> Model:
    """A small classifier."""
    import keras

    model: Model = keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(units, "relu"),
            keras.layers.Dense(6, "softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy")  # type: ignore[attr-defined]  # Keras
    return model


def pipeline(folder: Path | None, seed: int = 0, split: Split = SPLIT) -> Pipeline:
    """One whose cache must be of use."""
    bench = Instruments(MonotonicClock(), FakeMeter(), FakeProgress())
    return Pipeline(build, split, seed=seed, folder=folder, instruments=bench, warn=pytest.fail)


def test_what_differs_in_serving_only_shares_its_training(tmp_path: Path) -> None:
    """Trained once for three ways to serve it; a second process trains nothing.

    Another architecture, seed or row is trained anew.
    """
    served = replace(BASE, serving=Serving(max_batch_size=8))
    doubled = replace(BASE, serving=Serving(replicas=2))
    make = pipeline(tmp_path)

    assert [make(setup).fresh for setup in (BASE, served, doubled)] == [True, False, False]

    another = pipeline(tmp_path)
    again = another(BASE)
    assert not again.fresh
    assert again.known == make(BASE).known
    assert {"train.time", "train.throughput", "model_size"} == {*again.known}
    assert another(replace(BASE, arguments={"units": 8})).fresh
    assert pipeline(tmp_path, seed=1)(BASE).fresh
    rows = Examples(ROWS[:200] + 1, LABELS[:200])
    assert pipeline(tmp_path, split=Split(rows, SPLIT.test))(BASE).fresh


def test_without_a_folder_each_is_trained_once_all_the_same() -> None:
    """Models are kept in memory."""
    make = pipeline(None)

    assert [make(BASE).fresh, make(BASE).fresh] == [True, False]


def test_prepared_rows_are_the_same_rows() -> None:
    """Answers to rows that were normalised are compared with those to raw ones, row by row."""
    make = pipeline(None)
    raw, prepared = make(BASE), make(replace(BASE, preparations=(Normalisation("standard"),)))

    assert prepared.data.hash == raw.data.hash
    assert prepared.data.inputs.mean() == pytest.approx(0, abs=0.2)
    assert raw.data.inputs.mean() == pytest.approx(3, abs=0.2)


def test_a_preparation_that_drops_test_rows_is_refused() -> None:
    """Setups could not be compared."""

    class Dropping:
        def __call__(self, split: Split) -> Split:
            test = split.test
            return Split(split.train, Examples(test.inputs[1:], test.labels[1:]))

    with pytest.raises(DataError, match="left 99 of 100 test rows"):
        pipeline(None)(replace(BASE, preparations=(Dropping(),)))


def test_a_finish_is_a_part_of_training() -> None:
    """A pruned model is smaller, took longer to train, and is another one in the cache."""
    make = pipeline(None)
    whole, pruned = make(BASE), make(replace(BASE, finishes=(NeuronPruning(0.5, epochs=1),)))

    assert pruned.fresh
    assert pruned.known["model_size"].value < whole.known["model_size"].value
    assert pruned.known["train.time"].value > whole.known["train.time"].value


def test_a_training_that_diverges_is_not_kept(tmp_path: Path) -> None:
    """It says so each time."""
    wild = replace(BASE, recipe=Recipe(epochs=2, optimizer="sgd", learning_rate=1e9))
    make = pipeline(tmp_path)

    for _ in range(2):
        with pytest.raises(TrainingError, match="diverged"):
            make(wild)
    assert list(tmp_path.iterdir()) == []


def test_an_architecture_is_the_same_whatever_was_built_before() -> None:
    """Keras numbers layers through all models of a process; other sizes are another one."""
    first, second, other = (architecture(build(units)) for units in (16, 16, 8))

    assert first == second
    assert first != other
    assert "dense" in first.lower()


def test_a_source_is_told_by_its_file(tmp_path: Path) -> None:
    """Functions of one file have the hash of the file; what has no file has none."""
    path = tmp_path / "made.py"
    spaces: list[dict[str, object]] = []
    hashes = []
    for text in ("def build(): return 1\n", "def build(): return 2\n"):
        path.write_text(text)
        spaces.append({"__name__": "made", "__file__": str(path)})
        exec(compile(text, str(path), "exec"), spaces[-1])  # noqa: S102 - a module
        hashes.append(source_hash(spaces[-1]["build"]))  # type: ignore[arg-type]  # a function

    assert hashes[0] != hashes[1]
    assert source_hash(len) == ""
    assert source_hash(build) == source_hash(pipeline)
