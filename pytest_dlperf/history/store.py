"""The history: what every run measured, in a SQL database."""

from __future__ import annotations

from collections import defaultdict
from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from pytest_dlperf.history.database import database_of
from pytest_dlperf.history.entries import Entry, MeasurementId, Query, baseline_of
from pytest_dlperf.history.rows import (
    UNREADABLE,
    bits_row,
    digest_of,
    entry_of_row,
    machine_of_row,
    measurement_row,
    metric_rows,
    run_of_row,
    run_row,
    select_entries,
    select_measurements,
    select_names,
    select_parts,
    select_runs,
    users_metric_rows,
)
from pytest_dlperf.history.schema import tables
from pytest_dlperf.results.baseline import MOST_SESSIONS, Baseline, BaselineEntry
from pytest_dlperf.results.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sqlalchemy import Connection, Row, Table

    from pytest_dlperf.history.database import Database
    from pytest_dlperf.history.entries import Run, Selection

_BATCH: Final = 500  # databases limit how many values one statement may have


def open_history(url: str) -> History:
    """Open a history; create it, with the folder of a SQLite file, if it does not exist.

    Args:
        url: SQLAlchemy's, of a SQLite file or a PostgreSQL server; may hold a password.

    Raises:
        UsageError: if the URL names no supported database.
        HistoryError: if the database cannot be used.
    """
    database = database_of(url)
    try:
        database.make_ready()
    except BaseException:
        database.engine.dispose()
        raise
    return History(database)


class History:
    """What every run measured.

    All methods raise `HistoryError` if the database cannot be read or written.

    Args:
        database: with its tables.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    @property
    def place(self) -> str:
        """The database as shown to users, without secrets."""
        return self._database.place

    def add(self, entry: Entry) -> None:
        """Store an entry in place of any of the same run, test and name; all of it or nothing."""
        from sqlalchemy import delete, insert

        of, result = tables(), entry.result
        with self._database.writing() as connection:
            test = {"digest": digest_of(entry.test), "test": entry.test}
            test_id = _id_of(connection, of.tests, "digest", test)
            run_id = _id_of(connection, of.runs, "key", run_row(entry.run))
            row = measurement_row(entry, run_id, test_id)
            keys = ("run_id", "test_id", "name")
            same = [of.measurements.c[key] == row[key] for key in keys]
            connection.execute(delete(of.measurements).where(*same))
            inserted = connection.execute(insert(of.measurements).values(row))
            number = inserted.inserted_primary_key[0]  # type: ignore[index]  # a row was added
            metrics = metric_rows({**result.metrics, **entry.unbounded}, number)
            if metrics:
                connection.execute(insert(of.metrics), metrics)
            if result.rows is not None:
                connection.execute(insert(of.rows), bits_row(result.rows, number))
            users = users_metric_rows(result, number)
            if users:
                connection.execute(insert(of.users), users)

    def entries(self, query: Query) -> tuple[Entry, ...]:
        """The entries of a query, newest first: by start of their runs, then as added."""
        with self._database.reading() as connection:
            rows = connection.execute(select_entries(query)).all()
            ids = [row.id for row in rows]
            metrics = _parts(connection, tables().metrics, ids)
            users = _parts(connection, tables().users, ids)
        entries = []
        for row in rows:
            with self._decoding(f"measurement {row.id} ({row.test}, run {row.key})"):
                entries.append(entry_of_row(row, metrics[row.id], users[row.id]))
        return tuple(entries)

    def names(self, test: str) -> tuple[str, ...]:
        """The names of all measurements of a test, sorted."""
        with self._database.reading() as connection:
            return tuple(sorted(connection.scalars(select_names(test))))

    def runs(self, query: Query) -> tuple[Run, ...]:
        """The runs that have an entry of a query, newest first; its limit counts runs."""
        with self._database.reading() as connection:
            rows = connection.execute(select_runs(query)).all()
        runs = []
        for row in rows:
            with self._decoding(f"run {row.id} ({row.key})"):
                runs.append(run_of_row(row))
        return tuple(runs)

    def measurements(self, query: Query) -> tuple[MeasurementId, ...]:
        """Which measurements a query has entries of, sorted; its limit is ignored."""
        with self._database.reading() as connection:
            rows = connection.execute(select_measurements(query)).all()
        ids = set()
        for row in rows:
            with self._decoding(f"the machine of {row.test}"):
                ids.add(MeasurementId(row.test, row.name, machine_of_row(row)))
        return tuple(sorted(ids, key=lambda key: (key.test, key.name, key.machine.slug)))

    def close(self) -> None:
        """Close the connections to the database."""
        self._database.engine.dispose()

    @contextmanager
    def _decoding(self, what: str) -> Iterator[None]:
        try:
            yield
        except UNREADABLE as error:
            raise self._database.damaged(f"{what}: {error}") from None


def _parts(connection: Connection, table: Table, ids: list[int]) -> dict[int, list[Row[Any]]]:
    """The rows of a table that belong to measurements, by the measurement's id."""
    parts: dict[int, list[Row[Any]]] = defaultdict(list)
    for start in range(0, len(ids), _BATCH):
        for row in connection.execute(select_parts(table, ids[start : start + _BATCH])):
            parts[row.measurement_id].append(row)
    return parts


