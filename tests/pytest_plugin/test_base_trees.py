"""What is in the tree of the base: submodules, files brought along, no pointers of Git LFS."""

from __future__ import annotations

import os
import shutil
from types import SimpleNamespace
from typing import TYPE_CHECKING

import git_repositories
import pytest
from duel_projects import INI, MODEL, Project, text

from pytest_dlperf.duel import workspace

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.subprocess

SLOW = MODEL.replace("100e-6", "10e-3")
SPEED = """
from lib import speed

@pytest.mark.dlperf("throughput >= 0.1 * baseline", **HALF)
def test_speed(dlperf):
    dlperf(speed.infer, DATA)
"""
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 12345\n".format(
    "ab" * 32
)


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A repository with a model, and no tests yet."""
    return Project(pytester, monkeypatch)


def git(folder: Path, *arguments: str) -> str:
    """Run git, which may clone from a folder."""
    return git_repositories.git(folder, "-c", "protocol.file.allow=always", *arguments).strip()


@pytest.fixture
def library(project: Project) -> Path:
    """The target in a submodule, `lib`, with a submodule of its own; one commit of each."""
    folders = [project.top.parent / name for name in ("inner", "library")]
    for folder in folders:
        folder.mkdir()
        git(folder, "init", "--quiet", "--initial-branch=main")
    inner, outer = folders
    (inner / "model.py").write_text(MODEL)
    git(inner, "add", ".")
    git(inner, "commit", "--quiet", "-m", "fast")
    git(outer, "submodule", "--quiet", "add", str(inner), "inner")
    (outer / "__init__.py").touch()
    (outer / "speed.py").write_text("from lib.inner.model import infer\n")
    git(outer, "add", ".")
    git(outer, "commit", "--quiet", "-m", "one")
    git(project.top, "submodule", "--quiet", "add", str(outer), "lib")
    git(project.top, "submodule", "--quiet", "update", "--init", "--recursive")
    project.tests(SPEED)
    project.commit()
    return project.top / "lib"


def own_files(top: Path) -> dict[str, bytes]:
    """All of a repository's own files, those of its submodules too."""
    return {str(path): path.read_bytes() for path in (top / ".git").rglob("*") if path.is_file()}


def test_target_in_a_submodule(project: Project, library: Path) -> None:
    """Also in a submodule's own; each side has its commit, and the repository stays as it is."""
    (library / "inner" / "model.py").write_text(SLOW)
    before = own_files(project.top)

    result = project.duel()

    result.assert_outcomes(failed=1)
    assert "BudgetFailure: throughput >= 0.1 * baseline, was" in text(result)
    assert own_files(project.top).keys() == before.keys()
    assert not project.leftovers()


def test_a_submodule_that_the_candidate_does_not_have(project: Project, library: Path) -> None:
    """It is checked out from what git keeps of it."""
    git(project.top, "rm", "--quiet", "--cached", "lib")
    git(project.top, "rm", "--quiet", "-f", ".gitmodules")
    shutil.rmtree(library)
    project.write("lib/__init__.py", "")
    project.write("lib/speed.py", SLOW)

    result = project.duel()

    result.assert_outcomes(failed=1)
    assert "BudgetFailure: throughput >= 0.1 * baseline, was" in text(result)


def test_commit_that_is_not_here(project: Project, library: Path) -> None:
    """A test that needs it is red, and the error has the command that fetches it."""
    missing = "1234567890" * 4
    git(project.top, "update-index", "--cacheinfo", f"160000,{missing},lib")
    git(project.top, "commit", "--quiet", "-m", "a commit that only another clone has")
    git(
        project.top,
        "update-index",
        "--cacheinfo",
        f"160000,{git(library, 'rev-parse', 'HEAD')},lib",
    )

    result = project.duel()

    result.assert_outcomes(failed=1)
    said = text(result)
    assert "INCONCLUSIVE: throughput >= 0.1 * baseline" in said
    assert f"submodule lib is empty there: its commit {missing[:12]} is not in this clone" in said
    assert f"fetch origin {missing}" in said


READS = """
ROWS = Path("models/rows.bin").read_bytes()

@pytest.mark.dlperf("throughput >= 0.1 * baseline", **HALF)
def test_speed(dlperf):
    dlperf(model.infer, DATA)
"""


def test_pointers_of_git_lfs(project: Project) -> None:
    """They are no content: nothing is measured, though the test would accept them."""
    project.write("models/rows.bin", POINTER)
    project.tests(READS)
    project.commit()
    project.write("models/rows.bin", "the content")
    project.write("model.py", SLOW)

    result = project.duel()

    result.assert_outcomes(failed=1)
    said = text(result)
    assert "INCONCLUSIVE: throughput >= 0.1 * baseline" in said
    assert "models/rows.bin at HEAD is a pointer of Git LFS instead of the file's content" in said
    assert "git lfs fetch origin" in said
    assert "; 0 measured in turn" in said

    # A pointer on both sides is the same to both.
    project.write("models/rows.bin", POINTER)
    assert "BudgetFailure: throughput >= 0.1" in text(project.duel())


LFS = """#!/bin/sh
test "$1" = pull && echo content > models/rows.bin
exit 0
"""


