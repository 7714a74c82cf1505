"""The model behind the fixture `reference_model`, trained once for its data and versions."""

from __future__ import annotations

import importlib
import importlib.metadata
from typing import TYPE_CHECKING, Final

from pytest_dlperf.errors import UsageError
from pytest_dlperf.targets.keras_backend import keras_backend
from pytest_dlperf.targets.keras_models import dense_classifier
from pytest_dlperf.training.keras.fit import BATCH_SIZE
from pytest_dlperf.training.model_cache import Trained, cache_key, cached, train

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_dlperf.clock import Clock
    from pytest_dlperf.data.digits import ReferenceData

UNITS: Final = 512
EPOCHS: Final = 5
SEED: Final = 0


def reference_model(
    data: ReferenceData, folder: Path | None, warn: Callable[[str], None], clock: Clock
) -> Trained:
    """Dense 512 relu, Dense 10 softmax, adam, sparse categorical cross-entropy, 5 epochs.

    `folder` is the cache between sessions; None trains the model every time. `warn` takes a
    sentence if the cache cannot be used.

    Raises:
        UsageError: if the backend of Keras is not installed.
    """

    def build() -> Trained:
        schema = data.schema
        model = dense_classifier(schema.features, UNITS, schema.classes, SEED)
        return train(model, data.train, EPOCHS, clock, SEED)

    backend = imported_backend()
    if folder is None:
        return build()
    key = cache_key(
        data=data.hash,
        architecture=f"dense {data.schema.features}-{UNITS}-{data.schema.classes}",
        training=f"adam, {EPOCHS} epochs, batches of {BATCH_SIZE}, all from seed {SEED}",
        backend=backend,
        tensorflow=importlib.metadata.version("tensorflow"),
        keras=importlib.metadata.version("keras"),
    )
    return cached(folder, key, build, warn)


def imported_backend() -> str:
    """The backend of Keras; a UsageError if it is not installed."""
    try:
        importlib.import_module("keras")
    except ModuleNotFoundError as error:
        raise UsageError(
            f"Keras cannot be imported: {error.name} is not installed",
            "install the backend that KERAS_BACKEND names (extras jax and torch), or unset it",
        ) from None
    return keras_backend()
