"""What a run passes on to a second look: arguments, and the number of budgets; and its end."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from pytest_dlperf.duel.cleanup_process import CleanupProcess
from pytest_dlperf.duel.escalation import Escalation, budgets_of_run, carried_over
from pytest_dlperf.errors import DuelError
from pytest_dlperf.judge.error_rates import BETA, ErrorRates
from pytest_dlperf.judge.loss_evidence import MeasuredLoss
from pytest_dlperf.judge.losses import LossLimits
from pytest_dlperf.metrics import METRICS
from pytest_dlperf.statistics.prediction import Prediction

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

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


def test_the_number_of_budgets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The duel reads it from its environment; a run that is no such duel has none there."""
    seen: list[int] = []

    def run(
        _: CleanupProcess, command: Sequence[str], *, environment: Mapping[str, str], **__: object
    ) -> tuple[int, list[str]]:
        assert command
        seen.append(budgets_of_run(environment))
        return 2, ["no tests ran"]

    monkeypatch.setattr(CleanupProcess, "run", run)
    escalation = Escalation(tmp_path, tmp_path, (), in_path=False, variables={}, budgets=20)
    with pytest.raises(DuelError, match="no tests ran"):
        escalation.duel("test_module.py::test_it", "0123abcd")

    assert seen == [20]
    assert budgets_of_run({}) == budgets_of_run({"DLPERF_ESCALATED_FROM": "many"}) == 0


@pytest.mark.parametrize("tests", [1, 20])
def test_all_escalations_together(tests: int) -> None:
    """However many tests of unchanged code are in doubt, 1 % of runs have a FAIL.

    With the rates of one test for each duel, 20 doubtful tests are 18 %.
    """
    limits = LossLimits.allowing(METRICS["throughput"], 0.0)
    rates = ErrorRates(max(tests, 1))
    losses = np.random.default_rng(5).normal(0, 0.01, (4000, tests))
    failed = sum(
        any(
            MeasuredLoss(Prediction(loss, 0.01, 10**6)).decision(limits, rates.stored, BETA)
            == "FAIL"
            for loss in run
        )
        for run in losses.tolist()
    )
    assert 20 <= failed <= 60


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
Escalation(here, here, ("-p", "dlperf"), True, variables, 0).again("test_slow.py::test_it")
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
