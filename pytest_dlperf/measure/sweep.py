"""Sweeps: throughput and latency over the number of clients, and the knee of that curve."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from pytest_dlperf._values import check_count
from pytest_dlperf.errors import UsageError
from pytest_dlperf.load.quality import diagnose
from pytest_dlperf.load.scenarios import ClosedLoop
from pytest_dlperf.load.summary import summarise_load
from pytest_dlperf.measure.max_rate import PooledEvaluation
from pytest_dlperf.measure.measure import quiet_gc
from pytest_dlperf.measure.preparation import prepare_load
from pytest_dlperf.metrics import metric_named
from pytest_dlperf.report.tables import LINE, Column, table
from pytest_dlperf.units import format_quantity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pytest_dlperf.config.plan import Plan
    from pytest_dlperf.data.dataset import Data
    from pytest_dlperf.measure.prepared import Instruments, PreparedLoad
    from pytest_dlperf.results.measurement import Measurement
    from pytest_dlperf.statistics.estimate import Estimate


CLIENTS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)
"""Default numbers of clients."""

_COLUMNS: Final = ("throughput", "p50", "p99", "mean")


@dataclass(frozen=True, slots=True)
class Point:
    """Result for one number of clients of a closed loop without think time.

    Metrics with too few requests are None; `batch` is the mean batch size, `errors` the share of
    requests with an error.
    """

    clients: int
    throughput: Estimate | None
    p50: Estimate | None
    p99: Estimate | None
    mean: Estimate | None
    batch: float
    errors: float

    @property
    def power(self) -> float | None:
        """Throughput over mean latency (Kleinrock 1979), requests a second squared."""
        if self.throughput is None or self.mean is None:
            return None
        return self.throughput.value / self.mean.value


@dataclass(frozen=True, slots=True)
class Sweep:
    """A throughput-latency curve; `print` shows it as a table.

    Attributes:
        points: results by number of clients, increasing.
        whole: metrics over all points that do not depend on the load: errors, accuracy, loss,
            memory.
    """

    points: tuple[Point, ...]
    whole: Measurement

    def __post_init__(self) -> None:
        counts = [point.clients for point in self.points]
        if not counts or counts != sorted(set(counts)):
            raise ValueError(f"a curve needs rising numbers of clients, not {counts}")

    @property
    def knee(self) -> Point | None:
        """The point of the greatest power; with more clients, they mostly wait for one another.

        Kleinrock, "Power and deterministic rules of thumb for probabilistic problems in computer
        communications", ICC 1979: throughput over mean response time is greatest where the
        system is just full and no queue has formed.

        Returns:
            None if no point has both a throughput and a latency.
        """
        powers = [(point.power, point) for point in self.points if point.power is not None]
        return max(powers, key=lambda pair: pair[0])[1] if powers else None

    def __str__(self) -> str:
        knee = self.knee
        names = ("clients", *_COLUMNS, "batch", "errors")
        rows = [[*_cells(point), "<- knee" if point is knee else ""] for point in self.points]
        columns = (*(Column(name, right=True) for name in names), Column(""))
        return "\n".join(table(columns, rows, LINE, colour=False))


def point(clients: int, metrics: Mapping[str, Estimate], batch: float) -> Point:
    """Make a point of the metrics of its load."""
    return Point(
        clients=clients,
        throughput=metrics.get("throughput"),
        p50=metrics.get("p50"),
        p99=metrics.get("p99"),
        mean=metrics.get("mean"),
        batch=batch,
        errors=metrics["errors"].value,
    )


def checked_clients(clients: Iterable[int] | str) -> tuple[int, ...]:
    """Numbers of clients, increasing, each once.

    Raises:
        UsageError: if there are none, or one is not a positive whole number.
    """
    __tracebackhide__ = True
    if isinstance(clients, str):
        raise UsageError(
            f"sweep(clients={clients!r})",
            "expected numbers, such as (1, 8, 64); clients that are real: the marker's clients=",
        )
    try:
        given = tuple(clients)
    except TypeError:
        raise UsageError(
            f"clients={clients!r:.80}", "expected numbers, such as (1, 8, 64)"
        ) from None
    for count in given:
        check_count(count, "sweep(clients)")
    if not given:
        raise UsageError("sweep(clients=()) has no points", "such as clients=(1, 8, 64)")
    return tuple(sorted(set(given)))


def measure_sweep(  # noqa: PLR0913 - target, load and name
    target: object,
    data: Data,
    plan: Plan,
    instruments: Instruments,
    *,
    clients: tuple[int, ...],
    test: str,
) -> Sweep:
    """Measure a target under closed loops of each number of clients, given in increasing order.

    It is compiled, asked for single rows and warmed up once, with the most clients. The plan's
    scenario is not used. Raises as `prepare_load`.

    Raises:
        TargetError: if a call does not return.
    """
    plan = replace(plan, scenario=ClosedLoop(clients[-1]))
    with instruments.without_tracers(plan) as suspended:
        load = prepare_load(target, data, plan, instruments)
        load = replace(load, remarks=(*load.remarks, suspended))
        return _swept(load, clients, test)


def _swept(load: PreparedLoad, clients: tuple[int, ...], test: str) -> Sweep:
    pool = PooledEvaluation(load)
    seconds = load.plan.load_seconds

    def measured(count: int) -> tuple[Point, str]:
        run = pool.run(_under(load, count), seconds)
        summary = summarise_load(run.totals, latencies=True)
        diagnosis = f"with {count} clients: {diagnose(run.totals, run.busy_cores)}"
        batch = run.totals.answered / run.totals.calls
        return point(count, summary.metrics, batch), diagnosis

    with contextlib.closing(load), quiet_gc():
        warm_up_note = load.warm_up()
        points, diagnoses = zip(*map(measured, clients), strict=True)
    scenario = f"sweep(clients={', '.join(map(str, clients))})"
    whole = pool.measurement(test, "", scenario, load.plan.serving_text)
    notes = (*filter(None, [warm_up_note]), *whole.notes)
    return Sweep(points, replace(whole, notes=notes, diagnosis=diagnoses[-1]))


def _under(load: PreparedLoad, clients: int) -> PreparedLoad:
    """The load with this number of clients; real clients are replicas, one each."""
    plan = replace(load.plan, scenario=ClosedLoop(clients))
    replicas = load.prepared.replicas[: plan.lanes]
    return replace(load, plan=plan, prepared=replace(load.prepared, replicas=replicas))


def _cells(point: Point) -> list[str]:
    estimates = (point.throughput, point.p50, point.p99, point.mean)
    return [
        str(point.clients),
        *(
            format_quantity(estimate.value, metric_named(name).unit) if estimate else "-"
            for name, estimate in zip(_COLUMNS, estimates, strict=True)
        ),
        f"{point.batch:.1f}",
        format_quantity(point.errors, "share"),
    ]
