"""Measures `max_rate`: the highest rate of requests at which a target holds a latency limit.

`PooledEvaluation`, which sweeps use as well, sums up the metrics that do not depend on the load.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from pytest_dlperf.errors import TargetError
from pytest_dlperf.load.quality import diagnose, lateness
from pytest_dlperf.load.scenarios import Offline, Server
from pytest_dlperf.measure.measure import quiet_gc, rows_of, run_once, scores_of, summarise_answers
from pytest_dlperf.measure.preparation import prepare_load
from pytest_dlperf.measure.prepared import SEED, Instruments, PreparedLoad
from pytest_dlperf.measure.rate_search import (
    FASTEST,
    ProbeOutcome,
    RateInterval,
    SearchSettings,
    search,
    slowest_rate,
    within_limit,
)
from pytest_dlperf.measure.yardstick import NO_YARDSTICK
from pytest_dlperf.results.measurement import ErrorCount, Measurement
from pytest_dlperf.results.usage import Usage, consumption, disturbance, gpu_notes
from pytest_dlperf.statistics.estimate import counted
from pytest_dlperf.units import format_quantity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_dlperf.config.budgets import LatencyLimit
    from pytest_dlperf.config.plan import Plan
    from pytest_dlperf.data.dataset import Data
    from pytest_dlperf.load.summary import Score
    from pytest_dlperf.load.totals import LoadTotals
    from pytest_dlperf.measure.prepared import LoadResult
    from pytest_dlperf.measure.yardstick import SpeedCheck
    from pytest_dlperf.results.usage import GpuUse
    from pytest_dlperf.statistics.slo_attainment import Attainment


_WINDOWS: Final = 20
_QUICK_WINDOWS: Final = 6
_LIMITS_A_WINDOW: Final = 100
"""Least length of a window, in latency limits: an overload of less than 1 % stays within the limit
for a whole window, and shorter windows of simulated queues were too often called held."""
_MOST_REQUESTS: Final = 10_000_000
"""In one window, to bound memory."""
_START: Final = 0.5
"""The first rate, as a share of the throughput of full batches back to back."""
_NS: Final = 1e-9


@dataclass(frozen=True, slots=True)
class _LastWindow:
    """Diagnosis and lateness of the last window at a rate."""

    diagnosis: str
    late: str


class _Prober:
    """Puts a target under Poisson arrivals of any rate, window by window."""

    def __init__(
        self,
        load: PreparedLoad,
        limit: LatencyLimit,
        seconds: float,
        pool: PooledEvaluation,
        speed: SpeedCheck,
    ) -> None:
        self._load = load
        self._limit = limit
        self._seconds = seconds
        self._pool = pool
        self._speed = speed
        self.last_windows: dict[float, _LastWindow] = {}

    def __call__(self, rate: float, number: int) -> Attainment:
        plan = replace(self._load.plan, scenario=Server(rate), slo=self._limit.seconds)
        phase = f"{_scenario(self._limit)}: {format_quantity(rate, '1/s')}"
        run = self._pool.run(replace(self._load, plan=plan), self._seconds, phase, SEED + number)
        self._speed.again()
        late = self.last_windows[rate].late if number else ""
        diagnosis = diagnose(run.totals, run.busy_cores)
        self.last_windows[rate] = _LastWindow(diagnosis, late or lateness(run.totals))
        return within_limit(run.totals)


@dataclass(frozen=True, slots=True)
class RateSearch:
    """A search that is ready to begin."""

    target: object
    data: Data
    plan: Plan
    instruments: Instruments
    limit: LatencyLimit
    remark: str = ""

    def measure(
        self, test: str, name: str, seconds: float, speed: SpeedCheck = NO_YARDSTICK
    ) -> Measurement:
        """Search; the length of windows is the plan's, not `seconds`."""
        del seconds
        given = (self.target, self.data, self.plan, self.instruments, self.limit)
        measurement = measure_max_rate(*given, test=test, name=name, speed=speed)
        notes = (*measurement.notes, *filter(None, [self.remark]))
        return replace(measurement, notes=notes)

    def warm_up(self) -> str:
        """Do nothing: the search warms the target up."""
        return ""

    def slots(self) -> None:
        """None, as the loads of a search differ."""
        return


