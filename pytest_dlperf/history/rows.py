"""Entries of the history as rows of its tables, and back."""

from __future__ import annotations

import hashlib
import json
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from pytest_dlperf.history.entries import SOUND, Entry, Run
from pytest_dlperf.history.schema import tables
from pytest_dlperf.metrics import definitions_of, in_order, read_definitions
from pytest_dlperf.results.baseline import BaselineEntry, BaselineSession, Revision
from pytest_dlperf.results.codec import check_metrics, check_yardstick
from pytest_dlperf.results.environment import Environment, MachineClass
from pytest_dlperf.results.row_evidence import Rows, RowScores
from pytest_dlperf.results.series import BlockSummary
from pytest_dlperf.results.verdict import Verdict
from pytest_dlperf.statistics.estimate import Estimate

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from sqlalchemy import ColumnElement, Join, Row, Select, Table

    from pytest_dlperf.history.entries import Query


UNREADABLE: Final = (AttributeError, KeyError, OverflowError, TypeError, ValueError)
"""What reading rows raises that this package did not write."""


def digest_of(test: str) -> str:
    """By which a node id is found."""
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
    """The row of a measurement, without its number, metrics and bits."""
    found = entry.found
    blocks = found.newest.blocks
    return {
        "run_id": run_id,
        "test_id": test_id,
        "began": entry.run.began,
        "name": entry.name,
        "verdict": entry.verdict.value,
        "renews": entry.renews,
        "unquiet": entry.unquiet,
        "scenario": found.scenario,
        "serving": found.serving,
        "slo": found.slo,
        "yardstick": found.newest.yardstick,
        "environment": json.dumps(found.environment.to_json()),
        "blocks": json.dumps(blocks.to_json()) if blocks else None,
        "seeds": json.dumps(found.seeds) if found.seeds else None,
    }


def metric_rows(metrics: Mapping[str, Estimate], measurement_id: int) -> list[dict[str, object]]:
    """The rows of a measurement's metrics."""
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
    """The row of a measurement's correctness bits."""
    value = rows.to_json()
    for bits in ("answered", "right"):
        value[bits] = bytes.fromhex(str(value[bits]))
    return {"measurement_id": measurement_id, **value}


def users_rows(found: BaselineEntry, measurement_id: int) -> list[dict[str, object]]:
    """The rows of a measurement's users' metrics: what each means, and the scores of its rows."""
    scores = found.scores.to_json() if found.scores is not None else {}
    kept: Any = scores.get("metrics", {})
    return [
        {
            "measurement_id": measurement_id,
            "metric": name,
            **definition,
            "data": scores.get("data", ""),
            "rows": scores.get("rows", 0),
            "kind": kept[name]["kind"] if name in kept else "",
            "scores": bytes.fromhex(kept[name]["scores"]) if name in kept else b"",
        }
        for name, definition in definitions_of(found.metrics).items()
    ]


def others_of(rows: Iterable[Row[Any]]) -> frozenset[str]:
    """Learn of users' metrics; returns those that mean something else by now.

    Raises:
        UNREADABLE: if a row is no metric.
    """
    return read_definitions(
        {row.metric: {"unit": row.unit, "better": row.better, "detect": row.detect} for row in rows}
    )


def scores_of(rows: Iterable[Row[Any]], others: Collection[str]) -> RowScores | None:
    """The scores of the users' metrics of a measurement, without those of others.

    Raises:
        UNREADABLE: if a row has none that this package wrote.
    """
    kept = [row for row in rows if row.kind and row.metric not in others]
    if not kept:
        return None
    metrics = {one.metric: {"kind": one.kind, "scores": bytes(one.scores).hex()} for one in kept}
    return RowScores.from_json({"data": kept[0].data, "rows": kept[0].rows, "metrics": metrics})


def metrics_of(rows: Iterable[Row[Any]], others: Collection[str]) -> Mapping[str, Estimate]:
    """The metrics of one measurement in the order of the table, without those of others.

    Raises:
        UNREADABLE: if a row is no metric.
    """
    found = {row.metric: Estimate(row.value, row.low, row.high) for row in rows}
    check_metrics(found)
    return MappingProxyType({name: found[name] for name in in_order(found) if name not in others})


