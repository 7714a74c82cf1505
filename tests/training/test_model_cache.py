"""The reference model, and the cache that it and tuned models are kept in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pytest_dlperf.clock import MonotonicClock
from pytest_dlperf.data.digits import ReferenceData, load_digits
from pytest_dlperf.errors import UsageError
from pytest_dlperf.targets.keras_models import answers, dense_classifier
from pytest_dlperf.training.model_cache import Trained, TrainingSettings, cached
from pytest_dlperf.training.reference_model import reference_model

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.tensorflow

RECORD = TrainingSettings({"loss": [0.5, 0.25]}, 2.0, 100.0, 10.0, metrics={"m": [1.0, 0.5, 2.0]})


def no_warning(text: str) -> None:
    """Fail on any warning."""
    pytest.fail(text)


@pytest.fixture(scope="module")
def digits() -> ReferenceData:
    """The reference data."""
    return load_digits()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model cache."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def trained(digits: ReferenceData, folder: Path) -> Trained:
    """The reference model, trained here."""
    return reference_model(digits, folder, no_warning, MonotonicClock())


def test_the_reference_model_is_the_seed_model(trained: Trained, digits: ReferenceData) -> None:
    """Dense 512 relu, Dense 10 softmax, adam, 5 epochs; at least 95 % of test rows right."""
    model: Any = trained.model

    layers = [
        (type(layer).__name__, layer.units, layer.activation.__name__) for layer in model.layers
    ]
    assert layers == [("Dense", 512, "relu"), ("Dense", 10, "softmax")]
    assert type(model.optimizer).__name__ == "Adam"
    assert model.loss == "sparse_categorical_crossentropy"
    right = answers(model, digits.test.inputs).argmax(axis=1) == digits.test.labels
    assert right.mean() >= 0.95


def test_the_training_is_recorded(trained: Trained, digits: ReferenceData) -> None:
    """Five values a metric, and speeds that fit the time it took."""
    training = trained.training

    assert [len(values) for values in training.history.values()] == [5] * len(training.history)
    assert training.history["accuracy"][-1] > training.history["accuracy"][0]
    rows = len(digits.train.inputs)
    assert training.samples_per_second * training.seconds == pytest.approx(5 * rows)
    assert training.steps_per_second * training.seconds == pytest.approx(5 * -(-rows // 32))
    assert not training.cached


def test_the_second_session_takes_it_from_the_cache(
    trained: Trained, digits: ReferenceData, folder: Path
) -> None:
    """The same data, architecture, settings and versions: the same weights, without training."""
    again = reference_model(digits, folder, no_warning, MonotonicClock())

    assert again.training.cached
    assert again.training.history == trained.training.history
    np.testing.assert_array_equal(
        answers(again.model, digits.test.inputs), answers(trained.model, digits.test.inputs)
    )


@pytest.mark.parametrize("damage", ["truncate", "garbage", "no record"])
def test_a_damaged_entry_is_made_anew(tmp_path: Path, damage: str) -> None:
    """Damage costs a warning and the training, and the entry is whole again after it."""

    def train() -> Trained:
        return Trained(dense_classifier(4, 2, 2, seed=0), RECORD)

    def refuse() -> Trained:
        pytest.fail("it is in the cache")

    assert cached(tmp_path, "key", train, no_warning).training == RECORD
    model, record = (tmp_path / "key" / name for name in ("model.keras", "training.json"))
    if damage == "truncate":
        model.write_bytes(model.read_bytes()[:1000])
    elif damage == "garbage":
        model.write_bytes(b"no model")
    else:
        record.unlink()
    warnings: list[str] = []

    anew = cached(tmp_path, "key", train, warnings.append)

    assert anew.training == RECORD
    (warning,) = warnings
    assert "is damaged" in warning
    again = cached(tmp_path, "key", refuse, no_warning).training
    assert again.cached
    assert (again.history, again.metrics) == (RECORD.history, RECORD.metrics)


def test_a_cache_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever its files raise costs warnings and the training, and no error."""

    def train() -> Trained:
        return Trained(dense_classifier(4, 2, 2, seed=0), RECORD)

    def refuse(*_: object) -> None:
        raise ValueError("no space left on device")

    (tmp_path / "file").write_text("in the way")
    warnings: list[str] = []

    assert cached(tmp_path / "file", "key", train, warnings.append).training == RECORD
    monkeypatch.setattr("pytest_dlperf.targets.keras_models.save", refuse)
    assert cached(tmp_path, "key", train, warnings.append).training == RECORD

    assert ["was not kept in" in warning for warning in warnings] == [True, True]
    assert "no space left on device" in warnings[1]


def test_a_backend_that_is_not_installed(
    digits: ReferenceData, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is named, with what to do; no model of the cache is called damaged."""

    def missing(_: str) -> None:
        raise ModuleNotFoundError("No module named 'jax'", name="jax")

    monkeypatch.setattr("importlib.import_module", missing)
    with pytest.raises(UsageError, match="jax is not installed\n  install the backend"):
        reference_model(digits, folder, no_warning, MonotonicClock())
