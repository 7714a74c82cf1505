"""Pipeline: from a build function, rows and a setup to a model that is served."""

from __future__ import annotations

import hashlib
import importlib.metadata
import inspect
import json
from collections import OrderedDict
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from pytest_dlperf.data.content import content_hash
from pytest_dlperf.data.dataset import as_data
from pytest_dlperf.errors import DataError
from pytest_dlperf.statistics.estimate import Estimate, counted
from pytest_dlperf.targets.keras_backend import keras_backend
from pytest_dlperf.training.compression import split_steps
from pytest_dlperf.training.model_cache import cache_key
from pytest_dlperf.training.summary import summarise_training
from pytest_dlperf.trees import as_tree, leaves
from pytest_dlperf.tuning.plan import TRAINING_METRICS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_dlperf.data.dataset import Data, Split
    from pytest_dlperf.measure.prepared import Instruments
    from pytest_dlperf.targets.keras import Model
    from pytest_dlperf.training.model_cache import Trained
    from pytest_dlperf.training.summary import Epoch
    from pytest_dlperf.tuning.configuration import Setup

_IN_MEMORY: Final = 4  # models; others are read from the cache again


@dataclass(frozen=True, slots=True, eq=False)
class ServableModel:
    """The model of a setup, to put under load.

    Attributes:
        target: as `dlperf(target, data)` takes it.
        data: the test rows, prepared as the setup requires.
        known: metrics of its training, and its size.
        fresh: whether its model was trained just now.
    """

    target: object
    data: Data
    known: Mapping[str, Estimate]
    fresh: bool


class ModelFactory(Protocol):
    """Makes the model of a setup."""

    def __call__(self, setup: Setup) -> ServableModel:
        """Make a setup's model; raises whatever the user's function or its model raises."""
        ...


