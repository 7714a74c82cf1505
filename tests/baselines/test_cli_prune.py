"""`pytest-dlperf baselines prune`: removes baselines of tests that are gone, and nothing else."""

from __future__ import annotations

import dataclasses
import io
import sys
from typing import TYPE_CHECKING

import pytest
from baseline_project import Terminal
from builders import MACHINE, make_accepted

from pytest_dlperf.baselines.collect_tests import ProjectTests
from pytest_dlperf.baselines.files import FOLDER, BaselineFiles
from pytest_dlperf.baselines.unused import Collected
from pytest_dlperf.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.subprocess
OTHER = dataclasses.replace(MACHINE, memory=64)
HERE = "test_model.py::test_here"
GONE = "test_model.py::test_gone"
PLUGIN = "pytest_dlperf.pytest_plugin.plugin"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with one test, and baselines of two tests on two machine classes."""
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    # Without the plugins of the environment pytest starts in a third of the time.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTEST_PLUGINS", PLUGIN)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_model.py").write_text("def test_here(dlperf):\n    pass\n")
    for machine in (MACHINE, OTHER):
        store = BaselineFiles(tmp_path / FOLDER, machine)
        for test in (HERE, GONE):
            store.save(test, "", make_accepted())
    return tmp_path


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests of the project without a process that collects them."""
    here = ProjectTests(
        Collected(frozenset({HERE}), frozenset({"test_model.py"})), frozenset({HERE})
    )
    monkeypatch.setattr("pytest_dlperf.baselines.cli.collect_tests", lambda _: here)


def left(project: Path) -> list[tuple[str, str]]:
    """The baselines that are there, as machine class and test."""
    present = (
        (machine.slug, test)
        for machine in (MACHINE, OTHER)
        for test in (HERE, GONE)
        if BaselineFiles(project / FOLDER, machine).load(test) is not None
    )
    return sorted(present)


ALL = sorted((machine.slug, test) for machine in (MACHINE, OTHER) for test in (HERE, GONE))
KEPT = sorted((machine.slug, HERE) for machine in (MACHINE, OTHER))


@pytest.fixture
def prune(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., list[str]]:
    """Runs the command with typed input, without a terminal if None; returns what it prints."""

    def run(*options: str, typed: str | None = None, code: int = 0) -> list[str]:
        monkeypatch.setattr(sys, "stdin", io.StringIO("") if typed is None else Terminal(typed))
        root = () if "--rootdir" in options else ("--rootdir", str(project))
        assert main(["baselines", "prune", *root, *options]) == code
        said = capsys.readouterr()
        return (said.err if code else said.out).splitlines()

    return run


def test_prune_asks_and_removes(project: Path, prune: Callable[..., list[str]]) -> None:
    """Of all machine classes, after a list of what it is."""
    lines = prune(typed="y\n")

    assert left(project) == KEPT
    listed = [line for line in lines if line.startswith("  ")]
    assert listed == [f"  {GONE}  (2026-11-23)"] * 2
    assert {MACHINE.slug, OTHER.slug} <= set(lines)
    assert lines[-1] == "remove 2 files? [y/N] removed: 2 of 4 baselines"


@pytest.mark.usefixtures("listed")
@pytest.mark.parametrize("answer", ["n\n", "\n", "", "yep\n"])
def test_only_a_yes_removes(project: Path, prune: Callable[..., list[str]], answer: str) -> None:
    """Anything else leaves all as it is."""
    assert prune(typed=answer)[-1].endswith("nothing was removed")
    assert left(project) == ALL


@pytest.mark.usefixtures("listed")
def test_without_a_terminal(project: Path, prune: Callable[..., list[str]]) -> None:
    """Without a terminal nothing is removed, and the message names `--yes`."""
    said = prune(code=2)

    assert "there is no terminal to ask on" in said[0]
    assert "--yes" in said[1]
    assert left(project) == ALL


@pytest.mark.usefixtures("listed")
def test_yes(project: Path, prune: Callable[..., list[str]]) -> None:
    """`--yes` is for scripts; a folder that becomes empty goes too."""
    BaselineFiles(project / FOLDER, OTHER).path(HERE).unlink()

    assert prune("--yes")[-1] == "removed: 2 of 3 baselines"

    assert left(project) == [(MACHINE.slug, HERE)]
    assert not (project / FOLDER / OTHER.slug).exists()


