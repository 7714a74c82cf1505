"""What is asked of the history, as statements for its tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_dlperf.history.entries import SOUND
from pytest_dlperf.history.rows import digest_of
from pytest_dlperf.history.schema import tables

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import ColumnElement, Join, Select, Table

    from pytest_dlperf.history.entries import Query


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
