"""`pytest-dlperf baselines review`: shows old, new and the change, and asks; nothing else."""

from __future__ import annotations

import dataclasses
import io
import sys
from typing import TYPE_CHECKING

import pytest
from baseline_project import OLD, TEST, Project, Terminal, session
from builders import MACHINE, make_rows

from pytest_dlperf.cli import main
from pytest_dlperf.results.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Review = Callable[..., str]

MUCH_BETTER = session(1500.0)
MUCH_WORSE = session(600.0)


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytest_dlperf.machine.machine_class", lambda: MACHINE)
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.delenv("DLPERF_HISTORY", raising=False)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """An empty project."""
    return Project(tmp_path)


@pytest.fixture
def review(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Review:
    """Runs the command with typed input, without a terminal if None; returns what it prints."""

    def run(typed: str | io.StringIO | None, *options: str, code: int = 0) -> str:
        terminal = Terminal(typed) if isinstance(typed, str) else typed or io.StringIO("")
        monkeypatch.setattr(sys, "stdin", terminal)
        assert main(["baselines", "review", "--rootdir", str(project.root), *options]) == code
        printed = capsys.readouterr()
        return printed.err if code else printed.out

    return run


def test_a_change_is_shown_and_accepted(project: Project, review: Review) -> None:
    """It becomes the baseline, alone; the anchor stays, and the change is counted."""
    project.accept(OLD)
    project.ran(MUCH_BETTER)

    shown = review("a\n")
    assert f"1 of 1: {TEST}" in shown
    assert "measured: c0ffee00, 2026-11-24, PASS" in shown
    assert "baseline: 01dc0de0, 2026-11-20, 10 sessions" in shown
    assert "better beyond the noise: throughput" in shown
    assert "throughput 1,005/s -> 1,500/s (+49.3 %)" in shown
    assert "[a]ccept, [s]kip, [q]uit?" in shown
    assert "accepted: 1 of 1" in shown
    accepted = project.baseline()
    assert accepted is not None
    assert [one.metrics["throughput"].value for one in accepted.sessions] == [1500.0]
    assert accepted.anchor is not None
    assert accepted.anchor.metrics["throughput"].value == 1000.0
    assert accepted.changes == 1

    assert "nothing to review" in review("a\n")


def test_a_first_baseline(project: Project, review: Review) -> None:
    """What has none is proposed, and is its own anchor."""
    project.ran(MUCH_BETTER, Verdict.NEW)

    shown = review("accept\n")
    assert "there is no baseline yet" in shown
    assert "throughput 1,500/s" in shown
    accepted = project.baseline()
    assert accepted is not None
    assert (accepted.anchor, accepted.changes) == (accepted.newest, 0)


def test_a_baseline_with_the_results_of_rows(project: Project, review: Review) -> None:
    """That it was read again does not make it another one."""
    old, new = (
        dataclasses.replace(entry, rows=make_rows([1, 0, 1, 1])) for entry in (OLD, MUCH_BETTER)
    )
    project.accept(old)
    project.ran(new)

    assert "accepted: 1 of 1" in review("a\n")
    assert project.baseline() is not None


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
def test_each_answer(
    project: Project,
    review: Review,
    typed: str,
    accepted: set[str],
) -> None:
    """Only what is accepted by its letter is written; the end of the input is a quit."""
    project.ran(MUCH_BETTER, tests=("a", "b", "c"))

    shown = review(typed)

    assert {test for test in "abc" if project.baseline(test)} == accepted
    assert f"accepted: {len(accepted)} of 3" in shown


@pytest.mark.parametrize("throughput", [1000.0, 985.0, 1030.0])
def test_noise_is_not_shown(
    project: Project,
    review: Review,
    throughput: float,
) -> None:
    """A difference within the noise is not proposed."""
    project.accept(OLD)
    project.ran(session(throughput))

    assert "nothing to review" in review("a\n")
    assert project.baseline() is not None
    assert len(project.baseline().sessions) == len(OLD.sessions)  # type: ignore[union-attr]


def test_only_the_newest_run_counts(project: Project, review: Review) -> None:
    """Earlier runs, and runs before the baseline, are not proposed."""
    project.accept(OLD)
    project.ran(MUCH_WORSE, name="an old name")
    project.ran(MUCH_WORSE)
    project.ran(session(1000.5))
    assert "nothing to review" in review(None)

    project.ran(session(600.0, date="2026-11-01"))
    assert "nothing to review" in review(None)


def test_an_invalid_measurement(project: Project, review: Review) -> None:
    """It is shown, and cannot be accepted."""
    project.ran(MUCH_BETTER, Verdict.INVALID)

    shown = review("a\n")
    assert "its measuring failed (INVALID)" in shown
    assert "[a]ccept" not in shown
    assert project.baseline() is None


def test_a_failed_test(project: Project, review: Review) -> None:
    """The review says that a new baseline does not help a budget that needs none."""
    project.accept(OLD)
    project.ran(MUCH_WORSE, Verdict.FAIL)

    shown = " ".join(review("a\n").split())
    assert "worse beyond the noise: throughput" in shown
    assert "it will fail with a new one too" in shown
    assert project.baseline() is not None
    assert len(project.baseline().sessions) == 1  # type: ignore[union-attr]


def test_other_conditions(project: Project, review: Review) -> None:
    """They are shown whatever the metrics, and begin with an anchor of their own."""
    project.accept(OLD)
    project.ran(dataclasses.replace(session(1001.0), scenario="Offline()"))

    shown = review("a\n")
    assert "it was measured under other conditions" in shown
    assert "scenario ClosedLoop(clients=64) -> Offline()" in shown
    accepted = project.baseline()
    assert accepted is not None
    assert (accepted.scenario, accepted.anchor) == ("Offline()", accepted.newest)


def test_without_a_terminal(project: Project, review: Review) -> None:
    """All is shown, nothing is changed, and that is no error."""
    project.ran(MUCH_BETTER, tests=("a", "b"))

    shown = review(None)
    assert "1 of 2: a" in shown
    assert "2 of 2: b" in shown
    assert "nothing was changed: there is no terminal to ask on" in shown
    assert project.baseline("a") is None


def test_not_in_ci(project: Project, review: Review, monkeypatch: pytest.MonkeyPatch) -> None:
    """In CI the command is refused."""
    project.ran(MUCH_BETTER)
    monkeypatch.setenv("CI", "true")

    assert "not reviewed in CI: a person decides" in review("a\n", code=2)
    assert project.baseline() is None


def test_without_a_history(project: Project, review: Review) -> None:
    """The error says so, and none is created."""
    assert "there is no history" in review("a\n", code=2)
    assert not (project.root / ".dlperf").exists()


def test_a_selection(project: Project, review: Review) -> None:
    """Tests are chosen by a part of their node id; nothing that matches is an error."""
    project.ran(MUCH_BETTER, tests=("t.py::test_a", "t.py::test_b"))

    assert "1 of 1: t.py::test_b" in review(None, "--test", "test_b")
    assert "'test_c'" in review(None, "--test", "test_c", code=2)
    assert "(another)" in review(None, "--machine", "another", code=2)


def test_a_baseline_that_changes_meanwhile(project: Project, review: Review) -> None:
    """What another run has accepted since it was shown is not replaced unseen."""
    project.accept(OLD)
    project.ran(MUCH_BETTER)

    class Slow(Terminal):
        def readline(self, *size: int) -> str:  # type: ignore[override]
            project.accept(session(1200.0, "other"))
            return super().readline(*size)

    assert "is not what was shown any more" in review(Slow("a\n"), code=2)
    assert project.baseline() is not None
    assert project.baseline().revision.commit == "other"  # type: ignore[union-attr]


def test_it_fits_a_terminal(project: Project, review: Review) -> None:
    """No line is wider than 80 columns."""
    project.accept(OLD)
    serving = "Serving(max_batch_size=64, batch_timeout=0.002, replicas=2, devices=('cpu:0',))"
    project.ran(dataclasses.replace(MUCH_WORSE, serving=serving), Verdict.FAIL)

    assert max(map(len, review("s\n").splitlines())) <= 80
