"""What each recommendation of a guide to tuning is worth, on the scenarios of `example_project`.

Each value of each knob is tried by itself, beside the scenario as it stands. Every seed begins
anew: its own weights and order of rows, its own order of trials. So the intervals know what seeds
and moods of the machine are worth. What was tried is kept in `build/tuning`: the same command
goes on where it was ended.

    python benchmarks/tuning.py image|language|recommendation [--seeds 5] [--only units,runtime]

It needs the example project and the extras `litert` and `onnx`, which `make demo` and `make test`
install.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import random
import runpy
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np

from pytest_dlperf.clock import MonotonicClock
from pytest_dlperf.config.options import Options
from pytest_dlperf.config.plan import plan
from pytest_dlperf.data.cleaning import Cleaning
from pytest_dlperf.data.dataset import Examples, Split
from pytest_dlperf.load.scenarios import ClosedLoop
from pytest_dlperf.load.serving import Serving
from pytest_dlperf.measure.prepared import Instruments
from pytest_dlperf.measure.telemetry import ProcessMeter
from pytest_dlperf.metrics import metric_named
from pytest_dlperf.report.github import code_cell, text_cell
from pytest_dlperf.report.progress import NoProgress
from pytest_dlperf.report.tables import Column, markdown_table
from pytest_dlperf.training.compression import Distillation, MagnitudePruning, NeuronPruning
from pytest_dlperf.training.graph_layers import Augmentation
from pytest_dlperf.training.model_cache import cache_key
from pytest_dlperf.training.recipe import CosineDecay, Recipe
from pytest_dlperf.tuning import knobs
from pytest_dlperf.tuning.catalogue import parameters_of, suitable
from pytest_dlperf.tuning.configuration import Configuration, Knob, Setup, configured
from pytest_dlperf.tuning.effects import effects_of
from pytest_dlperf.tuning.goal import parse_goal
from pytest_dlperf.tuning.journal import Journal
from pytest_dlperf.tuning.pipeline import Pipeline, source_hash, split_hash
from pytest_dlperf.tuning.result_json import trial_from_json, trial_to_json
from pytest_dlperf.tuning.screening import Study, screened
from pytest_dlperf.units import format_change, format_change_interval, format_quantity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pytest_dlperf.tuning.result import Effect, TrialResult

TOP: Final = Path(__file__).parent.parent
KEPT: Final = TOP / "build" / "tuning"
SPEED: Final = ("throughput", "p99", "train.time")
SEED: Final = "seed"
SERVED: Final = Serving(max_batch_size=64)


@dataclass(frozen=True)
class Scene:
    """A scenario of the example project, and what is tried on it.

    Attributes:
        build: makes its model.
        split: its rows.
        base: the setup as it stands.
        quality: the metric that says how good answers are.
        tried: what a guide recommends, and the knob with the values to try.
    """

    build: Callable[..., object]
    split: Split
    base: Setup
    quality: str
    tried: tuple[tuple[str, Knob], ...]


def image() -> Scene:
    """Digits; pixels as scanned, since to normalise them is one of the recommendations."""
    import digits_classifier

    found = digits_classifier.load_digits(test_share=0.5)

    def scanned(part: digits_classifier.Digits) -> Examples:
        return Examples((part.inputs + 1) * 8, part.labels)

    return Scene(
        digits_classifier.build_model,
        Split(scanned(found.train), scanned(found.test)),
        Setup(serving=SERVED),
        "accuracy",
        (
            ("clean the data", knobs.cleaning(Cleaning(outliers=("clip", 3.0)))),
            ("normalise it", knobs.normalisation("standard", "min-max")),
            ("normalise it in the graph", knobs.normalisation_in_graph("standard")),
            (
                "augment it",
                knobs.augmentation(Augmentation.image(shift=0.1, rotation=0.03, shape=(8, 8))),
            ),
            *_models("units", 128, 32, smaller={"units": 32}),
            *_training(),
            *_serving(),
        ),
    )


def language() -> Scene:
    """Titles of artworks."""
    import text_classifier

    found = text_classifier.load_works(test_share=0.5)
    return Scene(
        text_classifier.build_model,
        Split(_examples(found.train), _examples(found.test)),
        Setup(serving=SERVED),
        "accuracy",
        (
            ("clean the data", knobs.cleaning(Cleaning(duplicates="drop", leaks="drop"))),
            ("augment it", knobs.augmentation(Augmentation.text(dropout=0.1))),
            ("fewer units", knobs.units(64)),
            *_models("embedding", 64, 16, smaller={"embedding": 16, "units": 64}),
            *_training(),
            *_serving(),
        ),
    )


def recommendation() -> Scene:
    """What people watch next."""
    import film_recommender

    # It registers how good a list of films is.
    runpy.run_path(str(TOP / "example_project" / "tests" / "conftest.py"))
    found = film_recommender.load_views()
    return Scene(
        film_recommender.build_model,
        Split(_examples(found.train), _examples(found.test)),
        Setup(recipe=Recipe(epochs=4, batch_size=512), serving=SERVED),
        "hit_rate10",
        (
            ("clean the data", knobs.cleaning(Cleaning(duplicates="drop", leaks="drop"))),
            ("augment it", knobs.augmentation(Augmentation.text(dropout=0.1, unknown=0))),
            ("fewer units", knobs.units(32)),
            *_models("embedding", 32, 16, smaller={"embedding": 16, "units": 32}),
            *_training(),
            *_serving(),
        ),
    )


SCENES: Final = {one.__name__: one for one in (image, language, recommendation)}


def _models(width: str, *values: int, smaller: dict[str, object]) -> Iterator[tuple[str, Knob]]:
    """Simpler models, and those that are made simpler after training."""
    yield (
        f"fewer {width}" if width == "units" else f"smaller {width}",
        knobs.argument(width, *values),
    )
    yield "fewer layers: what more would cost", knobs.layers(2, 3)
    yield "another activation", knobs.activation("tanh", "gelu")
    yield "distil it", knobs.distillation(Distillation(smaller))
    yield "prune it", knobs.pruning(MagnitudePruning(0.5), NeuronPruning(0.5))
    yield "quantise it", knobs.quantisation()


def _training() -> Iterator[tuple[str, Knob]]:
    yield "another optimiser", knobs.optimizer("sgd", "rmsprop", "adamw")
    yield "learning rate", knobs.learning_rate(0.01, CosineDecay(0.003, steps=300))
    yield "larger batches", knobs.batch_size(128, 512)
    yield "more epochs", knobs.epochs(10)
    yield "several steps a call", knobs.steps_per_execution(16)
    yield "mixed precision", knobs.precision("mixed_bfloat16")


def _serving() -> Iterator[tuple[str, Knob]]:
    yield "larger batches under load", knobs.max_batch_size(16, 32)
    yield "wait for a batch to fill", knobs.batch_timeout("1ms")
    yield "parallel: copies of the model", knobs.replicas(2)
    yield "parallel: threads of an operation", knobs.intra_op_threads(1, 2)
    yield "another runtime", knobs.runtime("xla", "litert", "onnx")


def _examples(part: object) -> Examples:
    return Examples(part.inputs, part.labels)  # type: ignore[attr-defined]  # of three packages


@dataclass(frozen=True)
class Trial:
    """One configuration, tried with one seed."""

    seed: int
    result: TrialResult


class Trials:
    """All trials of a scene, those of earlier runs too.

    Args:
        name: of the scene.
        scene: what is tried.
        seconds: under load, of each trial.
    """

    def __init__(self, name: str, scene: Scene, seconds: float) -> None:
        asked = (knob for _, knob in scene.tried)
        self.study = Study(
            test=name,
            name="",
            goal=parse_goal(["maximize throughput", f"{scene.quality} >= baseline - 1pt"]),
            knobs=suitable(asked, {}, parameters_of(scene.build), scene.base),
            base=scene.base,
            plan=plan([Options(scenario=ClosedLoop(64), serving=SERVED)]),
            seconds=seconds,
        )
        self._scene = scene
        self._bench = Instruments(MonotonicClock(), ProcessMeter(), NoProgress())
        self._journal = Journal(KEPT / f"{name}-{self._key()}.jsonl", _say)
        self.done = [
            Trial(int(fields[SEED]), trial_from_json(fields, self.study.knobs))
            for fields in self._journal.lines()
        ]

    def run(self, seeds: int, only: Sequence[str]) -> None:
        """Try each value by itself with each seed, but for what was tried before."""
        before = {(one.seed, one.result.configuration) for one in self.done}
        wanted = [
            (seed, one)
            for seed in range(seeds)
            for one in _in_any_order(self._one_at_a_time(only), seed)
            if (seed, one) not in before
        ]
        make, made_for = None, None
        for number, (seed, configuration) in enumerate(wanted, start=1):
            if make is None or made_for != seed:
                make, made_for = self._maker(seed), seed
            changed = configuration.differences(configured(self.study.knobs))
            said = ", ".join(f"{name}={value}" for name, value in changed.items())
            _say(f"trial {number} of {len(wanted)}, seed {seed}: {said or 'as it stands'}")
            result = screened(configuration, self.study, make, self._bench)
            self._journal.add({SEED: seed, **trial_to_json(result)})
            self.done.append(Trial(seed, result))

    def effects(self) -> tuple[Effect, ...]:
        """What each value was worth; seeds tell trials apart as a knob would."""
        seeds = sorted({one.seed for one in self.done})
        told = Knob(SEED, (*seeds, "none"), "training", lambda setup, _: setup)
        together = [
            _of_seed(one) for one in self.done if not (one.result.failed or one.result.skipped)
        ]
        return effects_of(together, (*self.study.knobs, told), self.study.goal)

    def troubles(self) -> Iterator[str]:
        """What could not be tried, each once."""
        default = configured(self.study.knobs)
        for one in self.done:
            problem = one.result.failed or one.result.skipped
            if problem:
                changed = one.result.configuration.differences(default)
                named = ", ".join(f"{name}={value}" for name, value in changed.items())
                yield f"{named}: {problem}"

    def _one_at_a_time(self, only: Sequence[str]) -> list[Configuration]:
        chosen = [one for one in self.study.knobs if not only or one.name in only]
        return [
            configured(self.study.knobs),
            *(
                configured(self.study.knobs, {knob.name: value})
                for knob in chosen
                for value in knob.values[1:]
            ),
        ]

    def _maker(self, seed: int) -> Pipeline:
        scene = self._scene
        folder = KEPT / "trained"
        return Pipeline(
            scene.build, scene.split, seed=seed, folder=folder, instruments=self._bench, warn=_say
        )

    def _key(self) -> str:
        study = self.study
        versions = ("tensorflow", "keras", "numpy")
        return cache_key(
            build=source_hash(self._scene.build),
            data=split_hash(self._scene.split),
            knobs=[[knob.name, *map(str, knob.values)] for knob in study.knobs],
            base=[study.base.trained, str(study.base.serving)],
            seconds=study.seconds,
            versions=[importlib.metadata.version(name) for name in versions],
        )[:8]


def _of_seed(one: Trial) -> TrialResult:
    values = {**one.result.configuration.values, SEED: one.seed}
    return replace(one.result, configuration=Configuration(values))


def _in_any_order(configurations: list[Configuration], seed: int) -> list[Configuration]:
    """So that a mood of the machine is no knob's."""
    return random.Random(seed).sample(configurations, len(configurations))  # noqa: S311 - no secret


