"""Publishing: what other programs are told when a run ends: files, and GitHub's pages."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from pytest_dlperf.pytest_plugin.report_transport import facts_of, records_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_dlperf.pytest_plugin.session import DlperfSession
    from pytest_dlperf.report.exports import BenchmarkMetadata
    from pytest_dlperf.report.github import SourceLocation
    from pytest_dlperf.results.record import Record

_SUMMARY_BYTES: Final = 1 << 20
"""GitHub takes no more of a step's summary, and then none of it."""


class OutputFile:
    """Writes a file that an option names, when the run ends.

    Args:
        option: as it is spelt.
        path: the file.
        text: asks for what is written.

    Raises:
        pytest.UsageError: if the file is a folder.
    """

    def __init__(self, option: str, path: Path, text: Callable[[], str]) -> None:
        self._named = f"{option}={path}"
        self._path = path
        self._text = text
        self._trouble = ""
        if path.is_dir():
            raise pytest.UsageError(f"{self._named} is a folder; name a file")

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the file."""
        from pytest_dlperf._files import write_atomically

        content = self._text().encode()
        try:
            write_atomically(self._path, content)
        except OSError as error:
            # Not raised: the results of the run must still be shown.
            self._trouble = f"{self._named}: it cannot be written: {error.strerror or error}"
            session.exitstatus = pytest.ExitCode.USAGE_ERROR

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say why the file is not there."""
        if self._trouble:
            terminalreporter.write_line(self._trouble, red=True)


class GitHubOutput:
    """Shows what was measured on the pages of a workflow run of GitHub Actions.

    Args:
        root: the folder that the places of tests are told from.
        variables: environment variables.
    """

    def __init__(self, root: Path, variables: Mapping[str, str]) -> None:
        self._root = root
        self._top = Path(variables.get("GITHUB_WORKSPACE") or root)
        self._summary = variables.get("GITHUB_STEP_SUMMARY", "")
        self._tests: dict[
            str, tuple[list[Record], BenchmarkMetadata, tuple[str, int | None, str]]
        ] = {}
        self._trouble = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note what a test measured, and where it is; of several attempts the last one counts."""
        records, facts = records_of(report), facts_of(report)
        if records and facts is not None:
            self._tests[report.nodeid] = records, facts, report.location

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
            self._trouble = f"GITHUB_STEP_SUMMARY={path}: it cannot be written: {why}"

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Write the annotations, which GitHub takes from what is printed."""
        from pytest_dlperf.report.github import workflow_commands

        if self._trouble:
            terminalreporter.write_line(self._trouble, red=True)
        for records, facts, location in self._tests.values():
            place = self._place(location)
            for record in records:
                for line in workflow_commands(
                    record, place, missing=facts.missing, inconclusive=facts.inconclusive
                ):
                    terminalreporter.write_line(line)

    def _place(self, location: tuple[str, int | None, str]) -> SourceLocation:
        """The line of the test's marker, from the top of the repository if it is below that."""
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


def publishers(
    config: pytest.Config, session: DlperfSession, variables: Mapping[str, str]
) -> dict[str, OutputFile | GitHubOutput]:
    """The plugins that publish this run, by their names.

    Raises:
        pytest.UsageError: if a file that is to be written is a folder.
    """
    found: dict[str, OutputFile | GitHubOutput] = {}
    options = session.options
    for name, file, text in (
        ("json", options.json, _report),
        ("metrics", options.metrics, _metrics),
    ):
        if file:
            found[f"dlperf-{name}"] = OutputFile(
                f"--dlperf-{name}", Path(file), partial(text, session)
            )
    if variables.get("GITHUB_ACTIONS", "").lower() == "true":
        found["dlperf-github"] = GitHubOutput(config.rootpath, variables)
    return found


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
