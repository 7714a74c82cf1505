"""The pytest session of a duel's worker: runs the tests that the controller asks for."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from pytest_dlperf.config.options import QUIET
from pytest_dlperf.duel.channel import Channel, connect
from pytest_dlperf.duel.fork_server_process import EnvironmentWatch
from pytest_dlperf.duel.worker import WorkerEvaluator
from pytest_dlperf.pytest_plugin import pytest_benchmark as neighbours
from pytest_dlperf.pytest_plugin.collection import PLANS, measures
from pytest_dlperf.pytest_plugin.options import SIDE

if TYPE_CHECKING:
    import warnings
    from collections.abc import Callable, Mapping, Sequence


class DuelWorkerPlugin:
    """The plugin that makes a pytest session one side of a duel.

    Args:
        channel: to the controller.
        role: `base` or `candidate`.
        cache: folder of trained models.
        on_arrival: called at the first measurement.
    """

    def __init__(
        self, channel: Channel, role: str, cache: Path | None, on_arrival: Callable[[], None]
    ) -> None:
        from pytest_dlperf.machine import environment

        self.__name__ = SIDE  # by which other parts of the plugin find it
        self._channel = channel
        self.role = role
        self.cache = cache
        self.evaluator = WorkerEvaluator(channel, environment, on_arrival)

    @pytest.hookimpl(tryfirst=True)
    def pytest_cmdline_main(self, config: pytest.Config) -> None:
        """Pretend to be an xdist worker, so that plugins leave reporting to the controller."""
        config.workerinput = {"workerid": self.role, "workercount": 1}  # type: ignore[attr-defined]
        neighbours.leave_to_reporter(config)
        basetemp = config.option.basetemp
        if basetemp:  # pytest empties it before it uses it, so each process needs one of its own
            Path(basetemp).mkdir(parents=True, exist_ok=True)
            config.option.basetemp = str(Path(basetemp) / f"{self.role}-{os.getpid()}")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run the tests that the controller asks for, until it ends the session."""
        items = {item.nodeid: item for item in session.items}
        failed = bool(session.testsfailed)
        tests = [_described(item) for item in session.items]
        self._channel.send({"is": "collected", "tests": tests, "failed": failed})
        while (command := self._channel.receive().fields)["do"] == "run":
            item, following = items[command["test"]], items.get(command["next"])
            session.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            self._channel.send({"is": "done"})
        return True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Pass a report on."""
        self._channel.send({"is": "report", "data": self._serialised(report)})

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Pass on what could not be collected, or was skipped as a whole."""
        if not report.passed:
            self._channel.send({"is": "collectreport", "data": self._serialised(report)})

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        """Pass on which tests were left out."""
        self._channel.send({"is": "deselected", "tests": [item.nodeid for item in items]})

    def pytest_warning_recorded(
        self,
        warning_message: warnings.WarningMessage,
        when: str,
        nodeid: str,
        location: tuple[str, int, str] | None,
    ) -> None:
        """Pass a warning on."""
        category = warning_message.category
        self._channel.send(
            {
                "is": "warning",
                "text": str(warning_message.message),
                "category": [category.__module__, category.__qualname__],
                "file": warning_message.filename,
                "line": warning_message.lineno,
                "when": when,
                "test": nodeid,
                "location": location,
            }
        )

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        """Keep the configuration, whose hooks serialise reports; forward pytest-benchmark's."""
        self._config = config
        if neighbours.is_there(config):
            config.pluginmanager.register(neighbours.ForwardedBenchmarks(), "dlperf-passing")

    def _serialised(self, report: pytest.TestReport | pytest.CollectReport) -> Mapping[str, Any]:
        hook = self._config.hook
        data = hook.pytest_report_to_serializable(config=self._config, report=report)
        # User properties may be any object; JSON takes its text.
        plain: Mapping[str, Any] = json.loads(json.dumps(data, default=str))
        return plain


def _described(item: pytest.Item) -> dict[str, object]:
    plan = item.stash.get(PLANS, None)
    return {
        "test": item.nodeid,
        "location": item.location,
        "measures": measures(item),
        "budgets": [
            [budget.text, budget.metric.name, budget.metric.detect]
            for budget in (plan.budgets if plan else ())
            if budget.relative
        ],
        "detect": [[detect.metric, detect.loss] for detect in (plan.detect if plan else ())],
    }


def main() -> None:
    """Run a worker in a new process."""
    _work(connect(), _nothing)


def main_of_fork() -> None:
    """Run a worker in a fork, which gives up if it is not what a new process would be."""
    channel = connect()

    def give_up(variable: str) -> NoReturn:
        why = f"{variable} is set after what may read it was imported"
        channel.send({"is": "unforkable", "why": why})
        while True:
            signal.pause()  # until the controller kills this process

    _work(channel, EnvironmentWatch(sys.modules, give_up).end)


def _nothing() -> None:
    """On arrival of a new process."""


def _work(channel: Channel, on_arrival: Callable[[], None]) -> None:
    """Run the session that the controller's first message describes, and send its exit code."""
    start = channel.receive().fields
    if start["path"] is not None:
        sys.path.insert(0, start["path"])
    cache = Path(start["cache"]) if start["cache"] else None
    plugin = DuelWorkerPlugin(channel, start["role"], cache, on_arrival)
    sys.argv = ["pytest", *start["arguments"]]
    code = pytest.main([*start["arguments"], "-W", QUIET], plugins=[plugin])
    channel.send({"is": "ended", "code": int(code)})