def rows(scene: Scene, trials: Trials) -> Iterator[tuple[str, ...]]:
    """A row of the table for each value that was tried."""
    found = {(one.knob, one.value, one.metric): one for one in trials.effects()}
    metrics = (*SPEED, scene.quality)
    for (advice, _), knob in zip(scene.tried, trials.study.knobs, strict=True):
        for value in map(str, knob.values[1:]):
            effects = [found.get((knob.name, value, metric)) for metric in metrics]
            if any(effects):
                told = f"{knob.name}: {knob.default} -> {value}"
                yield advice, code_cell(told), *map(_cell, effects)


def _cell(effect: Effect | None) -> str:
    """A change with its interval; nothing where serving cannot change training."""
    if effect is None:
        return "-"
    unit = metric_named(effect.metric).unit
    change = effect.change
    text = format_change(change.value, unit)
    if change.low != change.high:
        text += f" ({format_change_interval(change.low, change.high, unit)})"
    return text_cell(text)


def base_line(scene: Scene, trials: Trials) -> str:
    """What the scenario is like as it stands: means over the seeds."""
    default = configured(trials.study.knobs)
    bases = [one.result.metrics for one in trials.done if one.result.configuration == default]
    told = []
    for name in (*SPEED, scene.quality):
        values = [metrics[name].value for metrics in bases if name in metrics]
        if values:
            told.append(
                f"{name} {format_quantity(float(np.mean(values)), metric_named(name).unit)}"
            )
    return f"As it stands ({len(bases)} seeds): {', '.join(told)}."


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Try what was not tried yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("scene", choices=SCENES)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="under load, of each trial")
    parser.add_argument("--only", default="", help="knobs to try, with commas between them")
    given = parser.parse_args()
    scene = SCENES[given.scene]()
    trials = Trials(given.scene, scene, given.seconds)
    trials.run(given.seeds, [name for name in given.only.split(",") if name])
    metrics = ("throughput", "p99", "training time", scene.quality)
    columns = (
        *(Column("recommendation"), Column("knob")),
        *(Column(name, right=True) for name in metrics),
    )
    print(base_line(scene, trials), end="\n\n")
    print("\n".join(markdown_table(columns, rows(scene, trials))))
    for trouble in sorted(set(trials.troubles())):
        print(f"\n{trouble}")


if __name__ == "__main__":
    main()
