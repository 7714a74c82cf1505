"""The hooks of every session: they prepare it, collect records, and show them at the end.

An object of its own, since the oldest pytest evaluates all properties of a plugin's object when it
looks for fixtures, and those of the session start TensorFlow and ask git.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_dlperf.errors import HistoryError, UsageError
from pytest_dlperf.pytest_plugin.collection import measures
from pytest_dlperf.pytest_plugin.report_transport import records_of
from pytest_dlperf.pytest_plugin.terminal_lines import write_lines

if TYPE_CHECKING:
    from pytest_dlperf.pytest_plugin.session import DlperfSession


class SessionHooks:
    """The plugin of every session.

    Args:
        session: services and options of this run.
    """

    def __init__(self, session: DlperfSession) -> None:
        self._session = session

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self) -> None:
        """Split the CPU before anything starts TensorFlow, which fixes its devices then."""
        parts = self._session.options.logical_cpus
        if parts is None or self._session.leads_duel:
            return
        from pytest_dlperf.targets.local_devices import split_cpu

        try:
            split_cpu(parts)
        except UsageError as error:
            raise pytest.UsageError(str(error)) from None

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Find baselines and history before measuring, so that an error ends the run at once."""
        ours, config = self._session, session.config
        elsewhere = ours.reports_elsewhere or ours.leads_duel
        if elsewhere or config.option.collectonly or not any(map(measures, session.items)):
            return
        try:
            _ = ours.baselines
            if ours.history_recorder is not None and not ours.options.quick:
                ours.history_recorder.check()
        except (UsageError, HistoryError) as error:
            raise pytest.UsageError(str(error)) from None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Collect the records of a test, from this process or from another one."""
        records = records_of(report)
        if records:
            self._session.add(report.nodeid, records)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Show the section with one row per measurement."""
        session, records = self._session, self._session.records
        if not records:
            return
        from pytest_dlperf.report.tables import wrap_message
        from pytest_dlperf.report.terminal import summary_lines

        writer = terminalreporter._tw  # noqa: SLF001 - the only way to its width and colours
        terminalreporter.section(f"dlperf: {session.machine.slug}")
        width = min(writer.fullwidth, 120)
        write_lines(terminalreporter, summary_lines(records, width, colour=writer.hasmarkup))
        if any(record.basis for record in records):
            write_lines(terminalreporter, ("", *wrap_message(session.baselines.heading)))
        missing = session.without_commit()
        if missing:
            write_lines(terminalreporter, ("", *wrap_message(missing)), yellow=True)

    def pytest_unconfigure(self) -> None:
        """Close the progress display."""
        from pytest_dlperf.report.progress import LineProgress

        if isinstance(self._session.progress, LineProgress):
            self._session.progress.close()
