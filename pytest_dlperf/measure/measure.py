"""Measure a target: warm it up, put it under load, and summarise the load as a measurement."""

from __future__ import annotations

import contextlib
import gc
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_dlperf.errors import UsageError
from pytest_dlperf.load.quality import clients_ran_out, diagnose, drift, growth, lateness, shortfall
from pytest_dlperf.load.summary import Score, Summary, summarise_load, summarise_score
from pytest_dlperf.load.totals import few_sizes
from pytest_dlperf.measure.preparation import prepare_load
from pytest_dlperf.measure.prepared import (
    SEED,
    Instruments,
    LoadResult,
    PreparedLoad,
)
from pytest_dlperf.measure.slot_runner import SlotRunner
from pytest_dlperf.measure.yardstick import NO_YARDSTICK
from pytest_dlperf.ragged import PaddedRows, padding_share
from pytest_dlperf.results.measurement import ErrorCount, Measurement
from pytest_dlperf.results.row_evidence import Rows, RowScores
from pytest_dlperf.results.series import series_of
from pytest_dlperf.results.usage import consumption, disturbance, gpu_notes
from pytest_dlperf.statistics.blocks import MIN_BLOCKS
from pytest_dlperf.statistics.estimate import counted
from pytest_dlperf.statistics.percentiles import required_requests
from pytest_dlperf.targets.keras_models import Tracings
from pytest_dlperf.trees import as_tree, leaves, taken
from pytest_dlperf.units import format_quantity

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterable, Iterator

    from pytest_dlperf.config.budgets import Budget
    from pytest_dlperf.config.plan import Plan
    from pytest_dlperf.data.dataset import Data
    from pytest_dlperf.load.totals import LoadTotals
    from pytest_dlperf.measure.yardstick import SpeedCheck

_LONGEST: Final = 10  # longest load, in multiples of the requested duration
_MARGIN: Final = 1.2  # of a longer load, whose requests may come more slowly
PERCENTILE_INTERVALS: Final = "ranks, with requests that are late together counted as fewer"
_FROZEN_BY_PYTHON: Final = 1_000  # objects, at most: 3.12 freezes 375 when it starts
_UNTIMED: Final = frozenset({"errors", "peak_memory", "compile_time"})


@dataclass(frozen=True, slots=True)
class PreparedTarget:
    """A `Measurable` target, and the count of the tracings of `tf.function`s in this process."""

    load: PreparedLoad
    tracings: Tracings

    def warm_up(self) -> str:
        """Run the load until its speed is steady; returns a note if it is not."""
        return self.load.warm_up()

    def slots(self) -> SlotRunner:
        """Runner of its slots, for use after the warm-up."""
        return SlotRunner(self.load)

    def measure(
        self, test: str, name: str, seconds: float, speed: SpeedCheck = NO_YARDSTICK
    ) -> Measurement:
        """Warm the target up, and measure it under load.

        Requests arrive for `seconds`, or up to ten times as long if the budgets need more requests.
        """
        load, plan = self.load, self.load.plan
        warm_up_note = load.warm_up(seconds)
        # After the warm-up, whose tracings are expected.
        before = self.tracings.count()
        planned = seconds
        speed.begin()
        run = run_once(load, planned)
        speed.again()
        longer = 0.0 if plan.quick else sufficient_seconds(run.totals, plan.judged)
        over = run.seconds < planned  # a trace, which has no more requests
        if not run.timed_out and not over and seconds < longer <= _LONGEST * seconds:
            before = self.tracings.count()
            planned = longer
            speed.begin()
            run = run_once(load, planned)
            speed.again()
        retraced = _retraced(self.tracings.count() - before)
        longer_note = (
            f"measured for {format_quantity(run.seconds, 's')}, so that there are enough requests "
            "to judge"
            if run.seconds > seconds
            else ""
        )
        if run.seconds < min(planned, longer):
            longer_note = (
                f"the trace is over after {format_quantity(run.seconds, 's')}: a longer duration= "
                "has no more requests"
            )
        notes = (warm_up_note, load.prepared.remark, *load.remarks, retraced, longer_note)
        return _measurement(load, run, test=test, name=name, notes=notes)


