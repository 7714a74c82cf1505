"""What several tests of the engine want of their surroundings."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def git_of_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Git is configured as it comes, and knows of no repository but those of the tests."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


@pytest.fixture
def nothing_is_left() -> Iterator[None]:
    """After the test there are no more processes and open files than before."""
    open_files = Path("/proc/self/fd")
    before = len(list(open_files.iterdir()))
    yield
    assert psutil.Process().children() == []
    assert len(list(open_files.iterdir())) == before