class Pipeline:
    """Makes models of setups; each is trained once, however it is served.

    The key of a trained model is all that it depends on: the setup without its serving, the rows,
    the architecture, the source of the build function, the seed, TensorFlow and Keras. `folder`
    keeps them between runs; with None they are kept in memory only. `warn` takes one sentence.
    """

    def __init__(  # noqa: PLR0913 - what a training takes
        self,
        build: Callable[..., object],
        split: Split,
        *,
        seed: int,
        folder: Path | None,
        instruments: Instruments,
        warn: Callable[[str], None],
    ) -> None:
        self._build = build
        self._split = split
        self._seed = seed
        self._folder = folder
        self._instruments = instruments
        self._warn = warn
        self._hashes = split_hash(split), content_hash(split.test.inputs, split.test.labels)
        self._models: OrderedDict[str, Trained] = OrderedDict()
        self._prepared: tuple[tuple[object, ...], Split] = ((), split)

    def __call__(self, setup: Setup) -> ServableModel:
        """Build the model, train it or load it from the cache, and convert it to its runtime.

        Raises:
            UsageError, TargetError, TrainingError, DataError: if that is impossible.
            Exception: whatever the user's function raises.
        """
        from pytest_dlperf.targets.conversion import as_target, size_of

        prepared = self._prepare(setup)
        data = self._test_rows(prepared)
        finishes, quantisation = split_steps(setup.finishes, setup.runtime)
        trained, fresh = self._trained(replace(setup, finishes=finishes), prepared)
        self._instruments.progress.show(f"preparing {setup.runtime}", None)
        target = as_target(trained.model, setup.runtime, data.inputs, quantisation)
        figures = trained.training.metrics
        known = {name: Estimate(*ends) for name, ends in figures.items()}
        known["model_size"] = counted(float(size_of(target)))
        return ServableModel(target, data, MappingProxyType(known), fresh)

    def _prepare(self, setup: Setup) -> Split:
        if self._prepared[0] != tuple(map(str, setup.preparations)):
            self._instruments.progress.show("preparing the rows", None)
            split = self._split
            for step in setup.preparations:
                split = step(split)
            self._prepared = tuple(map(str, setup.preparations)), split
        return self._prepared[1]

    def _test_rows(self, prepared: Split) -> Data:
        """The test rows, with the raw rows' hash, so that answers are compared row by row."""
        data, raw = as_data(prepared.test), self._split.test
        if len(data.inputs) != len(raw.inputs):
            raise DataError(
                f"a preparation left {len(data.inputs)} of {len(raw.inputs)} test rows: setups can "
                "be compared only on the same rows\n  let it change test rows, not drop them"
            )
        both = (dict(leaves(as_tree(part.labels))) for part in (prepared.test, raw))
        new, old = both
        same = new.keys() == old.keys() and all(np.array_equal(new[key], old[key]) for key in old)
        return replace(data, hash=self._hashes[1]) if same else data

    def _trained(self, setup: Setup, prepared: Split) -> tuple[Trained, bool]:
        """The trained model, and whether it was trained just now."""
        from pytest_dlperf.training.model_cache import cached

        held = self._models.get(setup.trained)
        if held is not None:
            self._models.move_to_end(setup.trained)
            return held, False
        model = self._built(setup, prepared)

        def train() -> Trained:
            return self._fitted(model, setup, prepared)

        if self._folder is None:
            trained = train()
        else:
            trained = cached(self._folder, self._key(setup, model), train, self._warn)
        self._models[setup.trained] = trained
        while len(self._models) > _IN_MEMORY and self._folder is not None:
            self._models.popitem(last=False)
        return trained, not trained.training.cached

    def _built(self, setup: Setup, prepared: Split) -> Model:
        from pytest_dlperf.training.keras.fit import built
        from pytest_dlperf.training.keras.graph_layers import with_graph_layers

        self._instruments.progress.show("building the model", None)
        model = built(self._build, setup.arguments, setup.recipe, self._seed)
        if not setup.fronts:
            return model
        return with_graph_layers(model, setup.fronts, prepared.train)

    def _fitted(self, model: Model, setup: Setup, prepared: Split) -> Trained:
        from pytest_dlperf.training.keras.compression import with_step
        from pytest_dlperf.training.keras.fit import fit
        from pytest_dlperf.training.model_cache import Trained, TrainingSettings

        progress, clock, recipe = self._instruments.progress, self._instruments.clock, setup.recipe

        def on_epoch(epoch: Epoch) -> None:
            left = epoch.seconds * (epoch.of - epoch.number)
            progress.show(f"training, epoch {epoch.number} of {epoch.of}", left)

        def build_student(arguments: Mapping[str, object]) -> Model:
            merged = {**setup.arguments, **arguments}
            return self._built(replace(setup, arguments=merged), prepared)

        progress.show("training", None)
        run = fit(model, prepared.train, None, recipe, clock, on_epoch, self._seed)
        metrics = summarise_training([run], ()).metrics
        begun_ns = clock.now_ns()
        for finish in setup.finishes:
            progress.show(str(finish), None)
            model = with_step(
                model,
                finish,
                build=build_student,
                train=prepared.train,
                recipe=recipe,
                clock=clock,
                seed=self._seed,
            )
        # Post-training steps count as training time.
        more = (clock.now_ns() - begun_ns) * 1e-9 if setup.finishes else 0.0
        if time := metrics.get("train.time"):
            metrics["train.time"] = Estimate(time.value + more, time.low + more, time.high + more)
        training = TrainingSettings(
            run.history,
            seconds=run.steps.seconds + more,
            samples_per_second=run.steps.rows_per_second,
            steps_per_second=len(run.steps.ns) / max(1e-9, run.steps.seconds),
            metrics={
                name: [estimate.value, estimate.low, estimate.high]
                for name, estimate in metrics.items()
                if name in TRAINING_METRICS
            },
        )
        return Trained(model, training)

    def _key(self, setup: Setup, model: Model) -> str:
        return cache_key(
            setup=setup.trained,
            data=self._hashes[0],
            model=architecture(model),
            source=source_hash(self._build),
            seed=self._seed,
            backend=keras_backend(),
            tensorflow=importlib.metadata.version("tensorflow"),
            keras=importlib.metadata.version("keras"),
        )


def split_hash(split: Split) -> str:
    """Hash of all rows and labels."""
    train, test = split.train, split.test
    return content_hash(train.inputs, train.labels, test.inputs, test.labels)


def architecture(model: Model) -> str:
    """A model's JSON by Keras, with layers numbered by position; empty if it has none."""
    try:
        content = json.loads(model.to_json())
    except (NotImplementedError, TypeError, ValueError):
        return ""
    # Keras numbers layers across all models of a process, so their names depend on earlier models.
    names: dict[str, str] = {}
    _name_layers(content, names)
    return json.dumps(_renamed(content, names), sort_keys=True)


def _name_layers(part: object, names: dict[str, str]) -> None:
    match part:
        case dict():
            match part.get("config"):
                case {"name": str(name)}:
                    names.setdefault(name, f"layer {len(names)}")
            for child in part.values():
                _name_layers(child, names)
        case list():
            for child in part:
                _name_layers(child, names)


def _renamed(part: object, names: Mapping[str, str]) -> object:
    match part:
        case str():
            return names.get(part, part)
        case dict():
            return {key: _renamed(child, names) for key, child in part.items()}
        case list():
            return [_renamed(child, names) for child in part]
    return part


def source_hash(function: Callable[..., object]) -> str:
    """Hash of the source file of a function; empty without one."""
    inner: Any = inspect.unwrap(function)
    inner = getattr(inner, "func", inner)  # of a functools.partial
    try:
        path = inspect.getsourcefile(inner)
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16] if path else ""
    except (TypeError, OSError):
        return ""
