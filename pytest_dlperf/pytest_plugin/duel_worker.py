"""Side: a pytest session that runs the tests which a duel tells it to, and reports to it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_dlperf.config.options import QUIET
from pytest_dlperf.duel.channel import connect
from pytest_dlperf.duel.worker import Link, WorkerEvaluator
from pytest_dlperf.pytest_plugin import pytest_benchmark as neighbours
from pytest_dlperf.pytest_plugin.collection import PLANS, measures
from pytest_dlperf.pytest_plugin.options import SIDE

if TYPE_CHECKING:
    import warnings
    from collections.abc import Mapping, Sequence


class DuelWorkerPlugin:
    """The plugin that makes a pytest session one side of a duel.

    Args:
        link: to whoever leads the duel.
        role: `base` or `candidate`.
        cache: where trained models are kept between sessions; None if nowhere.
    """

    def __init__(self, link: Link, role: str, cache: Path | None) -> None:
        from pytest_dlperf.machine import environment

        self.__name__ = SIDE  # which other parts of the plugin find it by
        self._link = link
        self.role = role
        self.cache = cache
        self.corner = WorkerEvaluator(link, environment)

    @pytest.hookimpl(tryfirst=True)
    def pytest_cmdline_main(self, config: pytest.Config) -> None:
        """Be to all plugins what a worker of pytest-xdist is: somebody else reports."""
        config.workerinput = {"workerid": self.role, "workercount": 1}  # type: ignore[attr-defined]
        neighbours.leave_to_reporter(config)
        given = config.option.basetemp
        if given:  # a process empties it before it uses it, so each has one of its own in it
            Path(given).mkdir(parents=True, exist_ok=True)
            config.option.basetemp = str(Path(given) / f"{self.role}-{os.getpid()}")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run what is asked for, until the end."""
        items = {item.nodeid: item for item in session.items}
        failed = bool(session.testsfailed)
        tests = [_described(item) for item in session.items]
        self._link.tell({"is": "collected", "tests": tests, "failed": failed})
        while (command := self._link.hear())["do"] == "run":
            item, following = items[command["test"]], items.get(command["next"])
            session.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            self._link.tell({"is": "done"})
        return True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Pass a report on."""
        self._link.tell({"is": "report", "data": self._serialised(report)})

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Pass on what could not be collected, or was skipped as a whole."""
        if not report.passed:
            self._link.tell({"is": "collectreport", "data": self._serialised(report)})

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        """Pass on which tests were left out."""
        self._link.tell({"is": "deselected", "tests": [item.nodeid for item in items]})

    def pytest_warning_recorded(
        self,
        warning_message: warnings.WarningMessage,
        when: str,
        nodeid: str,
        location: tuple[str, int, str] | None,
    ) -> None:
        """Pass a warning on."""
        category = warning_message.category
        self._link.tell(
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
        """Remember who can serialise reports, and which of them have more to carry."""
        self._config = config
        if neighbours.is_there(config):
            config.pluginmanager.register(neighbours.ForwardedBenchmarks(), "dlperf-passing")

    def _serialised(self, report: pytest.TestReport | pytest.CollectReport) -> Mapping[str, Any]:
        hook = self._config.hook
        data = hook.pytest_report_to_serializable(config=self._config, report=report)
        # Properties of users may be anything.
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
        "detect": [[one.metric, one.loss] for one in (plan.detect if plan else ())],
    }


def main() -> None:
    """Run the session that the other end of the channel describes, and tell how it ended."""
    link = Link(connect())
    start = link.hear()
    if start["path"] is not None:
        sys.path.insert(0, start["path"])
    cache = Path(start["cache"]) if start["cache"] else None
    side = DuelWorkerPlugin(link, start["role"], cache)
    sys.argv = ["pytest", *start["arguments"]]
    code = pytest.main([*start["arguments"], "-W", QUIET], plugins=[side])
    link.tell({"is": "ended", "code": int(code)})
