"""The test of the doctor's duel; copied into a project of its own.

Nothing is trained or loaded: random weights are as fast as any others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_dlperf.targets.keras_models import dense_classifier

if TYPE_CHECKING:
    from collections.abc import Callable

_FEATURES: Final = 64
_UNITS: Final = 512
_CLASSES: Final = 10
_ROWS: Final = 512
_SEED: Final = 0


def test_speed(dlperf: Callable[[object, object], object]) -> None:
    """The reference architecture."""
    rows = np.random.default_rng(_SEED).random((_ROWS, _FEATURES), np.float32)
    dlperf(dense_classifier(_FEATURES, _UNITS, _CLASSES, _SEED), (rows, None))