def test_nothing_to_remove(project: Path, prune: Callable[..., list[str]]) -> None:
    """When all tests are there, that is the answer; no question is asked."""
    (project / "test_model.py").write_text(
        "def test_here(dlperf): pass\ndef test_gone(dlperf): pass\n"
    )

    assert prune()[-1] == "the test of every baseline is there (4): nothing to remove"
    assert left(project) == ALL


def test_no_baselines(tmp_path: Path, prune: Callable[..., list[str]]) -> None:
    """There is nothing to collect tests for."""
    empty = tmp_path / "empty"

    assert prune("--rootdir", str(empty)) == [f"no baselines in {empty / FOLDER}"]


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("test_broken.py", "import nothing_of_this_name\n", "nothing_of_this_name"),
        ("pytest.ini", "[pytest]\naddopts = --ignore=perf\n", "--ignore"),
        ("test_model.py", "", "pytest finds no test in"),
    ],
)
def test_a_collection_that_is_not_whole(
    project: Path, prune: Callable[..., list[str]], file: str, content: str, message: str
) -> None:
    """A test in the part that is missing may exist: nothing is removed."""
    (project / file).write_text(content)

    said = prune("--yes", code=2)

    assert message in "\n".join(said)
    assert left(project) == ALL


def test_what_addopts_leaves_out_is_there(
    project: Path, prune: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Baselines of deselected tests are kept, whatever warnings the project makes errors."""
    monkeypatch.setenv("PYTEST_PLUGINS", f"{PLUGIN},xdist.plugin")
    options = "-m 'not dlperf' -k nothing --dlperf-skip -q -n2"
    (project / "pytest.ini").write_text(f"[pytest]\naddopts = {options}\nfilterwarnings = error\n")

    assert prune("--yes")[-1] == "removed: 2 of 4 baselines"

    assert left(project) == KEPT


def test_a_skipped_module_is_not_gone(project: Path, prune: Callable[..., list[str]]) -> None:
    """Nor is a file that is collected only when it is named."""
    (project / "test_other.py").write_text("def test_it(): pass\n")
    (project / "test_model.py").write_text("import pytest\npytest.importorskip('nothing_here')\n")
    (project / "perf.py").write_text("")
    BaselineFiles(project / FOLDER, MACHINE).save("perf.py::test_it", "", make_accepted())

    assert prune("--yes")[-1] == "the test of every baseline is there (5): nothing to remove"


@pytest.mark.usefixtures("listed")
def test_a_damaged_file_is_kept(project: Path, prune: Callable[..., list[str]]) -> None:
    """It is reported, and the others are removed."""
    path = BaselineFiles(project / FOLDER, MACHINE).path(GONE)
    path.write_text("{")

    lines = prune("--yes")

    assert any(line.startswith("kept: ") and str(path) in line for line in lines)
    assert path.exists()
    assert lines[-1] == "removed: 1 of 3 baselines"


def test_a_renamed_test_can_be_kept(project: Path, prune: Callable[..., list[str]]) -> None:
    """Before anything is removed, a test that measures is offered as the new name."""
    (project / "test_model.py").write_text(
        "def test_here(dlperf): pass\ndef test_gone2(dlperf): pass\ndef test_gone3(): pass\n"
    )

    lines = prune(typed="n\n")

    assert f"{GONE} looks renamed; to keep its baselines:" in lines
    assert f"  pytest-dlperf baselines rename {GONE} test_model.py::test_gone2" in lines


def test_the_root_folder_is_pytests(project: Path, prune: Callable[..., list[str]]) -> None:
    """Node ids are relative to it: from another folder every baseline would look unused."""
    inner = project / "inner"
    (inner / FOLDER).parent.mkdir(parents=True)
    (project / FOLDER).rename(inner / FOLDER)

    said = prune("--rootdir", str(inner), "--yes", code=2)

    assert "is not pytest's root folder" in said[0]
    assert said[1] == f"  give it: --rootdir {project}"


@pytest.mark.usefixtures("listed")
def test_a_folder_that_cannot_be_changed(
    project: Path, prune: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names the file that stays, and why."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.unlink", refuse)

    said = prune("--yes", code=2)

    assert "cannot be removed: Permission denied" in said[0]
    assert left(project) == ALL