def test_git_lfs_is_asked(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is installed, it fetches what a checkout has left out."""
    program = project.write("../bin/git-lfs", LFS)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent.resolve()), prepend=os.pathsep)
    project.write("models/rows.bin", POINTER)
    project.tests(READS)
    project.commit()
    project.write("models/rows.bin", "the content")

    result = project.duel()

    result.assert_outcomes(passed=1)
    assert "1 measured in turn" in text(result)


def test_carried_files(project: Project) -> None:
    """Folders, patterns and links reach the base as copies; an ini file may name them."""
    ignore = project.top / ".gitignore"
    ignore.write_text(ignore.read_text() + "*.bin\nlarge\n")
    source = READS.replace("models/rows.bin", "large/one.bin") + (
        'MORE = Path("models/rows.bin").read_bytes()\n'
        'Path("large/one.bin").write_bytes(b"changed by the base") if AT_BASE else None\n'
    )
    project.tests(source)
    project.write("models/README", "tracked")
    project.commit()
    outside = project.write("../store/one.bin", "large")
    project.write("models/rows.bin", "rows")
    (project.top / "large").mkdir()
    (project.top / "large" / "one.bin").write_text("own")
    (project.top / "models" / "link.bin").symlink_to("../../store/one.bin")

    project.write("pytest.ini", f"{INI}dlperf_against_carry =\n    large\n    models/*.bin\n")

    result = project.duel()

    result.assert_outcomes(passed=1)
    assert "1 measured in turn" in text(result)
    assert (project.top / "large" / "one.bin").read_text() == "own"
    assert outside.read_text() == "large"


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("nowhere", "--dlperf-against-carry=nowhere: there is no */project/nowhere"),
        ("*.nothing", "--dlperf-against-carry=[*].nothing: there is no"),
        ("model.py", "--dlperf-against-carry=model.py: git tracks it, so the base has its own"),
        ("../outside", "*outside is outside of the repository*"),
        (".", "--dlperf-against-carry=.: that is the repository itself"),
        ("", "--dlperf-against-carry is given, and empty"),
        ("late.bin", "--dlperf-against-carry: the base has a late.bin of its own*"),
        ("empty", "--dlperf-against-carry=empty: there is no file in it"),
    ],
)
def test_what_cannot_be_carried(project: Project, path: str, problem: str) -> None:
    """It is refused in words before a test runs, and nothing is left behind."""
    project.tests("def test_it(): raise AssertionError")
    project.write("late.bin", "")
    project.commit()
    git(project.top, "rm", "--quiet", "--cached", "late.bin")
    (project.top / "empty").mkdir()
    project.write("../outside", "")

    result = project.duel(f"--dlperf-against-carry={path}")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*{problem.lstrip('*')}*"])
    assert not project.leftovers()


def test_a_repository_that_cannot_be_written_to(project: Project) -> None:
    """It is said in words, with what to do."""
    project.tests("def test_it(): raise AssertionError")
    project.commit()
    # A file where git has to make a folder stops the superuser too.
    (project.top / ".git" / "worktrees").touch()

    result = project.duel()

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    said = text(result)
    assert "cannot be checked out" in said
    assert "git clone --shared" in said
    assert "INTERNALERROR" not in said


def test_a_cache_that_cannot_be_written_to(project: Project) -> None:
    """All is measured, and a warning says that nothing is kept."""
    project.tests(READS.partition("\n\n")[2])
    project.write(".pytest_cache", "a file where pytest has to make a folder")
    project.commit()

    result = project.duel("-Wignore::pytest.PytestCacheWarning")

    result.assert_outcomes(passed=1)
    assert "1 measured in turn" in text(result)
    assert "pytest's cache cannot be used, so trained models are not kept" in text(result)


def test_no_folder_for_temporary_files(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said in words, with what to do."""
    project.tests("def test_it(): raise AssertionError")
    project.commit()
    below = str(project.top / "model.py" / "below")
    monkeypatch.setattr(workspace, "tempfile", SimpleNamespace(gettempdir=lambda: below))

    result = project.duel()

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    said = text(result)
    assert "INTERNALERROR" not in said
    assert "TMPDIR" in said


def test_configuration_above_the_repository(project: Project) -> None:
    """The error names what to do, and both ways work."""
    above = project.write("../pytest.ini", "[pytest]\npythonpath = .\nmarkers = own\n")
    own = project.top / "pytest.ini"
    own.unlink()
    project.write("tox.ini", "[pytest]\npythonpath = .\n")
    project.write("conftest.py", "import sys\nsys.path.insert(0, __file__.rpartition('/')[0])\n")
    project.tests(READS.partition("\n\n")[2])
    project.commit()
    (project.top / "tox.ini").unlink()

    refused = project.duel()

    assert refused.ret == pytest.ExitCode.USAGE_ERROR
    said = text(refused)
    assert f"where it found pytest.ini, is outside of the repository {project.top}" in said
    assert f"--rootdir={project.top} (which keeps {above.resolve()})" in said
    rooted = project.duel(f"--rootdir={project.top}")
    rooted.assert_outcomes(passed=1)
    assert "1 measured in turn" in text(rooted)
    project.write("tox.ini", "[pytest]\npythonpath = .\n")
    named = project.duel("-c", str(project.top / "tox.ini"))
    named.assert_outcomes(passed=1)
    assert "1 measured in turn" in text(named)
