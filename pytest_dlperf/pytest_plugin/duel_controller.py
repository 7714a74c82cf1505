"""pytest's hooks in the process that controls a duel: workers run the tests, it reports them."""

from __future__ import annotations

import os
import secrets
import sys
import tempfile
import time
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Final

import pytest

from pytest_dlperf._processes import usable_processors
from pytest_dlperf.duel.worker_process import WorkerLost
from pytest_dlperf.errors import DuelError, UsageError
from pytest_dlperf.pytest_plugin.duel_refusals import refuse
from pytest_dlperf.pytest_plugin.options import (
    VARIABLES,
    arguments_given,
    finds_modules_here,
    paths_given,
)
from pytest_dlperf.pytest_plugin.side_options import (
    held_files,
    shared_options,
    written_files,
)
from pytest_dlperf.pytest_plugin.terminal_lines import write_lines
from pytest_dlperf.report.hints import without_untracked
from pytest_dlperf.report.tables import wrap_message

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_dlperf.duel.cleanup_process import CleanupProcess
    from pytest_dlperf.duel.controller import DuelController
    from pytest_dlperf.duel.evidence_cache import PairEffectCache
    from pytest_dlperf.duel.questions import DuelStatistics
    from pytest_dlperf.duel.worker_handle import Fields
    from pytest_dlperf.duel.workspace import DuelRequest, Workspace
    from pytest_dlperf.pytest_plugin.session import DlperfSession

_TIMEOUT_CALLS: Final = 10
"""A worker may send nothing for as long as this many calls of a target may take."""


