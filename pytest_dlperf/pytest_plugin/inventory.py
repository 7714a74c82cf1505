"""Inventory of the collected tests, and of baselines whose tests were not among them."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import pytest

from pytest_dlperf.baselines.unused import Collected
from pytest_dlperf.pytest_plugin.collection import measures
from pytest_dlperf.pytest_plugin.options import narrowing
from pytest_dlperf.pytest_plugin.terminal_lines import write_lines

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pytest_dlperf.baselines.unused import Unused
    from pytest_dlperf.pytest_plugin.session import DlperfSession


class Inventory:
    """A plugin that records what is collected."""

    def __init__(self) -> None:
        self.measuring: dict[str, bool] = {}
        """All tests before deselection, and whether they measure."""
        self.deselected = False
        """Whether any was deselected."""
        self.failed = False
        """Whether any collection failed."""
        self._modules: set[str] = set()

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: Sequence[pytest.Item]) -> None:
        """Record all tests."""
        self.measuring = {item.nodeid: measures(item) for item in items}

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Record the modules that were collected without errors; others may have been skipped."""
        self.failed |= report.failed
        if report.passed:
            self._modules.add(report.nodeid)

    def pytest_deselected(self) -> None:
        """Record that not all tests are run."""
        self.deselected = True

    @property
    def collected(self) -> Collected:
        """Tests and modules that were collected."""
        return Collected(frozenset(self.measuring), frozenset(self._modules))


class UnusedBaselines(Inventory):
    """Names the baseline files of this machine class whose tests were not collected."""

    def __init__(self, config: pytest.Config, session: DlperfSession) -> None:
        super().__init__()
        self._config = config
        self._session = session

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """List them, and what to do."""
        unused = self._unused()
        if not unused:
            return
        from pytest_dlperf.baselines.unused import unused_lines

        if not self._session.records:
            terminalreporter.section("dlperf")
        write_lines(terminalreporter, unused_lines(unused))

    def _unused(self) -> Sequence[Unused]:
        """The unused baselines; none unless all tests were collected and none deselected."""
        if self.deselected or self.failed or not self.measuring or narrowing(self._config):
            return ()
        from pytest_dlperf.baselines.files import FOLDER, absent_modules
        from pytest_dlperf.baselines.unused import not_there, with_new_names

        root = self._config.rootpath
        # The machine class takes time to find out.
        if not (root / FOLDER).is_dir():
            return ()
        folder = root / FOLDER / self._session.machine.slug
        names = self._names_by_test(folder)
        gone = not_there(names, self.collected, absent_modules(root, names))
        if not gone:
            return ()
        return with_new_names({test: names[test] for test in gone}, self._fresh(folder))

    def _names_by_test(self, folder: Path) -> dict[str, frozenset[str]]:
        """The names of the measurements in the baselines of tests that were not collected."""
        from pytest_dlperf.baselines.files import file_name, read_each

        used = {file_name(test) for test in self.measuring}
        paths = (path for path in sorted(folder.glob("*.json")) if path.name not in used)
        # `pytest-dlperf baselines` reports those that cannot be read.
        baselines, _ = read_each(paths)
        return {baseline.test: frozenset(baseline.accepted) for baseline in baselines.values()}

    def _fresh(self, folder: Path) -> dict[str, frozenset[str] | None]:
        """The names of the measurements of tests that have no baseline yet."""
        from pytest_dlperf.baselines.files import file_name

        measured: dict[str, set[str]] = defaultdict(set)
        for record in self._session.records:
            measured[record.measurement.test].add(record.measurement.name)
        return {
            test: frozenset(names)
            for test, names in measured.items()
            if not (folder / file_name(test)).exists()
        }
