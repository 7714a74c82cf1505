"""Pytest runs in this process, on a simulated clock: an hour of load takes no time."""

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
from fakes import FakeClock, FakeMeter
from plugin_projects import HEADER

import pytest_dlperf

if TYPE_CHECKING:
    from plugin_projects import Run

ALONE = ("-p", "no:benchmark", "-p", "no:codspeed")
"""Most tests are about this plugin only; those about other plugins name them."""

# Pytester drops what a run in this process has imported: extension modules bear no second import,
# importing the package again takes most of a run's time, and what a test replaces in a module
# must be what the run uses. So all of it is here before the first run.
LOADED_ONCE = (psutil, psycopg, rich, scipy.special, scipy.stats, sqlalchemy.dialects)
for _module in pkgutil.walk_packages(pytest_dlperf.__path__, "pytest_dlperf."):
    importlib.import_module(_module.name)


LOOK_NS = 5_000


@pytest.fixture(autouse=True)
def _no_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the plugin does must not depend on where its own tests run."""
    github = ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "GITHUB_WORKSPACE")
    for name in ("CI", "DLPERF_HISTORY", *github):
        monkeypatch.delenv(name, raising=False)


class SimulatedClock(FakeClock):
    """Passes only while a target works, and a little with each look at it.

    So a load ends whose target takes no time.
    """

    def now_ns(self) -> int:
        """The present."""
        self.now += LOOK_NS
        return self.now


@pytest.fixture(autouse=True)
def clock(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> FakeClock | None:
    """The clock of runs in this process; the machine uses nothing meanwhile.

    A test that is marked `real_time` has neither, and no
    process that is started has.
    """
    # It measures how fast TensorFlow is, if an earlier test has loaded it.
    monkeypatch.setattr("pytest_dlperf.measure.yardstick.reference_call", lambda: None)
    if request.node.get_closest_marker("real_time") is not None:
        return None
    simulated = SimulatedClock()
    monkeypatch.setattr("pytest_dlperf.clock.MonotonicClock", lambda: simulated)
    monkeypatch.setattr("pytest_dlperf.measure.telemetry.ProcessMeter", FakeMeter)
    return simulated


@pytest.fixture
def run(pytester: pytest.Pytester) -> Run:
    """Write a test module below the common header, and run pytest on it in this process."""

    def run_module(source: str, *options: str) -> pytest.RunResult:
        pytester.makepyfile(test_module=HEADER + source)
        return pytester.runpytest_inprocess(*ALONE, *options)

    return run_module


@pytest.fixture
def again(pytester: pytest.Pytester) -> Run:
    """Run pytest once more on what is there."""

    def run_again(*options: str) -> pytest.RunResult:
        return pytester.runpytest_inprocess(*ALONE, *options)

    return run_again
