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
    from pytest_dlperf.core import knobs as knobs
    from pytest_dlperf.core.cleaning import Cleaning as Cleaning
    from pytest_dlperf.core.examples import Examples as Examples
    from pytest_dlperf.core.examples import Split as Split
    from pytest_dlperf.core.finishes import Distillation as Distillation
    from pytest_dlperf.core.finishes import MagnitudePruning as MagnitudePruning
    from pytest_dlperf.core.finishes import NeuronPruning as NeuronPruning
    from pytest_dlperf.core.finishes import Quantisation as Quantisation
    from pytest_dlperf.core.fronts import Augmentation as Augmentation
    from pytest_dlperf.core.fronts import InGraphNormalisation as InGraphNormalisation
    from pytest_dlperf.core.knob import Knob as Knob
    from pytest_dlperf.core.measurement import Measurement as Measurement
    from pytest_dlperf.core.normalisation import Normalisation as Normalisation
    from pytest_dlperf.core.recipe import Recipe as Recipe
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
    from pytest_dlperf.core.schedules import CosineDecay as CosineDecay
    from pytest_dlperf.core.schedules import ExponentialDecay as ExponentialDecay
    from pytest_dlperf.core.schedules import PiecewiseConstant as PiecewiseConstant
    from pytest_dlperf.core.serving import Serving as Serving
    from pytest_dlperf.core.setup import Setup as Setup
    from pytest_dlperf.core.statistics.estimate import Estimate as Estimate
    from pytest_dlperf.core.sweep import Point as Point
    from pytest_dlperf.core.sweep import Sweep as Sweep
    from pytest_dlperf.core.user_metrics import metric as metric
    from pytest_dlperf.core.verdict import Verdict as Verdict
    from pytest_dlperf.engine.label_noise import label_noise as label_noise
    from pytest_dlperf.engine.runtimes import as_target as as_target
    from pytest_dlperf.engine.runtimes import size_of as size_of
    from pytest_dlperf.errors import BaselineError as BaselineError
    from pytest_dlperf.errors import BudgetFailure as BudgetFailure
    from pytest_dlperf.errors import DataError as DataError
    from pytest_dlperf.errors import DlperfWarning as DlperfWarning
    from pytest_dlperf.errors import RemoteError as RemoteError
    from pytest_dlperf.errors import TargetError as TargetError
    from pytest_dlperf.errors import TrainingError as TrainingError
    from pytest_dlperf.errors import UsageError as UsageError
    from pytest_dlperf.measuring import Dlperf as Dlperf

_HOMES = {
    "as_target": "pytest_dlperf.engine.runtimes",
    "Augmentation": "pytest_dlperf.core.fronts",
    "BaselineError": "pytest_dlperf.errors",
    "BudgetFailure": "pytest_dlperf.errors",
    "Burst": "pytest_dlperf.core.scenarios",
    "Cleaning": "pytest_dlperf.core.cleaning",
    "ClosedLoop": "pytest_dlperf.core.scenarios",
    "Constant": "pytest_dlperf.core.scenarios",
    "CosineDecay": "pytest_dlperf.core.schedules",
    "DataError": "pytest_dlperf.errors",
    "Distillation": "pytest_dlperf.core.finishes",
    "Dlperf": "pytest_dlperf.measuring",
    "DlperfWarning": "pytest_dlperf.errors",
    "Estimate": "pytest_dlperf.core.statistics.estimate",
    "Examples": "pytest_dlperf.core.examples",
    "Exponential": "pytest_dlperf.core.scenarios",
    "ExponentialDecay": "pytest_dlperf.core.schedules",
    "InGraphNormalisation": "pytest_dlperf.core.fronts",
    "Knob": "pytest_dlperf.core.knob",
    "label_noise": "pytest_dlperf.engine.label_noise",
    "MagnitudePruning": "pytest_dlperf.core.finishes",
    "Measurement": "pytest_dlperf.core.measurement",
    "metric": "pytest_dlperf.core.user_metrics",
    "MultiStream": "pytest_dlperf.core.scenarios",
    "NeuronPruning": "pytest_dlperf.core.finishes",
    "Normalisation": "pytest_dlperf.core.normalisation",
    "Offline": "pytest_dlperf.core.scenarios",
    "OpenInference": "pytest_dlperf.adapters.open_inference",
    "PiecewiseConstant": "pytest_dlperf.core.schedules",
    "Point": "pytest_dlperf.core.sweep",
    "Quantisation": "pytest_dlperf.core.finishes",
    "Ramp": "pytest_dlperf.core.scenarios",
    "Recipe": "pytest_dlperf.core.recipe",
    "RemoteError": "pytest_dlperf.errors",
    "Server": "pytest_dlperf.core.scenarios",
    "Serving": "pytest_dlperf.core.serving",
    "Setup": "pytest_dlperf.core.setup",
    "SingleStream": "pytest_dlperf.core.scenarios",
    "size_of": "pytest_dlperf.engine.runtimes",
    "Split": "pytest_dlperf.core.examples",
    "Sweep": "pytest_dlperf.core.sweep",
    "TargetError": "pytest_dlperf.errors",
    "TensorFlowServing": "pytest_dlperf.adapters.tensorflow_serving",
    "Trace": "pytest_dlperf.core.scenarios",
    "TrainingError": "pytest_dlperf.errors",
    "UsageError": "pytest_dlperf.errors",
    "Verdict": "pytest_dlperf.core.verdict",
}

_MODULES = {"knobs": "pytest_dlperf.core.knobs"}

__all__ = list(_HOMES | _MODULES)


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return importlib.import_module(_MODULES[name])
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
