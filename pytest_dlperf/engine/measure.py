"""Measure: prepare a target, ask it alone, warm it up, put it under load, fold the result."""

from __future__ import annotations

import contextlib
import gc
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_dlperf.core.diagnosis import diagnose
from pytest_dlperf.core.lateness import lateness
from pytest_dlperf.core.measurement import ErrorCount, Measurement
from pytest_dlperf.core.metrics import ANSWER_METRICS
from pytest_dlperf.core.rows import Rows
from pytest_dlperf.core.scenarios import Offline
from pytest_dlperf.core.scoring import scorer_for
from pytest_dlperf.core.statistics.estimate import counted
from pytest_dlperf.core.summary import Score, summarise_load, summarise_score
from pytest_dlperf.engine.backlog import backlog_for
from pytest_dlperf.engine.evaluation import Evaluation
from pytest_dlperf.engine.load import Load
from pytest_dlperf.engine.reference_answers import ask_alone
from pytest_dlperf.engine.target import Prepared, prepare
from pytest_dlperf.engine.telemetry import Telemetry
from pytest_dlperf.engine.warmup import warm_up
from pytest_dlperf.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_dlperf.core.data import Data
    from pytest_dlperf.core.plan import Plan
    from pytest_dlperf.core.samples import Samples
    from pytest_dlperf.engine.clock import Clock
    from pytest_dlperf.engine.telemetry import Meter, Progress

SEED: Final = 0
"""Of the arrivals and of the order of rows, so that every run asks the same."""

_QUICK_SECONDS: Final = 0.3
_WARM_UP_SEED: Final = 1
_WINDOW_SECONDS: Final = 0.25
_DRAIN_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Bench:
    """What measuring needs from outside: time, what the process uses, and somebody to tell."""

    clock: Clock
    meter: Meter
    progress: Progress


@dataclass(frozen=True, slots=True)
class _Rig:
    """A prepared target with the plan of its load."""

    prepared: Prepared
    plan: Plan
    bench: Bench

    def run(
        self, asked: Evaluation, seconds: float, phase: str, seed: int
    ) -> tuple[Samples, Telemetry]:
        plan, bench = self.plan, self.bench
        start_ns = bench.clock.now_ns()
        end_ns = start_ns + int(seconds * 1e9)
        countdown = end_ns if seconds >= 1 else None
        telemetry = Telemetry(bench.meter, bench.clock, bench.progress, phase, countdown)
        load = Load(
            targets=self.prepared.replicas,
            backlog=backlog_for(plan.scenario, plan.serving, start_ns, seconds, seed),
            feed=asked,
            serving=plan.serving,
            clock=bench.clock,
            deadline_ns=end_ns + int(max(_DRAIN_SECONDS, seconds) * 1e9),
            watch=telemetry,
        )
        return load.run(), telemetry

    def warm_up(self, evaluation: Callable[[], Evaluation]) -> str:
        seconds = min(_WINDOW_SECONDS, self.plan.duration / 10)

        def window() -> float:
            samples, _ = self.run(evaluation(), seconds, "warming up", _WARM_UP_SEED)
            if not len(samples.stop):
                return 0.0
            span_ns = int(samples.done_ns.max()) - samples.started_ns
            return len(samples.intended_ns) / span_ns * 1e9

        return warm_up(window)


