"""Records the measurements of each test in the history when the test ends."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import pytest

from pytest_dlperf.config.option_values import HISTORY_VARIABLE, NO_HISTORY, chosen_history
from pytest_dlperf.config.options import option_string
from pytest_dlperf.errors import DlperfError, HistoryError, UsageError
from pytest_dlperf.pytest_plugin.report_transport import records_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from pytest_dlperf.config.options import Options
    from pytest_dlperf.history.entries import Entry, Run
    from pytest_dlperf.history.store import History
    from pytest_dlperf.results.baseline_session import Revision
    from pytest_dlperf.results.environment import MachineClass

_TURN_OFF: Final = "--dlperf-history=none records nothing"


@dataclass(frozen=True, slots=True)
class HistoryLocation:
    """The database of the history.

    Attributes:
        url: SQLAlchemy's, which may hold a password; empty for the default file.
        root: pytest's root folder.
    """

    url: str = field(repr=False)
    root: Path

    def open(self) -> History:
        """Open it; git ignores the default file. Raises UsageError or HistoryError."""
        from pytest_dlperf.git import hide_history
        from pytest_dlperf.history.store import open_history
        from pytest_dlperf.history.url import FILE, default_url

        file = self.root / FILE
        if not self.url and not file.exists():
            hide_history(file.parent)
        return open_history(self.url or default_url(self.root))


def history_location(
    options: Options, variables: Mapping[str, str], root: Path
) -> HistoryLocation | None:
    """Where a run is recorded; None if recording is turned off.

    The environment variable is used unless an option or the ini file names a history.

    Raises:
        UsageError: if the environment variable is not a URL.
    """
    variable = variables.get(HISTORY_VARIABLE)
    url = chosen_history(options.history or None, option_string("history"), variable)
    return None if url == NO_HISTORY else HistoryLocation(url, root)


class HistoryRecorder:
    """The history of one pytest session, opened on first use and closed at the end.

    A plugin of the process that reports, under pytest-xdist the controller.

    Args:
        location: the database.
        machine: returns this machine's class.
        revision: returns the measured revision.
    """

    def __init__(
        self,
        location: HistoryLocation,
        machine: Callable[[], MachineClass],
        revision: Callable[[], Revision],
    ) -> None:
        self._location = location
        self._machine = machine
        self._revision = revision
        self._key, self._began = uuid.uuid4().hex, time.time()
        self._run: Run | None = None
        self._history: History | None = None
        self._open_error: DlperfError | None = None
        self._pending: list[Entry] = []
        self._problem = ""

    def run(self) -> Run:
        """This run, as the history stores it."""
        from pytest_dlperf.history.entries import Run

        if self._run is None:
            self._run = Run(self._key, self._began, self._machine(), self._revision())
        return self._run

    @property
    def files(self) -> tuple[str, ...]:
        """The file of a history that the user has named, and those that SQLite has beside it."""
        from pytest_dlperf.history.url import ServerUrl, parse_url

        try:
            place = parse_url(self._location.url)
        except UsageError:  # which is told where the history is opened
            return ()
        if isinstance(place, ServerUrl):
            return ()
        return tuple(f"{place}{end}" for end in ("", "-journal", "-wal", "-shm"))

    def history(self) -> History:
        """The opened history; an error of opening it is raised again, not retried for each test.

        Raises:
            UsageError, HistoryError: if it cannot be used.
        """
        if self._open_error is not None:
            raise self._open_error.with_traceback(None)
        if self._history is None:
            try:
                self._history = self._location.open()
            except (UsageError, HistoryError) as error:
                self._open_error = error
                raise
        return self._history

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Record the measurements of a test; those that fail are retried at the end of the run."""
        records = records_of(report)
        if not records:
            return
        from pytest_dlperf.history.entries import entry_of

        self._pending += filter(None, (entry_of(record, self.run()) for record in records))
        if not self._problem:
            self._write()

    def check(self) -> None:
        """Open a history that the user has named.

        Raises:
            UsageError, HistoryError: if it cannot be used.
        """
        if self._location.url:
            self.history()

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Retry what was not written; a named history that was never there fails the run.

        One that fails later does not: what was measured and judged stays so.
        """
        if self._pending:
            self._open_error = None
            self._write()
        if self._unusable:
            session.exitstatus = pytest.ExitCode.USAGE_ERROR

    @property
    def _unusable(self) -> bool:
        """Whether nothing could be recorded in the history that the user has named."""
        return bool(self._pending and self._location.url and self._history is None)

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print how many measurements were not recorded, and why."""
        if not self._pending:
            return
        count = len(self._pending)
        measurements = "1 measurement" if count == 1 else f"{count} measurements"
        lines = [*self._problem.splitlines(), f"  {measurements} not recorded; {_TURN_OFF}"]
        for line in lines:
            terminalreporter.write_line(line, red=self._unusable, yellow=not self._unusable)

    def pytest_unconfigure(self) -> None:
        """Close the database."""
        if self._history is not None:
            self._history.close()

    def _write(self) -> None:
        """Write pending entries in order until one fails."""
        try:
            while self._pending:
                self.history().add(self._pending[0])
                self._pending.pop(0)
            self._problem = ""
        except (UsageError, HistoryError) as error:
            self._problem = str(error)
