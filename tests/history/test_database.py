"""The history's database: SQLite files, PostgreSQL servers, tables, and messages on errors."""

from __future__ import annotations

import os
import sqlite3
import stat
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from entries import make_entry, make_run
from hypothesis import given
from hypothesis import strategies as st
from postgres_server import PASSWORD

from pytest_dlperf.errors import HistoryError
from pytest_dlperf.history import database as history_database
from pytest_dlperf.history.entries import Query
from pytest_dlperf.history.schema import PREFIX, escaped, tables, unescaped
from pytest_dlperf.history.store import open_history
from pytest_dlperf.history.url import default_url

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from postgres_server import PostgresServer

WRONG = "QwZx/73@x"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Path of a SQLite file that does not exist."""
    return tmp_path / "history.sqlite"


def _add(url: str, number: int) -> None:
    with closing(open_history(url)) as history:
        history.add(make_entry(run=make_run(number)))


def _refused(url: str) -> HistoryError:
    """The error of opening a history, with a hint and without a password in its traceback."""
    with pytest.raises(HistoryError) as caught:
        open_history(url).close()
    text = "".join(traceback.format_exception(caught.value))
    for secret in (PASSWORD, WRONG):
        assert secret not in text
        assert quote(secret, safe="") not in text
    assert caught.value.hint
    return caught.value


class TestTables:
    """Any text can be stored, one version is supported, one process creates the tables."""

    @given(st.text(st.characters() | st.sampled_from("\0\x1b\ud800\udfff0")))
    def test_escaped_texts(self, text: str) -> None:
        """Every text is escaped to one that databases can store, and back."""
        stored = escaped(text)
        assert unescaped(stored) == text
        assert "\0" not in stored
        stored.encode()

    def test_texts_without_escapes(self) -> None:
        """A text that databases can store is not changed."""
        assert escaped("tests/t.py::test[\\xe9-ü-\n]") == "tests/t.py::test[\\xe9-ü-\n]"

    def test_names(self) -> None:
        """All tables have the prefix."""
        assert all(name.startswith(PREFIX) for name in tables().metadata.tables)

    @pytest.mark.parametrize(
        ("version", "problem", "hint"), [(1, "older", "move it away"), (99, "newer", "upgrade")]
    )
    def test_another_version(self, path: Path, version: int, problem: str, hint: str) -> None:
        """Tables of another version are refused and not changed."""
        open_history(f"sqlite:///{path}").close()
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(f"UPDATE dlperf_version SET version = {version}")  # noqa: S608
        for _ in range(2):
            error = _refused(f"sqlite:///{path}")
            assert f"{problem} pytest-dlperf (version {version} " in error.problem
            assert hint in error.hint

    @pytest.mark.parametrize(
        "statement",
        [
            "DELETE FROM dlperf_version",
            "INSERT INTO dlperf_version VALUES (1)",
            "UPDATE dlperf_version SET version = 'x'",
            "UPDATE dlperf_version SET version = 0",
            "DROP TABLE dlperf_version",
        ],
    )
    def test_an_unreadable_version(self, path: Path, statement: str) -> None:
        """Tables whose version cannot be read are refused and not changed."""
        _add(f"sqlite:///{path}", 1)
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(statement)
        assert _refused(f"sqlite:///{path}").place == str(path)
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("SELECT count(*) FROM dlperf_metrics").fetchone() == (2,)

    def test_a_lost_table(self, path: Path) -> None:
        """Without one of its tables, nothing is added."""
        with closing(open_history(f"sqlite:///{path}")) as history:
            with closing(sqlite3.connect(path)) as connection, connection:
                connection.execute("DROP TABLE dlperf_metrics")
            with pytest.raises(HistoryError, match="no such table"):
                history.add(make_entry(run=make_run(1)))
            assert history.entries(Query()) == ()

    @pytest.mark.parametrize("kind", ["sqlite", "postgres"])
    def test_created_by_several_processes(
        self, kind: str, path: Path, request: pytest.FixtureRequest
    ) -> None:
        """Of several runs that find no tables, one creates them, and all can use them."""
        url = f"sqlite:///{path}"
        if kind == "postgres":
            server: PostgresServer = request.getfixturevalue("postgres_server")
            url = server.new_database()
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda number: _add(url, number), range(1, 5)))
        with closing(open_history(url)) as history:
            assert len(history.entries(Query())) == 4


class TestSqlite:
    """A SQLite file and its folder."""

    def test_the_folder_is_created(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Relative to the working directory at the time of opening."""
        monkeypatch.chdir(tmp_path)
        with closing(open_history("sqlite:///new/newer/h.sqlite")) as history:
            (tmp_path / "elsewhere").mkdir()
            monkeypatch.chdir(tmp_path / "elsewhere")
            history.add(make_entry(run=make_run(1)))
            assert history.place == str(tmp_path / "new/newer/h.sqlite")
        assert (tmp_path / "new/newer/h.sqlite").is_file()

    @pytest.mark.parametrize("name", ["a b", "a?b#c", "50%25", "ü:@", "\udcff"])
    def test_the_default_file(self, tmp_path: Path, name: str) -> None:
        """It is below the root directory, whatever its name."""
        root = tmp_path / name
        _add(default_url(root), 1)
        assert (root / ".dlperf" / "history.sqlite").is_file()

    def test_settings(self, path: Path) -> None:
        """A stored entry survives a power failure, and readers do not wait for writers."""
        with (
            closing(open_history(f"sqlite:///{path}")) as history,
            history._database.reading() as connection,  # noqa: SLF001 - its settings
        ):
            modes = [
                connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
                for name in ("synchronous", "journal_mode", "foreign_keys", "busy_timeout")
            ]
        assert modes == [2, "wal", 1, 30_000]

    @pytest.mark.parametrize(
        "content",
        [b"{}", b"not a database\n" * 100, bytes(5000), b"SQLite format 3\0" + b"x" * 100],
    )
    def test_another_file(self, path: Path, content: bytes) -> None:
        """A file that is no database is refused and not changed."""
        path.write_bytes(content)
        error = _refused(f"sqlite:///{path}")
        assert error.place == str(path)
        assert "file is not a database" in error.problem or "damaged" in error.problem
        assert "move it away" in error.hint
        assert path.read_bytes() == content

    def test_a_folder(self, path: Path) -> None:
        """A folder in the place of the file is refused and not changed."""
        path.mkdir()
        error = _refused(f"sqlite:///{path}")
        assert "unable to open database file" in error.problem
        assert "writable" in error.hint
        assert list(path.iterdir()) == []

    def test_a_file_in_the_place_of_the_folder(self, path: Path) -> None:
        """It is refused and not changed."""
        path.write_text("mine")
        assert "File exists" in _refused(f"sqlite:///{path}/h.sqlite").problem
        assert path.read_text() == "mine"

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write to everything")
    def test_a_read_only_folder(self, path: Path) -> None:
        """It is refused."""
        path.parent.chmod(stat.S_IRUSR | stat.S_IXUSR)
        try:
            assert "cannot be" in _refused(f"sqlite:///{path}").problem
        finally:
            path.parent.chmod(stat.S_IRWXU)

    def test_an_empty_file(self, path: Path) -> None:
        """An empty file, as of mktemp, becomes a new history."""
        path.touch()
        _add(f"sqlite:///{path}", 1)
        with closing(open_history(f"sqlite:///{path}")) as history:
            assert len(history.entries(Query())) == 1

    def test_other_tables(self, path: Path) -> None:
        """Other tables of the database are not changed."""
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("CREATE TABLE runs (mine)")
            connection.execute("INSERT INTO runs VALUES (7)")
        _add(f"sqlite:///{path}", 1)
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("SELECT mine FROM runs").fetchall() == [(7,)]

    def test_a_lock(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A writer gives up after the timeout; a reader does not wait."""
        open_history(f"sqlite:///{path}").close()
        monkeypatch.setattr(history_database, "LOCK_SECONDS", 0.05)
        with closing(open_history(f"sqlite:///{path}")) as waiting, self._locked(path):
            with pytest.raises(HistoryError, match="database is locked") as caught:
                waiting.add(make_entry(run=make_run(1)))
            assert "fuser FILE" in caught.value.hint
            assert waiting.entries(Query()) == ()

    def test_a_lock_during_creation(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Creating the tables gives up too."""
        monkeypatch.setattr(history_database, "LOCK_SECONDS", 0.05)
        with self._locked(path):
            assert "database is locked" in _refused(f"sqlite:///{path}").problem

    @staticmethod
    @contextmanager
    def _locked(path: Path) -> Iterator[None]:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            yield


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("postgresql://user:QwZx%2F73%40x@127.0.0.1:1/base", "Connection refused"),
        (
            "postgresql://user:QwZx%2F73%40x@/base?host=/no/such/folder",
            "/no/such/folder/.s.PGSQL.5432",
        ),
        ("postgresql://user:QwZx%2F73%40x@no-such-host.invalid/base", "'no-such-host.invalid'"),
        ("postgresql://user@127.0.0.1:1/base?password=QwZx%2F73%40x", "Connection refused"),
        (
            "postgresql://user@127.0.0.1:1/base?no_such_option=QwZx%2F73%40x",
            'invalid connection option "no_such_option"',
        ),
    ],
)
def test_no_server(url: str, reason: str) -> None:
    """The message has the driver's reason, and says to check the server and the URL's parts."""
    error = _refused(url)
    assert reason in error.problem
    assert "check that the server is up, and the URL's host, port" in error.hint


