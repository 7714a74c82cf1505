"""Tunings: what `dlperf_sweep` asks for, and what was found, on its way to people.

What was found travels on a test's last report, as its records do (`carrier`), so that it reaches
the process that reports.
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

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pytest_dlperf.config.plan import Plan
    from pytest_dlperf.tuning.cli import TuneOptions
    from pytest_dlperf.tuning.configuration import Knob
    from pytest_dlperf.tuning.plan import Overrides, TuningPlan
    from pytest_dlperf.tuning.result import Tuned


STUDIES: Final[pytest.StashKey[TuningPlan]] = pytest.StashKey()
"""Where a test keeps what its `dlperf_sweep` asks for."""

OVERRIDES: Final[pytest.StashKey[Overrides]] = pytest.StashKey()
"""Where pytest's config keeps what a command line says of all studies."""

_KNOWN: Final = pytest.StashKey["Mapping[str, Knob]"]()
_CARGO: Final = pytest.StashKey[list[str]]()
_ON_REPORT: Final = "dlperf_tunings"

SKIPPED: Final = "tuning compares configurations of one version: it has no part in --dlperf-against"


_INTERRUPTED: Final = 128 + signal.SIGINT  # as shells have it
_SCHEMA: Final = 1
_STATUS: Final[dict[int, int]] = {
    pytest.ExitCode.OK: 0,
    pytest.ExitCode.TESTS_FAILED: 1,
    pytest.ExitCode.INTERRUPTED: _INTERRUPTED,
}
"""The exit status of the program; 2 for all else, which could not be used."""
_TROUBLE: Final = pytest.StashKey[str]()
_FINAL: Final = pytest.StashKey[int]()


def known_knobs(config: pytest.Config) -> Mapping[str, Knob]:
    """All knobs that have a name in this run.

    Raises:
        UsageError: if a hook `pytest_dlperf_knobs` returns something else than knobs.
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
    """What a test's `dlperf_sweep` asks for; None if it has no such marker.

    The budgets of its dlperf markers are constraints too.

    Args:
        item: the test.
        plan: of its dlperf markers and the options.
        seconds: how long it says that a measurement lasts, if it does.

    Raises:
        UsageError: for a marker that makes no sense.
    """
    mark = item.get_closest_marker(TUNES)
    if mark is None:
        return None
    from pytest_dlperf.tuning import plan as tuning_plan

    known = known_knobs(item.config)
    found = tuning_plan.tuning_plan(mark.args, mark.kwargs, known)
    found = item.config.stash.get(OVERRIDES, tuning_plan.Overrides()).on(found, known)
    own = tuple(one for one in plan.budgets if one.metric.name not in plan.run_wide)
    goal = dataclasses.replace(found.goal, constraints=(*found.goal.constraints, *own))
    tuning_plan.check_measured(goal)
    found = dataclasses.replace(found, goal=goal)
    return found if seconds is None else dataclasses.replace(found, seconds=seconds)


def load(item: pytest.Item, found: Iterable[Tuned]) -> None:
    """Have a test's last report carry what it has found."""
    from pytest_dlperf.tuning.report import tuning_lines
    from pytest_dlperf.tuning.result_json import tuning_json

    texts = [
        json.dumps({"lines": list(tuning_lines(tuned)), "result": tuning_json(tuned)})
        for tuned in found
    ]
    if texts:
        item.stash[_CARGO] = texts


def attach(item: pytest.Item, report: pytest.TestReport) -> None:
    """Put what a test has loaded on its last report."""
    if report.when == "teardown" and _CARGO in item.stash:
        vars(report)[_ON_REPORT] = item.stash[_CARGO]


class TuningResults:
    """The plugin of the process that reports: shows what tests that tune have found."""

    def __init__(self) -> None:
        self._found: dict[str, Sequence[Mapping[str, Any]]] = {}

    @property
    def results(self) -> list[object]:
        """All that was found, as plain values."""
        return [one["result"] for some in self._found.values() for one in some]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take it from the last report of a test."""
        texts = vars(report).get(_ON_REPORT)
        if texts:
            self._found[report.nodeid] = [json.loads(text) for text in texts]

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """The tables, each in a section of its own."""
        for test, some in self._found.items():
            for one in some:
                terminalreporter.section(f"dlperf tune: {test}")
                for line in one["lines"]:
                    terminalreporter.write_line(line)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Take over what the command line of the program says."""
    config.stash[OVERRIDES] = _request().overrides


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write what was found, and choose the exit status of the program."""
    status = _STATUS.get(session.exitstatus, 2)
    path = _request().json
    if path and status <= 1:
        found: Any = session.config.pluginmanager.get_plugin("dlperf-tunings")
        results = cast("TuningResults", found).results if found else []
        content = {"schema": _SCHEMA, "studies": results}
        text = json.dumps(content, indent=1, allow_nan=False)
        try:
            write_atomically(Path(path), f"{text}\n".encode())
        except OSError as error:
            session.config.stash[_TROUBLE] = f"{path} cannot be written: {error.strerror or error}"
            status = 2
    session.config.stash[_FINAL] = status


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> Any:  # noqa: ANN401 - as pluggy has it
    """End with the exit status of the program."""
    code = yield
    return config.stash.get(_FINAL, 2 if code else 0)


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config
) -> None:
    """Say what to do next, where there is no table."""
    if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
        terminalreporter.write_line(
            f"no test here has a marker @pytest.mark.{TUNES}(...): see pytest --markers"
        )
    if exitstatus == pytest.ExitCode.INTERRUPTED:
        terminalreporter.write_line(
            "interrupted: the trials so far are kept, and the same command goes on from there"
        )
    if _TROUBLE in config.stash:
        terminalreporter.write_line(config.stash[_TROUBLE], red=True)


def _request() -> TuneOptions:
    from pytest_dlperf.tuning.cli import ASKED, TuneOptions

    return TuneOptions.from_text(os.environ[ASKED])
