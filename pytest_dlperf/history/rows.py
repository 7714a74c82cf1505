"""Entries of the history as rows of its tables and back, and the queries for them."""

from __future__ import annotations

import hashlib
import json
import math
from itertools import groupby
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from pytest_dlperf.history.entries import SOUND, Entry, Query, Run
from pytest_dlperf.history.schema import tables
from pytest_dlperf.judge.machine_noise import PastMeasurement, PastSession
from pytest_dlperf.metrics import definitions_of, in_order, read_definitions
from pytest_dlperf.results.baseline import BaselineEntry
from pytest_dlperf.results.baseline_session import BaselineSession, Revision
from pytest_dlperf.results.codec import check_metrics
from pytest_dlperf.results.environment import Environment, MachineClass
from pytest_dlperf.results.row_evidence import Rows, RowScores, fingerprints
from pytest_dlperf.results.series import BlockSummary
from pytest_dlperf.results.verdict import Verdict
from pytest_dlperf.statistics.estimate import Estimate
from pytest_dlperf.statistics.pace import Pace

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from sqlalchemy import ColumnElement, Join, Row, Select, Table


_SUSPECTED: Final = "suspected"
"""In place of what kept speeds from being judged: a loss that one session alone suspects."""

UNREADABLE: Final = (AttributeError, KeyError, OverflowError, TypeError, ValueError)
"""Errors of decoding rows that this package did not write."""


def digest_of(test: str) -> str:
    """The key of a node id."""
    return hashlib.sha256(test.encode("utf-8", "surrogatepass")).hexdigest()


def run_row(run: Run) -> dict[str, object]:
    """The row of a run."""
    return {
        "key": run.key,
        "began": run.began,
        "slug": run.machine.slug,
        "machine": json.dumps(run.machine.to_json()),
        "commit": run.revision.commit,
        "branch": run.revision.branch,
        "date": run.revision.date,
    }


def measurement_row(entry: Entry, run_id: int, test_id: int) -> dict[str, object]:
    """The row of a measurement, without its id."""
    result = entry.result
    blocks, pace = result.newest.blocks, result.newest.yardstick
    return {
        "run_id": run_id,
        "test_id": test_id,
        "began": entry.run.began,
        "name": entry.name,
        "verdict": entry.verdict.value,
        "renews": entry.renews,
        "unquiet": entry.noise or (_SUSPECTED if entry.suspected else ""),
        "scenario": result.scenario,
        "serving": result.serving,
        "slo": result.slo,
        "compute": pace.compute if pace else None,
        "memory": pace.memory if pace else None,
        "environment": json.dumps(result.environment.to_json()),
        "blocks": json.dumps(blocks.to_json()) if blocks else None,
        "seeds": json.dumps(result.seeds) if result.seeds else None,
    }


def metric_rows(metrics: Mapping[str, Estimate], measurement_id: int) -> list[dict[str, object]]:
    """The rows of a measurement's metrics; without an upper bound, the high end is infinite."""
    return [
        {
            "measurement_id": measurement_id,
            "metric": name,
            "value": estimate.value,
            "low": estimate.low,
            "high": estimate.high,
        }
        for name, estimate in metrics.items()
    ]


def bits_row(rows: Rows, measurement_id: int) -> dict[str, object]:
    """The row of a measurement's correctness bits; without how many copies rows have."""
    value = rows.to_json()
    value.pop("copies", None)
    for bits in ("answered", "right"):
        value[bits] = bytes.fromhex(str(value[bits]))
    return {"measurement_id": measurement_id, **value}


def users_metric_rows(result: BaselineEntry, measurement_id: int) -> list[dict[str, object]]:
    """The rows of a measurement's users' metrics: their definitions and scores."""
    scores = result.scores.to_json() if result.scores is not None else {}
    scored: Any = scores.get("metrics", {})
    return [
        {
            "measurement_id": measurement_id,
            "metric": name,
            **definition,
            "data": scores.get("data", ""),
            "rows": scores.get("rows", 0),
            "kind": scored[name]["kind"] if name in scored else "",
            "scores": bytes.fromhex(scored[name]["scores"]) if name in scored else b"",
        }
        for name, definition in definitions_of(result.metrics).items()
    ]