def _id_of(connection: Connection, table: Table, key: str, row: Mapping[str, object]) -> int:
    """The id of a run or a test, which is added unless it exists."""
    from sqlalchemy import select
    from sqlalchemy.dialects import postgresql, sqlite

    of_postgres = connection.dialect.name == postgresql.dialect.name
    insertion = postgresql.insert(table) if of_postgres else sqlite.insert(table)
    connection.execute(insertion.values(row).on_conflict_do_nothing())
    # Locked, where the database locks rows: another process may replace the same entry.
    selection = select(table.c.id).where(table.c[key] == row[key]).with_for_update()
    return int(connection.execute(selection).scalar_one())


class HistoryBaselines:
    """The history's sessions as baselines; see `BaselineStore`.

    Args:
        history: with earlier runs.
        run: the current run; its own measurements are not its baseline.
        selection: whose sessions are the baseline.
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
        accepted: dict[str, BaselineEntry] = {}
        for name in self._history.names(test):
            entry = baseline_of(self._newest_first(test, name), MOST_SESSIONS)
            if entry is not None:
                accepted[name] = entry
        return Baseline(test, MappingProxyType(accepted)) if accepted else None

    def save(self, test: str, name: str, accepted: BaselineEntry) -> None:
        """Store the newest session; if it is the only one, it starts a new baseline.

        Raises:
            HistoryError: if it cannot be written.
        """
        session = replace(accepted.newest, revision=self._run.revision)
        result = replace(accepted, sessions=(session,))
        renews = len(accepted.sessions) == 1
        self._history.add(Entry(self._run, test, name, Verdict.NEW, result, renews))

    def _newest_first(self, test: str, name: str) -> Iterator[Entry]:
        """Entries that may be sessions of the baseline, read from the database as needed."""
        machine = self._run.machine.slug
        query = Query(test=test, name=name, machine=machine, acceptable=True)
        branch, commits = self._selection.branch, self._selection.commits
        entries = (
            self._of_branch(query, branch)
            if branch is not None
            else self._of_commits(query, commits)
        )
        return (entry for entry in entries if entry.run.key != self._run.key)

    def _of_branch(self, query: Query, branch: str) -> Iterator[Entry]:
        limit, seen = MOST_SESSIONS + 1, set[str]()
        while True:
            entries = self._history.entries(replace(query, branch=branch, limit=limit))
            yield from (entry for entry in entries if entry.run.key not in seen)
            if len(entries) < limit:
                return
            seen.update(entry.run.key for entry in entries)
            limit *= 4

    def _of_commits(self, query: Query, commits: tuple[str, ...]) -> Iterator[Entry]:
        """Nearest commit first, then the newest."""
        start, count = 0, MOST_SESSIONS
        while start < len(commits):
            nearest = commits[start : start + count]
            entries = self._history.entries(replace(query, commits=nearest))
            order = {commit: position for position, commit in enumerate(nearest)}
            yield from sorted(entries, key=lambda entry: order[entry.run.revision.commit])
            start, count = start + count, 4 * count
