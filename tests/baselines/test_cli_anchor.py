"""`pytest-dlperf baselines anchor`: the newest session becomes the anchor, on request only."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
from baseline_project import OLD, TEST, Project, session
from builders import MACHINE

from pytest_dlperf.baselines.files import FOLDER, BaselineFiles
from pytest_dlperf.cli import main

if TYPE_CHECKING:
    from pathlib import Path

ELSEWHERE = dataclasses.replace(MACHINE, cores=64)


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytest_dlperf.machine.machine_class", lambda: MACHINE)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """With a baseline that was replaced twice, of two measurements."""
    project = Project(tmp_path)
    for name in ("", "big"):
        project.accept(OLD, name=name)
        project.accept(session(900.0, "first"), name=name)
        project.accept(session(800.0, "second"), name=name)
    return project


def anchor(project: Project, *arguments: str) -> int:
    """Run it."""
    return main(["baselines", "anchor", "--rootdir", str(project.root), *arguments])


def test_it_moves(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """All measurements of the test, unless one is named; the program says from where to where."""
    before = project.baseline(name="big")
    assert before is not None
    assert before.changes == 2

    assert anchor(project, TEST, "--name", "big") == 0

    said = capsys.readouterr().out
    assert MACHINE.slug in said
    assert f"{TEST} [big]" in said
    assert "the anchor is second, 2026-11-24 now; it was c0ffee00, 2026-11-19" in said
    big, whole = project.baseline(name="big"), project.baseline()
    assert big is not None
    assert whole is not None
    assert (big.anchor, big.changes) == (big.newest, 0)
    assert whole.changes == 2

    assert anchor(project, TEST) == 0
    said = capsys.readouterr().out
    assert "the anchor is the newest session already" in said
    moved = project.baseline()
    assert moved is not None
    assert (moved.anchor, moved.changes) == (moved.newest, 0)


def test_other_machine_classes(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """They are left as they are without `--all`."""
    other = BaselineFiles(project.root / FOLDER, ELSEWHERE)
    other.save(TEST, "", dataclasses.replace(OLD, anchor=OLD.sessions[0]))

    assert anchor(project, TEST) == 0
    assert ELSEWHERE.slug not in capsys.readouterr().out
    before = other.load(TEST)
    assert before is not None
    assert before.accepted[""].anchor != before.accepted[""].newest

    assert anchor(project, TEST, "--all") == 0
    assert ELSEWHERE.slug in capsys.readouterr().out
    after = other.load(TEST)
    assert after is not None
    assert after.accepted[""].anchor == after.accepted[""].newest


def test_only_elsewhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A baseline of another machine class is named, with the way to it."""
    project = Project(tmp_path)
    BaselineFiles(tmp_path / FOLDER, ELSEWHERE).save(TEST, "", OLD)

    assert anchor(project, TEST) == 2

    said = capsys.readouterr().err
    assert f"no baseline of {TEST} on this machine class ({MACHINE.slug})" in said
    assert ELSEWHERE.slug in said
    assert "--all" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tests/test_model.py::test_fst"], f"did you mean {TEST}?"),
        ([TEST, "--name", "small"], "it has '', 'big'"),
    ],
)
def test_what_is_not_there(
    project: Project, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    """A test or a name that has no baseline is an error that names those that have."""
    before = project.files.path(TEST).read_bytes()

    assert anchor(project, *arguments) == 2

    assert message in capsys.readouterr().err
    assert project.files.path(TEST).read_bytes() == before


def test_a_damaged_file(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """It is named, and stays."""
    project.files.path(TEST).write_bytes(b"{")

    assert anchor(project, TEST) == 2

    assert "it is damaged" in capsys.readouterr().err
    assert project.files.path(TEST).read_bytes() == b"{"
