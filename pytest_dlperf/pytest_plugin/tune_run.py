"""Tune run: the plugin by which `pytest-dlperf tune` has its way with a pytest session."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import pytest

from pytest_dlperf._files import write_atomically
from pytest_dlperf.config.markers import TUNES
from pytest_dlperf.pytest_plugin.tuning import OVERRIDES
from pytest_dlperf.tuning.tuning_run import ASKED, Request

if TYPE_CHECKING:
    from pytest_dlperf.pytest_plugin.tuning import Tunings

_INTERRUPTED: Final = 128 + signal.SIGINT  # as shells have it
_SCHEMA: Final = 1

_STATUS: Final[dict[int, int]] = {
    pytest.ExitCode.OK: 0,
    pytest.ExitCode.TESTS_FAILED: 1,
    pytest.ExitCode.INTERRUPTED: _INTERRUPTED,
}
"""The exit status of the program; 2 for all else, which could not be used."""


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
        results = cast("Tunings", found).results if found else []
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


_TROUBLE: Final = pytest.StashKey[str]()
_FINAL: Final = pytest.StashKey[int]()


def _request() -> Request:
    return Request.from_text(os.environ[ASKED])
