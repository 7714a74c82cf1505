"""Fixtures that isolate a test from its surroundings."""

from __future__ import annotations

import contextlib
import gc
import os
import select
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


TIMEOUT = 60.0
"""Seconds for what is bound to happen."""


def wait_for(descriptor: int) -> bool:
    """Whether a process ends in time, by its descriptor (`os.pidfd_open`), which is closed."""
    ended, _, _ = select.select([descriptor], [], [], TIMEOUT)
    os.close(descriptor)
    return bool(ended)


@pytest.fixture
def git_of_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Git without the user's settings and without any repository but those of the tests."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


@pytest.fixture
def nothing_is_left() -> Iterator[None]:
    """The test leaves no process and no open file."""
    before = _left()
    yield
    assert _left() - before == set()


def _left() -> set[str]:
    """Child processes and open files of this process."""
    gc.collect()  # what an earlier test dropped may still hold files open
    return _open_files() | {f"process {child.pid}" for child in psutil.Process().children()}


def _open_files() -> set[str]:
    files = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the one that lists the folder
            files.add(f"{descriptor.name}: {descriptor.readlink()}")
    return files
