"""The history's URL: which database it names, and its text without secrets."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote

from pytest_dlperf.errors import UsageError

if TYPE_CHECKING:
    from sqlalchemy import URL

FILE: Final = ".dlperf/history.sqlite"
"""The default history, below pytest's root directory."""

MASK: Final = "***"
"""Shown in place of a secret."""

_FORMS: Final = "expected sqlite:///PATH or postgresql://USER:PASSWORD@HOST/DATABASE"
_QUOTING: Final = "in a name or password: %40 is @, %2F is /, %3A is :, %3F is ?, %25 is %"
_POSTGRES: Final = frozenset({"postgresql", "postgres", "postgresql+psycopg"})
_SQLITE: Final = re.compile(r"sqlite(?:\+pysqlite)?:(?P<rest>.*)", re.DOTALL)
_PLAIN: Final = frozenset(
    {"host", "hostaddr", "port", "dbname", "user", "sslmode", "connect_timeout", "application_name"}
)
"""Parameters of a PostgreSQL URL whose values are shown; any other may be a secret."""


@dataclass(frozen=True, slots=True)
class ServerUrl:
    """A database of a PostgreSQL server.

    Attributes:
        url: with secrets.
        place: the URL as shown to users, without secrets.
        secrets: texts that must never be shown.
    """

    url: URL
    place: str
    secrets: tuple[str, ...]

    def __repr__(self) -> str:
        return f"ServerUrl({self.place!r})"


def default_url(root: Path) -> str:
    """The URL of the default history below pytest's root directory, a SQLite file."""
    return f"sqlite:///{quote(str(root / FILE), safe='/', errors='surrogateescape')}"


def parse_url(url: str) -> Path | ServerUrl:
    """The SQLite file, or the database of a server, that a URL names.

    Args:
        url: SQLAlchemy's; the path of a file is relative to the working directory unless it begins
            with a fourth slash.

    Raises:
        UsageError: if it names neither; the message has no part of it, which may be a secret.
    """
    match = _SQLITE.fullmatch(url)
    return _file_of(match["rest"]) if match else _server_of(url)


def _file_of(rest: str) -> Path:
    hint = "expected sqlite:///PATH, or with a fourth slash for a path from the root"
    path = unquote(rest.removeprefix("///"), errors="surrogateescape")
    if not rest.startswith("///") or not path or path == ":memory:":
        raise UsageError("the history's URL names no file, so nothing would outlive the run", hint)
    if "?" in rest:
        raise UsageError(
            "the history's URL has parameters, and a SQLite file takes none",
            f"{hint}\n  write ? in a name as %3F",
        )
    if "\0" in path:
        raise UsageError("the history's URL names a file that cannot exist", hint)
    return Path(path).absolute()


def _server_of(url: str) -> ServerUrl:
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # `from None`: the cause may quote the URL.
        raise UsageError("the history's URL cannot be read", f"{_FORMS}\n  {_QUOTING}") from None
    if parsed.drivername not in _POSTGRES:
        raise UsageError(f"the history cannot be kept with {parsed.drivername!r:.40}", _FORMS)
    authority, *others = re.split("[/?]", url.partition("://")[2])
    if authority.count("@") > 1 or any("@" in other for other in others):
        # A part of the password may have been read as host, database or parameter.
        raise UsageError("the history's URL can be read in more than one way", _QUOTING)
    shown = parsed.set(drivername="postgresql", query={})
    parameters = [
        f"{name}={value if name in _PLAIN else MASK}"
        for name, values in sorted(parsed.query.items())
        for value in ([values] if isinstance(values, str) else values)
    ]
    place = shown.render_as_string(hide_password=True)
    return ServerUrl(
        url=parsed.set(drivername="postgresql+psycopg"),
        place="?".join(filter(None, (place, "&".join(parameters)))),
        secrets=_secrets_of(parsed),
    )


def _secrets_of(url: URL) -> tuple[str, ...]:
    """The longest first, so that masking one does not leave a part of another."""
    secrets = {str(url.password)} if url.password else set()
    for name, values in url.query.items():
        if name not in _PLAIN:
            secrets.update([values] if isinstance(values, str) else values)
    secrets.discard("")
    quoted = {quote(secret, safe="") for secret in secrets}
    return tuple(sorted(secrets | quoted, key=len)[::-1])
