"""A cache of trained models on disk, keyed by the content that they depend on."""

from __future__ import annotations

import hashlib
import json
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_dlperf.errors import in_a_line
from pytest_dlperf.targets import keras, keras_models
from pytest_dlperf.training.keras.fit import BATCH_SIZE, fit
from pytest_dlperf.training.recipe import Recipe

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_dlperf.clock import Clock
    from pytest_dlperf.data.dataset import Examples

_MODEL: Final = "model.keras"
_RECORD: Final = "training.json"


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """The record of a training; its fields are keys of `training.json`.

    Attributes:
        history: metric to its value after each epoch, as Keras reports them.
        seconds: duration of `fit`, tracing included.
        samples_per_second: rows, counted in each epoch, over seconds.
        steps_per_second: batches over seconds.
        cached: whether the model came from the cache; all figures are then those of the session
            that trained it.
        metrics: further metrics by name: value, low and high.
    """

    history: dict[str, list[float]]
    seconds: float
    samples_per_second: float
    steps_per_second: float
    cached: bool = False
    metrics: dict[str, list[float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained model and the record of its training."""

    model: keras.Model
    training: TrainingSettings


def train(model: keras.Model, rows: Examples, epochs: int, clock: Clock, seed: int) -> Trained:
    """Fit a compiled model; raises as `fit` does."""
    run = fit(model, rows, None, Recipe(epochs), clock, lambda _: None, seed)
    seconds = max(1e-9, run.first_step_seconds + run.steps.seconds)
    count = len(rows.inputs)
    steps = epochs * -(-count // BATCH_SIZE)
    rates = epochs * count / seconds, steps / seconds
    return Trained(model, TrainingSettings(run.history, seconds, *rates))


def cache_key(**parts: object) -> str:
    """A hash of everything that a trained model depends on."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def cached(
    folder: Path, key: str, build: Callable[[], Trained], warn: Callable[[str], None]
) -> Trained:
    """The trained model of a key, from the cache in `folder` if possible, else built and kept.

    A damaged entry is built anew, and an entry that cannot be written is not kept; `warn` gets a
    sentence about either. Neither is an error.
    """
    entry = folder / key
    try:
        if entry.is_dir():
            return _read(entry)
    except Exception as error:  # noqa: BLE001 - a damaged file may raise anything
        warn(f"the cached model {entry} is damaged ({in_a_line(error):.200}); it is trained anew")
    trained = build()
    try:
        _write(entry, trained)
    except Exception as error:  # noqa: BLE001 - Keras wraps errors of the disk in its own
        warn(f"the trained model was not kept in {folder}: {in_a_line(error)}")
    return trained


def _read(entry: Path) -> Trained:
    record: dict[str, Any] = json.loads((entry / _RECORD).read_text())
    training = TrainingSettings(**{**record, "cached": True})
    return Trained(keras_models.load(entry / _MODEL), training)


def _write(entry: Path, trained: Trained) -> None:
    # Moved into place when it is complete, as other sessions may read it meanwhile. A folder
    # cannot replace a full one, so the old entry is moved away first.
    entry.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=entry.parent) as scratch:
        fresh = Path(scratch) / "fresh"
        fresh.mkdir()
        keras_models.save(trained.model, fresh / _MODEL)
        (fresh / _RECORD).write_text(json.dumps(asdict(trained.training)))
        if entry.exists():
            entry.rename(Path(scratch) / "old")
        fresh.rename(entry)
