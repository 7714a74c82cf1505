"""`pytest-dlperf baselines` lists baselines; `anchor` makes the newest session the anchor."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
from baseline_project import OLD, TEST, Project, session
from builders import MACHINE, REVISION, make_accepted

from pytest_dlperf.baselines.files import FOLDER, BaselineFiles
from pytest_dlperf.cli import main
from pytest_dlperf.statistics.estimate import counted

if TYPE_CHECKING:
    from pathlib import Path

ELSEWHERE = dataclasses.replace(MACHINE, cores=64)


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytest_dlperf.machine.machine_class", lambda: MACHINE)


@pytest.mark.parametrize(
    "words",
    [
        ["baselines"],
        ["baselines", "--rootdir", "{}"],
        ["baselines", "list", "--rootdir", "{}"],
        ["baselines", "--rootdir", "{}", "list"],
    ],
)
def test_listing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
) -> None:
    """Each measurement with its revision and values, by machine class; the folder by default."""
    monkeypatch.chdir(tmp_path)
    project = Project(tmp_path)
    project.accept(OLD)
    values = {"throughput": 900.0, "p95": 0.01, "peak_memory": 1e6, "accuracy": 0.9}
    project.accept(
        make_accepted({name: counted(value) for name, value in values.items()}), name="big"
    )

    assert main([word.format(tmp_path) for word in words]) == 0

    assert capsys.readouterr().out.splitlines() == [
        MACHINE.slug,
        f"  {TEST}  (01dc0de0, 2026-11-20, 10 sessions)",
        "    throughput 1,010/s",
        f"  {TEST} [big]  ({REVISION})",
        "    throughput 900/s, accuracy 90.00 %",
    ]


def test_an_anchor_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An anchor that is older than the sessions is shown, with the changes since."""
    project = Project(tmp_path)
    project.accept(OLD)
    project.accept(session(900.0))

    assert main(["baselines", "--rootdir", str(tmp_path)]) == 0
    assert "    anchor: c0ffee00, 2026-11-19, 1 accepted change ago" in capsys.readouterr().out

    project.accept(session(800.0))
    assert main(["baselines", "--rootdir", str(tmp_path)]) == 0
    assert "2 accepted changes ago" in capsys.readouterr().out


def test_no_baselines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The message says how to record one."""
    assert main(["baselines", "--rootdir", str(tmp_path)]) == 2
    assert "--dlperf-update=new" in capsys.readouterr().err


def test_a_folder_is_no_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A word that is no command is refused, with the names of the commands."""
    with pytest.raises(SystemExit) as ended:
        main(["baselines", str(tmp_path)])
    assert ended.value.code == 2
    assert "choose from" in capsys.readouterr().err


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project whose baseline, of two measurements, was replaced twice."""
    project = Project(tmp_path)
    for name in ("", "big"):
        project.accept(OLD, name=name)
        project.accept(session(900.0, "first"), name=name)
        project.accept(session(800.0, "second"), name=name)
    return project


def anchor(project: Project, *arguments: str) -> int:
    """Run the command."""
    return main(["baselines", "anchor", "--rootdir", str(project.root), *arguments])


def test_it_moves(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """All measurements of the test, unless one is named; the old and new anchors are printed."""
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
    """The error says so, and the file stays."""
    project.files.path(TEST).write_bytes(b"{")

    assert anchor(project, TEST) == 2

    assert "it is damaged" in capsys.readouterr().err
    assert project.files.path(TEST).read_bytes() == b"{"