def sufficient_seconds(totals: LoadTotals, budgets: Iterable[Budget]) -> float:
    """How long the same load must last to measure the metrics of the budgets.

    Depends on the number of requests, and for percentiles on how far they hang together, never on
    how late they were, so that measuring longer does not favour a verdict.

    Returns:
        Seconds, with a margin of a fifth; 0 if the load was long enough, or had no good answer, so
        that a longer one would not help.
    """
    metrics = (budget.metric for budget in budgets)
    timed = [m for m in metrics if m.name not in _UNTIMED and not m.of_answers]
    queries = totals.queries
    if not timed or not queries:
        return 0.0
    # Twice the blocks that are needed, as calls do not fall evenly into them.
    factor = 2 * MIN_BLOCKS / totals.calls
    percentiles = [metric for metric in timed if metric.percentile is not None]
    for metric in percentiles:
        factor = max(factor, required_requests(metric.percentile or 0.0) / queries)
    if percentiles and factor <= 1 and totals.kept_up:
        longer = summarise_load(totals, latencies=True).longer
        factor = max(factor, *(longer.get(metric.name, 0.0) for metric in percentiles))
    return _MARGIN * factor * totals.span_ns * 1e-9 if factor > 1 else 0.0


@contextlib.contextmanager
def ready(
    target: object, data: Data, plan: Plan, instruments: Instruments
) -> Iterator[PreparedTarget]:
    """Prepare a target without tracers and the garbage collector; raises as `prepare_load`."""
    with instruments.without_tracers(plan) as suspended:
        load = prepare_load(target, data, plan, instruments)
        load = replace(load, remarks=(*load.remarks, suspended))
        tracings = Tracings()
        with contextlib.closing(load), quiet_gc():
            yield PreparedTarget(load, tracings)


def measure(  # noqa: PLR0913 - target, load and name
    target: object, data: Data, plan: Plan, instruments: Instruments, *, test: str, name: str
) -> Measurement:
    """Measure a target under the load of a plan; raises as `prepare_load`."""
    with ready(target, data, plan, instruments) as subject:
        return subject.measure(test, name, plan.load_seconds)


def _measurement(
    load: PreparedLoad, run: LoadResult, *, test: str, name: str, notes: tuple[str, ...]
) -> Measurement:
    plan, totals = load.plan, run.totals
    summary = _summary(load, run)
    return Measurement(
        test=test,
        name=name,
        target=load.prepared.description,
        scenario=str(plan.scenario),
        serving=plan.serving_text,
        seconds=totals.span_ns * 1e-9,
        requests=totals.total,
        metrics=MappingProxyType(summary.metrics),
        refused=MappingProxyType(summary.refused),
        unbounded=MappingProxyType(summary.unbounded),
        at_least=MappingProxyType(summary.at_least),
        errors=(*run.errors, *_unanswered(totals)),
        rows=rows_of(load.data, run.score),
        scores=scores_of(load.data, run.score),
        invalid=lateness(totals) or _late_clients(plan, totals),
        hung=run.timed_out,
        notes=tuple(filter(None, (*notes, *_notes(plan, run), *_padding(load, totals)))),
        diagnosis=diagnose(totals, run.busy_cores),
        intervals=PERCENTILE_INTERVALS if plan.has_latencies else "",
        slo=plan.slo,
        batch_sizes=MappingProxyType(few_sizes(totals.batch_sizes)),
        utilisation=totals.utilisation,
        series=series_of(totals, latencies=plan.has_latencies),
        usage=consumption(run.used, run.busy_cores, run.resident, totals.total),
        gpus=run.gpus,
    )


def run_once(load: PreparedLoad, seconds: float, phase: str = "", seed: int = SEED) -> LoadResult:
    """Put a load's target under load for `seconds`; `phase` is shown instead of the scenario.

    Raises:
        UsageError: if no request became due.
    """
    gc.collect()
    run = load.run(seconds, phase or str(load.plan.scenario), seed)
    if not run.totals.calls:
        raise UsageError("no request became due", "raise the rate or the duration")
    return load.checked(run)