class DuelControllerPlugin:
    """The plugin of the process that controls a duel.

    Args:
        config: pytest's.
        session: services and options of this run.
    """

    def __init__(self, config: pytest.Config, session: DlperfSession) -> None:
        refuse(config, session)
        self._config = config
        self._session = session
        self._tests: list[Fields] = []
        self._controller: DuelController | None = None
        self._statistics: list[DuelStatistics] = []
        self._start_seconds = 0.0
        self._running: pytest.Session | None = None
        self._cleanup: CleanupProcess | None = None
        self._workspace: Workspace | None = None
        self._cache: Path | None = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self, session: pytest.Session) -> bool:
        """Have the workers collect; this process runs no test itself."""
        begun = time.monotonic()
        try:
            self._controller = self._make_controller()
            collected = self._controller.start()
        except UsageError as error:
            raise pytest.UsageError(str(error)) from None
        except OSError as error:
            raise pytest.UsageError(_cannot_prepare(error)) from None
        self._tests = collected["tests"]
        session.testscollected = len(self._tests)
        self._start_seconds = time.monotonic() - begun
        self._session.progress.clear()
        return True

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run test by test, as pytest's own loop does."""
        if session.testsfailed and not session.config.option.continue_on_collection_errors:
            errors = session.testsfailed
            raise session.Interrupted(
                f"{errors} error{'s' if errors > 1 else ''} during collection"
            )
        self._running = session
        for test in self._tests:
            self._run(test)
            if self._controller is not None and (session.shouldfail or session.shouldstop):
                self._controller.settle()
            if session.shouldfail:
                raise session.Failed(session.shouldfail)
            if session.shouldstop:
                raise session.Interrupted(session.shouldstop)
        if self._controller is not None:
            self._controller.end()
        return True

    def pytest_report_header(self) -> str:
        """Name the base."""
        return f"dlperf: against {self._session.options.against}"

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say how the duel went."""
        if self._controller is None or not self._controller.measures:
            return
        lines = duel_lines(
            self._statistics,
            against=self._session.options.against or "",
            starting=self._start_seconds,
            seed=self._session.seed,
        )
        lacking = self._controller.lacking if self._statistics else ()
        if lacking:
            lines += wrap_message(f"the base was measured {without_untracked(lacking)}")
        write_lines(terminalreporter, lines)

    def pytest_unconfigure(self) -> None:
        """End all workers, and remove worktrees and environments."""
        # The workers first: what they write must not come back into folders that are being removed.
        if self._controller is not None:
            self._controller.close()
        if self._workspace is not None:
            self._workspace.stop_forking("the duel is over")
        if self._cleanup is not None:
            self._cleanup.close()

    def _make_controller(self) -> DuelController:
        from pytest_dlperf.clock import MonotonicClock
        from pytest_dlperf.duel.cleanup_process import CleanupProcess
        from pytest_dlperf.duel.controller import DuelController
        from pytest_dlperf.duel.escalation import budgets_of_run
        from pytest_dlperf.duel.run_one_test import DuelServices
        from pytest_dlperf.duel.workspace import prepare_workspace
        from pytest_dlperf.duel.worktree import commit_day
        from pytest_dlperf.results.baseline_session import Revision

        options = self._session.options
        self._cache = self._session.cache_folder
        cleanup = self._cleanup = CleanupProcess().start()
        # Not what this session's plugins and conftests have set since: a side has its own.
        variables = self._config.stash.get(VARIABLES, os.environ)
        progress = self._session.progress
        workspace = prepare_workspace(self._request(), variables, cleanup, progress)
        self._workspace = workspace
        commit_date = commit_day(workspace.repo, workspace.commit)
        services = DuelServices(
            ref=options.against or "",
            revision=Revision(workspace.commit, "", commit_date),
            clock=MonotonicClock(),
            progress=progress,
            new_rng=self._session.coins,
            processors=usable_processors(),
            cache=self._pair_effects(workspace, variables),
        )
        budgets = budgets_of_run(variables)
        return DuelController(workspace, services, self._on_message, budgets)

    def _pair_effects(self, workspace: Workspace, variables: Mapping[str, str]) -> PairEffectCache:
        """The cache of what duels of the same two versions have shown on this machine."""
        from pytest_dlperf.duel.evidence_cache import PairEffectCache
        from pytest_dlperf.duel.evidence_key import repetition_key
        from pytest_dlperf.machine import environment, machine_class

        cache, options = self._cache, self._session.options
        if cache is None:
            return PairEffectCache(None)
        software = environment().to_json()
        machine = (
            machine_class().slug,
            *(f"{name}={software[name]}" for name in sorted(software)),
            options.against_python or "",
        )
        versions = repetition_key(workspace, variables, self._written(cache))
        if versions is None:
            self._session.warn(
                "a duel that is repeated does not continue from this one: more than 100,000 files "
                "that git ignores would have to be the same"
            )
            versions = (secrets.token_hex(16),)
        return PairEffectCache(cache / "evidence", machine, versions, self._session.warn)

    def _written(self, cache: Path) -> frozenset[Path]:
        """What this run writes, as far as options say."""
        options, config = self._session.options, self._config
        named = [
            *(options.json, options.metrics, *written_files(config.option)),
            str(config.getini("log_file") or ""),
            *held_files(list(Path("/proc/self/fd").iterdir())),
            str(cache.parent.parent),
        ]
        recorder = self._session.history_recorder
        files = recorder.files if recorder is not None else ()
        folder = config.invocation_params.dir
        return frozenset(Path(folder, name).resolve() for name in (*filter(None, named), *files))

    def _request(self) -> DuelRequest:
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
            ini_file=self._config.inipath,
            carry=options.against_carry or (),
            cache=self._cache,
            timeout=_TIMEOUT_CALLS * call_timeout,
            session=self._told_to_sides(),
        )

    def _told_to_sides(self) -> Fields:
        """What the session of each side has to know of this one."""
        config = self._config
        factory = getattr(config, "_tmp_path_factory", None)  # what pytest-xdist asks, too
        if factory is not None:
            temporary = factory.getbasetemp()
        else:
            temporary = Path(tempfile.mkdtemp(prefix="dlperf-"))
            if self._cleanup is not None:
                self._cleanup.folder(temporary)
        return {
            "temporary": str(temporary),
            "values": None if self._cache is None else str(self._cache.parent.parent),
            "shared": shared_options(config.option),
            "held": held_files(list(Path("/proc/self/fd").iterdir())),
        }

    def _run(self, test: Fields) -> None:
        controller = self._controller
        assert controller is not None  # noqa: S101 - made before tests were collected
        hook, name, location = self._config.hook, test["test"], tuple(test["location"])
        hook.pytest_runtest_logstart(nodeid=name, location=location)
        try:
            self._statistics += controller.run(name)
        except (WorkerLost, DuelError) as error:
            self._session.progress.clear()
            hook.pytest_runtest_logreport(report=_error(name, location, str(error)))
        except UsageError as error:
            raise pytest.UsageError(str(error)) from None
        self._session.progress.clear()
        hook.pytest_runtest_logfinish(nodeid=name, location=location)

    def _on_message(self, fields: Fields) -> None:
        """Pass the notices of the candidate's session to this session's plugins."""
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
            case "stop":
                running, reason = self._running, fields["reason"]
                if running is not None and fields["failed"]:
                    running.shouldfail = reason
                elif running is not None:
                    running.shouldstop = reason
            case "teardown":
                self._session.warn(
                    f"{fields['test']}: the {fields['role']} side is not torn down well, though it "
                    f"was measured: {fields['line']}"
                )
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


def _cannot_prepare(error: OSError) -> str:
    place = f" ({error.filename})" if error.filename else ""
    return (
        f"the two sides cannot be prepared: {error.strerror or error}{place}\n"
        "  a duel writes to the repository's own folder .git and to the one for temporary files "
        "(TMPDIR)"
    )


def _error(test: str, location: tuple[str, int | None, str], text: str) -> pytest.TestReport:
    """The report of a test that could not be run; an error, since its own code did not fail."""
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
    # Not imported: this process must not load TensorFlow to show one of its warnings.
    category = getattr(sys.modules.get(module), name, UserWarning)
    if not (isinstance(category, type) and issubclass(category, Warning)):
        category = UserWarning
    return warnings.WarningMessage(
        message=category(fields["text"]),
        category=category,
        filename=fields["file"],
        lineno=fields["line"],
    )


def duel_lines(
    duels: Sequence[DuelStatistics], *, against: str, starting: float, seed: int
) -> list[str]:
    """The summary: what was compared, and how long that took.

    Args:
        duels: of each measurement that was made in turn.
        against: the base, as the user calls it.
        starting: seconds until both sides had collected the tests.
        seed: of the order of blocks.
    """
    seconds = sum(duel.measuring + duel.starting for duel in duels)
    pairs = sum(duel.pairs for duel in duels)
    lines = wrap_message(
        f"against {against}: both sides started in {starting:.1f} s; {len(duels)} measured in "
        f"turn, on {pairs} pair{'' if pairs == 1 else 's'} of processes in {seconds:.1f} s; "
        f"seed {seed}"
    )
    return ["", *lines]