def measure(  # noqa: PLR0913 - what, with what, how, and under which name
    target: object, data: Data, plan: Plan, bench: Bench, *, test: str, name: str
) -> Measurement:
    """Put a target under the load of a plan.

    Raises:
        UsageError: if the target cannot be measured, or a budget needs labels that are not there.
        TargetError: if the target's first call fails.
        DataError: if the labels do not fit the answers.
    """
    if data.labels is None:
        _refuse_budgets_on_answers(plan, "the data has no labels")
    bench.progress.show("compiling", None)
    order = np.random.default_rng(SEED).permutation(len(data.inputs))
    longest = plan.serving.max_batch_size
    sample = np.resize(data.inputs[order[:longest]], (longest, *data.inputs.shape[1:]))
    # Read-only, as under load: a target that changes its input must be found out at once.
    sample.flags.writeable = False
    prepared = prepare(target, sample, plan.serving, bench.clock)
    scorer = scorer_for(prepared.first_answer, data.labels) if data.labels is not None else None
    if scorer is not None and not scorer.classifies:
        _refuse_budgets_on_answers(plan, "the labels are no classes", {"accuracy"})
    width = int(np.prod(prepared.first_answer.shape[1:], dtype=np.int64))
    bench.progress.show("asking rows alone", None)
    reference, remark = ask_alone(
        prepared.replicas[0], data.inputs[order[: 1 << 10]], width, bench.clock
    )

    def evaluation() -> Evaluation:
        return Evaluation(
            data=data,
            order=order,
            longest=longest,
            shape=prepared.first_answer.shape[1:],
            scorer=scorer,
            reference=reference,
        )

    with _quiet_gc():
        rig = _Rig(prepared, plan, bench)
        unsteady = "" if plan.quick else rig.warm_up(evaluation)
        asked = evaluation()
        seconds = _QUICK_SECONDS if plan.quick else plan.duration
        samples, telemetry = rig.run(asked, seconds, str(plan.scenario), SEED)
        busy_cores = telemetry.busy_cores()
    asked.finish()
    samples = replace(samples, outcome=asked.outcomes(len(samples.intended_ns)))
    if not len(samples.stop):
        raise UsageError("no request became due", "raise the rate or the duration")
    notes = tuple(filter(None, (unsteady, remark)))
    summary = summarise_load(samples, latencies=not isinstance(plan.scenario, Offline))
    score = asked.score
    metrics = {
        **summary.metrics,
        **(summarise_score(score) if score else {}),
        "peak_memory": counted(float(telemetry.peak_bytes)),
        "compile_time": counted(prepared.compile_seconds),
    }
    refused = dict(summary.refused)
    if score is not None:
        unscored = (ANSWER_METRICS if scorer and scorer.classifies else {"loss"}) - set(metrics)
        refused |= dict.fromkeys(unscored, "no request was answered well, or the loss is infinite")
    return Measurement(
        test=test,
        name=name,
        target=prepared.description,
        scenario=str(plan.scenario),
        serving=str(plan.serving),
        seconds=(int(samples.done_ns.max()) - samples.started_ns) * 1e-9,
        requests=len(samples.outcome) + samples.unfinished,
        metrics=MappingProxyType(metrics),
        refused=MappingProxyType(refused),
        errors=(*asked.errors, *_unfinished(samples)),
        rows=_rows(data, score),
        invalid=lateness(samples),
        notes=notes,
        diagnosis=diagnose(samples, busy_cores),
    )


def _refuse_budgets_on_answers(
    plan: Plan, problem: str, metrics: frozenset[str] | set[str] = ANSWER_METRICS
) -> None:
    for budget in plan.judged:
        if budget.metric.name in metrics:
            raise UsageError(
                f"budget {budget.text!r} cannot be judged: {problem}",
                "give (inputs, labels), or drop the budget",
            )


@contextlib.contextmanager
def _quiet_gc() -> Iterator[None]:
    enabled = gc.isenabled()
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.unfreeze()
        if enabled:
            gc.enable()


def _unfinished(samples: Samples) -> tuple[ErrorCount, ...]:
    if not samples.unfinished:
        return ()
    example = "still waiting when the run's time was up: the target is slower than the load"
    return (ErrorCount("unfinished", samples.unfinished, example),)


def _rows(data: Data, score: Score | None) -> Rows | None:
    if score is None or not score.classifies:
        return None
    answered = score.answered > 0
    return Rows(data.hash, answered, answered & (2 * score.right > score.answered))
