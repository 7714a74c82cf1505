"""What databases and disks say when they refuse, as what was wrong and what to do about it."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_dlperf.errors import HistoryError
from pytest_dlperf.history.url import MASK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_LONGEST: Final = 300  # characters of what a database says
_ANEW: Final = "restore it from a copy, or move it away to begin a new history"
_ELSEWHERE: Final = "or name another: --dlperf-history=URL"
_GRANTS: Final = "it needs CREATE on the schema; SELECT, INSERT, UPDATE, DELETE on its tables"

Explanation = tuple[str, str]
"""What is wrong ({} stands for what the database says), and what to do."""

_OF_SQLITE: Final[dict[str, Explanation]] = {
    "SQLITE_NOTADB": ("it is no SQLite database", f"move it away, {_ELSEWHERE}"),
    "SQLITE_CORRUPT": ("it is damaged: {}", _ANEW),
    "SQLITE_FULL": (
        "it cannot be written: the disk is full",
        "free some space; what was stored before is kept",
    ),
    "SQLITE_BUSY": (
        "another process kept it locked for too long",
        "find who has it open (fuser FILE), let that end, and run again",
    ),
    "SQLITE_READONLY": (
        "it cannot be written: {}",
        f"make it and its folder writable, {_ELSEWHERE}",
    ),
    "SQLITE_CANTOPEN": (
        "it cannot be opened: {}",
        f"make it a file in a writable folder, {_ELSEWHERE}",
    ),
    "SQLITE_IOERR": (
        "the disk failed: {}",
        "free some space, or mend the disk; what was stored before is kept",
    ),
}
"""By the beginning of the name of the error's code: https://sqlite.org/rescode.html"""

_OF_POSTGRES: Final[dict[str, Explanation]] = {
    "28": ("the server refuses the login: {}", "check the URL's user and password"),
    "3D": ("the server has no such database: {}", "check the URL, or create it: createdb NAME"),
    "42501": ("its user may not do what is needed: {}", _GRANTS),
    "53100": ("the server's disk is full: {}", "what was stored before is kept"),
    "53": ("the server has no room: {}", "run again later; what was stored before is kept"),
    "55P03": ("another process kept it locked for too long", "let that end, and run again"),
    "57": ("the server ended the connection: {}", "run again when it is up"),
    "08": ("the connection to the server was lost: {}", "run again when it is up"),
    "XX": ("the server finds it damaged: {}", "see the server's log"),
}
"""By the beginning of SQLSTATE: https://www.postgresql.org/docs/current/errcodes-appendix.html"""


@dataclass(frozen=True, slots=True)
class DatabaseErrorMessages:
    """Makes errors of a database those of a history, without any secret.

    Attributes:
        place: the database, for people.
        secrets: texts that must not be shown, whoever says them.
        explain: what is wrong and what to do, from an error of the driver.
    """

    place: str
    secrets: tuple[str, ...]
    explain: Callable[[BaseException], Explanation]

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Within it, what goes wrong is a `HistoryError`.

        Raises:
            HistoryError: if the database refuses.
        """
        from sqlalchemy.exc import DBAPIError, SQLAlchemyError

        from pytest_dlperf.history.schema import DamagedError

        try:
            yield
        except DBAPIError as error:
            raise self._error(error.orig or error) from None
        except DamagedError as error:
            raise self.damaged(str(error)) from None
        except (SQLAlchemyError, OSError) as error:
            raise self._error(error) from None

    def damaged(self, what: str) -> HistoryError:
        """The error of rows that cannot be read.

        Args:
            what: which, and what is wrong with them.
        """
        return HistoryError(self.place, f"it is damaged: {self._masked(what)}", _ANEW)

    def _error(self, error: BaseException) -> HistoryError:
        problem, hint = self.explain(error)
        return HistoryError(self.place, problem.format(self._masked(_said(error))), hint)

    def _masked(self, text: str) -> str:
        for secret in self.secrets:
            text = text.replace(secret, MASK)
        return " ".join(text.split())[:_LONGEST]


def _said(error: BaseException) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return str(error) or type(error).__name__


def of_sqlite(error: BaseException) -> Explanation:
    """What is wrong with a SQLite file, and what to do."""
    if isinstance(error, OSError):
        return _OF_SQLITE["SQLITE_CANTOPEN"]
    name = str(getattr(error, "sqlite_errorname", ""))
    return _first(_OF_SQLITE, name, ("it cannot be used: {}", _ANEW))


def of_postgres(error: BaseException) -> Explanation:
    """What is wrong with a server's database, and what to do."""
    state = str(getattr(error, "sqlstate", None) or "")
    if not state:  # said by the client: there is no connection, or none any more
        return (
            "the server cannot be reached, or refuses: {}",
            "check that it is up, and the URL's host, port, user and password",
        )
    return _first(_OF_POSTGRES, state, ("the server refuses: {}", "see the server's log"))


def _first(table: dict[str, Explanation], code: str, otherwise: Explanation) -> Explanation:
    return next((said for start, said in table.items() if code.startswith(start)), otherwise)
