"""A worker of the doctor: a process that measures the reference architecture.

It is a duel's worker, so that the noise it shows is that of duels. Nothing is trained or loaded:
random weights are as fast as any others.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from pytest_dlperf.clock import MonotonicClock
from pytest_dlperf.config.options import from_call
from pytest_dlperf.config.plan import plan
from pytest_dlperf.data.dataset import as_data
from pytest_dlperf.duel.channel import connect
from pytest_dlperf.duel.worker import WorkerEvaluator
from pytest_dlperf.machine import environment
from pytest_dlperf.measure.measure import ready
from pytest_dlperf.measure.prepared import Instruments
from pytest_dlperf.measure.telemetry import ProcessMeter
from pytest_dlperf.report.progress import NoProgress

_FEATURES: Final = 64
_UNITS: Final = 512
_CLASSES: Final = 10
_ROWS: Final = 512
_SEED: Final = 0
_SECONDS: Final = 1.0


def main() -> None:
    """Serve one measurement until this process is killed."""
    channel = connect()
    from pytest_dlperf.targets.keras_models import dense_classifier

    model = dense_classifier(_FEATURES, _UNITS, _CLASSES, _SEED)
    rows = np.random.default_rng(_SEED).random((_ROWS, _FEATURES), np.float32)
    settings = plan([from_call(duration=_SECONDS)])
    instruments = Instruments(MonotonicClock(), ProcessMeter(), NoProgress())
    target = ready(model, as_data((rows, None)), settings, instruments)
    WorkerEvaluator(channel, environment).evaluate(target, settings, "doctor", "")