def _retraced(counts: Counter[str]) -> str:
    """Note on the `tf.function`s that were traced again during the measurement."""
    if not counts:
        return ""
    each = ", ".join(f"{name} {n} time{'s' if n > 1 else ''}" for name, n in counts.most_common(3))
    return f"tf.function traced again while it was measured: {each}"


def _notes(plan: Plan, run: LoadResult) -> Iterator[str]:
    yield run.remark
    yield disturbance(run.used)
    yield from gpu_notes(run.gpus)
    yield growth(run.resident, run.totals.answered)
    if not plan.open_loop:
        yield drift(run.totals)
    elif not _late_clients(plan, run.totals):
        yield shortfall(run.totals)


def _padding(load: PreparedLoad, totals: LoadTotals) -> Iterator[str]:
    """How much of the rows of many lengths that were sent was padding."""
    for path, leaf in leaves(as_tree(taken(load.data.inputs, load.order))):
        if isinstance(leaf, PaddedRows):
            alone = {1: 1} if load.plan.served.group_by_length else totals.batch_sizes
            share = format_quantity(padding_share(leaf, alone), "share")
            yield f"padding was {share} of {path or 'the inputs'}"


def _late_clients(plan: Plan, totals: LoadTotals) -> str:
    if plan.clients == "virtual" or not plan.open_loop:
        return ""
    return clients_ran_out(totals, plan.lanes)


def _summary(load: PreparedLoad, run: LoadResult) -> Summary:
    speeds = summarise_load(run.totals, latencies=load.plan.has_latencies)
    answers = summarise_answers(run.score)
    metrics = {
        **speeds.metrics,
        **answers.metrics,
        "peak_memory": counted(float(max(run.resident))),
        "compile_time": counted(load.prepared.compile_seconds),
    }
    return replace(speeds, metrics=metrics, refused={**speeds.refused, **answers.refused})


def summarise_answers(score: Score | None) -> Summary:
    """Accuracy, loss and users' metrics, where there are labels."""
    metrics = summarise_score(score) if score else {}
    expected = score.metrics if score else frozenset()
    why = "no request was answered well, or the loss is infinite"
    return Summary(metrics, dict.fromkeys(expected - set(metrics), why))


@contextlib.contextmanager
def quiet_gc() -> Iterator[None]:
    """Switch the garbage collector off, so that it takes no time from the target.

    Frozen objects stay frozen, such as those that a duel's processes share by `fork`.
    """
    enabled = gc.isenabled()
    # `run_once` collects between loads: that must not scan a whole framework again. There is no
    # way to thaw only what is frozen here, so what is frozen already has to do.
    freezes = gc.get_freeze_count() <= _FROZEN_BY_PYTHON
    gc.collect()
    if freezes:
        gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        if freezes:
            gc.unfreeze()
        if enabled:
            gc.enable()


def _unanswered(totals: LoadTotals) -> Iterator[ErrorCount]:
    if totals.rejected:
        example = "came when the queue was full: the target is slower than the load"
        yield ErrorCount("rejected", totals.rejected, example)
    if totals.unfinished:
        example = "still waiting when the run's time was up: the target is slower than the load"
        yield ErrorCount("unfinished", totals.unfinished, example)


def rows_of(data: Data, score: Score | None) -> Rows | None:
    """Evidence for accuracy: which rows were asked, and which of them answered correctly."""
    if score is None or not score.classifies:
        return None
    score, copies = score.of_distinct_rows()
    if score.positions is None:
        return Rows(data.hash, score.asked, 2 * score.right > score.answers, copies)
    right = np.rint(score.right_shares * score.positions).astype(np.int64)
    return Rows(data.hash, score.asked, right, copies, score.positions)


def scores_of(data: Data, score: Score | None) -> RowScores | None:
    """Evidence for users' metrics: the score of each row that has one."""
    if score is None or not score.by_user:
        return None
    score, copies = score.of_distinct_rows()
    scores = {name: score.row_scores(name) for name in score.by_user}
    return RowScores(data.hash, scores, copies)
