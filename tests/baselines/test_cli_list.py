"""`pytest-dlperf baselines`: what is accepted, listed; with or without the word."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from baseline_project import OLD, TEST, Project, session
from builders import MACHINE

from pytest_dlperf.cli import main

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    "words",
    [
        ["baselines", "--rootdir", "{}"],
        ["baselines", "list", "--rootdir", "{}"],
        ["baselines", "--rootdir", "{}", "list"],
    ],
)
def test_listing(tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    """Each measurement with its revision and figures, by machine class."""
    project = Project(tmp_path)
    project.accept(OLD)
    project.accept(session(900.0), name="big")

    assert main([word.format(tmp_path) for word in words]) == 0

    assert capsys.readouterr().out.splitlines() == [
        MACHINE.slug,
        f"  {TEST}  (01dc0de0, 2026-11-20, 10 sessions)",
        "    throughput 1,010/s",
        f"  {TEST} [big]  (c0ffee00, 2026-11-24)",
        "    throughput 900/s",
    ]


def test_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`pytest-dlperf baselines` alone lists what is here."""
    Project(tmp_path).accept(OLD)
    monkeypatch.chdir(tmp_path)

    assert main(["baselines"]) == 0

    assert TEST in capsys.readouterr().out


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
    """Where nothing was recorded, the program says how to."""
    assert main(["baselines", "--rootdir", str(tmp_path)]) == 2
    assert "--dlperf-update=new" in capsys.readouterr().err


def test_a_folder_is_no_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A word that is none of the commands is refused with their names, never taken for one."""
    with pytest.raises(SystemExit) as ended:
        main(["baselines", str(tmp_path)])
    assert ended.value.code == 2
    assert "choose from" in capsys.readouterr().err
