"""Historian: writes what a run measures into the history, as soon as each test is done."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import pytest

from pytest_dlperf.config.option_values import HISTORY_VARIABLE, NO_HISTORY
from pytest_dlperf.errors import DlperfError, HistoryError, UsageError
from pytest_dlperf.pytest_plugin.report_transport import records_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from pytest_dlperf.config.options import Options
    from pytest_dlperf.history.entries import Entry, Run
    from pytest_dlperf.history.store import History
    from pytest_dlperf.results.baseline import Revision
    from pytest_dlperf.results.environment import MachineClass

_TURN_OFF: Final = "--dlperf-history=none records nothing"


@dataclass(frozen=True, slots=True)
class HistoryLocation:
    """Where the history is.

    Attributes:
        url: SQLAlchemy's; may hold a password; empty for the file in the project.
        root: pytest's root folder.
    """

    url: str = field(repr=False)
    root: Path

    def open(self) -> History:
        """Open it, and have git leave the project's own file alone.

        Raises:
            UsageError, HistoryError: if it cannot be used.
        """
        from pytest_dlperf.git import hide_history
        from pytest_dlperf.history.store import default_url, open_history
        from pytest_dlperf.history.url import FILE

        file = self.root / FILE
        if not self.url and not file.exists():
            hide_history(file.parent)
        return open_history(self.url or default_url(self.root))


def place_of(options: Options, variables: Mapping[str, str], root: Path) -> HistoryLocation | None:
    """Where a run is recorded; None if it is not.

    Args:
        options: of the run.
        variables: environment variables; an option and the ini file win over them.
        root: pytest's root folder.

    Raises:
        UsageError: if the environment variable is no URL.
    """
    from pytest_dlperf.config.option_values import parse_history

    told = variables.get(HISTORY_VARIABLE, "")
    url = options.history or (parse_history(told, HISTORY_VARIABLE) if told else "")
    return None if url == NO_HISTORY else HistoryLocation(url, root)


class HistoryRecorder:
    """The history of one pytest session: opened when it is first asked for, closed at the end.

    Registered as a plugin in the process that reports.

    Args:
        place: where it is.
        machine: asks for this machine's class.
        revision: asks for the code that is measured.
    """

    def __init__(
        self,
        place: HistoryLocation,
        machine: Callable[[], MachineClass],
        revision: Callable[[], Revision],
    ) -> None:
        self._place = place
        self._machine = machine
        self._revision = revision
        self._key, self._began = uuid.uuid4().hex, time.time()
        self._run: Run | None = None
        self._history: History | None = None
        self._refused: DlperfError | None = None
        self._waiting: list[Entry] = []
        self._trouble = ""

    @property
    def run(self) -> Run:
        """This run, as the history knows it."""
        from pytest_dlperf.history.entries import Run

        if self._run is None:
            self._run = Run(self._key, self._began, self._machine(), self._revision())
        return self._run

    def history(self) -> History:
        """The history; one that could not be opened is not tried again for each test.

        Raises:
            UsageError, HistoryError: if it cannot be used.
        """
        if self._refused is not None:
            raise self._refused.with_traceback(None)
        if self._history is None:
            try:
                self._history = self._place.open()
            except (UsageError, HistoryError) as error:
                self._refused = error
                raise
        return self._history

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Record what a test measured; what cannot be written now waits for the end of the run."""
        records = records_of(report)
        if not records:
            return
        from pytest_dlperf.history.entries import entry_of

        self._waiting += filter(None, (entry_of(record, self.run) for record in records))
        if not self._trouble:
            self._write()

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Try once more what could not be written; a history that the user named must work."""
        if self._waiting:
            self._refused = None
            self._write()
        if self._waiting and self._place.url:
            session.exitstatus = pytest.ExitCode.USAGE_ERROR

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """What was not recorded, and why."""
        if not self._waiting:
            return
        named = bool(self._place.url)
        count = len(self._waiting)
        measurements = "1 measurement" if count == 1 else f"{count} measurements"
        lines = [*self._trouble.splitlines(), f"  {measurements} not recorded; {_TURN_OFF}"]
        for line in lines:
            terminalreporter.write_line(line, red=named, yellow=not named)

    def pytest_unconfigure(self) -> None:
        """Let go of the database."""
        if self._history is not None:
            self._history.close()

    def _write(self) -> None:
        """Write what is waiting, in turn, up to the first that cannot be written."""
        try:
            while self._waiting:
                self.history().add(self._waiting[0])
                self._waiting.pop(0)
            self._trouble = ""
        except (UsageError, HistoryError) as error:
            self._trouble = str(error)
