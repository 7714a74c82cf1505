"""A project with a numpy target, so that the plugin is driven without TensorFlow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import psutil
import psycopg
import pytest
import rich.console
import rich.styled
import rich.table
import scipy.special
import sqlalchemy.dialects.postgresql.psycopg
import sqlalchemy.dialects.sqlite
from plugin_projects import HEADER

import pytest_dlperf.clock
import pytest_dlperf.measure.max_rate
import pytest_dlperf.results.usage

if TYPE_CHECKING:
    from collections.abc import Callable


ALONE = ("-p", "no:benchmark", "-p", "no:codspeed")
"""Most tests are about this plugin only; those of its neighbours name them."""

# In-process runs drop the modules that they imported; extension modules bear no second import, and
# rich has so many that it takes its time.
LOADED_ONCE = (np, psutil, psycopg, rich, scipy.special, sqlalchemy.dialects)


@pytest.fixture(autouse=True)
def _no_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the plugin does must not depend on where its own tests run."""
    github = ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "GITHUB_WORKSPACE")
    for name in ("CI", "DLPERF_HISTORY", *github):
        monkeypatch.delenv(name, raising=False)


# What tests replace in a module must be what in-process runs use: they drop what they imported.
REPLACED_IN = (
    pytest_dlperf.results.usage,
    pytest_dlperf.clock,
    pytest_dlperf.measure.max_rate,
)


@pytest.fixture
def quiet_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else this machine does must not decide what is judged."""
    nothing = property(lambda _: None)
    monkeypatch.setattr("pytest_dlperf.results.usage.Usage.others_share", nothing)
    monkeypatch.setattr("pytest_dlperf.results.usage.Usage.stolen_share", nothing)


@pytest.fixture
def run(pytester: pytest.Pytester) -> Callable[..., pytest.RunResult]:
    """Write a test module below the common header, and run pytest on it in this process."""

    def run_module(source: str, *options: str) -> pytest.RunResult:
        pytester.makepyfile(test_module=HEADER + source)
        return pytester.runpytest_inprocess(*ALONE, *options)

    return run_module


@pytest.fixture
def again(pytester: pytest.Pytester) -> Callable[..., pytest.RunResult]:
    """Run pytest once more on what is there."""

    def run_again(*options: str) -> pytest.RunResult:
        return pytester.runpytest_inprocess(*ALONE, *options)

    return run_again
