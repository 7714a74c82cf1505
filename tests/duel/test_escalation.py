"""A second look: which arguments of a run are passed on to it, and that it ends with the run."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from pytest_dlperf.duel.escalation import carried_over

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("arguments", "paths", "kept"),
    [
        (["tests", "-q"], ["tests"], ["-q"]),
        (["-k", "fast", "--dlperf-escalate"], [], ["-k", "fast"]),
        (["--dlperf-json=a.json", "--model", "big"], [], ["--model", "big"]),
        (["--dlperf-json", "a.json", "-x"], [], ["-x"]),
        (["--junitxml", "a.xml", "--junitxml=b.xml", "-o", "x=y"], [], ["-o", "x=y"]),
        (["-n", "0", "-n0", "-n1", "--numprocesses=1", "--dist", "no"], [], []),
        (["--lf", "--ff", "--sw", "--pdb", "--trace", "--cache-clear"], [], []),
        (["--no-header", "-no"], [], ["--no-header", "-no"]),
        (["--dlperf-duration=1s", "--dlperf-pairs", "2"], [], None),
        (["a.py::t", "a.py::t", "-v"], ["a.py::t", "a.py::t"], ["-v"]),
        (["--dlperf-json"], [], []),
        (["--dlperf-escalate=auto", "--dlperf-update=new", "-q"], [], ["-q"]),
        (["--benchmark-json=b.json", "--benchmark-autosave", "-q"], [], ["-q"]),
    ],
)
def test_arguments(arguments: list[str], paths: list[str], kept: list[str] | None) -> None:
    """All but what is collected, what a duel refuses, and files that would be written twice."""
    wanted = arguments if kept is None else kept

    assert carried_over(arguments, paths) == tuple(wanted)


SLOW = """
import os, pathlib, time

def test_it():
    pathlib.Path("pid.new").write_text(str(os.getpid()))
    pathlib.Path("pid.new").rename("pid")
    time.sleep(600)
"""
ASKS = """
import os, pathlib, sys
from pytest_dlperf.duel.escalation import Escalation

here = pathlib.Path.cwd()
variables = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
Escalation(here, here, ("-p", "dlperf"), True, variables).again("test_slow.py::test_it")
"""


@pytest.mark.subprocess
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_a_second_look_ends_with_its_parent(tmp_path: Path, how: signal.Signals) -> None:
    """However the run that asked for it ends."""
    (tmp_path / "test_slow.py").write_text(SLOW)
    asks = subprocess.Popen([sys.executable, "-c", ASKS], cwd=tmp_path)  # noqa: S603 - our own
    try:
        while not (tmp_path / "pid").exists():
            assert asks.poll() is None
            time.sleep(0.05)
        descriptor = os.pidfd_open(int((tmp_path / "pid").read_text()))
        asks.send_signal(how)
        assert select.select([descriptor], [], [], 120)[0]
    finally:
        asks.kill()
        asks.wait()
