"""A pytest plugin that writes the tests of a project to a file.

The program `pytest-dlperf` starts pytest with it (`baselines/collect_tests.py`).
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from pytest_dlperf.baselines.collect_tests import FILE
from pytest_dlperf.pytest_plugin.inventory import Inventory
from pytest_dlperf.pytest_plugin.options import narrowing


def pytest_configure(config: pytest.Config) -> None:
    """Register the plugin with the file that the program names."""
    config.pluginmanager.register(ListTests(config, Path(os.environ[FILE])), "dlperf-listing")


class ListTests(Inventory):
    """Writes the inventory of a collection to a file."""

    def __init__(self, config: pytest.Config, file: Path) -> None:
        super().__init__()
        self._config = config
        self._file = file

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        """Write the file."""
        content = {
            "root": str(self._config.rootpath),
            "narrowing": narrowing(self._config),
            "measuring": self.measuring,
            "modules": sorted(self.collected.modules),
        }
        self._file.write_text(json.dumps(content), encoding="utf-8")
