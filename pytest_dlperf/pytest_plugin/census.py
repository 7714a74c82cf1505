"""Census: which tests a project has, as pytest's own collection finds them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_dlperf.baselines.unused import Collected
from pytest_dlperf.pytest_plugin.collection import measures

if TYPE_CHECKING:
    from collections.abc import Sequence


class Census:
    """A plugin that notes what is collected."""

    def __init__(self) -> None:
        self.measuring: dict[str, bool] = {}
        """All tests before any was deselected, and whether they measure."""
        self.deselected = False
        """Whether some were."""
        self.failed = False
        """Whether something could not be collected."""
        self._modules: set[str] = set()

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: Sequence[pytest.Item]) -> None:
        """Note all tests."""
        self.measuring = {item.nodeid: measures(item) for item in items}

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Note what was looked into without trouble; a module may have been skipped."""
        self.failed |= report.failed
        if report.passed:
            self._modules.add(report.nodeid)

    def pytest_deselected(self) -> None:
        """Note that not all tests are run."""
        self.deselected = True

    @property
    def collected(self) -> Collected:
        """What was found."""
        return Collected(frozenset(self.measuring), frozenset(self._modules))
