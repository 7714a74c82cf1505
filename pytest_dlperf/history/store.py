"""History: what every run measured, in a database that outlives it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Protocol

from pytest_dlperf.history.database import database_of
from pytest_dlperf.history.entries import Entry, MeasurementId, Query, baseline_of
from pytest_dlperf.history.rows import (
    UNREADABLE,
    asked_for,
    bits_row,
    digest_of,
    entry_of_row,
    machine_of_row,
    measurement_row,
    metric_rows,
    names_of,
    of_measurements,
    places_asked_for,
    run_of_row,
    run_row,
    runs_asked_for,
    users_rows,
)
from pytest_dlperf.history.schema import tables
from pytest_dlperf.history.url import default_url
from pytest_dlperf.results.baseline import MOST_SESSIONS, Baseline, BaselineEntry
from pytest_dlperf.results.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sqlalchemy import Connection, Row, Table

    from pytest_dlperf.history.database import Database
    from pytest_dlperf.history.entries import Run, Selection

__all__ = ["History", "HistoryBaselines", "SqlHistory", "default_url", "open_history"]

_AT_ONCE: Final = 500  # so many values are bound to one statement; databases have limits


class History(Protocol):
    """What every run measured."""

    @property
    def place(self) -> str:
        """The database, for people, without any secret."""

    def add(self, entry: Entry) -> None:
        """Keep an entry; it takes the place of one of the same run, test and name.

        Raises:
            HistoryError: if it cannot be written; nothing is changed then.
        """

    def entries(self, query: Query) -> tuple[Entry, ...]:
        """The entries asked for, the newest first: by when their runs began, then as added.

        Raises:
            HistoryError: if they cannot be read.
        """

    def names(self, test: str) -> tuple[str, ...]:
        """The names of all measurements of a test, sorted.

        Raises:
            HistoryError: if they cannot be read.
        """

    def runs(self, query: Query) -> tuple[Run, ...]:
        """The runs that have any of the entries asked for, the newest first.

        The limit is one of runs here.

        Raises:
            HistoryError: if they cannot be read.
        """

    def places(self, query: Query) -> tuple[MeasurementId, ...]:
        """Which measurements the entries asked for are of, on which machine classes.

        Sorted by test and name; the limit does not count.

        Raises:
            HistoryError: if they cannot be read.
        """

    def close(self) -> None:
        """Let go of the database."""


def open_history(url: str) -> SqlHistory:
    """Open a history; where there is none, it is created, with the folder of a SQLite file.

    Args:
        url: SQLAlchemy's, of a SQLite file or a PostgreSQL server; may hold a password.

    Raises:
        UsageError: if the URL means no database that can be used.
        HistoryError: if the database cannot be used as it stands.
    """
    database = database_of(url)
    try:
        database.make_ready()
    except BaseException:
        database.engine.dispose()
        raise
    return SqlHistory(database)


class SqlHistory:
    """A history in a SQL database; see `History`.

    Args:
        database: whose tables are there.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    @property
    def place(self) -> str:
        """The database, for people, without any secret."""
        return self._database.place

    def add(self, entry: Entry) -> None:
        """Keep an entry; it takes the place of one of the same run, test and name.

        Raises:
            HistoryError: if it cannot be written; nothing is changed then.
        """
        from sqlalchemy import delete, insert

        of, found = tables(), entry.found
        with self._database.writing() as connection:
            test = {"digest": digest_of(entry.test), "test": entry.test}
            test_id = _number(connection, of.tests, "digest", test)
            run_id = _number(connection, of.runs, "key", run_row(entry.run))
            row = measurement_row(entry, run_id, test_id)
            keys = ("run_id", "test_id", "name")
            same = [of.measurements.c[key] == row[key] for key in keys]
            connection.execute(delete(of.measurements).where(*same))
            made = connection.execute(insert(of.measurements).values(row))
            number = made.inserted_primary_key[0]  # type: ignore[index]  # a row was added
            if found.metrics:
                connection.execute(insert(of.metrics), metric_rows(found.metrics, number))
            if found.rows is not None:
                connection.execute(insert(of.rows), bits_row(found.rows, number))
            users = users_rows(found, number)
            if users:
                connection.execute(insert(of.users), users)

    def entries(self, query: Query) -> tuple[Entry, ...]:
        """The entries asked for, the newest first: by when their runs began, then as added.

        Raises:
            HistoryError: if they cannot be read.
        """
        with self._database.reading() as connection:
            rows = connection.execute(asked_for(query)).all()
            numbers = [row.id for row in rows]
            metrics = _of_measurements(connection, tables().metrics, numbers)
            users = _of_measurements(connection, tables().users, numbers)
        return tuple(self._entry(row, metrics[row.id], users[row.id]) for row in rows)

    def names(self, test: str) -> tuple[str, ...]:
        """The names of all measurements of a test, sorted.

        Raises:
            HistoryError: if they cannot be read.
        """
        with self._database.reading() as connection:
            return tuple(sorted(connection.scalars(names_of(test))))

    def runs(self, query: Query) -> tuple[Run, ...]:
        """The runs that have any of the entries asked for, the newest first.

        The limit is one of runs here.

        Raises:
            HistoryError: if they cannot be read.
        """
        with self._database.reading() as connection:
            rows = connection.execute(runs_asked_for(query)).all()
        return tuple(map(self._run, rows))

    def places(self, query: Query) -> tuple[MeasurementId, ...]:
        """Which measurements the entries asked for are of, on which machine classes.

        Sorted by test and name; the limit does not count.

        Raises:
            HistoryError: if they cannot be read.
        """
        with self._database.reading() as connection:
            rows = connection.execute(places_asked_for(query)).all()
        found = {self._place(row) for row in rows}
        return tuple(sorted(found, key=lambda one: (one.test, one.name, one.machine.slug)))

    def close(self) -> None:
        """Let go of the database."""
        self._database.engine.dispose()

    def _entry(self, row: Row[Any], metrics: list[Row[Any]], users: list[Row[Any]]) -> Entry:
        try:
            return entry_of_row(row, metrics, users)
        except UNREADABLE as error:
            which = f"measurement {row.id} ({row.test}, run {row.key})"
            raise self._database.damaged(f"{which}: {error}") from None

    def _run(self, row: Row[Any]) -> Run:
        try:
            return run_of_row(row)
        except UNREADABLE as error:
            raise self._database.damaged(f"run {row.id} ({row.key}): {error}") from None

    def _place(self, row: Row[Any]) -> MeasurementId:
        try:
            return MeasurementId(row.test, row.name, machine_of_row(row))
        except UNREADABLE as error:
            raise self._database.damaged(f"the machine of {row.test}: {error}") from None


