"""Performance regression tests for deep-learning models.

The names here are the public ones; they are loaded when they are first used, so that a test
suite pays for what it uses only.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_dlperf.adapters.open_inference import OpenInference as OpenInference
    from pytest_dlperf.adapters.tensorflow_serving import TensorFlowServing as TensorFlowServing
    from pytest_dlperf.core.measurement import Measurement as Measurement
    from pytest_dlperf.core.scenarios import Burst as Burst
    from pytest_dlperf.core.scenarios import ClosedLoop as ClosedLoop
    from pytest_dlperf.core.scenarios import Constant as Constant
    from pytest_dlperf.core.scenarios import Exponential as Exponential
    from pytest_dlperf.core.scenarios import MultiStream as MultiStream
    from pytest_dlperf.core.scenarios import Offline as Offline
    from pytest_dlperf.core.scenarios import Ramp as Ramp
    from pytest_dlperf.core.scenarios import Server as Server
    from pytest_dlperf.core.scenarios import SingleStream as SingleStream
    from pytest_dlperf.core.scenarios import Trace as Trace
    from pytest_dlperf.core.serving import Serving as Serving
    from pytest_dlperf.core.statistics.estimate import Estimate as Estimate
    from pytest_dlperf.core.sweep import Point as Point
    from pytest_dlperf.core.sweep import Sweep as Sweep
    from pytest_dlperf.core.verdict import Verdict as Verdict
    from pytest_dlperf.errors import BaselineError as BaselineError
    from pytest_dlperf.errors import BudgetFailure as BudgetFailure
    from pytest_dlperf.errors import DataError as DataError
    from pytest_dlperf.errors import DlperfWarning as DlperfWarning
    from pytest_dlperf.errors import RemoteError as RemoteError
    from pytest_dlperf.errors import TargetError as TargetError
    from pytest_dlperf.errors import UsageError as UsageError
    from pytest_dlperf.measuring import Dlperf as Dlperf

_HOMES = {
    "BaselineError": "pytest_dlperf.errors",
    "BudgetFailure": "pytest_dlperf.errors",
    "Burst": "pytest_dlperf.core.scenarios",
    "ClosedLoop": "pytest_dlperf.core.scenarios",
    "Constant": "pytest_dlperf.core.scenarios",
    "DataError": "pytest_dlperf.errors",
    "Dlperf": "pytest_dlperf.measuring",
    "DlperfWarning": "pytest_dlperf.errors",
    "Estimate": "pytest_dlperf.core.statistics.estimate",
    "Exponential": "pytest_dlperf.core.scenarios",
    "Measurement": "pytest_dlperf.core.measurement",
    "MultiStream": "pytest_dlperf.core.scenarios",
    "Offline": "pytest_dlperf.core.scenarios",
    "OpenInference": "pytest_dlperf.adapters.open_inference",
    "Point": "pytest_dlperf.core.sweep",
    "Ramp": "pytest_dlperf.core.scenarios",
    "RemoteError": "pytest_dlperf.errors",
    "Server": "pytest_dlperf.core.scenarios",
    "Serving": "pytest_dlperf.core.serving",
    "SingleStream": "pytest_dlperf.core.scenarios",
    "Sweep": "pytest_dlperf.core.sweep",
    "TargetError": "pytest_dlperf.errors",
    "TensorFlowServing": "pytest_dlperf.adapters.tensorflow_serving",
    "Trace": "pytest_dlperf.core.scenarios",
    "UsageError": "pytest_dlperf.errors",
    "Verdict": "pytest_dlperf.core.verdict",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(_HOMES)
