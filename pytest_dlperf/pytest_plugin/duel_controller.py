"""Dueling: pytest's hooks of the process that leads a duel, and has others run the tests."""

from __future__ import annotations

import os
import sys
import time
import warnings
from types import SimpleNamespace
from typing import TYPE_CHECKING, Final

import pytest

from pytest_dlperf.duel.worker_handle import WorkerLost
from pytest_dlperf.errors import DuelError, UsageError
from pytest_dlperf.pytest_plugin.options import arguments_given, finds_modules_here, paths_given

if TYPE_CHECKING:
    from pytest_dlperf.duel.cleanup_process import CleanupProcess
    from pytest_dlperf.duel.controller import DuelController
    from pytest_dlperf.duel.evidence_cache import NoPairEffects, PairEffectFiles
    from pytest_dlperf.duel.questions import DuelStatistics
    from pytest_dlperf.duel.worker_handle import Fields
    from pytest_dlperf.duel.workspace import DuelRequest, Workspace
    from pytest_dlperf.pytest_plugin.session import DlperfSession

_PATIENCE: Final = 10
"""A side may be as long without a word as so many calls of a target that hang."""


class DuelControllerPlugin:
    """The plugin of the process that leads a duel.

    Args:
        config: pytest's.
        session: what is set up once.
    """

    def __init__(self, config: pytest.Config, session: DlperfSession) -> None:
        refuse(config, session)
        self._config = config
        self._session = session
        self._tests: list[Fields] = []
        self._tournament: DuelController | None = None
        self._courses: list[DuelStatistics] = []
        self._started_in = 0.0
        self._keeper: CleanupProcess | None = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self, session: pytest.Session) -> bool:
        """Have the sides collect; this process runs no test itself."""
        begun = time.monotonic()
        try:
            self._tournament = self._prepared()
            collected = self._tournament.gather()
        except UsageError as error:
            raise pytest.UsageError(str(error)) from None
        self._tests = collected["tests"]
        session.testscollected = len(self._tests)
        self._started_in = time.monotonic() - begun
        self._session.progress.clear()
        return True

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run test by test."""
        if session.testsfailed and not session.config.option.continue_on_collection_errors:
            errors = session.testsfailed
            raise session.Interrupted(
                f"{errors} error{'s' if errors > 1 else ''} during collection"
            )
        for test in self._tests:
            self._run(test)
            if session.shouldfail:
                raise session.Failed(session.shouldfail)
            if session.shouldstop:
                raise session.Interrupted(session.shouldstop)
        if self._tournament is not None:
            self._tournament.end()
        return True

    def pytest_report_header(self) -> str:
        """What is compared with what."""
        return f"dlperf: against {self._session.options.against}"

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """How the duel went."""
        from pytest_dlperf.duel.controller import duel_lines

        if self._tournament is None or not self._tournament.pairs:
            return
        lines = duel_lines(
            self._courses,
            against=self._session.options.against or "",
            pairs=self._tournament.pairs,
            starting=self._started_in,
            seed=self._session.seed,
        )
        for line in lines:
            terminalreporter.write_line(line)

    def pytest_unconfigure(self) -> None:
        """End whatever was started, and remove it."""
        if self._tournament is not None:
            self._tournament.close()
        if self._keeper is not None:
            self._keeper.close()

    def _prepared(self) -> DuelController:
        from pytest_dlperf.clock import MonotonicClock
        from pytest_dlperf.duel.cleanup_process import CleanupProcess
        from pytest_dlperf.duel.controller import DuelController
        from pytest_dlperf.duel.workspace import prepare_workspace
        from pytest_dlperf.duel.worktree import commit_day
        from pytest_dlperf.results.baseline import Revision

        options = self._session.options
        keeper = self._keeper = CleanupProcess().start()
        ground = prepare_workspace(self._wish(), os.environ, keeper)
        return DuelController(
            ground,
            ref=options.against or "",
            revision=Revision(ground.commit, "", commit_day(ground.repo, ground.commit)),
            pairs=options.pairs,
            heard=self._heard,
            clock=MonotonicClock(),
            progress=self._session.progress,
            coins=self._session.coins,
            earlier=self._earlier(ground),
        )

    def _earlier(self, ground: Workspace) -> PairEffectFiles | NoPairEffects:
        """What earlier duels of the same two versions have shown on this machine."""
        from pytest_dlperf.duel.evidence_cache import NoPairEffects, PairEffectFiles
        from pytest_dlperf.duel.worktree import content_key
        from pytest_dlperf.machine import environment, machine_class

        cache, options = self._session.cache_folder, self._session.options
        if cache is None:
            return NoPairEffects()
        software = environment().to_json()
        versions = (
            ground.commit,
            content_key(ground.repo),
            machine_class().slug,
            *(f"{name}={software[name]}" for name in sorted(software)),
            options.against_python or "",
        )
        return PairEffectFiles(cache / "evidence", versions)

    def _wish(self) -> DuelRequest:
        from pytest_dlperf.config.options import DEFAULTS
        from pytest_dlperf.duel.workspace import DuelRequest, without_paths

        paths = paths_given(self._config)
        options, invocation = self._session.options, self._config.invocation_params
        call_timeout = options.call_timeout or DEFAULTS.call_timeout or 0.0
        return DuelRequest(
            ref=options.against or "",
            install=options.against_install or "",
            python=options.against_python or "",
            folder=invocation.dir,
            root=self._config.rootpath,
            options=without_paths(arguments_given(self._config), paths),
            paths=paths,
            in_path=finds_modules_here(),
            cache=self._session.cache_folder,
            patience=_PATIENCE * call_timeout,
        )

    def _run(self, test: Fields) -> None:
        tournament = self._tournament
        assert tournament is not None  # noqa: S101 - made before tests were collected
        hook, name, location = self._config.hook, test["test"], tuple(test["location"])
        hook.pytest_runtest_logstart(nodeid=name, location=location)
        try:
            self._courses += tournament.play(name)
        except (WorkerLost, DuelError) as error:
            self._session.progress.clear()
            hook.pytest_runtest_logreport(report=_error(name, location, str(error)))
        except UsageError as error:
            raise pytest.UsageError(str(error)) from None
        self._session.progress.clear()
        hook.pytest_runtest_logfinish(nodeid=name, location=location)

    def _heard(self, fields: Fields) -> None:
        """Pass on what the candidate's session says."""
        hook = self._config.hook
        match fields["is"]:
            case "report":
                self._session.progress.clear()
                report = self._deserialised(fields)
                hook.pytest_runtest_logreport(report=report)
            case "collectreport":
                hook.pytest_collectreport(report=self._deserialised(fields))
            case "deselected":
                items = [SimpleNamespace(nodeid=test) for test in fields["tests"]]
                hook.pytest_deselected(items=items)
            case "warning":
                hook.pytest_warning_recorded.call_historic(
                    kwargs={
                        "warning_message": _warning(fields),
                        "when": fields["when"],
                        "nodeid": fields["test"],
                        "location": fields["location"] and tuple(fields["location"]),
                    }
                )

    def _deserialised(self, fields: Fields) -> pytest.TestReport | pytest.CollectReport:
        # JSON has no tuples, which plugins expect in these places.
        data = dict(fields["data"])
        if isinstance(data["longrepr"], list):
            data["longrepr"] = tuple(data["longrepr"])
        for name in ("sections", "user_properties"):
            data[name] = [tuple(pair) for pair in data.get(name, ())]
        if data.get("location") is not None:
            data["location"] = tuple(data["location"])
        report: pytest.TestReport | pytest.CollectReport = (
            self._config.hook.pytest_report_from_serializable(config=self._config, data=data)
        )
        return report