def _of_measurements(
    connection: Connection, table: Table, numbers: list[int]
) -> dict[int, list[Row[Any]]]:
    """The rows of a table that belong to some measurements, by the numbers of these."""
    found: dict[int, list[Row[Any]]] = defaultdict(list)
    for start in range(0, len(numbers), _AT_ONCE):
        asked = of_measurements(table, numbers[start : start + _AT_ONCE])
        for row in connection.execute(asked):
            found[row.measurement_id].append(row)
    return found


def _number(connection: Connection, table: Table, key: str, row: Mapping[str, object]) -> int:
    """The number of a run or a test, which is added if it is not there."""
    from sqlalchemy import select
    from sqlalchemy.dialects import postgresql, sqlite

    of_postgres = connection.dialect.name == postgresql.dialect.name
    adding = postgresql.insert(table) if of_postgres else sqlite.insert(table)
    connection.execute(adding.values(row).on_conflict_do_nothing())
    # Locked, where the database has locks of rows: two may be about to replace the same entry.
    asked = select(table.c.id).where(table.c[key] == row[key]).with_for_update()
    return int(connection.execute(asked).scalar_one())


class HistoryBaselines:
    """The history's sessions as baselines; see `BaselineStore`.

    Args:
        history: what earlier runs measured.
        run: the run that asks; what it measured itself is no baseline of it.
        selection: whose sessions they are.
    """

    def __init__(self, history: History, run: Run, selection: Selection) -> None:
        self._history = history
        self._run = run
        self._selection = selection

    def load(self, test: str) -> Baseline | None:
        """The baseline of a test on the run's machine class, None if there is none.

        Raises:
            HistoryError: if it cannot be read.
        """
        found: dict[str, BaselineEntry] = {}
        for name in self._history.names(test):
            accepted = baseline_of(self._newest_first(test, name), MOST_SESSIONS)
            if accepted is not None:
                found[name] = accepted
        return Baseline(test, MappingProxyType(found)) if found else None

    def save(self, test: str, name: str, accepted: BaselineEntry) -> None:
        """Keep the newest session; where none went before it, those of earlier runs are left.

        Raises:
            HistoryError: if it cannot be written.
        """
        session = replace(accepted.newest, revision=self._run.revision)
        found = replace(accepted, sessions=(session,))
        renews = len(accepted.sessions) == 1
        self._history.add(Entry(self._run, test, name, Verdict.NEW, found, renews))

    def _newest_first(self, test: str, name: str) -> Iterator[Entry]:
        """What may be sessions of the baseline, read as far as it is asked for."""
        machine = self._run.machine.slug
        query = Query(test=test, name=name, machine=machine, acceptable=True)
        branch, commits = self._selection.branch, self._selection.commits
        found = self._of_branch(query, branch) if branch is not None else self._of(query, commits)
        return (entry for entry in found if entry.run.key != self._run.key)

    def _of_branch(self, query: Query, branch: str) -> Iterator[Entry]:
        limit, seen = MOST_SESSIONS + 1, set[str]()
        while True:
            some = self._history.entries(replace(query, branch=branch, limit=limit))
            yield from (entry for entry in some if entry.run.key not in seen)
            if len(some) < limit:
                return
            seen.update(entry.run.key for entry in some)
            limit *= 4

    def _of(self, query: Query, commits: tuple[str, ...]) -> Iterator[Entry]:
        """Nearest commit first, then the newest."""
        some, others = commits[:MOST_SESSIONS], commits[MOST_SESSIONS:]
        while some:
            found = self._history.entries(replace(query, commits=some))
            order = {commit: place for place, commit in enumerate(some)}
            yield from sorted(found, key=lambda entry: order[entry.run.revision.commit])
            more = 4 * len(some)
            some, others = others[:more], others[more:]
