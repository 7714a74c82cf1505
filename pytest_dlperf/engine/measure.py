"""Measure: warm a target up, put it under load, and fold what was found into a measurement."""

from __future__ import annotations

import contextlib
import gc
import os
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from pytest_dlperf.core.diagnosis import diagnose
from pytest_dlperf.core.gpus import GpuUse, gpu_notes, summarise_gpus
from pytest_dlperf.core.lateness import lateness
from pytest_dlperf.core.measurement import ErrorCount, Measurement
from pytest_dlperf.core.metrics import ANSWER_METRICS
from pytest_dlperf.core.rows import Rows
from pytest_dlperf.core.scenarios import Offline, OpenLoop
from pytest_dlperf.core.statistics.estimate import counted
from pytest_dlperf.core.steadiness import drift, growth, shortfall
from pytest_dlperf.core.sufficiency import sufficient_seconds
from pytest_dlperf.core.summary import BLOCKS, Score, Summary, summarise_load, summarise_score
from pytest_dlperf.core.usage import Usage, consumption, disturbance
from pytest_dlperf.engine.keras import Tracings
from pytest_dlperf.engine.rig import Bench, Rig, set_up
from pytest_dlperf.errors import UsageError

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator

    from pytest_dlperf.core.data import Data
    from pytest_dlperf.core.plan import Plan
    from pytest_dlperf.core.samples import Samples

_QUICK_SECONDS: Final = 0.3
_LONGEST: Final = 10  # times the duration that was asked for


def measure(  # noqa: PLR0913 - what, with what, how, and under which name
    target: object, data: Data, plan: Plan, bench: Bench, *, test: str, name: str
) -> Measurement:
    """Put a target under the load of a plan.

    Raises:
        UsageError: if the target cannot be measured, or a budget needs labels that are not there.
        TargetError: if the target's first call fails.
        DataError: if the labels do not fit the answers.
    """
    rig = set_up(target, data, plan, bench)
    tracings = Tracings()
    with contextlib.closing(rig), _quiet_gc():
        unsteady = "" if plan.quick else rig.warm_up()
        before = tracings.count()
        run = _run(rig, _QUICK_SECONDS if plan.quick else plan.duration)
        longer = 0.0 if plan.quick else sufficient_seconds(run.samples, plan.judged)
        if not run.hung and plan.duration < longer <= _LONGEST * plan.duration:
            before = tracings.count()
            run = _run(rig, longer)
        retraced = _retraced(tracings.count() - before)
    samples, score = run.samples, run.score
    summary = _summary(rig, run)
    return Measurement(
        test=test,
        name=name,
        target=rig.prepared.description,
        scenario=str(plan.scenario),
        serving=plan.serving_text,
        seconds=(int(samples.done_ns.max()) - samples.started_ns) * 1e-9,
        requests=samples.total,
        metrics=MappingProxyType(summary.metrics),
        refused=MappingProxyType(summary.refused),
        errors=(*run.errors, *_unanswered(samples)),
        rows=_rows(data, score),
        invalid=lateness(samples),
        notes=tuple(filter(None, (unsteady, rig.remark, retraced, *_notes(plan, run)))),
        diagnosis=diagnose(samples, run.busy_cores),
        slo=plan.slo,
        usage=consumption(run.used, run.busy_cores, run.resident, samples.total),
        gpus=run.gpus,
    )


@dataclass(frozen=True, slots=True)
class _Run:
    """One load, its answers scored."""

    seconds: float
    samples: Samples
    score: Score | None
    errors: tuple[ErrorCount, ...]
    resident: list[int]
    used: Usage
    busy_cores: float
    gpus: tuple[GpuUse, ...]
    hung: str


def _run(rig: Rig, seconds: float) -> _Run:
    gc.collect()
    loaded = rig.run(seconds, str(rig.plan.scenario))
    samples, asked, telemetry = loaded.samples, loaded.asked, loaded.telemetry
    used, busy_cores = telemetry.finish()
    if not len(samples.stop):
        raise UsageError("no request became due", "raise the rate or the duration")
    asked.finish()
    return _Run(
        seconds=seconds,
        samples=replace(samples, outcome=asked.outcomes(len(samples.intended_ns))),
        score=asked.score,
        errors=asked.errors,
        resident=telemetry.resident,
        used=used,
        busy_cores=busy_cores,
        gpus=summarise_gpus(telemetry.looks, frozenset({os.getpid(), *rig.prepared.processes})),
        hung=loaded.hung,
    )


def _retraced(counts: Counter[str]) -> str:
    """What was traced while it was measured, in words."""
    if not counts:
        return ""
    each = ", ".join(f"{name} {n} time{'s' if n > 1 else ''}" for name, n in counts.most_common(3))
    return f"tf.function traced again while it was measured: {each}"


def _notes(plan: Plan, run: _Run) -> Iterator[str]:
    if run.seconds > plan.duration:
        yield f"measured for {run.seconds:.0f} s, so that there are enough requests to judge"
    yield disturbance(run.used)
    yield from gpu_notes(run.gpus)
    yield growth(run.resident, len(run.samples.intended_ns))
    if isinstance(plan.scenario, OpenLoop):
        yield shortfall(run.samples, run.seconds)
    else:
        yield drift(run.samples, BLOCKS)


def _summary(rig: Rig, run: _Run) -> Summary:
    plan, samples, score = rig.plan, run.samples, run.score
    load = summarise_load(samples, latencies=not isinstance(plan.scenario, Offline), slo=plan.slo)
    metrics = {
        **load.metrics,
        **(summarise_score(score) if score else {}),
        "peak_memory": counted(float(max(run.resident))),
        "compile_time": counted(rig.prepared.compile_seconds),
    }
    expected = ANSWER_METRICS if score and score.classifies else {"loss"} if score else set()
    why = "no request was answered well, or the loss is infinite"
    return Summary(metrics, {**load.refused, **dict.fromkeys(expected - set(metrics), why)})


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


def _unanswered(samples: Samples) -> Iterator[ErrorCount]:
    if samples.rejected:
        example = "came when the queue was full: the target is slower than the load"
        yield ErrorCount("rejected", samples.rejected, example)
    if samples.unfinished:
        example = "still waiting when the run's time was up: the target is slower than the load"
        yield ErrorCount("unfinished", samples.unfinished, example)


def _rows(data: Data, score: Score | None) -> Rows | None:
    if score is None or not score.classifies:
        return None
    answered = score.answered > 0
    return Rows(data.hash, answered, answered & (2 * score.right > score.answered))
