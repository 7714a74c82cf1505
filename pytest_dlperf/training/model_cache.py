"""Training: what fitting a model took, and a cache of fitted models keyed by content."""

from __future__ import annotations

import hashlib
import json
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_dlperf.data.dataset import Examples
from pytest_dlperf.targets import keras, keras_models
from pytest_dlperf.training.keras.fit import BATCH_SIZE, fit
from pytest_dlperf.training.recipe import Recipe

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_dlperf.clock import Clock
    from pytest_dlperf.data.digits import Part

_MODEL: Final = "model.keras"
_RECORD: Final = "training.json"


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """How a model was trained.

    Attributes:
        history: metric to its value after each epoch, as Keras reports them.
        seconds: how long `fit` took, tracing included.
        samples_per_second: rows seen (every epoch anew) over seconds.
        steps_per_second: batches seen over seconds.
        cached: whether the model was taken from the cache; the figures are then those of the
            session that trained it.
        metrics: what else was measured, by name: value, low and high.
    """

    history: dict[str, list[float]]
    seconds: float
    samples_per_second: float
    steps_per_second: float
    cached: bool = False
    metrics: dict[str, list[float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained model with the record of its training."""

    model: keras.Model
    training: TrainingSettings


def train(model: keras.Model, part: Part, epochs: int, clock: Clock, seed: int) -> Trained:
    """Fit a compiled model.

    Args:
        model: compiled.
        part: rows and labels to learn from.
        epochs: passes over the rows.
        clock: time.
        seed: of the order of the rows.

    Raises:
        TrainingError: if it diverges.
        TargetError: if the model cannot be fitted to these rows.
        UsageError: if Keras is told to cut every training short.
    """
    recipe, examples = Recipe(epochs), Examples(part.inputs, part.labels)
    fitted = fit(model, examples, None, recipe, clock, lambda _: None, seed)
    seconds = max(1e-9, fitted.first_step_seconds + fitted.seconds)
    rows = len(part.inputs)
    history = {
        name: [float(epoch.logs[name]) for epoch in fitted.epochs] for name in fitted.epochs[0].logs
    }
    steps = epochs * -(-rows // BATCH_SIZE)
    return Trained(
        model, TrainingSettings(history, seconds, epochs * rows / seconds, steps / seconds)
    )


def cache_key(**parts: object) -> str:
    """One key of all that a trained model depends on."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def cached(
    folder: Path, key: str, build: Callable[[], Trained], warn: Callable[[str], None]
) -> Trained:
    """The trained model of a key, from the cache if it is there and whole, else built and kept.

    A cache can only save time: what is damaged is built anew, and what cannot be written is not
    kept; `warn` is told of both.

    Args:
        folder: the cache; made if need be.
        key: of `cache_key`.
        build: trains the model.
        warn: takes one sentence.
    """
    entry = folder / key
    if entry.is_dir():
        try:
            return _read(entry)
        except Exception as error:  # noqa: BLE001 - any damage whatever
            problem = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
            warn(f"the cached model {entry} is damaged ({problem:.200}); it is trained anew")
    trained = build()
    try:
        _write(entry, trained)
    except OSError as error:
        warn(f"the trained model was not kept in {folder}: {error}")
    return trained


def _read(entry: Path) -> Trained:
    record: dict[str, Any] = json.loads((entry / _RECORD).read_text())
    training = TrainingSettings(**{**record, "cached": True})
    return Trained(keras_models.load(entry / _MODEL), training)


def _write(entry: Path, trained: Trained) -> None:
    """Make the entry complete elsewhere, then move it into place as one."""
    entry.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=entry.parent) as scratch:
        fresh = Path(scratch) / "fresh"
        fresh.mkdir()
        keras_models.save(trained.model, fresh / _MODEL)
        (fresh / _RECORD).write_text(json.dumps(asdict(trained.training)))
        if entry.exists():
            entry.rename(Path(scratch) / "old")
        fresh.rename(entry)
