"""The history's tables: any text can be stored, one version is read, one process creates them."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from history_entries import make_entry, make_run
from hypothesis import given
from hypothesis import strategies as st

from pytest_dlperf.errors import HistoryError
from pytest_dlperf.history.entries import Query
from pytest_dlperf.history.schema import PREFIX, escaped, tables, unescaped
from pytest_dlperf.history.store import open_history

if TYPE_CHECKING:
    from pathlib import Path

    from postgres_server import PostgresServer


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


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a SQLite file is to be."""
    return tmp_path / "history.sqlite"


def test_only_this_version_of_the_tables_is_read(path: Path) -> None:
    """Tables of an older version are refused and left as they are, as newer ones are."""
    open_history(f"sqlite:///{path}").close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE dlperf_version SET version = 1")
    for _ in range(2):
        with pytest.raises(HistoryError, match=r"older pytest-dlperf \(version 1 ") as caught:
            open_history(f"sqlite:///{path}")
        assert "move it away" in caught.value.hint


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_several_create_the_tables_at_once(
    database: str, path: Path, request: pytest.FixtureRequest
) -> None:
    """Of several runs that find no tables, one creates them, and all can use them."""
    url = f"sqlite:///{path}"
    if database == "postgres":
        server: PostgresServer = request.getfixturevalue("postgres_server")
        url = server.new_database()

    def add(number: int) -> None:
        with closing(open_history(url)) as history:
            history.add(make_entry(make_run(number)))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add, range(1, 5)))
    with closing(open_history(url)) as history:
        assert len(history.entries(Query())) == 4
