"""`pytest-dlperf baselines review`: old, new, the change, and a question; nothing else is done."""

from __future__ import annotations

import dataclasses
import io
import sys
from typing import TYPE_CHECKING

import pytest
from baseline_project import OLD, TEST, Project, Terminal, session
from builders import MACHINE

from pytest_dlperf.cli import main
from pytest_dlperf.results.verdict import Verdict

if TYPE_CHECKING:
    from pathlib import Path

MUCH_BETTER = session(1500.0)
MUCH_WORSE = session(600.0)


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytest_dlperf.machine.machine_class", lambda: MACHINE)
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.delenv("DLPERF_HISTORY", raising=False)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Nothing is in it yet."""
    return Project(tmp_path)


def review(
    project: Project, monkeypatch: pytest.MonkeyPatch, typed: str | None, *options: str
) -> int:
    """Run it with somebody who types, or, with None, without a terminal."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("") if typed is None else Terminal(typed))
    return main(["baselines", "review", "--rootdir", str(project.root), *options])


def test_a_change_is_shown_and_accepted(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It becomes the baseline, alone; the anchor stays, and the change is counted."""
    project.accept(OLD)
    project.ran(MUCH_BETTER)

    assert review(project, monkeypatch, "a\n") == 0

    said = capsys.readouterr().out
    assert f"1 of 1: {TEST}" in said
    assert "measured: c0ffee00, 2026-11-24, PASS" in said
    assert "baseline: 01dc0de0, 2026-11-20, 10 sessions" in said
    assert "better beyond the noise: throughput" in said
    assert "throughput 1,005/s -> 1,500/s (+49.3 %)" in said
    assert "[a]ccept, [s]kip, [q]uit?" in said
    assert "accepted: 1 of 1" in said
    accepted = project.baseline()
    assert accepted is not None
    assert [one.metrics["throughput"].value for one in accepted.sessions] == [1500.0]
    assert accepted.anchor is not None
    assert accepted.anchor.metrics["throughput"].value == 1000.0
    assert accepted.changes == 1

    assert review(project, monkeypatch, "a\n") == 0
    assert "nothing to review" in capsys.readouterr().out


def test_a_first_baseline(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What has none is proposed, and is its own anchor."""
    project.ran(MUCH_BETTER, Verdict.NEW)

    assert review(project, monkeypatch, "accept\n") == 0

    said = capsys.readouterr().out
    assert "there is no baseline yet" in said
    assert "throughput 1,500/s" in said
    accepted = project.baseline()
    assert accepted is not None
    assert (accepted.anchor, accepted.changes) == (accepted.newest, 0)


@pytest.mark.parametrize(
    ("typed", "accepted"),
    [
        ("s\na\ns\n", {"b"}),
        ("a\nq\n", {"a"}),
        ("q\n", set()),
        ("", set()),
        ("what?\n\nA\nskip\nquit\n", {"a"}),
        ("a\na\na\n", {"a", "b", "c"}),
        ("y\nyes\n", set()),
    ],
)
def test_each_is_asked_for(
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    typed: str,
    accepted: set[str],
) -> None:
    """Only what is accepted by its letter is written; the end of the input is a quit."""
    project.ran(MUCH_BETTER, tests=("a", "b", "c"))

    assert review(project, monkeypatch, typed) == 0

    assert {test for test in "abc" if project.baseline(test)} == accepted
    assert f"accepted: {len(accepted)} of 3" in capsys.readouterr().out


@pytest.mark.parametrize("throughput", [1000.0, 985.0, 1030.0])
def test_noise_is_not_shown(
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    throughput: float,
) -> None:
    """What the sessions explain is nothing to decide on."""
    project.accept(OLD)
    project.ran(session(throughput))

    assert review(project, monkeypatch, "a\n") == 0

    assert "nothing to review" in capsys.readouterr().out
    assert project.baseline() is not None
    assert len(project.baseline().sessions) == len(OLD.sessions)  # type: ignore[union-attr]


def test_only_the_newest_run_counts(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was measured before it, or before the baseline, is past."""
    project.accept(OLD)
    project.ran(MUCH_WORSE, name="an old name")
    project.ran(MUCH_WORSE)
    project.ran(session(1000.5))
    assert review(project, monkeypatch, None) == 0
    assert "nothing to review" in capsys.readouterr().out

    project.ran(session(600.0, date="2026-11-01"))
    assert review(project, monkeypatch, None) == 0
    assert "nothing to review" in capsys.readouterr().out


def test_what_failed_to_be_measured_is_not_asked_for(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An INVALID one is shown, and can never be accepted."""
    project.ran(MUCH_BETTER, Verdict.INVALID)

    assert review(project, monkeypatch, "a\n") == 0

    said = capsys.readouterr().out
    assert "its measuring failed (INVALID)" in said
    assert "[a]ccept" not in said
    assert project.baseline() is None


def test_a_failed_test_is_told_of(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """People learn that a new baseline does not mend a budget that needs none."""
    project.accept(OLD)
    project.ran(MUCH_WORSE, Verdict.FAIL)

    assert review(project, monkeypatch, "a\n") == 0

    said = " ".join(capsys.readouterr().out.split())
    assert "worse beyond the noise: throughput" in said
    assert "it will fail with a new one too" in said
    assert project.baseline() is not None
    assert len(project.baseline().sessions) == 1  # type: ignore[union-attr]


def test_other_conditions(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """They are told, whatever the figures, and begin an anchor of their own."""
    project.accept(OLD)
    project.ran(dataclasses.replace(session(1001.0), scenario="Offline()"))

    assert review(project, monkeypatch, "a\n") == 0

    said = capsys.readouterr().out
    assert "it was measured under other conditions" in said
    assert "scenario ClosedLoop(clients=64) -> Offline()" in said
    accepted = project.baseline()
    assert accepted is not None
    assert (accepted.scenario, accepted.anchor) == ("Offline()", accepted.newest)


def test_without_a_terminal(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All is shown, nothing is changed, and that is no error."""
    project.ran(MUCH_BETTER, tests=("a", "b"))

    assert review(project, monkeypatch, None) == 0

    said = capsys.readouterr().out
    assert "1 of 2: a" in said
    assert "2 of 2: b" in said
    assert "nothing was changed: there is no terminal to ask on" in said
    assert project.baseline("a") is None


def test_not_in_ci(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """There is nobody to decide."""
    project.ran(MUCH_BETTER)
    monkeypatch.setenv("CI", "true")

    assert review(project, monkeypatch, "a\n") == 2

    assert "not reviewed in CI: a person decides" in capsys.readouterr().err
    assert project.baseline() is None


def test_without_a_history(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is said, and none is made."""
    assert review(project, monkeypatch, "a\n") == 2

    assert "there is no history" in capsys.readouterr().err
    assert not (project.root / ".dlperf").exists()


def test_a_selection(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Tests are chosen by a part of their node id; nothing that matches is an error."""
    project.ran(MUCH_BETTER, tests=("t.py::test_a", "t.py::test_b"))

    assert review(project, monkeypatch, None, "--test", "test_b") == 0
    assert "1 of 1: t.py::test_b" in capsys.readouterr().out
    assert review(project, monkeypatch, None, "--test", "test_c") == 2
    assert "'test_c'" in capsys.readouterr().err
    assert review(project, monkeypatch, None, "--machine", "another") == 2
    assert "(another)" in capsys.readouterr().err


def test_a_baseline_that_changes_meanwhile(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What another run has accepted since it was shown is not replaced unseen."""
    project.accept(OLD)
    project.ran(MUCH_BETTER)

    class Slow(Terminal):
        def readline(self, *size: int) -> str:  # type: ignore[override]
            project.accept(session(1200.0, "other"))
            return super().readline(*size)

    monkeypatch.setattr(sys, "stdin", Slow("a\n"))
    assert main(["baselines", "review", "--rootdir", str(project.root)]) == 2

    assert "is not what was shown any more" in capsys.readouterr().err
    assert project.baseline() is not None
    assert project.baseline().revision.commit == "other"  # type: ignore[union-attr]


def test_it_fits_a_terminal(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No line is wider than 80 columns."""
    project.accept(OLD)
    serving = "Serving(max_batch_size=64, batch_timeout=0.002, replicas=2, devices=('cpu:0',))"
    project.ran(dataclasses.replace(MUCH_WORSE, serving=serving), Verdict.FAIL)

    review(project, monkeypatch, "s\n")

    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80
