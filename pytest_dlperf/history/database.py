"""The history's database: SQLite or PostgreSQL, as transactions whose errors are for people.

A transaction begins with statements of its own, since the two databases differ in what keeps
readers and writers apart.
"""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_dlperf._files import locked
from pytest_dlperf.errors import HistoryError, UsageError
from pytest_dlperf.history.history_errors import DatabaseErrorMessages, of_postgres, of_sqlite
from pytest_dlperf.history.schema import VERSION, DamagedError, set_up, stored_version
from pytest_dlperf.history.url import parse_url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from sqlalchemy import Connection, Engine
    from sqlalchemy.engine.interfaces import DBAPIConnection

    from pytest_dlperf.history.url import ServerUrl

LOCK_SECONDS: Final = 30
"""So long a lock of another process is waited for."""

_CONNECT_SECONDS: Final = 10
_MAGIC: Final = b"SQLite format 3\0"  # https://sqlite.org/fileformat.html section 1.3
_PAGE_SIZE_ENDS: Final = len(_MAGIC) + 2
_SET_UP_LOCK: Final = 0x646C70657266  # "dlperf": an advisory lock of PostgreSQL, of all histories


@dataclass(frozen=True, slots=True)
class Database:
    """A database in which a history is, or will be.

    Attributes:
        engine: SQLAlchemy's.
        told: makes its errors those of a history.
        to_read: what a transaction begins with that sees one state of the whole.
        to_write: what a transaction begins with that changes something.
        to_set_up: the same, if it must be the only one that sets up.
        prepared: held while setting up.
    """

    engine: Engine
    told: DatabaseErrorMessages
    to_read: tuple[str, ...]
    to_write: tuple[str, ...]
    to_set_up: tuple[str, ...]
    prepared: Callable[[], AbstractContextManager[None]]

    def reading(self) -> AbstractContextManager[Connection]:
        """A transaction that changes nothing.

        Raises:
            HistoryError: if the database cannot be read.
        """
        return self._transaction(self.to_read)

    def writing(self) -> AbstractContextManager[Connection]:
        """A transaction that is kept as a whole when it ends, or not at all.

        Raises:
            HistoryError: if the database cannot be written to; nothing is changed then.
        """
        return self._transaction(self.to_write)

    def make_ready(self) -> None:
        """Create the tables, or bring those of an older version up to date.

        Raises:
            HistoryError: if that cannot be done, or a newer version wrote them.
        """
        with self.told():
            with self.reading() as connection:
                found = stored_version(connection)
            if found is None or found < VERSION:
                with self.prepared(), self._transaction(self.to_set_up) as connection:
                    set_up(connection)
            elif found > VERSION:
                raise HistoryError(
                    self.told.place,
                    "it was written by a newer pytest-dlperf "
                    f"(version {found} of its tables, this reads {VERSION})",
                    "upgrade pytest-dlperf",
                )

    @contextmanager
    def _transaction(self, statements: tuple[str, ...]) -> Iterator[Connection]:
        with self.told(), self.engine.connect() as connection, connection.begin():
            for statement in statements:
                connection.exec_driver_sql(statement)
            yield connection


def database_of(url: str) -> Database:
    """The database of a URL; nothing is connected to yet.

    Raises:
        UsageError: if the URL means none, or the driver is not installed.
    """
    parsed = parse_url(url)
    return _sqlite(parsed) if isinstance(parsed, Path) else _postgres(parsed)


def _sqlite(path: Path) -> Database:
    from sqlalchemy import URL, create_engine, event

    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        # Transactions begin where they are said to.
        connect_args={"timeout": LOCK_SECONDS, "isolation_level": None},
        hide_parameters=True,
    )
    event.listen(engine, "connect", _set_pragmas)

    @contextmanager
    def prepared() -> Iterator[None]:
        # Two processes that ask for the write-ahead log at once would not wait for each other.
        with locked(path.parent):
            with engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA journal_mode = WAL")
            yield

    # To ask for the lock only when something is to be written fails where another has written
    # since the first reading.
    writes = ("BEGIN IMMEDIATE",)
    told = DatabaseErrorMessages(str(path), (), of_sqlite)
    with told():
        path.parent.mkdir(parents=True, exist_ok=True)
        if _is_cut_off(path):
            raise DamagedError("its end is cut off")
    return Database(engine, told, ("BEGIN",), writes, writes, prepared)


def _is_cut_off(path: Path) -> bool:
    """Whether a file ends within a page; SQLite would take the rest of the page for zeros."""
    log = path.with_name(f"{path.name}-wal")
    if not path.is_file() or (log.exists() and log.stat().st_size):
        return False  # what the write-ahead log has is not read from the file
    with path.open("rb") as file:
        header = file.read(_PAGE_SIZE_ENDS)
    page = int.from_bytes(header[-2:])
    return header.startswith(_MAGIC) and page > 1 and path.stat().st_size % page != 0


def _set_pragmas(connection: DBAPIConnection, _: object) -> None:
    """What SQLite does not keep in the file.

    With the write-ahead log, `synchronous = NORMAL` would outlive the end of a process, but not
    that of the machine. An entry is written after seconds of measuring: that it is on the disk is
    worth the milliseconds.
    """
    cursor = connection.cursor()
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
            pool_pre_ping=True,  # minutes may pass between two entries
        )
    except ImportError:
        raise UsageError(
            f"history {server.place}: PostgreSQL needs the package psycopg",
            "pip install 'pytest-dlperf[postgres]'",
        ) from None
    writes = (f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'",)
    return Database(
        engine=engine,
        told=DatabaseErrorMessages(server.place, server.secrets, of_postgres),
        to_read=("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",),
        to_write=writes,
        to_set_up=(*writes, f"SELECT pg_advisory_xact_lock({_SET_UP_LOCK})"),
        prepared=nullcontext,
    )