@contextlib.contextmanager
def rate_search(
    target: object, data: Data, plan: Plan, instruments: Instruments, limit: LatencyLimit
) -> Iterator[RateSearch]:
    """A search without tracers for the highest rate that holds a limit; see `measure_max_rate`."""
    with instruments.without_tracers(plan) as suspended:
        yield RateSearch(target, data, plan, instruments, limit, suspended)


def measure_max_rate(  # noqa: PLR0913 - target, load and name
    target: object,
    data: Data,
    plan: Plan,
    instruments: Instruments,
    limit: LatencyLimit,
    *,
    test: str,
    name: str,
    speed: SpeedCheck = NO_YARDSTICK,
) -> Measurement:
    """Search for the highest Poisson rate at which a target holds a limit.

    Starts at half the throughput of full batches back to back. A window lasts as long as the plan
    says, or 100 times the limit if that is longer; a search takes at most 20 windows, and a smoke
    run 6 short ones. The plan's scenario is not used. Raises as `prepare_load`.

    Raises:
        TargetError: if no request is answered well, or a call does not return.
    """
    # Without the queue limit, as all requests of an offline load wait from the start.
    full = replace(plan, scenario=Offline(), serving=replace(plan.serving, queue_limit=None))
    load = prepare_load(target, data, full, instruments)
    pool = PooledEvaluation(load)
    planned = plan.load_seconds
    seconds = planned if plan.quick else max(planned, _LIMITS_A_WINDOW * limit.seconds)
    served = replace(load.plan.serving, queue_limit=plan.serving.queue_limit)
    probed = replace(load.plan, scenario=Server(1.0), serving=served)
    prober = _Prober(replace(load, plan=probed), limit, seconds, pool, speed)
    with contextlib.closing(load), quiet_gc():
        warm_up_note = load.warm_up()
        capacity = pool.run(load, planned, f"{_scenario(limit)}: full batches")
        if not capacity.totals.good:
            first = capacity.errors[0]
            raise TargetError(
                f"{load.prepared.description} answered no request well: "
                f"{first.kind}: {first.example}"
            )
        settings = _settings(limit, seconds, _capacity(capacity.totals), quick=plan.quick)
        speed.begin()
        interval = search(prober, settings)
    pooled = pool.measurement(test, name, _scenario(limit), probed.serving_text)
    longer = f"each window lasted {seconds:g} s: {_LIMITS_A_WINDOW} times the limit"
    notes = (
        warm_up_note,
        f"max_rate: {interval}",
        longer if seconds > planned else "",
        *pooled.notes,
    )
    return _with_rate(
        replace(pooled, notes=tuple(filter(None, notes))), interval, prober.last_windows
    )


def _with_rate(
    pooled: Measurement, interval: RateInterval, last_windows: dict[float, _LastWindow]
) -> Measurement:
    estimate = interval.estimate
    metrics, refused = dict(pooled.metrics), dict(pooled.refused)
    if estimate is None:
        refused["max_rate"] = str(interval)
    else:
        metrics = {"max_rate": estimate, **metrics}
    shown = interval.held or min(last_windows)
    # A rate that held although the generator was late would have held all the more without.
    unsure = (probe.rate for probe in interval.probes if probe.outcome is not ProbeOutcome.HELD)
    return replace(
        pooled,
        metrics=MappingProxyType(metrics),
        refused=MappingProxyType(refused),
        invalid=next(filter(None, (last_windows[rate].late for rate in unsure)), ""),
        diagnosis=f"at {format_quantity(shown, '1/s')}: {last_windows[shown].diagnosis}",
    )