def refuse(config: pytest.Config, session: DlperfSession) -> None:
    """Refuse what makes no sense together.

    Raises:
        pytest.UsageError: naming the two, and what to do.
    """
    problems = {
        "--dlperf-update": session.options.update,
        "--dlperf-quick": session.options.quick,
        "--pdb": config.getoption("usepdb", default=False),
        "--trace": config.getoption("trace", default=False),
        "-n": config.getoption("numprocesses", default=None),
        "--cov": config.getoption("cov_source", default=None)
        and not config.getoption("no_cov", default=False),
    }
    reasons = {
        "--dlperf-update": "a duel writes no baselines: record them in a run of its own",
        "--dlperf-quick": "a smoke run compares nothing: leave one of them out",
        "-n": "its processes would disturb each other: run with -n0",
        "--cov": "what is traced is slow, and by no steady factor: add --no-cov",
    }
    for option, given in problems.items():
        if given:
            reason = reasons.get(option, "tests run in other processes: leave one of them out")
            raise pytest.UsageError(f"{option} with --dlperf-against\n  {reason}")


def _error(test: str, location: tuple[str, int | None, str], text: str) -> pytest.TestReport:
    """The report of a test that came to nothing; an error, since the test's code did not fail."""
    return pytest.TestReport(
        nodeid=test,
        location=location,
        keywords={},
        outcome="failed",
        longrepr=text,
        when="teardown",
    )


def _warning(fields: Fields) -> warnings.WarningMessage:
    module, name = fields["category"]
    # Not imported: this process must not load what a warning of TensorFlow's comes from.
    category = getattr(sys.modules.get(module), name, UserWarning)
    if not (isinstance(category, type) and issubclass(category, Warning)):
        category = UserWarning
    return warnings.WarningMessage(
        message=category(fields["text"]),
        category=category,
        filename=fields["file"],
        lineno=fields["line"],
    )
