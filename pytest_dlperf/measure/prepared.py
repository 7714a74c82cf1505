"""Prepared loads: a target with its rows, ready to be put under the load of a plan."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_dlperf._processes import NO_ANSWER, call_with_timeout
from pytest_dlperf.clock import StoppableClock
from pytest_dlperf.errors import AnswerError, TargetError
from pytest_dlperf.instrumentation import Instrumentation
from pytest_dlperf.load.accumulator import EXACT, Accumulator
from pytest_dlperf.load.arrivals import seconds_of_arrivals
from pytest_dlperf.load.async_runner import CoroutineLoad, CoroutineTarget
from pytest_dlperf.load.request_log import RequestLog
from pytest_dlperf.load.request_queue import request_queue_for
from pytest_dlperf.load.runner import Load, Replica
from pytest_dlperf.load.trace_files import with_times
from pytest_dlperf.measure.answers import AnswerEvaluation
from pytest_dlperf.measure.reference_answers import ReferenceAnswers, SingleRows
from pytest_dlperf.measure.row_check import RowCheck, WrongAnswers
from pytest_dlperf.measure.scored_rows import scored_of
from pytest_dlperf.measure.scorer import lengths_of
from pytest_dlperf.measure.telemetry import Telemetry
from pytest_dlperf.results.usage import GpuUse, summarise_gpus
from pytest_dlperf.statistics.trend import relative_trend
from pytest_dlperf.trees import read_only, taken

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

    from pytest_dlperf._processes import LoadObserver
    from pytest_dlperf.clock import Clock
    from pytest_dlperf.config.plan import Plan
    from pytest_dlperf.data.dataset import Data
    from pytest_dlperf.data.position_scoring import PositionScorer
    from pytest_dlperf.data.scoring import Scorer
    from pytest_dlperf.load.samples import Samples
    from pytest_dlperf.load.summary import Score
    from pytest_dlperf.load.totals import LoadTotals
    from pytest_dlperf.measure.scored_rows import Scored
    from pytest_dlperf.measure.telemetry import Gpus, Meter, Progress
    from pytest_dlperf.results.measurement import ErrorCount
    from pytest_dlperf.results.usage import Usage
    from pytest_dlperf.targets.target import Prepared


SEED: Final = 0
"""Seed of the arrivals and of the order of rows, so that all runs are alike."""

_WARM_UP_SEED: Final = 1  # other arrivals than those to measure
_WARM_UP_SECONDS: Final = 0.25  # a warm-up window
_WARM_UP_WINDOWS: Final = 8  # at most
_STEADY_WINDOWS: Final = 3  # fewer could agree by chance
_LARGE_TREND: Final = 0.1
_DRAIN_SECONDS: Final = 1.0  # at least, for the answers to what came just before the end


@dataclass(frozen=True, slots=True)
class Instruments:
    """Clock, meter, progress display and GPUs of a session; tests bring their own.

    `gpus` is None if there are none, or no driver answers.
    """

    clock: Clock
    meter: Meter
    progress: Progress
    gpus: Gpus | None = None
    instrumentation: Instrumentation = field(default_factory=Instrumentation)

    def without_tracers(self, plan: Plan) -> AbstractContextManager[str]:
        """Suspend tracers and profilers for a block, and yield a note that says so.

        Not in a smoke run, whose speeds are not judged: there they see the target's lines.
        """
        return contextlib.nullcontext("") if plan.quick else self.instrumentation.suspended()


@dataclass(frozen=True, slots=True)
class LoadResult:
    """Result of one load, with its answers scored.

    `seconds` is the time in which requests were to come, less than planned if a trace is over
    before; `errors` are kinds of errors, the most frequent first; `resident` holds resident bytes
    at each tick; `busy_cores` is a mean; `timed_out` is a message about a call that never returned,
    else empty; `wrong` are the answers that differ from those to the same rows alone, and `remark`
    is a note about them.
    """

    seconds: float
    totals: LoadTotals
    score: Score | None
    errors: tuple[ErrorCount, ...]
    resident: list[int]
    used: Usage
    busy_cores: float
    gpus: tuple[GpuUse, ...]
    timed_out: str
    wrong: WrongAnswers
    remark: str = ""


@dataclass(frozen=True, slots=True)
class PreparedLoad:
    """A prepared target with its rows and the plan of its load.

    Attributes:
        order: order in which rows are sent, shape `(rows,)`.
        scorer: scores answers; None without labels, or if these fit users' metrics only.
        by_user: names of the users' metrics to measure.
        reference: answers to single rows; None if they cannot tell rows apart.
        remarks: notes on how answers are read and compared.
    """

    prepared: Prepared
    data: Data
    order: NDArray[np.int64]
    scorer: Scorer | PositionScorer | None
    by_user: tuple[str, ...]
    reference: ReferenceAnswers | None
    remarks: tuple[str, ...]
    plan: Plan
    instruments: Instruments

    @property
    def lengths(self) -> NDArray[np.int64] | None:
        """The lengths up to which answers are compared, in the order of sending; or None."""
        lengths = lengths_of(self.data.labels, self.prepared.layout)
        return None if lengths is None else lengths[self.order]

    def sample_answer(self) -> Scored:
        """What is scored of the answer to the first rows."""
        parts, lengths = self.prepared.sample_parts, self.lengths
        if lengths is not None:
            lengths = np.resize(lengths, len(parts[0]))
        return scored_of(self.prepared.layout, parts, lengths)

    def evaluation(self, clock: StoppableClock) -> AnswerEvaluation:
        """A fresh request source that scores the answers of one load."""
        return AnswerEvaluation(
            data=self.data,
            order=self.order,
            longest=self.plan.served.max_batch_size,
            layout=self.prepared.layout,
            scorer=self.scorer,
            by_user=self.by_user,
            reference=self.reference,
            clock=clock,
            copying=clock.stopped if self.plan.lanes == 1 else contextlib.nullcontext,
        )

    def run(self, seconds: float, phase: str, seed: int = SEED) -> LoadResult:
        """Put the target under load once."""
        plan, instruments = self.plan, self.instruments
        clock = StoppableClock(instruments.clock)
        answers = self.evaluation(clock)
        scenario = with_times(plan.scenario)
        start_ns = clock.now_ns()
        # Drawing the first arrivals can take longer than a request: stop the clock meanwhile.
        with clock.stopped():
            queue = request_queue_for(
                scenario, plan.served, start_ns, seconds, seed, pause=clock.stopped
            )
        coming = seconds_of_arrivals(scenario, seconds)
        end_ns = start_ns + int(seconds * 1e9)
        countdown = end_ns if seconds >= 1 else None
        telemetry = Telemetry(
            instruments.meter,
            instruments.clock,
            instruments.progress,
            phase,
            countdown,
            gpus=instruments.gpus,
        )
        accumulator = Accumulator(
            started_ns=start_ns,
            seconds=coming,
            replicas=1 if plan.clients == "async" else plan.lanes,
            open_loop=plan.open_loop,
            slo=plan.slo,
            exact=EXACT,
        )

        def take(cut: Callable[[], Samples]) -> None:
            # Cutting and scoring take milliseconds, in which no request may become due.
            with clock.stopped():
                segment = cut()
                stop = segment.first + len(segment.outcome)
                outcome = answers.outcomes(segment.first, stop)
                accumulator.add(replace(segment, outcome=outcome))

        log = RequestLog(
            queue=queue,
            source=answers,
            started_ns=start_ns,
            deadline_ns=end_ns + int(max(_DRAIN_SECONDS, seconds) * 1e9),
            sink=take,
        )
        runner = self.runner(log, clock, telemetry)
        rest = runner.run()
        # Before the rest is scored, whose processor time is not the target's.
        used, busy_cores = telemetry.finish()
        take(lambda: rest)
        own_processes = frozenset({os.getpid(), *self.prepared.processes})
        return LoadResult(
            seconds=coming,
            totals=accumulator.totals(),
            score=answers.score,
            errors=answers.errors,
            resident=telemetry.resident,
            used=used,
            busy_cores=busy_cores,
            gpus=summarise_gpus(telemetry.looks, own_processes),
            timed_out=runner.timed_out,
            wrong=answers.wrong,
        )

    def checked(self, run: LoadResult) -> LoadResult:
        """The result with its wrong answers explained: as errors if rows were mixed up.

        Raises:
            TargetError: if a call does not return.
        """
        if not run.wrong.count or self.reference is None or run.timed_out:
            return run
        clock, plan = self.instruments.clock, self.plan
        check = RowCheck(
            single=SingleRows(
                self.prepared.replicas[0],
                read_only(taken(self.data.inputs, self.order)),
                self.prepared.layout,
                self.reference.elements,
                self.lengths,
            ),
            reference=self.reference,
            inputs=self.evaluation(StoppableClock(clock)).inputs,
            order=self.order,
            reach=plan.lanes * (plan.served.max_batch_size if plan.clients == "virtual" else 1),
            clock=clock,
        )
        try:
            finding = call_with_timeout(plan.compile_timeout, lambda: check.explain(run.wrong))
        except AnswerError as error:
            raise TargetError(
                f"{self.prepared.description} hung when asked for single rows again: {error}"
            ) from None
        if finding.error is None:
            return replace(run, remark=finding.note)
        return replace(
            run,
            totals=replace(run.totals, spoiled=finding.error.requests),
            errors=tuple(sorted((*run.errors, finding.error), key=lambda one: -one.requests)),
        )

    def runner(
        self, log: RequestLog, clock: StoppableClock, observer: LoadObserver
    ) -> Load | CoroutineLoad:
        """Runner of the requests of a log: threads for replicas, or an event loop for clients."""
        call_seconds = self.plan.call_timeout
        first = self.prepared.replicas[0]
        if isinstance(first, CoroutineTarget):
            return CoroutineLoad(
                target=first,
                clients=self.plan.lanes,
                clock=clock,
                log=log,
                call_seconds=call_seconds,
                observer=observer,
            )
        replicas = [Replica(target, clock) for target in self.prepared.replicas]
        return Load(replicas=replicas, log=log, call_seconds=call_seconds, observer=observer)

    def close(self) -> None:
        """Release the resources of the target."""
        self.prepared.close()

    def warm_up(self, load_seconds: float | None = None) -> str:
        """Run the load, except in a smoke run, until its speed is steady; a note if it is not.

        In windows of a tenth of the load that follows, `load_seconds`, or of the plan's.

        Raises:
            TargetError: if a call does not return.
        """
        if self.plan.quick:
            return ""
        seconds = min(_WARM_UP_SECONDS, (load_seconds or self.plan.duration) / 10)

        def window() -> NDArray[np.float64]:
            result = self.run(seconds, "warming up", _WARM_UP_SEED)
            timed_out = result.timed_out or next(
                (error.example for error in result.errors if error.kind == NO_ANSWER), ""
            )
            if timed_out:
                raise TargetError(f"{self.prepared.description} hung while warming up: {timed_out}")
            blocks = result.totals.blocks
            seconds_each: NDArray[np.float64] = blocks.busy_ns * 1e-9 / blocks.requests
            return seconds_each

        return warm_up(window)


def warm_up(window: Callable[[], NDArray[np.float64]]) -> str:
    """Run windows until the last three show no trend of 10 % or more, at most eight.

    `window` returns the service time per request in each of its intervals, shape `(intervals,)`.

    Returns:
        A note if the load did not become steady, else an empty text.
    """
    change = 0.0
    costs: list[NDArray[np.float64]] = []
    for _ in range(_WARM_UP_WINDOWS):
        costs.append(window())
        change = relative_trend(np.concatenate(costs[-_STEADY_WINDOWS:]))
        if len(costs) >= _STEADY_WINDOWS and abs(change) < _LARGE_TREND:
            return ""
    return f"not steady after the warm-up: the time a request takes still changed by {change:+.0%}"
