"""Shared by all tests; its place also lets them import the modules in this folder."""

import os
import sys
from collections import Counter
from unittest.mock import MagicMock

import pytest
from hypothesis import settings

from pytest_dlperf import metrics
from pytest_dlperf.data import scoring as user_metrics

pytest_plugins = ["pytester", "isolation", "postgres_server"]

# No deadlines (nothing is timed here), the same examples every time, nothing left on the disk.
settings.register_profile("dlperf", deadline=None, derandomize=True, database=None)
settings.load_profile("dlperf")

# Processes that tests start are no xdist workers, even if the tests themselves run in one.
for _name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT", "PYTEST_XDIST_TESTRUNUID"):
    os.environ.pop(_name, None)


STARTS_PROCESSES = frozenset({"subprocess", "multiprocessing", "WorkerProcess"})
"""A module of tests that has one of these starts processes ..."""
MARKED_ONE_BY_ONE = frozenset({"pytest_plugin", "test_architecture.py"})
"""... unless its tests are marked one by one."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of modules that start processes, for `make quick`."""
    for item in items:
        if MARKED_ONE_BY_ONE & {item.path.name, item.path.parent.name}:
            continue
        names = vars(getattr(item, "module", None) or pytest)
        fixtures = getattr(item, "fixturenames", ())
        if STARTS_PROCESSES & names.keys() or any("postgres" in name for name in fixtures):
            item.add_marker("subprocess")


@pytest.fixture
def own_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    """No metrics of users before the test, and none of its own after it."""
    monkeypatch.setattr(metrics, "_defined", {})
    monkeypatch.setattr(metrics, "_read", {})
    monkeypatch.setattr(user_metrics, "_functions", {})


@pytest.fixture(autouse=True)
def _no_walks_of_the_heap(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure without collecting garbage or looking for `tf.function`s among all objects.

    In a process that has imported TensorFlow both take most of the time of a short run.
    """
    measuring = sys.modules.get("pytest_dlperf.measure.measure")
    real = any(map(request.node.get_closest_marker, ("real_time", "tensorflow")))
    if measuring is not None and not real:
        monkeypatch.setattr(measuring, "gc", MagicMock(get_freeze_count=lambda: 0))
        monkeypatch.setattr(measuring, "Tracings", lambda: MagicMock(count=Counter))
