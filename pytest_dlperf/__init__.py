"""Performance regression tests for deep-learning models.

The names here are the public ones; they are loaded when they are first used, so that a test
suite pays for what it uses only.

PYTEST_DONT_REWRITE: commands and sides of a duel import this package before pytest registers it,
which would be a warning, and an error under `filterwarnings = error`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_dlperf.data.cleaning import Cleaning as Cleaning
    from pytest_dlperf.data.dataset import Examples as Examples
    from pytest_dlperf.data.dataset import Split as Split
    from pytest_dlperf.data.normalisation import Normalisation as Normalisation
    from pytest_dlperf.data.scoring import metric as metric
    from pytest_dlperf.errors import BaselineError as BaselineError
    from pytest_dlperf.errors import BudgetFailure as BudgetFailure
    from pytest_dlperf.errors import DataError as DataError
    from pytest_dlperf.errors import DlperfWarning as DlperfWarning
    from pytest_dlperf.errors import RemoteError as RemoteError
    from pytest_dlperf.errors import TargetError as TargetError
    from pytest_dlperf.errors import TrainingError as TrainingError
    from pytest_dlperf.errors import UsageError as UsageError
    from pytest_dlperf.load.scenarios import Burst as Burst
    from pytest_dlperf.load.scenarios import ClosedLoop as ClosedLoop
    from pytest_dlperf.load.scenarios import Constant as Constant
    from pytest_dlperf.load.scenarios import Exponential as Exponential
    from pytest_dlperf.load.scenarios import MultiStream as MultiStream
    from pytest_dlperf.load.scenarios import Offline as Offline
    from pytest_dlperf.load.scenarios import Ramp as Ramp
    from pytest_dlperf.load.scenarios import Server as Server
    from pytest_dlperf.load.scenarios import SingleStream as SingleStream
    from pytest_dlperf.load.scenarios import Trace as Trace
    from pytest_dlperf.load.serving import Serving as Serving
    from pytest_dlperf.measure.sweep import Point as Point
    from pytest_dlperf.measure.sweep import Sweep as Sweep
    from pytest_dlperf.pytest_plugin.dlperf import Dlperf as Dlperf
    from pytest_dlperf.ragged import Ragged as Ragged
    from pytest_dlperf.results.measurement import Measurement as Measurement
    from pytest_dlperf.results.verdict import Verdict as Verdict
    from pytest_dlperf.statistics.estimate import Estimate as Estimate
    from pytest_dlperf.targets.conversion import Quantisation as Quantisation
    from pytest_dlperf.targets.conversion import as_target as as_target
    from pytest_dlperf.targets.conversion import size_of as size_of
    from pytest_dlperf.targets.remote.access import TLS as TLS
    from pytest_dlperf.targets.remote.json_service import Http as Http
    from pytest_dlperf.targets.remote.open_inference import OpenInference as OpenInference
    from pytest_dlperf.targets.remote.tensorflow_serving import (
        TensorFlowServing as TensorFlowServing,
    )
    from pytest_dlperf.training.compression import Distillation as Distillation
    from pytest_dlperf.training.compression import MagnitudePruning as MagnitudePruning
    from pytest_dlperf.training.compression import NeuronPruning as NeuronPruning
    from pytest_dlperf.training.graph_layers import Augmentation as Augmentation
    from pytest_dlperf.training.graph_layers import InGraphNormalisation as InGraphNormalisation
    from pytest_dlperf.training.recipe import CosineDecay as CosineDecay
    from pytest_dlperf.training.recipe import ExponentialDecay as ExponentialDecay
    from pytest_dlperf.training.recipe import PiecewiseConstant as PiecewiseConstant
    from pytest_dlperf.training.recipe import Recipe as Recipe
    from pytest_dlperf.tuning import knobs as knobs
    from pytest_dlperf.tuning.configuration import Knob as Knob
    from pytest_dlperf.tuning.configuration import Setup as Setup

_HOMES = {
    "as_target": "pytest_dlperf.targets.conversion",
    "Augmentation": "pytest_dlperf.training.graph_layers",
    "BaselineError": "pytest_dlperf.errors",
    "BudgetFailure": "pytest_dlperf.errors",
    "Burst": "pytest_dlperf.load.scenarios",
    "Cleaning": "pytest_dlperf.data.cleaning",
    "ClosedLoop": "pytest_dlperf.load.scenarios",
    "Constant": "pytest_dlperf.load.scenarios",
    "CosineDecay": "pytest_dlperf.training.recipe",
    "DataError": "pytest_dlperf.errors",
    "Distillation": "pytest_dlperf.training.compression",
    "Dlperf": "pytest_dlperf.pytest_plugin.dlperf",
    "DlperfWarning": "pytest_dlperf.errors",
    "Estimate": "pytest_dlperf.statistics.estimate",
    "Examples": "pytest_dlperf.data.dataset",
    "Exponential": "pytest_dlperf.load.scenarios",
    "ExponentialDecay": "pytest_dlperf.training.recipe",
    "Http": "pytest_dlperf.targets.remote.json_service",
    "InGraphNormalisation": "pytest_dlperf.training.graph_layers",
    "Knob": "pytest_dlperf.tuning.configuration",
    "MagnitudePruning": "pytest_dlperf.training.compression",
    "Measurement": "pytest_dlperf.results.measurement",
    "metric": "pytest_dlperf.data.scoring",
    "MultiStream": "pytest_dlperf.load.scenarios",
    "NeuronPruning": "pytest_dlperf.training.compression",
    "Normalisation": "pytest_dlperf.data.normalisation",
    "Offline": "pytest_dlperf.load.scenarios",
    "OpenInference": "pytest_dlperf.targets.remote.open_inference",
    "PiecewiseConstant": "pytest_dlperf.training.recipe",
    "Point": "pytest_dlperf.measure.sweep",
    "Quantisation": "pytest_dlperf.targets.conversion",
    "Ragged": "pytest_dlperf.ragged",
    "Ramp": "pytest_dlperf.load.scenarios",
    "Recipe": "pytest_dlperf.training.recipe",
    "RemoteError": "pytest_dlperf.errors",
    "Server": "pytest_dlperf.load.scenarios",
    "Serving": "pytest_dlperf.load.serving",
    "Setup": "pytest_dlperf.tuning.configuration",
    "SingleStream": "pytest_dlperf.load.scenarios",
    "size_of": "pytest_dlperf.targets.conversion",
    "Split": "pytest_dlperf.data.dataset",
    "Sweep": "pytest_dlperf.measure.sweep",
    "TargetError": "pytest_dlperf.errors",
    "TLS": "pytest_dlperf.targets.remote.access",
    "TensorFlowServing": "pytest_dlperf.targets.remote.tensorflow_serving",
    "Trace": "pytest_dlperf.load.scenarios",
    "TrainingError": "pytest_dlperf.errors",
    "UsageError": "pytest_dlperf.errors",
    "Verdict": "pytest_dlperf.results.verdict",
}

_MODULES = {"knobs": "pytest_dlperf.tuning.knobs"}

__all__ = list(_HOMES | _MODULES)


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return importlib.import_module(_MODULES[name])
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
