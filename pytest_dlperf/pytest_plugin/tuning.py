"""Tests that tune: their `dlperf_sweep` marker, and the transport of their results.

The hooks below `TuningResults` make this module a plugin of its own, with which the program
`pytest-dlperf tune` runs pytest (`-p`, see `tuning/cli.py`).
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import pytest

from pytest_dlperf._files import write_atomically
from pytest_dlperf.config.options import TUNES
from pytest_dlperf.errors import UsageError
from pytest_dlperf.pytest_plugin.report_transport import load_studies, studies_of
from pytest_dlperf.pytest_plugin.terminal_lines import write_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pytest_dlperf.config.plan import Plan
    from pytest_dlperf.tuning.cli import TuneOptions
    from pytest_dlperf.tuning.configuration import Knob
    from pytest_dlperf.tuning.plan import Overrides, TuningPlan
    from pytest_dlperf.tuning.result import Tuned

STUDIES: Final[pytest.StashKey[TuningPlan]] = pytest.StashKey()
"""Of a test: the plan of its `dlperf_sweep` marker."""

OVERRIDES: Final[pytest.StashKey[Overrides]] = pytest.StashKey()
"""Of pytest's config: the command line's options for all studies."""

SKIPPED: Final = "tuning compares configurations of one version: it has no part in --dlperf-against"

_KNOWN: Final = pytest.StashKey["Mapping[str, Knob]"]()
_PLUGIN: Final = "dlperf-tunings"

_SCHEMA: Final = 1
_INTERRUPTED: Final = 128 + signal.SIGINT  # as shells have it
_UNUSABLE: Final = 2
_STATUS: Final[dict[int, int]] = {
    pytest.ExitCode.OK: 0,
    pytest.ExitCode.TESTS_FAILED: 1,
    pytest.ExitCode.INTERRUPTED: _INTERRUPTED,
}
"""Exit status of the program by that of pytest; all others are unusable input."""
_WRITE_ERROR: Final = pytest.StashKey[str]()
_EXIT_STATUS: Final = pytest.StashKey[int]()


def known_knobs(config: pytest.Config) -> Mapping[str, Knob]:
    """All knobs that have a name in this run.

    Raises:
        UsageError: if a hook `pytest_dlperf_knobs` returns anything but knobs.
    """
    from pytest_dlperf.tuning.catalogue import catalogue

    known = config.stash.get(_KNOWN, None)
    if known is None:
        users: list[Knob] = []
        for given in config.hook.pytest_dlperf_knobs(config=config):
            if not isinstance(given, tuple | list):
                raise UsageError(
                    f"pytest_dlperf_knobs returned {given!r:.80}", "expected a list of Knob(...)"
                )
            users += given
        known = config.stash[_KNOWN] = catalogue(users)
    return known


def study_of(item: pytest.Item, plan: Plan, seconds: float | None) -> TuningPlan | None:
    """The plan of a test's `dlperf_sweep` marker; None without one.

    The budgets of its dlperf markers, in `plan`, are constraints too; `seconds` is None if they set
    no duration.

    Raises:
        UsageError: for a wrong marker.
    """
    mark = item.get_closest_marker(TUNES)
    if mark is None:
        return None
    from pytest_dlperf.tuning.plan import Overrides, check_measured, tuning_plan

    known = known_knobs(item.config)
    study = tuning_plan(mark.args, mark.kwargs, known)
    study = item.config.stash.get(OVERRIDES, Overrides()).on(study, known)
    own = tuple(budget for budget in plan.budgets if budget.metric.name not in plan.run_wide)
    goal = dataclasses.replace(study.goal, constraints=(*study.goal.constraints, *own))
    check_measured(goal)
    study = dataclasses.replace(study, goal=goal)
    return study if seconds is None else dataclasses.replace(study, seconds=seconds)


def report_studies(item: pytest.Item, studies: Iterable[Tuned]) -> None:
    """Attach studies to a test's last report, as text and as plain values."""
    studies = tuple(studies)
    if not studies:
        return  # importing takes a third of a second
    from pytest_dlperf.tuning.report import tuning_lines
    from pytest_dlperf.tuning.result_json import tuning_json

    load_studies(
        item,
        [{"lines": list(tuning_lines(tuned)), "result": tuning_json(tuned)} for tuned in studies],
    )


class TuningResults:
    """The plugin of the reporting process, which shows the studies of all tests."""

    def __init__(self) -> None:
        self._studies: dict[str, Sequence[Mapping[str, Any]]] = {}

    @classmethod
    def register(cls, config: pytest.Config) -> None:
        """Register it under its name."""
        config.pluginmanager.register(cls(), _PLUGIN)

    @property
    def results(self) -> list[object]:
        """All studies, as plain values."""
        return [study["result"] for studies in self._studies.values() for study in studies]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take the studies of a test from its last report."""
        studies = studies_of(report)
        if studies:
            self._studies[report.nodeid] = studies

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Show each study in a section of its own."""
        for test, studies in self._studies.items():
            for study in studies:
                terminalreporter.section(f"dlperf tune: {test}")
                write_lines(terminalreporter, study["lines"])


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Read the options of the program's command line."""
    config.stash[OVERRIDES] = _options().overrides


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the JSON file, and choose the exit status of the program."""
    status = _STATUS.get(session.exitstatus, _UNUSABLE)
    path = _options().json
    if path and status <= 1:
        plugin: Any = session.config.pluginmanager.get_plugin(_PLUGIN)
        results = cast("TuningResults", plugin).results if plugin else []
        text = json.dumps({"schema": _SCHEMA, "studies": results}, indent=1, allow_nan=False)
        try:
            write_atomically(Path(path), f"{text}\n".encode())
        except OSError as error:
            reason = error.strerror or error
            session.config.stash[_WRITE_ERROR] = f"{path} cannot be written: {reason}"
            status = _UNUSABLE
    session.config.stash[_EXIT_STATUS] = status


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> Any:  # noqa: ANN401 - as pluggy has it
    """Exit with the status of the program."""
    code = yield
    return config.stash.get(_EXIT_STATUS, _UNUSABLE if code else 0)


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config
) -> None:
    """Say why there is no table, or no file."""
    if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
        terminalreporter.write_line(
            f"no test here has a marker @pytest.mark.{TUNES}(...): see pytest --markers"
        )
    if exitstatus == pytest.ExitCode.INTERRUPTED:
        terminalreporter.write_line(
            "interrupted: the trials so far are kept, and the same command goes on from there"
        )
    if _WRITE_ERROR in config.stash:
        terminalreporter.write_line(config.stash[_WRITE_ERROR], red=True)


def _options() -> TuneOptions:
    from pytest_dlperf.tuning.cli import ASKED, TuneOptions

    return TuneOptions.from_text(os.environ[ASKED])