def _settings(
    limit: LatencyLimit, seconds: float, capacity: float, *, quick: bool
) -> SearchSettings:
    slowest = slowest_rate(limit.share, seconds)
    fastest = max(slowest, min(FASTEST, _MOST_REQUESTS / seconds))
    return SearchSettings(
        share=limit.share,
        start=min(max(_START * capacity, slowest), fastest),
        slowest=slowest,
        fastest=fastest,
        windows=_QUICK_WINDOWS if quick else _WINDOWS,
    )


def _capacity(totals: LoadTotals) -> float:
    """Answered requests a second."""
    return totals.answered / (max(1, totals.span_ns) * _NS)


def _scenario(limit: LatencyLimit) -> str:
    return f"max_rate({limit})"


class PooledEvaluation:
    """Runs loads of one target, and pools the metrics that do not depend on the load."""

    def __init__(self, load: PreparedLoad) -> None:
        self._load = load
        self._seconds = 0.0
        self._requests = 0
        self._answered = 0
        self._bad = 0
        self._errors: dict[str, ErrorCount] = {}
        self._score: Score | None = None
        self._resident: list[int] = []
        self._gpus: tuple[GpuUse, ...] = ()
        self._gpu_notes: dict[str, None] = {}
        self._remark = ""
        self._used = Usage(0.0, 0.0, 0.0, 0.0)

    def run(
        self, load: PreparedLoad, seconds: float, phase: str = "", seed: int = SEED
    ) -> LoadResult:
        """Run one load; arguments as `run_once`.

        Raises:
            UsageError: if no request became due.
            TargetError: if a call does not return, since further loads would wait for it as well.
        """
        run = run_once(load, seconds, phase, seed)
        if run.timed_out:
            raise TargetError(
                f"{load.prepared.description} hung under {load.plan.scenario}: {run.timed_out}"
            )
        totals = run.totals
        self._seconds += totals.span_ns * 1e-9
        self._requests += totals.total
        self._answered += totals.answered
        self._bad += totals.answered - totals.good
        self._resident = [max(self._resident + run.resident), run.resident[-1]]
        self._gpus = run.gpus
        self._gpu_notes |= dict.fromkeys(gpu_notes(run.gpus))
        self._remark = self._remark or run.remark
        self._used = self._used.plus(run.used)
        for error in run.errors:
            first = self._errors.get(error.kind, replace(error, requests=0))
            self._errors[error.kind] = replace(first, requests=first.requests + error.requests)
        if run.score is not None:
            self._score = self._score.plus(run.score) if self._score else run.score
        return run

    def measurement(self, test: str, name: str, scenario: str, serving: str) -> Measurement:
        """Measurement over all loads, of which there must be at least one.

        `errors` is the share of bad answers among all answers; rejected requests count against
        each load's limit instead.
        """
        load, answers = self._load, summarise_answers(self._score)
        busy_cores = self._used.process / max(self._seconds, 1e-9)
        found = (self._remark, disturbance(self._used), *self._gpu_notes)
        notes = (load.prepared.remark, *load.remarks, *found)
        metrics = {
            "errors": counted(self._bad / self._answered),
            **answers.metrics,
            "peak_memory": counted(float(max(self._resident))),
            "compile_time": counted(load.prepared.compile_seconds),
        }
        return Measurement(
            test=test,
            name=name,
            target=load.prepared.description,
            scenario=scenario,
            serving=serving,
            seconds=self._seconds,
            requests=self._requests,
            metrics=MappingProxyType(metrics),
            refused=MappingProxyType(answers.refused),
            errors=tuple(sorted(self._errors.values(), key=lambda error: -error.requests)),
            rows=rows_of(load.data, self._score),
            scores=scores_of(load.data, self._score),
            invalid="",
            notes=tuple(filter(None, notes)),
            diagnosis="",
            usage=consumption(self._used, busy_cores, self._resident, self._requests),
            gpus=self._gpus,
        )
