"""A side of a duel that dies or hangs costs the test that it happened in, and no other."""

from __future__ import annotations

import re

import pytest
from duel_projects import Project, text

pytestmark = pytest.mark.subprocess

TESTS = """
import threading

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

    def test_candidate_hangs_in_slots(self, dlperf):
        dlperf(hangs, DATA)

    def test_base_hangs_in_the_body(self, dlperf):
        if AT_BASE:
            threading.Event().wait()
        dlperf(model.infer, DATA)

    def test_good(self, dlperf):
        dlperf(model.infer, DATA)

def test_that_kills_its_process():
    os._exit(0)

def test_plain():
    pass
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A repository with a model, and no tests yet."""
    return Project(pytester, monkeypatch)


def test_a_lost_side_costs_one_test(project: Project) -> None:
    """The test is an error that says which side, what it did and what it last wrote."""
    project.tests(TESTS)
    project.commit()
    state = project.state()

    result = project.duel("--dlperf-call-timeout=0.5s", "-v")

    said = text(result)
    result.assert_outcomes(passed=2, errors=6)
    for name in ("TestAll::test_good", "test_plain"):
        assert re.search(rf"test_module.py::{name} PASSED", said)
    assert "the base side ended with exit code 3, while running the test" in said
    assert re.search(r"the candidate side was killed by SIGKILL.* while running the test", said)
    assert re.search(r"the base side .*SIGABRT.* while measuring a slot", said)
    assert re.search(r"the candidate side left its measurement .*: .*a call in a slot", said)
    assert "the base side has said nothing for 5 s while running the test" in said
    assert re.search(r"the candidate side ended with exit code 0, while running the test", said)
    assert said.count("it last wrote:") == 6
    assert project.state() == state
    assert not project.leftovers()