class TestPostgres:
    """Errors of a PostgreSQL server, with its own reason and a hint."""

    @staticmethod
    def _name(url: str) -> str:
        return url.partition("@/")[2].partition("?")[0]

    def test_wrong_password(self, postgres_server: PostgresServer) -> None:
        """The login is refused, and the hint is to check the URL."""
        error = _refused(postgres_server.url("postgres", password=WRONG))
        assert "password authentication failed for user" in error.problem
        assert "user, password and database" in error.hint
        assert "***" in error.place

    def test_no_such_database(self, postgres_server: PostgresServer) -> None:
        """The message names the database, and the hint how to create one."""
        error = _refused(postgres_server.url("nowhere"))
        assert 'database "nowhere" does not exist' in error.problem
        assert "createdb" in error.hint

    def test_no_permission_to_create_tables(self, postgres_server: PostgresServer) -> None:
        """The hint is which rights to grant."""
        name = self._name(postgres_server.new_database())
        postgres_server.execute(name, f"CREATE ROLE guest LOGIN PASSWORD '{PASSWORD}'")
        error = _refused(postgres_server.url(name, user="guest"))
        assert "permission denied for schema" in error.problem
        assert "CREATE on the schema" in error.hint

    def test_no_permission_to_write(self, postgres_server: PostgresServer) -> None:
        """A user who may only read can read; on writing, the hint is which rights to grant."""
        url = postgres_server.new_database()
        name = self._name(url)
        postgres_server.execute(name, f"CREATE ROLE reader LOGIN PASSWORD '{PASSWORD}'")
        _add(url, 1)
        postgres_server.execute(name, "GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
        with closing(open_history(postgres_server.url(name, user="reader"))) as history:
            assert len(history.entries(Query())) == 1
            with pytest.raises(HistoryError, match="permission denied") as caught:
                history.add(make_entry(run=make_run(2)))
            assert "INSERT" in caught.value.hint
            assert len(history.entries(Query())) == 1

    def test_a_restarted_server(self, postgres_server: PostgresServer) -> None:
        """Without the server adding fails with the driver's reason; after a restart it works."""
        with closing(open_history(postgres_server.new_database())) as history:
            history.add(make_entry(run=make_run(1)))
            postgres_server.stop()
            try:
                with pytest.raises(HistoryError, match=r"s\.PGSQL\.5432.* failed") as caught:
                    history.add(make_entry(run=make_run(2)))
                assert "check that the server is up" in caught.value.hint
                assert PASSWORD not in str(caught.value)
            finally:
                postgres_server.start()
            history.add(make_entry(run=make_run(3)))
            assert [entry.run for entry in history.entries(Query())] == [make_run(3), make_run(1)]

    def test_a_terminated_connection(self, postgres_server: PostgresServer) -> None:
        """A connection that the server ends between two entries is replaced."""
        url = postgres_server.new_database()
        with closing(open_history(url)) as history:
            history.add(make_entry(run=make_run(1)))
            postgres_server.execute(
                "postgres",
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "  # noqa: S608 - our own name
                f"WHERE datname = '{self._name(url)}'",
            )
            history.add(make_entry(run=make_run(2)))
            assert len(history.entries(Query())) == 2

    def test_a_lock(self, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
        """A writer gives up after the timeout, and can write when the lock is released."""
        import psycopg

        monkeypatch.setattr(history_database, "LOCK_SECONDS", 0.05)
        url = postgres_server.new_database()
        with closing(open_history(url)) as history, psycopg.connect(url) as other:
            other.execute("LOCK TABLE dlperf_runs IN ACCESS EXCLUSIVE MODE")
            with pytest.raises(HistoryError, match="lock timeout") as caught:
                history.add(make_entry(run=make_run(1)))
            assert "locks of other sessions" in caught.value.hint
            other.rollback()
            history.add(make_entry(run=make_run(1)))
            assert len(history.entries(Query())) == 1