def entry_of_row(
    row: Row[Any], metrics: Iterable[Row[Any]], users: Sequence[Row[Any]] = ()
) -> Entry:
    """The entry of a row of `select_entries`.

    Defines the users' metrics that it has; those that are defined differently by now are left out.

    Args:
        row: measurement, joined with its run, test and bits.
        metrics: its metrics.
        users: its users' metrics.

    Raises:
        UNREADABLE: if a row is not one that this package writes.
    """
    redefined = read_definitions(
        {
            user.metric: {"unit": user.unit, "better": user.better, "detect": user.detect}
            for user in users
        }
    )
    run = run_of_row(row)
    bits, scores = _bits(row), _scores(users, redefined)
    measured = _metrics(metrics, redefined)
    bounded = {name: value for name, value in measured.items() if value.bounded}
    session = BaselineSession(
        metrics=MappingProxyType(bounded),
        environment=Environment.from_json(json.loads(row.environment)),
        revision=run.revision,
        yardstick=_pace(row),
        blocks=BlockSummary.from_json(json.loads(row.blocks)) if row.blocks else None,
        answers=fingerprints(bits, scores),
    )
    result = BaselineEntry(
        scenario=row.scenario,
        serving=row.serving,
        sessions=(session,),
        rows=bits,
        scores=scores,
        slo=float(row.slo) if row.slo is not None else None,
        seeds=tuple(map(float, json.loads(row.seeds))) if row.seeds else (),
    )
    unbounded = {name: value for name, value in measured.items() if not value.bounded}
    return Entry(
        run=run,
        test=row.test,
        name=row.name,
        verdict=Verdict(row.verdict),
        result=result,
        renews=bool(row.renews),
        noise="" if row.unquiet == _SUSPECTED else row.unquiet,
        suspected=row.unquiet == _SUSPECTED,
        unbounded=MappingProxyType(unbounded),
    )


def run_of_row(row: Row[Any]) -> Run:
    """The run of a row; raises UNREADABLE."""
    revision = Revision(row.commit, row.branch, row.date)
    return Run(row.key, float(row.began), machine_of_row(row), revision)


def machine_of_row(row: Row[Any]) -> MachineClass:
    """The machine class of a run's row; raises UNREADABLE."""
    return MachineClass.from_json(json.loads(row.machine))


def _metrics(rows: Iterable[Row[Any]], redefined: Collection[str]) -> Mapping[str, Estimate]:
    metrics = {row.metric: Estimate(row.value, row.low, row.high) for row in rows}
    check_metrics(metrics)
    names = (name for name in in_order(metrics) if name not in redefined)
    return MappingProxyType({name: metrics[name] for name in names})


def _scores(users: Iterable[Row[Any]], redefined: Collection[str]) -> RowScores | None:
    rows = [row for row in users if row.kind and row.metric not in redefined]
    if not rows:
        return None
    metrics = {row.metric: {"kind": row.kind, "scores": bytes(row.scores).hex()} for row in rows}
    return RowScores.from_json({"data": rows[0].data, "rows": rows[0].rows, "metrics": metrics})


def _pace(row: Row[Any]) -> Pace | None:
    return None if row.compute is None and row.memory is None else Pace(row.compute, row.memory)


def _bits(row: Row[Any]) -> Rows | None:
    if row.rows is None:
        return None
    answered, right = bytes(row.answered).hex(), bytes(row.right).hex()
    value = {"data": row.data, "rows": row.rows, "answered": answered, "right": right}
    return Rows.from_json(value)


def select_entries(query: Query) -> Select[Any]:
    """Measurements joined with run, test and bits, newest first."""
    from sqlalchemy import select

    of = tables()
    columns = [
        *(c for c in of.measurements.c if not c.foreign_keys and c.name != "began"),
        *(c for c in of.runs.c if c.name != "id"),
        of.tests.c.test,
        *(c for c in of.rows.c if not c.foreign_keys),
    ]
    return (
        select(*columns)
        .select_from(_joined().outerjoin(of.rows))
        .where(*_of_runs(query), *_of_measurements(query))
        .order_by(of.measurements.c.began.desc(), of.measurements.c.id.desc())
        .limit(query.limit)
    )


def select_parts(table: Table, measurement_ids: list[int]) -> Select[Any]:
    """The rows of a table that belong to measurements."""
    from sqlalchemy import select

    return select(table).where(table.c.measurement_id.in_(measurement_ids))


