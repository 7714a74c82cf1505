"""Train: trainings of one model, one from each seed, as one measurement."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_dlperf.data.dataset import Examples, content_hash
from pytest_dlperf.data.scoring import user_scores
from pytest_dlperf.errors import UsageError
from pytest_dlperf.load.summary import Score, summarise_score
from pytest_dlperf.measure.measure import quiet_gc, rows_of, scores_of
from pytest_dlperf.measure.prepared import measured_by_users, scorer_of
from pytest_dlperf.metrics import ANSWER_METRICS
from pytest_dlperf.results.measurement import Measurement
from pytest_dlperf.results.usage import consumption, disturbance, gpu_notes, summarise_gpus
from pytest_dlperf.statistics.estimate import counted
from pytest_dlperf.targets.keras_models import answers
from pytest_dlperf.training.job import labels_of
from pytest_dlperf.training.keras.distribution import gpu_peaks, peak_notes, sharing, under
from pytest_dlperf.training.keras.fit import batch_size, built, fit, sized_name_of, weights_of
from pytest_dlperf.training.monitor import TrainingMonitor
from pytest_dlperf.training.summary import TrainingRun, TrainSummary, summarise_training
from pytest_dlperf.units import format_quantity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from pytest_dlperf.config.plan import Plan
    from pytest_dlperf.data.dataset import Data
    from pytest_dlperf.measure.prepared import Instruments
    from pytest_dlperf.training.job import TrainingJob


@dataclass(frozen=True, slots=True)
class PreparedTraining:
    """A subject whose measuring is training."""

    lesson: TrainingJob
    plan: Plan
    bench: Instruments

    def measure(self, test: str, name: str, seconds: float) -> Measurement:
        """Train; how long that takes is the recipe's affair."""
        del seconds
        lesson = self.lesson.briefly() if self.plan.quick else self.lesson
        return _measured(lesson, self.plan, self.bench, (test, name))

    def warm_up(self) -> str:
        """Nothing: the first step is measured by itself."""
        return ""

    def slots(self) -> None:
        """None: a training is one long load."""
        return


@contextlib.contextmanager
def training(lesson: TrainingJob, plan: Plan, bench: Instruments) -> Iterator[PreparedTraining]:
    """Trainings that are ready to begin.

    Raises:
        UsageError: naming a device that is not here, or for XLA on several of them.

    Measuring raises:
        UsageError: if what `build` returns cannot be trained so.
        TargetError: if it cannot be fitted to the rows.
        TrainingError: if it diverges, as soon as that is seen.
        DataError: if the labels do not fit the answers.
    """
    devices = sharing(lesson.devices)
    if len(devices) > 1 and lesson.recipe.jit_compile:
        raise UsageError(
            f"Recipe(jit_compile=True) on {', '.join(devices)}",
            "TensorFlow compiles no steps with XLA that several devices share: choose one of both",
        )
    yield PreparedTraining(replace(lesson, devices=devices), plan, bench)


@dataclass(frozen=True, slots=True, eq=False)
class _Trained:
    """What one training left behind.

    Attributes:
        run: its figures.
        score: of its last answers.
        name: of the model, with its size.
        first: hash of its first weights; empty if they came with the first step.
        last: hash of its last weights.
    """

    run: TrainingRun
    score: Score
    name: str
    first: str
    last: str


def _measured(
    lesson: TrainingJob, plan: Plan, bench: Instruments, about: tuple[str, str]
) -> Measurement:
    trainings = lesson.seeds + (len(lesson.devices) > 1 and not plan.quick)
    with quiet_gc(), TrainingMonitor(bench, trainings, lesson.recipe.epochs) as onlooker:
        with gpu_peaks() as peaks:
            trained = [_trained(lesson, plan, onlooker, seed) for seed in range(lesson.seeds)]
        alone = None
        if len(lesson.devices) > 1 and not plan.quick:
            first = replace(lesson, devices=lesson.devices[:1])
            alone = _trained(first, plan, onlooker, 0)
    goals = dict.fromkeys(b.metric for b in plan.budgets if b.metric.goal is not None)
    summary = summarise_training([one.run for one in trained], goals)
    unfit = sorted(ANSWER_METRICS - set(summary.metrics))
    summary.refused.update(dict.fromkeys(unfit, "the labels do not fit the answers so"))
    steps = lesson.seeds * lesson.recipe.epochs * _steps(lesson)
    looks = onlooker.telemetry
    metrics = {
        **summary.metrics,
        "train.peak_memory": counted(float(max(looks.resident))),
        "errors": counted(0.0),
    }
    gpus = summarise_gpus(looks.looks, frozenset({os.getpid()}))
    notes = (
        *_notes(lesson, trained, quick=plan.quick),
        _beside(trained[0].run, alone, lesson.devices) if alone else "",
        *peak_notes(peaks),
        disturbance(onlooker.used),
        *gpu_notes(gpus),
    )
    single = trained[0].score if lesson.seeds == 1 else None
    return Measurement(
        test=about[0],
        name=about[1],
        target=trained[0].name,
        scenario=lesson.scenario,
        serving=lesson.place,
        seconds=sum(one.run.first_step_seconds + one.run.steps.seconds for one in trained),
        requests=steps,
        metrics=MappingProxyType(metrics),
        refused=MappingProxyType(summary.refused),
        missed=MappingProxyType(summary.missed),
        errors=(),
        rows=rows_of(lesson.asked, single),
        scores=scores_of(lesson.asked, single),
        seeds=_accuracies(trained),
        invalid="",
        notes=tuple(filter(None, notes)),
        diagnosis=_diagnosis(lesson, summary),
        intervals=summary.intervals,
        usage=consumption(onlooker.used, onlooker.busy_cores, looks.resident, steps),
        gpus=gpus,
    )


