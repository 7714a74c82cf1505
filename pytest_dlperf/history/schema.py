"""The history's tables."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from sqlalchemy import Connection, Dialect, MetaData, Table
    from sqlalchemy.types import TypeEngine


VERSION: Final = 2
"""Version of the tables that this package reads and writes."""

PREFIX: Final = "dlperf_"
"""What the names of all tables begin with, since others may be in the same database."""

_UNSTORABLE: Final = re.compile("[\0\x1b\ud800-\udfff]")
_ESCAPED: Final = re.compile("\x1b([0-9a-f]{4})")


class DamagedError(ValueError):
    """Rows that were not written by this package, or were changed since."""


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables of one history.

    Attributes:
        metadata: all of them.
        version: one row, the version of the tables.
        tests: node ids, found by a digest of fixed length; node ids may be longer than a key of
            an index.
        runs: a row for each run of pytest.
        measurements: a row for each measurement of a run.
        metrics: a row for each metric of a measurement.
        rows: the correctness bits of a measurement of labelled data.
        users: a row for each users' metric of a measurement: what it means, and its rows' scores.
    """

    metadata: MetaData
    version: Table
    tests: Table
    runs: Table
    measurements: Table
    metrics: Table
    rows: Table
    users: Table


@cache
def tables() -> Tables:
    """The tables as this version has them."""
    from sqlalchemy import Column, Index, Integer, LargeBinary, MetaData, String, Table

    metadata, words = MetaData(), _words()
    version = Table(f"{PREFIX}version", metadata, Column("version", Integer, nullable=False))
    tests = Table(
        f"{PREFIX}tests",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("digest", String(64), nullable=False, unique=True),
        Column("test", words, nullable=False),
    )
    runs = Table(
        f"{PREFIX}runs",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("key", String(32), nullable=False, unique=True),
        _figure("began"),
        Column("slug", words, nullable=False),
        Column("machine", words, nullable=False),
        Column("commit", words, nullable=False, index=True),
        Column("branch", words, nullable=False),
        Column("date", words, nullable=False),
    )
    Index(f"{PREFIX}runs_branch", runs.c.branch, runs.c.slug)
    measurements = _measurements(metadata)
    # The newest ones, of all and of a name, are at one end of them.
    Index(f"{PREFIX}runs_began", runs.c.began)
    Index(f"{PREFIX}measurements_began", measurements.c.began)
    of_name = measurements.c.test_id, measurements.c.name, measurements.c.began
    Index(f"{PREFIX}measurements_name", *of_name)
    metrics = Table(
        f"{PREFIX}metrics",
        metadata,
        _part_of(measurements),
        Column("metric", String(40), primary_key=True),
        *map(_figure, ("value", "low", "high")),
        sqlite_with_rowid=False,  # the metrics of a measurement lie side by side
    )
    rows = Table(
        f"{PREFIX}rows",
        metadata,
        _part_of(measurements),
        Column("data", words, nullable=False),
        Column("rows", Integer, nullable=False),
        Column("answered", LargeBinary, nullable=False),
        Column("right", LargeBinary, nullable=False),
    )
    users = _users(metadata, measurements)
    return Tables(metadata, version, tests, runs, measurements, metrics, rows, users)


def _users(metadata: MetaData, measurements: Table) -> Table:
    from sqlalchemy import Column, Integer, LargeBinary, String, Table

    return Table(
        f"{PREFIX}users_metrics",
        metadata,
        _part_of(measurements),
        Column("metric", String(40), primary_key=True),
        Column("unit", String(8), nullable=False),
        Column("better", String(8), nullable=False),
        _figure("detect"),
        Column("data", _words(), nullable=False),
        Column("rows", Integer, nullable=False),
        Column("kind", String(8), nullable=False),
        Column("scores", LargeBinary, nullable=False),
    )


def _measurements(metadata: MetaData) -> Table:
    from sqlalchemy import Boolean, Column, ForeignKey, Integer, String, Table, UniqueConstraint

    words = _words()
    return Table(
        f"{PREFIX}measurements",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("run_id", ForeignKey(f"{PREFIX}runs.id"), nullable=False),
        Column("test_id", ForeignKey(f"{PREFIX}tests.id"), nullable=False),
        _figure("began"),  # as the run has it, for the indices
        Column("name", words, nullable=False),
        Column("verdict", String(12), nullable=False),
        Column("renews", Boolean, nullable=False),
        Column("unquiet", words, nullable=False),
        Column("scenario", words, nullable=False),
        Column("serving", words, nullable=False),
        _figure("slo", nullable=True),
        _figure("yardstick", nullable=True),
        Column("environment", words, nullable=False),
        Column("blocks", words),
        Column("seeds", words),
        UniqueConstraint("run_id", "test_id", "name"),
    )


def _figure(name: str, *, nullable: bool = False) -> Any:  # noqa: ANN401 - a generic of sqlalchemy
    from sqlalchemy import Column, Double

    return Column(name, Double, nullable=nullable)


def _part_of(measurements: Table) -> Any:  # noqa: ANN401 - a generic of sqlalchemy
    """The column by which a row belongs to a measurement, with which it is deleted."""
    from sqlalchemy import Column, ForeignKey

    whole = ForeignKey(measurements.c.id, ondelete="CASCADE")
    return Column("measurement_id", whole, primary_key=True)


@cache
def _words() -> TypeEngine[str]:
    """Any text: what databases refuse (NUL, half of a character) is written in another way."""
    from sqlalchemy import String, TypeDecorator

    class Words(TypeDecorator[str]):
        impl = String
        cache_ok = True

        def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
            del dialect
            return None if value is None else escaped(value)

        def process_result_value(self, value: object, dialect: Dialect) -> str | None:
            del dialect
            if value is not None and not isinstance(value, str):
                raise DamagedError(f"{value!r:.80} is no text")
            return value if value is None or "\x1b" not in value else unescaped(value)

    return Words()


def escaped(text: str) -> str:
    """A text that every database can hold: ESC and four digits stand for what some cannot."""
    return _UNSTORABLE.sub(lambda found: f"\x1b{ord(found[0]):04x}", text)


def unescaped(text: str) -> str:
    """The inverse of `escaped`."""
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text)


def stored_version(connection: Connection) -> int | None:
    """The version of the tables in a database, None if it has none.

    Raises:
        DamagedError: if that cannot be told.
    """
    from sqlalchemy import inspect, select

    version = tables().version
    if not inspect(connection).has_table(version.name):
        return None
    found = connection.scalars(select(version.c.version)).all()
    if len(found) != 1 or not isinstance(found[0], int) or found[0] < 1:
        raise DamagedError(f"table {version.name} holds {found!r:.80}: expected one number")
    return found[0]


def create_tables(connection: Connection) -> None:
    """Create the tables, unless another process has done so since they were looked for.

    Args:
        connection: in a transaction that excludes all others that create tables.
    """
    from sqlalchemy import insert

    if stored_version(connection) is None:
        tables().metadata.create_all(connection, checkfirst=False)
        connection.execute(insert(tables().version).values(version=VERSION))
