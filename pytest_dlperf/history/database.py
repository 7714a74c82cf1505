"""Transactions on the history's database, a SQLite file or a PostgreSQL server, and its errors."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_dlperf._files import locked
from pytest_dlperf.errors import HistoryError, UsageError
from pytest_dlperf.history.schema import VERSION, DamagedError, create_tables, stored_version
from pytest_dlperf.history.url import MASK, parse_url
from pytest_dlperf.report.hints import NAME_ANOTHER_HISTORY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from sqlalchemy import Connection, Engine
    from sqlalchemy.engine.interfaces import DBAPIConnection

    from pytest_dlperf.history.url import ServerUrl

LOCK_SECONDS: Final = 30
"""How long to wait for a lock of another process."""

_CONNECT_SECONDS: Final = 10
_MAGIC: Final = b"SQLite format 3\0"  # https://sqlite.org/fileformat.html section 1.3
_PAGE_SIZE_ENDS: Final = len(_MAGIC) + 2
_SET_UP_LOCK: Final = 0x646C70657266  # "dlperf": an advisory lock of PostgreSQL, of all histories

_LONGEST: Final = 300  # characters of a driver's message
_DAMAGE_HINT: Final = (
    f"restore it from a copy, or move it away to begin a new history, or {NAME_ANOTHER_HISTORY}"
)
_FILE_HINT: Final = (
    "check that its folder is writable, the disk has space, and no other process holds it open "
    f"(fuser FILE), or {NAME_ANOTHER_HISTORY}; what was stored before is kept"
)
_CONNECTION_HINT: Final = (
    "check that the server is up, and the URL's host, port, user, password and database "
    "(createdb NAME makes a new one); what was stored before is kept"
)
_SERVER_HINT: Final = (
    "check locks of other sessions, the server's log, and the user's rights: CREATE on the schema; "
    "SELECT, INSERT, UPDATE, DELETE on its tables; what was stored before is kept"
)


@dataclass(frozen=True, slots=True)
class Database:
    """The database of a history.

    Attributes:
        engine: SQLAlchemy's.
        place: the database as shown to users, without secrets.
        secrets: texts to mask in all messages, including the driver's.
        hint: what to do about an error of the driver.
        to_read: first statements of a transaction that reads one consistent state.
        to_write: first statements of a transaction that writes.
        to_set_up: first statements of the transaction that creates the tables.
        setup_lock: held while creating the tables.
    """

    engine: Engine
    place: str
    secrets: tuple[str, ...]
    hint: Callable[[BaseException], str]
    to_read: tuple[str, ...]
    to_write: tuple[str, ...]
    to_set_up: tuple[str, ...]
    setup_lock: Callable[[], AbstractContextManager[None]]

    def reading(self) -> AbstractContextManager[Connection]:
        """A transaction that only reads; raises HistoryError."""
        return self._transaction(self.to_read)

    def writing(self) -> AbstractContextManager[Connection]:
        """A transaction that is committed at the end, or rolled back; raises HistoryError."""
        return self._transaction(self.to_write)

    def make_ready(self) -> None:
        """Create the tables unless they exist.

        Raises:
            HistoryError: if they cannot be created, or are of another version.
        """
        with self.reading() as connection:
            version = stored_version(connection)
        if version is None:
            with (
                self.explained_errors(),
                self.setup_lock(),
                self._transaction(self.to_set_up) as connection,
            ):
                create_tables(connection)
        elif version != VERSION:
            age, hint = (
                ("a newer", "upgrade pytest-dlperf")
                if version > VERSION
                else ("an older", "move it away to begin a new history")
            )
            raise HistoryError(
                self.place,
                f"it was written by {age} pytest-dlperf "
                f"(version {version} of its tables, this reads {VERSION})",
                hint,
            )

    @contextmanager
    def explained_errors(self) -> Iterator[None]:
        """Turn errors of the database or the disk into a `HistoryError` with the driver's message.

        Raises:
            HistoryError: without secrets.
        """
        from sqlalchemy.exc import DBAPIError, SQLAlchemyError

        try:
            yield
        except DamagedError as error:
            raise self.damaged(str(error)) from None
        except (SQLAlchemyError, OSError) as error:
            original = (error.orig if isinstance(error, DBAPIError) else None) or error
            problem = f"it cannot be used: {self._masked(original)}"
            # `from None`: a traceback with the original error would show its secrets.
            raise HistoryError(self.place, problem, self.hint(original)) from None

    def damaged(self, problem: str) -> HistoryError:
        """The error to raise for rows that cannot be decoded."""
        return HistoryError(self.place, f"it is damaged: {self._masked(problem)}", _DAMAGE_HINT)

    def _masked(self, message: object) -> str:
        text = str(message) or type(message).__name__
        for secret in self.secrets:
            text = text.replace(secret, MASK)
        return " ".join(text.split())[:_LONGEST]

    @contextmanager
    def _transaction(self, statements: tuple[str, ...]) -> Iterator[Connection]:
        with self.explained_errors(), self.engine.connect() as connection, connection.begin():
            for statement in statements:
                connection.exec_driver_sql(statement)
            yield connection


def database_of(url: str) -> Database:
    """The database of a URL, not connected to yet.

    Raises:
        UsageError: if the URL names none, or the driver is not installed.
        HistoryError: if the folder of a SQLite file cannot be created, or the file is truncated.
    """
    parsed = parse_url(url)
    return _sqlite(parsed) if isinstance(parsed, Path) else _postgres(parsed)


def _sqlite(path: Path) -> Database:
    from sqlalchemy import URL, create_engine, event

    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        # Else sqlite3 begins transactions itself, and not before the first write.
        connect_args={"timeout": LOCK_SECONDS, "isolation_level": None},
        hide_parameters=True,
    )
    event.listen(engine, "connect", _set_pragmas)

    @contextmanager
    def setup_lock() -> Iterator[None]:
        # SQLite's timeout does not cover the change to the write-ahead log: of two processes that
        # make it at once, one would fail.
        with locked(path.parent):
            with engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA journal_mode = WAL")
            yield

    # A transaction that reads first and takes the lock later fails if another has written between.
    writes = ("BEGIN IMMEDIATE",)
    database = Database(engine, str(path), (), _sqlite_hint, ("BEGIN",), writes, writes, setup_lock)
    with database.explained_errors():
        path.parent.mkdir(parents=True, exist_ok=True)
        if _is_truncated(path):
            raise DamagedError("its end is cut off")
    return database


def _sqlite_hint(error: BaseException) -> str:
    # sqlite3 raises this class itself, not a subclass, for a damaged file and a foreign one.
    return _DAMAGE_HINT if type(error) is sqlite3.DatabaseError else _FILE_HINT


def _is_truncated(path: Path) -> bool:
    """Whether a file ends within a page, whose rest SQLite would read as zeros."""
    log = path.with_name(f"{path.name}-wal")
    if not path.is_file() or (log.exists() and log.stat().st_size):
        return False  # pages in the write-ahead log are not read from the file
    with path.open("rb") as file:
        header = file.read(_PAGE_SIZE_ENDS)
    page = int.from_bytes(header[-2:])
    return header.startswith(_MAGIC) and page > 1 and path.stat().st_size % page != 0


def _set_pragmas(connection: DBAPIConnection, _: object) -> None:
    """Settings of a connection, which SQLite does not store in the file."""
    cursor = connection.cursor()
    # With a write-ahead log, NORMAL would lose entries if the machine failed. FULL takes
    # milliseconds, after seconds of measuring.
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _postgres(server: ServerUrl) -> Database:
    from sqlalchemy import create_engine

    parameters: dict[str, object] = {"client_encoding": "utf8"}
    if "connect_timeout" not in server.url.query:
        parameters["connect_timeout"] = _CONNECT_SECONDS
    try:
        engine = create_engine(
            server.url,
            connect_args=parameters,
            hide_parameters=True,
            pool_pre_ping=True,  # the server may end a connection between two entries
        )
    except ImportError:
        raise UsageError(
            f"history {server.place}: PostgreSQL needs the package psycopg",
            "pip install 'pytest-dlperf[postgres]'",
        ) from None
    writes = (f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'",)
    return Database(
        engine=engine,
        place=server.place,
        secrets=server.secrets,
        hint=_postgres_hint,
        to_read=("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",),
        to_write=writes,
        to_set_up=(*writes, f"SELECT pg_advisory_xact_lock({_SET_UP_LOCK})"),
        setup_lock=nullcontext,
    )


def _postgres_hint(error: BaseException) -> str:
    # Only the server's errors have a SQLSTATE; libpq's are failures to connect.
    return _SERVER_HINT if getattr(error, "sqlstate", None) else _CONNECTION_HINT
