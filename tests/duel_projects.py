"""A small project in a git repository of its own, for duels between its commits."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from plugin_projects import text

from pytest_dlperf.clock import MonotonicClock

if TYPE_CHECKING:
    import pytest

MODEL = """
import random
from pytest_dlperf.clock import MonotonicClock

SECONDS = 100e-6
CLOCK = MonotonicClock()
JITTER = random.Random(7)

def infer(batch):
    CLOCK.sleep_until_ns(CLOCK.now_ns() + int(SECONDS * 1e9 * JITTER.gauss(1, 0.01)))
    return batch.copy()
"""

HEADER = """
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from pytest_dlperf import *
from pytest_dlperf.clock import MonotonicClock

import model

INPUTS = np.random.default_rng(0).random((600, 4)).astype("float32")
DATA = (INPUTS, INPUTS.argmax(axis=1))
SHORT = dict(scenario=ClosedLoop(clients=8), duration="0.1s")
HALF = dict(detect="throughput 50%, p95 60%", **SHORT)
AT_BASE = "dlperf-" in os.getcwd()
CLOCK = MonotonicClock()

def spend(seconds):
    CLOCK.sleep_until_ns(CLOCK.now_ns() + int(seconds * 1e9))

"""
"""Begins each module of tests. Limits as wide as `HALF` are not decided by noise."""

INI = """
[pytest]
pythonpath = .
filterwarnings = error::pytest.PytestWarning
"""

__all__ = ["Project", "junit_cases", "text"]

PLUGINS = ("-p", "dlperf", "-p", "simulated_time")
AGAINST = ("--dlperf-against=HEAD", "--dlperf-seed=1")


def simulate_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the processes that pytest starts find `PLUGINS`, and load no others.

    Importing all plugins that are installed would take a third of the time in which they start.
    """
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)


class Project:
    """A repository with `model.py`, and pytest run in it.

    Args:
        pytester: runs pytest, in this process, in the repository.
        monkeypatch: sets the environment.
    """

    def __init__(self, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
        self._pytester = pytester
        self._monkeypatch = monkeypatch
        self.top = pytester.mkdir("project")
        self.temporary = pytester.mkdir("temporary")
        for who in ("AUTHOR", "COMMITTER"):
            monkeypatch.setenv(f"GIT_{who}_NAME", "n")
            monkeypatch.setenv(f"GIT_{who}_EMAIL", "e@e")
        for name, value in {"NOSYSTEM": "1", "GLOBAL": "/dev/null"}.items():
            monkeypatch.setenv(f"GIT_CONFIG_{name}", value)
        simulate_workers(monkeypatch)
        monkeypatch.setenv("TMPDIR", str(self.temporary))
        monkeypatch.setattr(tempfile, "tempdir", str(self.temporary))
        monkeypatch.chdir(self.top)
        self.git("init", "--quiet", "--initial-branch=main")
        self.write("pytest.ini", INI)
        self.write(".gitignore", "__pycache__\n.pytest_cache\n")
        self.write("model.py", MODEL)

    def write(self, name: str, text: str) -> Path:
        """Write a file of the project."""
        path = self.top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def tests(self, source: str, name: str = "test_module.py") -> Path:
        """Write a module of tests, below the header."""
        return self.write(name, HEADER + source)

    def commit(self) -> None:
        """Commit all that is there."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message=as it was")

    def git(self, *arguments: str) -> str:
        """Run git; returns what it prints."""
        command = ["git", *arguments]
        done = subprocess.run(  # noqa: S603 - no shell
            command, cwd=self.top, check=True, capture_output=True, text=True
        )
        return done.stdout

    def state(self) -> tuple[object, ...]:
        """What a duel must leave as it was."""
        folder = self.top / ".git"
        commands = (
            ("rev-parse", "HEAD"),
            ("symbolic-ref", "HEAD"),
            ("stash", "list"),
            ("branch", "--all"),
            ("for-each-ref",),
            ("reflog",),
            ("worktree", "list"),
            ("--no-optional-locks", "status", "--porcelain"),
        )
        index = (folder / "index").read_bytes()
        return (index, (folder / "worktrees").exists(), *(self.git(*words) for words in commands))

    def leftovers(self) -> list[str]:
        """What duels left in the folder for temporary files."""
        return [path.name for path in self.temporary.iterdir() if path.name.startswith("dlperf-")]

    def plain(self, *options: str) -> pytest.RunResult:
        """Run pytest without a duel."""
        return self._pytester.runpytest_inprocess("-p", "dlperf", *options)

    def duel(self, *options: str) -> pytest.RunResult:
        """Run pytest against the last commit, with simulated time in all processes."""
        return self._pytester.runpytest_inprocess(*PLUGINS, *AGAINST, *options)

    def duel_in_real_time(self, *options: str) -> pytest.RunResult:
        """Run pytest against the last commit."""
        with self._monkeypatch.context() as patch:
            patch.setattr("pytest_dlperf.clock.MonotonicClock", MonotonicClock)
            return self._pytester.runpytest_inprocess("-p", "dlperf", *AGAINST, *options)


def junit_cases(path: Path) -> dict[tuple[str, str], tuple[list[str], list[str]]]:
    """The test cases of a JUnit file: class and name to how they ended, and their properties."""
    found = {}
    for case in ET.parse(path).getroot().iter("testcase"):  # noqa: S314 - our own file
        ends = [child.tag for child in case if child.tag in {"failure", "error", "skipped"}]
        named = [one.attrib["name"] for one in case.iter("property")]
        found[case.attrib["classname"], case.attrib["name"]] = (ends, named)
    return found
