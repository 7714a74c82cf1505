"""Fixtures that run pytest in this process, on a simulated clock: load takes no time."""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING

import psutil
import psycopg
import pytest
import rich.console
import rich.styled
import rich.table
import scipy.special
import scipy.stats
import sqlalchemy.dialects.postgresql.psycopg
import sqlalchemy.dialects.sqlite
from fakes import FakeClock, FakeMeter, SimulatedClock
from plugin_projects import HEADER

import pytest_dlperf
from pytest_dlperf.measure.yardstick import NO_YARDSTICK

if TYPE_CHECKING:
    from plugin_projects import Run

ALONE = ("-p", "dlperf")
"""Tests load this plugin only, unless they are about another one."""

# Pytester drops modules that a run in this process has imported. But extension modules cannot be
# imported twice, importing the package again takes most of a run's time, and what a test replaces
# in a module must be what the run uses. So all of it is imported before the first run.
LOADED_ONCE = (psutil, psycopg, rich, scipy.special, scipy.stats, sqlalchemy.dialects)
for _module in pkgutil.walk_packages(pytest_dlperf.__path__, "pytest_dlperf."):
    importlib.import_module(_module.name)


@pytest.fixture(autouse=True)
def _no_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run outside of CI, wherever these tests run."""
    github = ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "GITHUB_WORKSPACE")
    for name in ("CI", "DLPERF_HISTORY", *github):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def clock(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> FakeClock | None:
    """The simulated clock of runs in this process, and a meter that shows no usage.

    Not for tests marked `real_time`, and not in other processes.
    """
    # The yardstick would measure this machine, on a clock that stands still.
    monkeypatch.setattr("pytest_dlperf.measure.yardstick.Yardstick", lambda _: NO_YARDSTICK)
    if request.node.get_closest_marker("real_time") is not None:
        return None
    simulated = SimulatedClock()
    monkeypatch.setattr("pytest_dlperf.clock.MonotonicClock", lambda: simulated)
    monkeypatch.setattr("pytest_dlperf.measure.telemetry.ProcessMeter", FakeMeter)
    return simulated


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Write a test module below the common header, and run pytest on it in this process."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")

    def run_module(source: str, *options: str) -> pytest.RunResult:
        pytester.makepyfile(test_module=HEADER + source)
        return pytester.runpytest_inprocess(*ALONE, *options)

    return run_module


@pytest.fixture
def again(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run pytest once more on what is there."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")

    def run_again(*options: str) -> pytest.RunResult:
        return pytester.runpytest_inprocess(*ALONE, *options)

    return run_again
