"""Shared by all tests; that it is here also lets them import the modules beside it."""

import gc
import os

import pytest
from hypothesis import settings

from pytest_dlperf import metrics
from pytest_dlperf.data import scoring as user_metrics

pytest_plugins = ["pytester", "isolation", "postgres_server"]

# No deadlines (nothing is timed here), the same examples every time, nothing left on the disk.
settings.register_profile("dlperf", deadline=None, derandomize=True, database=None)
settings.load_profile("dlperf")

# The processes that tests start are nobody's workers, also where the tests themselves are some's.
for _name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT", "PYTEST_XDIST_TESTRUNUID"):
    os.environ.pop(_name, None)


STARTERS = frozenset({"subprocess", "multiprocessing", "WorkerProcess"})
"""A module of tests that has one of these starts processes ..."""
COLLECTS = "baselines/test_cli.py"
"""... or, as this one, has a command of ours collect tests ..."""
SAY_IT_THEMSELVES = frozenset({"pytest_plugin", "test_architecture.py"})
"""... unless its tests are marked one by one."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of modules that start processes, for `make quick`."""
    for item in items:
        if SAY_IT_THEMSELVES & {item.path.name, item.path.parent.name}:
            continue
        names = vars(getattr(item, "module", None) or pytest)
        fixtures = getattr(item, "fixturenames", ())
        if (
            STARTERS & names.keys()
            or item.path.match(COLLECTS)
            or any("postgres" in name for name in fixtures)
        ):
            item.add_marker("subprocess")


@pytest.fixture
def own_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    """No metrics of users, and none of those that the test defines afterwards."""
    monkeypatch.setattr(metrics, "_defined", {})
    monkeypatch.setattr(metrics, "_read", {})
    monkeypatch.setattr(user_metrics, "_functions", {})


@pytest.fixture
def no_collection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip the garbage collection before each load.

    On a fake clock it changes nothing, and in a process that has imported TensorFlow it takes
    most of a second.
    """
    monkeypatch.setattr(gc, "collect", lambda *_: 0)