def select_speeds(machine: str, names: Collection[str], limit: int) -> Select[Any]:
    """The metrics of the newest measurements that may be a baseline or are suspected, oldest first.

    Args:
        machine: slug of the machine class.
        names: of the metrics.
        limit: number of measurements.
    """
    from sqlalchemy import select

    of = tables()
    measurement, run = of.measurements.c, of.runs.c
    newest = (
        select(measurement.id)
        .select_from(_joined())
        .where(*_of_runs(Query(machine=machine)), _acceptable(but=_SUSPECTED))
        .order_by(measurement.began.desc(), measurement.id.desc())
        .limit(limit)
        .subquery()
    )
    columns = [
        *(of.tests.c.test, measurement.id, measurement.name, measurement.scenario),
        *(measurement.serving, measurement.slo, measurement.environment, measurement.renews),
        *(measurement.compute, measurement.memory, run.date, of.metrics.c.metric),
        *(of.metrics.c.value, of.metrics.c.low, of.metrics.c.high),
    ]
    return (
        select(*columns)
        .select_from(_joined().join(of.metrics))
        .where(measurement.id.in_(select(newest.c.id)), of.metrics.c.metric.in_(names))
        .order_by(measurement.began, measurement.id)
    )


def past_of_rows(rows: Iterable[Row[Any]]) -> tuple[PastMeasurement, ...]:
    """What rows of `select_speeds` say; raises UNREADABLE."""
    sessions: dict[tuple[str, str, str], list[PastSession]] = {}
    conditions: dict[tuple[str, str, str], tuple[object, ...]] = {}
    for _, grouped in groupby(rows, key=lambda row: row.id):
        metrics = list(grouped)
        row = metrics[0]
        key = row.test, row.name, row.scenario
        now = row.serving, row.slo, row.environment
        sessions.setdefault(key, []).append(
            PastSession(
                day=str(row.date),
                metrics={
                    one.metric: Estimate(one.value, one.low, one.high)
                    for one in metrics
                    if math.isfinite(one.high)
                },
                yardstick=_pace(row),
                starts=bool(row.renews) or conditions.get(key, now) != now,
            )
        )
        conditions[key] = now
    return tuple(PastMeasurement(*key, tuple(of_key)) for key, of_key in sessions.items())


def select_names(test: str) -> Select[Any]:
    """The names of a test's measurements, unordered."""
    from sqlalchemy import select

    of = tables()
    names = select(of.measurements.c.name).select_from(of.measurements.join(of.tests))
    return names.where(of.tests.c.digest == digest_of(test)).distinct()


def select_runs(query: Query) -> Select[Any]:
    """The runs that have a measurement of the query, newest first."""
    from sqlalchemy import exists, select

    of = tables()
    measured = exists().select_from(of.measurements.join(of.tests))
    of_run = of.measurements.c.run_id == of.runs.c.id
    return (
        select(of.runs)
        .where(*_of_runs(query), measured.where(of_run, *_of_measurements(query)))
        .order_by(of.runs.c.began.desc(), of.runs.c.id.desc())
        .limit(query.limit)
    )


def select_measurements(query: Query) -> Select[Any]:
    """Tests, names and machines of the query's measurements, unordered."""
    from sqlalchemy import select

    of = tables()
    columns = [of.tests.c.test, of.measurements.c.name, of.runs.c.machine]
    keys = select(*columns).select_from(_joined())
    return keys.where(*_of_runs(query), *_of_measurements(query)).distinct()


def _joined() -> Join:
    of = tables()
    return of.measurements.join(of.runs).join(of.tests)


def _of_runs(query: Query) -> Iterator[ColumnElement[bool]]:
    run = tables().runs.c
    if query.machine is not None:
        yield run.slug == query.machine
    if query.branch is not None:
        yield run.branch == query.branch
    if query.run is not None:
        yield run.key == query.run
    if query.commits is not None:
        yield run.commit.in_(query.commits)


def _of_measurements(query: Query) -> Iterator[ColumnElement[bool]]:
    of = tables()
    measurement = of.measurements.c
    if query.test is not None:
        yield of.tests.c.digest == digest_of(query.test)
    if query.name is not None:
        yield measurement.name == query.name
    if query.verdicts is not None:
        yield measurement.verdict.in_([verdict.value for verdict in query.verdicts])
    if query.acceptable:
        yield _acceptable()


def _acceptable(but: str = "") -> ColumnElement[bool]:
    """As `Entry.acceptable`, `but` for one reason why it may not be."""
    from sqlalchemy import or_

    of = tables()
    measurement = of.measurements.c
    sound = measurement.verdict.in_([verdict.value for verdict in SOUND])
    committed = ~of.runs.c.commit.endswith("+")
    return or_(measurement.renews, sound & committed & measurement.unquiet.in_(["", but]))
