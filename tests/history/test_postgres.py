"""The history on a PostgreSQL server: what a server may refuse, and what is said of it."""

from __future__ import annotations

import traceback
from contextlib import closing
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from history_entries import make_entry, make_run
from postgres_server import PASSWORD

from pytest_dlperf.errors import HistoryError
from pytest_dlperf.history import database as history_database
from pytest_dlperf.history.entries import Query
from pytest_dlperf.history.store import open_history

if TYPE_CHECKING:
    from postgres_server import PostgresServer

WRONG = "QwZx/73@x"


def _database(url: str) -> str:
    return url.partition("@/")[2].partition("?")[0]


def _refused(url: str, *secrets: str) -> HistoryError:
    """The error of opening, in whose whole traceback no secret is."""
    with pytest.raises(HistoryError) as caught:
        open_history(url).close()
    told = "".join(traceback.format_exception(caught.value))
    for secret in (PASSWORD, WRONG, *secrets):
        assert secret not in told
        assert quote(secret, safe="") not in told
    assert caught.value.hint
    return caught.value


def test_wrong_password(postgres_server: PostgresServer) -> None:
    """It is said that the login was refused, and no password is shown."""
    error = _refused(postgres_server.url("postgres", password=WRONG))
    assert "password authentication failed" in error.problem
    assert "password" in error.hint
    assert "***" in error.place


def test_no_such_database(postgres_server: PostgresServer) -> None:
    """The name that the server does not know is said."""
    assert '"nowhere" does not exist' in _refused(postgres_server.url("nowhere")).problem


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:QwZx%2F73%40x@127.0.0.1:1/base",
        "postgresql://user:QwZx%2F73%40x@/base?host=/no/such/folder",
        "postgresql://user:QwZx%2F73%40x@no-such-host.invalid/base",
        "postgresql://user@127.0.0.1:1/base?password=QwZx%2F73%40x",
        "postgresql://user@127.0.0.1:1/base?no_such_option=QwZx%2F73%40x",
    ],
)
def test_no_server(url: str) -> None:
    """The driver's message is shown without the password."""
    assert "cannot be used" in _refused(url).problem


def test_no_permission_to_create_tables(postgres_server: PostgresServer) -> None:
    """What must be granted is said."""
    url = postgres_server.new_database()
    postgres_server.execute(_database(url), f"CREATE ROLE guest LOGIN PASSWORD '{PASSWORD}'")
    error = _refused(postgres_server.url(_database(url), user="guest"))
    assert "permission denied for schema" in error.problem
    assert "CREATE on the schema" in error.hint


def test_no_permission_to_write(postgres_server: PostgresServer) -> None:
    """Who may only read reads, and is told what must be granted when it writes."""
    url = postgres_server.new_database()
    database = _database(url)
    postgres_server.execute(database, f"CREATE ROLE reader LOGIN PASSWORD '{PASSWORD}'")
    with closing(open_history(url)) as history:
        history.add(make_entry(make_run(1)))
    postgres_server.execute(database, "GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
    with closing(open_history(postgres_server.url(database, user="reader"))) as history:
        assert len(history.entries(Query())) == 1
        with pytest.raises(HistoryError, match="permission denied") as caught:
            history.add(make_entry(make_run(2)))
        assert "INSERT" in caught.value.hint
        assert len(history.entries(Query())) == 1


def test_a_server_that_goes_away(postgres_server: PostgresServer) -> None:
    """While it is away that is said; when it is back, it goes on where it was."""
    with closing(open_history(postgres_server.new_database())) as history:
        history.add(make_entry(make_run(1)))
        postgres_server.stop()
        try:
            with pytest.raises(HistoryError, match="cannot be used") as caught:
                history.add(make_entry(make_run(2)))
            assert PASSWORD not in str(caught.value)
        finally:
            postgres_server.start()
        history.add(make_entry(make_run(3)))
        assert [entry.run for entry in history.entries(Query())] == [make_run(3), make_run(1)]


def test_a_connection_that_is_ended(postgres_server: PostgresServer) -> None:
    """A connection that a server ends between two entries is made anew."""
    url = postgres_server.new_database()
    with closing(open_history(url)) as history:
        history.add(make_entry(make_run(1)))
        postgres_server.execute(
            "postgres",
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "  # noqa: S608 - our own name
            f"WHERE datname = '{_database(url)}'",
        )
        history.add(make_entry(make_run(2)))
        assert len(history.entries(Query())) == 2


def test_a_lock_that_does_not_end(
    postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the time that is waited, it is said that another process has it locked."""
    import psycopg

    monkeypatch.setattr(history_database, "LOCK_SECONDS", 0.05)
    url = postgres_server.new_database()
    with closing(open_history(url)) as history, psycopg.connect(url) as other:
        other.execute("LOCK TABLE dlperf_runs IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(HistoryError, match="lock timeout"):
            history.add(make_entry(make_run(1)))
        other.rollback()
        history.add(make_entry(make_run(1)))
        assert len(history.entries(Query())) == 1
