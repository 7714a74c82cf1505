"""The history's tables."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from sqlalchemy import Connection, Dialect, MetaData, Table
    from sqlalchemy.types import TypeEngine


VERSION: Final = 3
"""Version of the tables."""

PREFIX: Final = "dlperf_"
"""Prefix of all tables, since the database may have others."""

_UNSTORABLE: Final = re.compile("[\0\x1b\ud800-\udfff]")
_ESCAPED: Final = re.compile("\x1b([0-9a-f]{4})")


class DamagedError(ValueError):
    """Rows that this package did not write, or that were changed since."""


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables of a history.

    Attributes:
        metadata: all of them.
        version: one row, the version of the tables.
        tests: node ids, keyed by digest, since a node id may be too long for an index.
        runs: one row per run of pytest.
        measurements: one row per measurement of a run.
        metrics: one row per metric of a measurement.
        rows: correctness bits of measurements of labelled data.
        users: one row per users' metric of a measurement: its definition, and the rows' scores.
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
    """The tables of this version."""
    from sqlalchemy import Column, Index, Integer, LargeBinary, MetaData, String, Table

    metadata, text = MetaData(), _text_type()
    version = Table(f"{PREFIX}version", metadata, Column("version", Integer, nullable=False))
    tests = Table(
        f"{PREFIX}tests",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("digest", String(64), nullable=False, unique=True),
        Column("test", text, nullable=False),
    )
    runs = Table(
        f"{PREFIX}runs",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("key", String(32), nullable=False, unique=True),
        _double("began"),
        Column("slug", text, nullable=False),
        Column("machine", text, nullable=False),
        Column("commit", text, nullable=False, index=True),
        Column("branch", text, nullable=False),
        Column("date", text, nullable=False),
    )
    Index(f"{PREFIX}runs_branch", runs.c.branch, runs.c.slug)
    measurements = _measurements(metadata)
    # For the newest entries, of all measurements and of one name.
    Index(f"{PREFIX}runs_began", runs.c.began)
    Index(f"{PREFIX}measurements_began", measurements.c.began)
    of_name = measurements.c.test_id, measurements.c.name, measurements.c.began
    Index(f"{PREFIX}measurements_name", *of_name)
    metrics = Table(
        f"{PREFIX}metrics",
        metadata,
        _part_of(measurements),
        Column("metric", String(40), primary_key=True),
        *map(_double, ("value", "low", "high")),
        sqlite_with_rowid=False,  # the metrics of a measurement lie side by side
    )
    rows = Table(
        f"{PREFIX}rows",
        metadata,
        _part_of(measurements),
        Column("data", text, nullable=False),
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
        _double("detect"),
        Column("data", _text_type(), nullable=False),
        Column("rows", Integer, nullable=False),
        Column("kind", String(8), nullable=False),
        Column("scores", LargeBinary, nullable=False),
    )


def _measurements(metadata: MetaData) -> Table:
    from sqlalchemy import Boolean, Column, ForeignKey, Integer, String, Table, UniqueConstraint

    text = _text_type()
    return Table(
        f"{PREFIX}measurements",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("run_id", ForeignKey(f"{PREFIX}runs.id"), nullable=False),
        Column("test_id", ForeignKey(f"{PREFIX}tests.id"), nullable=False),
        _double("began"),  # as the run has it, for the indices
        Column("name", text, nullable=False),
        Column("verdict", String(12), nullable=False),
        Column("renews", Boolean, nullable=False),
        Column("unquiet", text, nullable=False),
        Column("scenario", text, nullable=False),
        Column("serving", text, nullable=False),
        _double("slo", nullable=True),
        # The yardstick's parts; both or neither.
        _double("compute", nullable=True),
        _double("memory", nullable=True),
        Column("environment", text, nullable=False),
        Column("blocks", text),
        Column("seeds", text),
        UniqueConstraint("run_id", "test_id", "name"),
    )


def _double(name: str, *, nullable: bool = False) -> Any:  # noqa: ANN401 - a generic of sqlalchemy
    from sqlalchemy import Column, Double

    return Column(name, Double, nullable=nullable)


def _part_of(measurements: Table) -> Any:  # noqa: ANN401 - a generic of sqlalchemy
    """The primary key of a part of a measurement, deleted with it."""
    from sqlalchemy import Column, ForeignKey

    measurement = ForeignKey(measurements.c.id, ondelete="CASCADE")
    return Column("measurement_id", measurement, primary_key=True)


@cache
def _text_type() -> TypeEngine[str]:
    """Any text: characters that databases refuse (NUL, lone surrogates) are escaped."""
    from sqlalchemy import String, TypeDecorator

    class Text(TypeDecorator[str]):
        impl = String
        cache_ok = True

        def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
            del dialect
            return None if value is None else escaped(value)

        def process_result_value(self, value: object, dialect: Dialect) -> str | None:
            del dialect
            if value is not None and not isinstance(value, str):
                raise DamagedError(f"{value!r:.80} is not text")
            return value if value is None or "\x1b" not in value else unescaped(value)

    return Text()


def escaped(text: str) -> str:
    """Escape the characters that some database refuses, as ESC and four hexadecimal digits."""
    return _UNSTORABLE.sub(lambda match: f"\x1b{ord(match[0]):04x}", text)


def unescaped(text: str) -> str:
    """The inverse of `escaped`."""
    return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), text)


def stored_version(connection: Connection) -> int | None:
    """The version of a database's tables, None if it has none.

    Raises:
        DamagedError: if the version cannot be read.
    """
    from sqlalchemy import inspect, select

    version = tables().version
    if not inspect(connection).has_table(version.name):
        return None
    versions = connection.scalars(select(version.c.version)).all()
    if len(versions) != 1 or not isinstance(versions[0], int) or versions[0] < 1:
        raise DamagedError(f"table {version.name} holds {versions!r:.80}: expected one number")
    return versions[0]


def create_tables(connection: Connection) -> None:
    """Create the tables, unless another process has created them meanwhile.

    Args:
        connection: in a transaction that excludes all others that create tables.
    """
    from sqlalchemy import insert

    if stored_version(connection) is None:
        tables().metadata.create_all(connection, checkfirst=False)
        connection.execute(insert(tables().version).values(version=VERSION))