def entry_of_row(
    row: Row[Any], metrics: Iterable[Row[Any]], users: Sequence[Row[Any]] = ()
) -> Entry:
    """An entry from the row of a measurement, joined with its run, test and bits.

    Args:
        row: of the measurement.
        metrics: of its metrics.
        users: of its users' metrics.

    Raises:
        UNREADABLE: if a row is none that this package wrote.
    """
    others = others_of(users)
    run = run_of_row(row)
    session = BaselineSession(
        metrics=metrics_of(metrics, others),
        environment=Environment.from_json(json.loads(row.environment)),
        revision=run.revision,
        yardstick=check_yardstick(row.yardstick),
        blocks=BlockSummary.from_json(json.loads(row.blocks)) if row.blocks else None,
    )
    found = BaselineEntry(
        scenario=row.scenario,
        serving=row.serving,
        sessions=(session,),
        rows=_bits(row),
        scores=scores_of(users, others),
        slo=float(row.slo) if row.slo is not None else None,
        seeds=tuple(map(float, json.loads(row.seeds))) if row.seeds else (),
    )
    verdict, renews = Verdict(row.verdict), bool(row.renews)
    return Entry(run, row.test, row.name, verdict, found, renews, row.unquiet)


def run_of_row(row: Row[Any]) -> Run:
    """A run from its row.

    Raises:
        UNREADABLE: if the row is none that this package wrote.
    """
    revision = Revision(row.commit, row.branch, row.date)
    return Run(row.key, float(row.began), machine_of_row(row), revision)


def machine_of_row(row: Row[Any]) -> MachineClass:
    """The machine class from the row of a run.

    Raises:
        UNREADABLE: if the row is none that this package wrote.
    """
    return MachineClass.from_json(json.loads(row.machine))


def _bits(row: Row[Any]) -> Rows | None:
    if row.rows is None:
        return None
    answered, right = bytes(row.answered).hex(), bytes(row.right).hex()
    value = {"data": row.data, "rows": row.rows, "answered": answered, "right": right}
    return Rows.from_json(value)


def asked_for(query: Query) -> Select[Any]:
    """Measurements, each with its run, test and bits, the newest first."""
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
        .select_from(_whole().outerjoin(of.rows))
        .where(*_about_runs(query), *_about_measurements(query))
        .order_by(of.measurements.c.began.desc(), of.measurements.c.id.desc())
        .limit(query.limit)
    )


def of_measurements(table: Table, numbers: list[int]) -> Select[Any]:
    """The rows of a table of parts that belong to some measurements."""
    from sqlalchemy import select

    return select(table).where(table.c.measurement_id.in_(numbers))


def names_of(test: str) -> Select[Any]:
    """The names of the measurements of a test, in no order."""
    from sqlalchemy import select

    of = tables()
    whole = of.measurements.join(of.tests)
    named = select(of.measurements.c.name).select_from(whole)
    return named.where(of.tests.c.digest == digest_of(test)).distinct()


def runs_asked_for(query: Query) -> Select[Any]:
    """The runs that have a measurement that is asked for, the newest first."""
    from sqlalchemy import exists, select

    of = tables()
    measured = exists().select_from(of.measurements.join(of.tests))
    of_run = of.measurements.c.run_id == of.runs.c.id
    return (
        select(of.runs)
        .where(*_about_runs(query), measured.where(of_run, *_about_measurements(query)))
        .order_by(of.runs.c.began.desc(), of.runs.c.id.desc())
        .limit(query.limit)
    )


def places_asked_for(query: Query) -> Select[Any]:
    """Tests, names and machines of what is asked for, in no order."""
    from sqlalchemy import select

    of = tables()
    columns = [of.tests.c.test, of.measurements.c.name, of.runs.c.machine]
    asked = select(*columns).select_from(_whole())
    return asked.where(*_about_runs(query), *_about_measurements(query)).distinct()


def _whole() -> Join:
    """Measurements, each with its run and test."""
    of = tables()
    return of.measurements.join(of.runs).join(of.tests)


def _about_runs(query: Query) -> Iterator[ColumnElement[bool]]:
    run = tables().runs.c
    if query.machine is not None:
        yield run.slug == query.machine
    if query.branch is not None:
        yield run.branch == query.branch
    if query.run is not None:
        yield run.key == query.run
    if query.commits is not None:
        yield run.commit.in_(query.commits)


def _about_measurements(query: Query) -> Iterator[ColumnElement[bool]]:
    from sqlalchemy import or_

    of = tables()
    measurement = of.measurements.c
    if query.test is not None:
        yield of.tests.c.digest == digest_of(query.test)
    if query.name is not None:
        yield measurement.name == query.name
    if query.verdicts is not None:
        yield measurement.verdict.in_([verdict.value for verdict in query.verdicts])
    if query.acceptable:
        sound = measurement.verdict.in_([verdict.value for verdict in SOUND])
        committed = ~of.runs.c.commit.endswith("+")
        yield or_(measurement.renews, sound & committed & (measurement.unquiet == ""))