def _trained(lesson: TrainingJob, plan: Plan, onlooker: TrainingMonitor, seed: int) -> _Trained:
    asked = lesson.asked
    with under(lesson.devices):
        model = built(lesson.build, {}, lesson.recipe, seed)
        first = weights_of(model)
        onlooker.begins(f"seed {seed} of {lesson.seeds}" if lesson.seeds > 1 else "")
        if first:
            # What cannot be judged is said before the training, not after it.
            _score(answers(model, asked.inputs), asked, plan)
        fitted = fit(
            model,
            Examples(lesson.train.inputs, labels_of(lesson.train)),
            Examples(asked.inputs, labels_of(asked)),
            lesson.recipe,
            onlooker.clock,
            onlooker.heard,
            seed,
        )
        score = _score(answers(model, asked.inputs), asked, plan)
    found = summarise_score(score)
    return _Trained(
        run=TrainingRun(
            fitted.epochs, fitted.first_step_seconds, fitted.steps, MappingProxyType(found)
        ),
        score=score,
        name=sized_name_of(model),
        first=content_hash(*first) if first else "",
        last=content_hash(*weights_of(model)),
    )


def _score(outputs: NDArray[Any], data: Data, plan: Plan) -> Score:
    """What the answers to all rows come to.

    Raises:
        UsageError: if a budget needs what does not fit.
        DataError: if nothing fits.
    """
    scorer = scorer_of(outputs, data, plan)
    nothing = np.zeros(len(outputs))
    right, losses = scorer.score(outputs, labels_of(data)) if scorer else (nothing, None)
    return Score(
        answered=np.ones(len(outputs), dtype=np.int64),
        right=right,
        loss=losses,
        classifies=scorer is not None and scorer.classifies,
        by_user=user_scores(outputs, labels_of(data), measured_by_users(plan)),
    )


def _steps(lesson: TrainingJob) -> int:
    """Of an epoch."""
    rows = len(lesson.train.inputs)
    return -(-rows // batch_size(lesson.recipe, rows))


def _accuracies(trained: list[_Trained]) -> tuple[float, ...]:
    """Of each of several seeds, to be compared seed by seed."""
    if len(trained) == 1 or not trained[0].score.classifies:
        return ()
    return tuple(one.run.answers["accuracy"].value for one in trained)


def _notes(lesson: TrainingJob, trained: list[_Trained], *, quick: bool) -> Iterator[str]:
    if quick:
        yield (
            f"smoke run: 1 epoch of {len(lesson.train.inputs)} rows; "
            "accuracy and loss are not judged"
        )
    if lesson.test is None:
        yield "accuracy and loss are those of the training rows: give test=(inputs, labels)"
    firsts, lasts = ([one.first for one in trained], [one.last for one in trained])
    if len(trained) > 1 and len(set(lasts)) < len(lasts):
        yield "some seeds gave the same model to the bit, so the seeds' interval says nothing"
    elif len(trained) > 1 and firsts[0] and len(set(firsts)) < len(firsts):
        yield (
            "build() makes the same first weights from different seeds, as if it set one of its "
            "own: the seeds differ by the order of rows only"
        )


def _beside(run: TrainingRun, alone: _Trained, devices: tuple[str, ...]) -> str:
    """What several devices brought, beside the first one alone."""
    ratio = run.steps.rows_per_second / max(alone.run.steps.rows_per_second, 1e-9)
    told = f"{len(devices)} devices: {ratio:.2f} x the rows a second of {devices[0]} alone"
    if "accuracy" not in run.answers:
        return told
    both = (format_quantity(one.answers["accuracy"].value, "share") for one in (run, alone.run))
    return f"{told}; accuracy {', alone '.join(both)}"


def _diagnosis(lesson: TrainingJob, summary: TrainSummary) -> str:
    size = batch_size(lesson.recipe, len(lesson.train.inputs))
    rate = summary.metrics.get("train.throughput")
    first = format_quantity(summary.metrics["compile_time"].value, "s")
    began = f"the first step, with tracing and compiling, {first}"
    if rate is None:
        return began
    return f"{format_quantity(size / rate.value, 's')} a step of {size:,} rows, {began}"
