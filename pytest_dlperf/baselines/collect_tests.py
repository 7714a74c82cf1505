"""Collecting a project's tests with pytest in a subprocess."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_dlperf.baselines.unused import Collected
from pytest_dlperf.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

FILE: Final = "DLPERF_LISTING"
"""Environment variable with the path of the file that our plugin writes."""

_PLUGIN: Final = "pytest_dlperf.pytest_plugin.list_tests"
_SUCCESS: Final = (0, 5)  # pytest's exit codes: tests were collected; all were deselected
_LINES: Final = 15  # of pytest's output, in errors


@dataclass(frozen=True, slots=True)
class ProjectTests:
    """The tests of a project.

    Attributes:
        collected: all of them.
        measuring: node ids of those that request the `dlperf` fixture.
    """

    collected: Collected
    measuring: frozenset[str]


def collect_tests(root: Path, variables: Mapping[str, str] = os.environ) -> ProjectTests:
    """Collect the tests of a project, without running any.

    Tests that `addopts` deselects (`-m "not slow"`) are included.

    Raises:
        UsageError: if collection fails, is incomplete, or finds nothing.
    """
    with tempfile.TemporaryDirectory(prefix="dlperf-") as folder:
        file = Path(folder) / "tests.json"
        done = subprocess.run(  # noqa: S603 - our own interpreter
            [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", _PLUGIN],
            cwd=root,
            env={**variables, FILE: str(file)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
        if done.returncode not in _SUCCESS or not file.exists():
            last = "\n".join(f"    {line}" for line in done.stdout.strip().splitlines()[-_LINES:])
            raise UsageError(
                f"pytest could not collect the tests in {root}:\n{last}", "fix this first"
            )
        content: Any = json.loads(file.read_bytes())
    actual = Path(content["root"])
    if actual != root.resolve():
        raise UsageError(
            f"{root} is not pytest's root folder, that is {actual}", f"give it: --rootdir {actual}"
        )
    if content["narrowing"]:
        raise UsageError(
            f"pytest collects only a part of the tests in {root}: {content['narrowing']}",
            "take it out of addopts and PYTEST_ADDOPTS",
        )
    if not content["measuring"]:
        raise UsageError(f"pytest finds no test in {root}", "name pytest's root folder: --rootdir")
    return ProjectTests(
        Collected(frozenset(content["measuring"]), frozenset(content["modules"])),
        frozenset(test for test, measures in content["measuring"].items() if measures),
    )
