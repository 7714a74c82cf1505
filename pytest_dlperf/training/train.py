"""Measures trainings of one model, one for each seed, as one measurement."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from pytest_dlperf.data.content import content_hash
from pytest_dlperf.data.dataset import Examples
from pytest_dlperf.data.position_scoring import labels_by_row
from pytest_dlperf.data.scoring import user_scores
from pytest_dlperf.errors import UsageError
from pytest_dlperf.load.summary import Score, summarise_score
from pytest_dlperf.measure.measure import quiet_gc, rows_of, scores_of
from pytest_dlperf.measure.scorer import (
    labels_by_position,
    measured_by_users,
    refuse_unscored,
    scoring_of_load,
)
from pytest_dlperf.measure.yardstick import NO_YARDSTICK
from pytest_dlperf.metrics import ANSWER_METRICS
from pytest_dlperf.results.measurement import Measurement
from pytest_dlperf.results.usage import consumption, disturbance, gpu_notes, summarise_gpus
from pytest_dlperf.statistics.estimate import counted
from pytest_dlperf.targets.keras_models import answers as outputs_of
from pytest_dlperf.training.answers import check_labels, model_answers, unscored
from pytest_dlperf.training.job import labels_of
from pytest_dlperf.training.keras.distribution import gpu_peaks, peak_notes, sharing, under
from pytest_dlperf.training.keras.fit import batch_size, built, fit, sized_name_of, weights_of
from pytest_dlperf.training.monitor import TrainingMonitor
from pytest_dlperf.training.summary import summarise_training
from pytest_dlperf.units import format_quantity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_dlperf.config.plan import Plan
    from pytest_dlperf.data.dataset import Data
    from pytest_dlperf.measure.prepared import Instruments
    from pytest_dlperf.measure.yardstick import SpeedCheck
    from pytest_dlperf.targets.keras import Model
    from pytest_dlperf.training.job import TrainingJob
    from pytest_dlperf.training.summary import TrainingRun, TrainSummary


@dataclass(frozen=True, slots=True)
class PreparedTraining:
    """A training job that is measured by carrying it out."""

    job: TrainingJob
    plan: Plan
    instruments: Instruments
    remark: str = ""

    def measure(
        self, test: str, name: str, seconds: float, speed: SpeedCheck = NO_YARDSTICK
    ) -> Measurement:
        """Train; the recipe decides how long that takes."""
        del seconds
        job = self.job.briefly() if self.plan.quick else self.job
        speed.begin()
        measurement = _measured(job, self.plan, self.instruments, test=test, name=name)
        speed.again()
        return replace(measurement, notes=(*measurement.notes, *filter(None, [self.remark])))

    def warm_up(self) -> str:
        """Do nothing: the first step is a metric of its own."""
        return ""

    def slots(self) -> None:
        """Return None: a training cannot be divided into slots."""
        return


@contextlib.contextmanager
def training(job: TrainingJob, plan: Plan, instruments: Instruments) -> Iterator[PreparedTraining]:
    """A training that is ready to begin, without tracers.

    Raises:
        UsageError: naming a device that does not exist, or for XLA on several devices.

    Measuring raises:
        UsageError: if the model that `build` returns cannot be trained with the recipe.
        TargetError: if it cannot be fitted to the rows.
        TrainingError: as soon as a loss is not finite.
        DataError: if the labels do not fit the answers.
    """
    devices = sharing(job.devices)
    if len(devices) > 1 and job.recipe.jit_compile:
        raise UsageError(
            f"Recipe(jit_compile=True) on {', '.join(devices)}",
            "TensorFlow compiles no steps with XLA that several devices share: choose one of both",
        )
    with instruments.without_tracers(plan) as suspended:
        yield PreparedTraining(replace(job, devices=devices), plan, instruments, suspended)


@dataclass(frozen=True, slots=True, eq=False)
class _Trained:
    """The outcome of one training.

    Attributes:
        run: its epochs and steps.
        score: of the trained model.
        name: of the model, with its size.
        initial_hash: of the initial weights; empty if the first step made them.
        final_hash: of the final weights.
        note: on outputs that are not scored; may be empty.
    """

    run: TrainingRun
    score: Score
    name: str
    initial_hash: str
    final_hash: str
    note: str = ""


def _measured(
    job: TrainingJob, plan: Plan, instruments: Instruments, *, test: str, name: str
) -> Measurement:
    # Several devices are compared with the first one alone.
    compares = len(job.devices) > 1 and not plan.quick
    with (
        quiet_gc(),
        TrainingMonitor(instruments, job.seeds + compares, job.recipe.epochs) as monitor,
    ):
        with gpu_peaks() as peaks:
            trained = [_trained(job, plan, monitor, seed) for seed in range(job.seeds)]
        alone = None
        if compares:
            alone = _trained(replace(job, devices=job.devices[:1]), plan, monitor, 0)
    goals = dict.fromkeys(b.metric for b in plan.budgets if b.metric.goal is not None)
    summary = summarise_training([training.run for training in trained], goals)
    unfit = sorted(ANSWER_METRICS - set(summary.metrics))
    why = "no output with labels is chosen" if trained[0].note else "the labels do not fit so"
    summary.refused.update(dict.fromkeys(unfit, why))
    steps = job.seeds * job.recipe.epochs * _steps(job)
    telemetry = monitor.telemetry
    metrics = {
        **summary.metrics,
        "train.peak_memory": counted(float(max(telemetry.resident))),
        "errors": counted(0.0),
    }
    gpus = summarise_gpus(telemetry.looks, frozenset({os.getpid()}))
    notes = (
        *_notes(job, trained, quick=plan.quick),
        _speed_up(trained[0].run, alone.run, job.devices) if alone else "",
        *peak_notes(peaks),
        disturbance(monitor.used),
        *gpu_notes(gpus),
    )
    single = trained[0].score if job.seeds == 1 else None
    return Measurement(
        test=test,
        name=name,
        target=trained[0].name,
        scenario=job.scenario,
        serving=job.place,
        seconds=sum(
            training.run.first_step_seconds + training.run.steps.seconds for training in trained
        ),
        requests=steps,
        metrics=MappingProxyType(metrics),
        refused=MappingProxyType(summary.refused),
        missed=MappingProxyType(summary.missed),
        errors=(),
        rows=rows_of(job.evaluated, single),
        scores=scores_of(job.evaluated, single),
        seeds=_accuracies(trained),
        invalid="",
        notes=tuple(filter(None, notes)),
        diagnosis=_diagnosis(job, summary),
        intervals=summary.intervals,
        usage=consumption(monitor.used, monitor.busy_cores, telemetry.resident, steps),
        gpus=gpus,
    )


def _trained(job: TrainingJob, plan: Plan, monitor: TrainingMonitor, seed: int) -> _Trained:
    evaluated = job.evaluated
    with under(job.devices):
        model = built(job.build, {}, job.recipe, seed)
        initial = weights_of(model)
        monitor.begins(f"seed {seed} of {job.seeds}" if job.seeds > 1 else "")
        if initial:
            # Labels that do not fit are reported before the training, not after it.
            _score(model, evaluated, plan)
        run = fit(
            model,
            Examples(job.train.inputs, labels_of(job.train)),
            Examples(evaluated.inputs, labels_of(evaluated)),
            job.recipe,
            monitor.clock,
            monitor.epoch_ended,
            seed,
            plan.output,
        )
        score, note = _score(model, evaluated, plan)
    return _Trained(
        run=replace(run, answers=MappingProxyType(summarise_score(score))),
        score=score,
        name=sized_name_of(model),
        initial_hash=content_hash(*initial) if initial else "",
        final_hash=content_hash(*weights_of(model)),
        note=note,
    )


def _score(model: Model, data: Data, plan: Plan) -> tuple[Score, str]:
    """The score of the answers to all rows, and a note if it leaves outputs out.

    Raises:
        UsageError, DataError: if no metric fits them.
    """
    labels = labels_of(data)
    names = getattr(model, "output_names", None)
    answers = model_answers(outputs_of(model, data.inputs), labels, plan.output, names)
    check_labels(answers, labels)
    scorer = None
    if answers.labels is not None or labels_by_position(labels, answers.layout) is not None:
        every = np.arange(len(labels))
        _, scorer = scoring_of_load(answers.parts, answers.layout, data, every, plan)
    elif _asks_quality(plan):
        refuse_unscored(labels, answers.layout, plan)
    nothing = np.zeros(len(labels))
    right, losses = nothing, nothing
    if scorer is not None and answers.labels is not None:
        right, losses = answers.score(scorer)
    score = Score(
        answered=np.ones(len(labels), dtype=np.int64),
        right=right,
        loss=losses if scorer is not None and scorer.has_loss else None,
        classifies=scorer is not None and scorer.classifies,
        by_user=user_scores(
            answers.for_users(), labels_by_row(labels), measured_by_users(plan), len(labels)
        ),
        distinct=data.distinct,
        positions=answers.positions,
    )
    return score, unscored(answers)


def _asks_quality(plan: Plan) -> bool:
    """Whether a budget needs the accuracy or the loss of one of the outputs."""
    named = [budget.metric for budget in plan.judged]
    return any(each.goal is not None or each.name in ANSWER_METRICS for each in named)


def _steps(job: TrainingJob) -> int:
    rows = len(job.train.inputs)
    return -(-rows // batch_size(job.recipe, rows))


def _accuracies(trained: list[_Trained]) -> tuple[float, ...]:
    if len(trained) == 1 or not trained[0].score.classifies:
        return ()
    return tuple(training.run.answers["accuracy"].value for training in trained)


def _notes(job: TrainingJob, trained: list[_Trained], *, quick: bool) -> Iterator[str]:
    if quick:
        yield (
            f"smoke run: 1 epoch of {len(job.train.inputs)} rows; accuracy and loss are not judged"
        )
    if job.test is None:
        yield "accuracy and loss are those of the training rows: give test=(inputs, labels)"
    yield trained[0].note
    initial = {training.initial_hash for training in trained}
    final = {training.final_hash for training in trained}
    if len(final) < len(trained):
        yield "some seeds gave the same model to the bit, so the seeds' interval says nothing"
    elif "" not in initial and len(initial) < len(trained):
        yield (
            "build() makes the same first weights from different seeds, as if it set one of its "
            "own: the seeds differ by the order of rows only"
        )


def _speed_up(run: TrainingRun, alone: TrainingRun, devices: tuple[str, ...]) -> str:
    ratio = run.steps.rows_per_second / max(alone.steps.rows_per_second, 1e-9)
    note = f"{len(devices)} devices: {ratio:.2f} x the rows a second of {devices[0]} alone"
    if "accuracy" not in run.answers:
        return note
    both = (format_quantity(each.answers["accuracy"].value, "share") for each in (run, alone))
    return f"{note}; accuracy {', alone '.join(both)}"


def _diagnosis(job: TrainingJob, summary: TrainSummary) -> str:
    size = batch_size(job.recipe, len(job.train.inputs))
    rate = summary.metrics.get("train.throughput")
    first = format_quantity(summary.metrics["compile_time"].value, "s")
    first_step = f"the first step, with tracing and compiling, {first}"
    if rate is None:
        return first_step
    return f"{format_quantity(size / rate.value, 's')} a step of {size:,} rows, {first_step}"
