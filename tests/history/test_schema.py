"""The history's tables: texts of any kind, and older versions brought up to date."""

from __future__ import annotations

import threading
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from builders import MACHINE, REVISION, make_accepted
from hypothesis import given
from hypothesis import strategies as st

from pytest_dlperf.errors import HistoryError
from pytest_dlperf.history import database as history_database
from pytest_dlperf.history.database import database_of
from pytest_dlperf.history.entries import Entry, Query, Run
from pytest_dlperf.history.schema import (
    PREFIX,
    UPGRADES,
    VERSION,
    escaped,
    set_up,
    stored_version,
    tables,
    unescaped,
)
from pytest_dlperf.history.store import open_history
from pytest_dlperf.results.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from postgres_server import PostgresServer
    from sqlalchemy import Connection

RUN = Run("0" * 32, 1.0, MACHINE, REVISION)


@given(st.text(st.characters() | st.sampled_from("\0\x1b\ud800\udfff0")))
def test_escaped_texts(text: str) -> None:
    """Every text becomes one that databases hold, and back."""
    stored = escaped(text)
    assert unescaped(stored) == text
    assert "\0" not in stored
    stored.encode()


def test_what_databases_hold_is_not_changed() -> None:
    """A text that needs no escape is stored as people read it."""
    assert escaped("tests/t.py::test[\\xe9-ü-\n]") == "tests/t.py::test[\\xe9-ü-\n]"


def test_names_of_tables() -> None:
    """They say whose they are, in a database that others use too."""
    assert {name.startswith(PREFIX) for name in tables().metadata.tables} == {True}


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A history in each kind of database."""
    if request.param == "sqlite":
        made = f"sqlite:///{tmp_path / 'h.sqlite'}"
    else:
        server: PostgresServer = request.getfixturevalue("postgres_server")
        made = server.new_database()
    open_history(made).close()
    return made


def _upgrades(done: list[int]) -> Iterator[object]:
    for number in (1, 2, 3):

        def upgrade(connection: Connection, number: int = number) -> None:
            connection.exec_driver_sql(f"ALTER TABLE dlperf_runs ADD COLUMN new{number} TEXT")
            done.append(number)

        yield upgrade


def test_older_tables_are_brought_up_to_date(url: str) -> None:
    """The changes of all versions since are made in order, and only once."""
    done: list[int] = []
    upgrades = (*UPGRADES, *_upgrades(done))
    database = database_of(url)
    for _ in range(2):
        with database.writing() as connection:
            set_up(connection, upgrades)
    with database.reading() as connection:
        assert stored_version(connection) == 1 + len(upgrades)
        connection.exec_driver_sql("SELECT new1, new2, new3 FROM dlperf_runs")
    database.engine.dispose()
    assert done == [1, 2, 3]


def test_an_upgrade_that_fails_changes_nothing(url: str) -> None:
    """The tables are as they were, and can be used as before."""
    done: list[int] = []
    first, second, _ = _upgrades(done)

    def fail(connection: Connection) -> None:
        connection.exec_driver_sql("ALTER TABLE no_such_table ADD COLUMN x TEXT")

    database = database_of(url)
    with pytest.raises(HistoryError), database.writing() as connection:
        set_up(connection, (*UPGRADES, first, second, fail))
    database.engine.dispose()
    assert done == [1, 2]
    with closing(open_history(url)) as history:
        assert history.entries(Query()) == ()


def test_two_upgrade_at_once(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several runs that find older tables, one changes them."""
    done: list[int] = []
    upgrades = (*UPGRADES, *_upgrades(done))
    monkeypatch.setattr(history_database, "VERSION", 1 + len(upgrades))
    monkeypatch.setattr(history_database, "set_up", lambda connection: set_up(connection, upgrades))
    threads = [threading.Thread(target=lambda: open_history(url).close()) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert done == [1, 2, 3]


def test_the_first_version_becomes_todays(url: str) -> None:
    """Users' metrics and seeds get their places, and what was stored before is read as before."""
    before = Entry(RUN, "a.py::test_it", "", Verdict.PASS, make_accepted())
    with closing(open_history(url)) as history:
        history.add(before)
    database = database_of(url)
    with database.writing() as connection:  # as version 1 left it
        connection.exec_driver_sql("DROP TABLE dlperf_users_metrics")
        connection.exec_driver_sql("ALTER TABLE dlperf_measurements DROP COLUMN seeds")
        connection.exec_driver_sql("UPDATE dlperf_version SET version = 1")
    database.engine.dispose()

    with closing(open_history(url)) as history:
        after = Entry(RUN, "a.py::test_it", "seeds", Verdict.PASS, make_accepted(seeds=(0.9, 0.8)))
        history.add(after)
        found = {entry.name: entry.found for entry in history.entries(Query())}

    assert found == {"": before.found, "seeds": after.found}
    with database_of(url).reading() as connection:
        assert stored_version(connection) == VERSION
