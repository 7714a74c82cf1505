"""A side of a duel that dies or hangs costs the test that it happened in, and no other."""

from __future__ import annotations

import contextlib
import re
import time
from typing import TYPE_CHECKING

import pytest
from duel_projects import Project, text

from pytest_dlperf.duel import worker_process
from pytest_dlperf.duel.worker_process import WorkerProcess

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_dlperf.duel.channel import Message

pytestmark = pytest.mark.subprocess

TESTS = """
import threading

HANGS = Path({hangs!r})

def in_slots():
    return threading.current_thread().name == "dlperf slots"

def crashes(batch):
    if in_slots() and AT_BASE:
        os.abort()
    return model.infer(batch)

def hangs(batch):
    if in_slots() and not AT_BASE:
        threading.Event().wait()
    return model.infer(batch)

@pytest.fixture
def deadly():
    if not AT_BASE:
        os.kill(os.getpid(), signal.SIGKILL)

@pytest.mark.dlperf("throughput >= 0.1 * baseline", **HALF)
class TestAll:
    def test_base_exits_in_the_body(self, dlperf):
        if AT_BASE:
            os._exit(3)
        dlperf(model.infer, DATA)

    def test_candidate_is_killed_in_a_fixture(self, dlperf, deadly):
        dlperf(model.infer, DATA)

    def test_base_crashes_in_slots(self, dlperf):
        dlperf(crashes, DATA)

    @pytest.mark.dlperf(call_timeout="1s")
    def test_candidate_hangs_in_slots(self, dlperf):
        dlperf(hangs, DATA)

    def test_base_hangs_in_the_body(self, dlperf):
        if AT_BASE:
            HANGS.write_text(str(os.getpid()))
            threading.Event().wait()
        dlperf(model.infer, DATA)

    def test_good(self, dlperf):
        dlperf(model.infer, DATA)

def test_that_kills_its_process():
    os._exit(0)

def test_plain():
    pass
"""


class LeapingTime:
    """The controller's time, which leaps while it waits for a process that says that it hangs.

    So no limit has to be so short that a busy machine could exceed it.

    Args:
        hangs: a file with the number of that process.
    """

    def __init__(self, hangs: Path) -> None:
        self._hangs = hangs
        self._awaited = 0
        self._leaps = 0

    def receive(
        self,
        process: WorkerProcess,
        seconds: float,
        step: str,
        watch: Callable[[], None] = lambda: None,
    ) -> Message:
        """Wait for a message, as `WorkerProcess.receive` does."""
        self._awaited = process.pid
        return RECEIVE(process, seconds, step, watch)

    def monotonic(self) -> float:
        """Seconds."""
        with contextlib.suppress(OSError, ValueError):
            self._leaps += int(self._hangs.read_text()) == self._awaited
        return time.monotonic() + 1000 * self._leaps


RECEIVE = WorkerProcess.receive

HANGS_LATER = """
import threading

HANGS, FIRST = Path({hangs!r}), Path({first!r}, "base" if AT_BASE else "candidate")

@pytest.fixture
def lock():
    hangs = FIRST.exists() and not AT_BASE
    FIRST.touch()
    if hangs:
        HANGS.write_text(str(os.getpid()))
        threading.Event().wait()

@pytest.mark.dlperf("throughput >= 0.1 * baseline", **HALF)
def test_it(dlperf, lock):
    dlperf(model.infer, DATA)

def test_plain():
    pass
"""


def test_a_lost_side_costs_one_test(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says which side, what that did and what it last wrote.

    Without the candidate it is an error; without the base it cannot be compared, which is red too.
    """
    project = Project(pytester, monkeypatch)
    hangs = project.top.parent / "hangs"
    project.tests(TESTS.replace("{hangs!r}", repr(str(hangs))))
    project.commit()
    state = project.state()
    leaping = LeapingTime(hangs)
    monkeypatch.setattr(worker_process, "time", leaping)
    monkeypatch.setattr(worker_process, "_LOOK_SECONDS", 0.05)
    monkeypatch.setattr(WorkerProcess, "receive", lambda *args: leaping.receive(*args))  # noqa: PLW0108 - a bound method would not get the process

    result = project.duel("-v")

    said = text(result)
    result.assert_outcomes(passed=2, failed=3, errors=3)
    for name in ("TestAll::test_good", "test_plain"):
        assert re.search(rf"test_module.py::{name} PASSED", said)
    assert "the base side ended with exit code 3, while running the test" in said
    assert re.search(r"the candidate side was killed by SIGKILL.* while running the test", said)
    assert re.search(r"the base side .*SIGABRT.* while measuring a slot", said)
    assert re.search(r"the candidate side left its measurement .*: .*a call in a slot", said)
    assert "the base side has said nothing for 10 min while running the test" in said
    assert re.search(r"the candidate side ended with exit code 0, while running the test", said)
    # A base's last words stand in the failure and in the summary.
    assert said.count("it last wrote:") == 3 + 2 * 3
    assert project.state() == state
    assert not project.leftovers()


def test_a_further_side_that_hangs(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is an error, after a limit by what the first pair took, not by what a call may take."""
    project = Project(pytester, monkeypatch)
    hangs, first = project.top.parent / "hangs", project.top.parent / "first"
    first.mkdir()
    tests = HANGS_LATER.replace("{hangs!r}", repr(str(hangs)))
    project.tests(tests.replace("{first!r}", repr(str(first))))
    project.commit()
    leaping = LeapingTime(hangs)
    monkeypatch.setattr(worker_process, "time", leaping)
    monkeypatch.setattr(worker_process, "_LOOK_SECONDS", 0.05)
    monkeypatch.setattr(WorkerProcess, "receive", lambda *args: leaping.receive(*args))  # noqa: PLW0108 - a bound method would not get the process

    result = project.duel("--dlperf-call-timeout=3600s")

    result.assert_outcomes(errors=1, passed=1)
    assert re.search(
        r"a further pair of processes does not come to the measurement, though one before came in "
        r"\d+(\.\d+)? m?s: the candidate side has said nothing for \d+(\.\d+)? (s|min) while "
        r"running the test",
        " ".join(text(result).split()),
    )
    assert not project.leftovers()
