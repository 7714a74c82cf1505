"""Output for other programs when a run ends: files that options name, and GitHub's pages."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

import pytest

from pytest_dlperf.pytest_plugin.report_transport import metadata_of, records_of
from pytest_dlperf.pytest_plugin.terminal_lines import write_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_dlperf.pytest_plugin.session import DlperfSession
    from pytest_dlperf.report.exports import BenchmarkMetadata
    from pytest_dlperf.report.github import SourceLocation
    from pytest_dlperf.results.record import Record

_Location: TypeAlias = tuple[str, int | None, str]
"""Of a test, as pytest reports it: path, line from 0, name."""
_SUMMARY_BYTES: Final = 1 << 20
"""A longer summary of a step is dropped as a whole by GitHub."""


class OutputFile:
    """Writes a file that an option names, with the content that `text` returns, at the run's end.

    Raises:
        pytest.UsageError: if the file cannot be written.
    """

    def __init__(self, option: str, path: Path, text: Callable[[], str]) -> None:
        from pytest_dlperf._files import why_unwritable

        self._named = f"{option}={path}"
        self._path = path
        self._text = text
        self._problem = ""
        if reason := why_unwritable(path):
            raise pytest.UsageError(f"{self._named} {reason}")

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the file."""
        from pytest_dlperf._files import write_atomically

        content = self._text().encode()
        try:
            write_atomically(self._path, content)
        except OSError as error:
            # Not raised, so that the results of the run are still shown.
            self._problem = f"{self._named} cannot be written: {error.strerror or error}"
            session.exitstatus = pytest.ExitCode.USAGE_ERROR

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Report why the file was not written."""
        if self._problem:
            terminalreporter.write_line(self._problem, red=True)


class GitHubOutput:
    """Shows the measurements on the page of a GitHub Actions run: a summary and annotations.

    Args:
        root: pytest's root folder, to which the locations of tests are relative.
        variables: of the environment.
    """

    def __init__(self, root: Path, variables: Mapping[str, str]) -> None:
        self._root = root
        self._top = Path(variables.get("GITHUB_WORKSPACE") or root)
        self._summary = variables.get("GITHUB_STEP_SUMMARY", "")
        self._tests: dict[str, tuple[list[Record], BenchmarkMetadata, _Location]] = {}
        self._problem = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Collect the records of a test; of several attempts the last one counts."""
        records, metadata = records_of(report), metadata_of(report)
        if records and metadata is not None:
            self._tests[report.nodeid] = records, metadata, report.location

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """Append to the step's summary."""
        if not (self._summary and self._tests):
            return
        from pytest_dlperf.machine import machine_class
        from pytest_dlperf.report.github import run_markdown

        records = [record for records, _, _ in self._tests.values() for record in records]
        path = Path(self._summary)
        try:
            room = _SUMMARY_BYTES - (path.stat().st_size if path.exists() else 0)
            with path.open("ab") as file:
                file.write(run_markdown(records, machine_class().slug, room).encode())
        except OSError as error:
            why = error.strerror or error
            self._problem = f"GITHUB_STEP_SUMMARY={path}: it cannot be written: {why}"

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the annotations, which GitHub reads from the log."""
        from pytest_dlperf.report.github import workflow_commands

        if self._problem:
            terminalreporter.write_line(self._problem, red=True)
        for records, metadata, location in self._tests.values():
            source = self._source(location)
            for record in records:
                commands = workflow_commands(
                    record,
                    source,
                    missing=metadata.missing,
                    inconclusive=metadata.inconclusive,
                    base_broken=metadata.base_broken,
                )
                write_lines(terminalreporter, commands)

    def _source(self, location: _Location) -> SourceLocation:
        """The line of the test's marker; the path from the top of the repository where possible."""
        from pytest_dlperf.report.github import SourceLocation, marker_line

        path = (self._root / location[0]).resolve()
        first = (location[1] or 0) + 1
        try:
            line = marker_line(path.read_text(encoding="utf-8"), first)
        except (OSError, ValueError):
            line = first
        top = self._top.resolve()
        below = path.relative_to(top) if path.is_relative_to(top) else Path(location[0])
        return SourceLocation(below.as_posix(), line)


def output_plugins(
    config: pytest.Config, session: DlperfSession, variables: Mapping[str, str]
) -> dict[str, OutputFile | GitHubOutput]:
    """The plugins that write the output of this run, by name.

    Raises:
        pytest.UsageError: if a file to be written is a folder.
    """
    plugins: dict[str, OutputFile | GitHubOutput] = {}
    options = session.options
    for name, file, text in (
        ("json", options.json, _report),
        ("metrics", options.metrics, _metrics),
    ):
        if file:
            plugins[f"dlperf-{name}"] = OutputFile(
                f"--dlperf-{name}", Path(file), partial(text, session)
            )
    if variables.get("GITHUB_ACTIONS", "").lower() == "true":
        plugins["dlperf-github"] = GitHubOutput(config.rootpath, variables)
    return plugins


def _report(session: DlperfSession) -> str:
    from pytest_dlperf.machine import environment
    from pytest_dlperf.results.record import report_to_json

    content = report_to_json(
        session.records,
        session.machine.to_json(),
        environment().to_json(),
        session.revision.commit,
    )
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def _metrics(session: DlperfSession) -> str:
    from pytest_dlperf.report.openmetrics import openmetrics_text

    return openmetrics_text(session.records)
