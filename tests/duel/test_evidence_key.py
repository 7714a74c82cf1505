"""A duel repeats an earlier one only if nothing has changed that may change what is measured."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from git_repositories import git

from pytest_dlperf.duel.evidence_key import (
    content_key,
    distributions_key,
    ignored_key,
    options_key,
    tree_key,
    variables_key,
    versions_key,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("git_of_nobody")


def commit(folder: Path, name: str, text: str) -> None:
    """Write a file, and commit all."""
    (folder / name).write_text(text)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "-m", "one more")


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """A repository with one file, and ignored ones."""
    folder = tmp_path / "repo"
    folder.mkdir()
    git(folder, "init", "--quiet", "-b", "main")
    (folder / ".gitignore").write_text("*.txt\ndata*\nout\n")
    commit(folder, "file", "one")
    (folder / "s.txt").write_text("100")
    (folder / "data" / "deep").mkdir(parents=True)
    (folder / "data" / "deep" / "rows").write_bytes(b"rows")
    return folder


@pytest.mark.parametrize(
    "change",
    [
        lambda top: (top / "file").write_text("other"),
        lambda top: (top / "file").unlink(),
        lambda top: (top / "file").chmod(0o755),
        lambda top: (top / "new").write_text(""),
        lambda top: (top / "link").symlink_to("file"),
        lambda top: (top / "bytes\xff").write_bytes(b"\xff\0"),
        lambda top: commit(top, "file", "other"),
    ],
)
def test_other_content_has_another_key(top: Path, change: Callable[[Path], object]) -> None:
    """Whatever is changed, added or committed changes the key."""
    before = content_key(top)
    change(top)
    after = content_key(top)
    assert after != before
    assert content_key(top) == after


def test_the_same_content_has_the_same_key(top: Path) -> None:
    """Times, ignored files, our own files, other commits of the same tree change nothing."""
    commit(top, ".gitignore", "ignored")
    before = content_key(top)
    (top / "ignored").touch()
    (top / "file").touch()
    (top / ".dlperf").mkdir()
    (top / ".dlperf" / "history").touch()
    commit_again = git(top, "commit", "--quiet", "--allow-empty", "-m", "the same again")
    assert commit_again == ""
    assert content_key(top) == before


def test_new_files_that_are_not_all_read(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit a file's time stands for its content."""
    monkeypatch.setattr("pytest_dlperf.duel.evidence_key._READ_BYTES", 3)
    new = top / "new"
    keys = set()
    for content, time in (("four", 1), ("for.", 2)):
        new.write_text(content)
        os.utime(new, ns=(time, time))
        keys.add(content_key(top))
    assert len(keys) == 2


def write(path: Path, text: str) -> None:
    """Write a file in a folder that may have to be made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    "change",
    [
        lambda top: (top / "s.txt").write_text("900"),
        lambda top: (top / "s.txt").unlink(),
        lambda top: (top / "s.txt").chmod(0o755),
        lambda top: (top / "data" / "deep" / "rows").write_bytes(b"swor"),
        lambda top: write(top / "data" / "new", ""),
        lambda top: write(top / "new" / "t.txt", "in a new folder"),
        lambda top: (top / "linked.txt").symlink_to("file"),
        lambda top: (top / "data" / "b\udcff").write_text("a name that is no text"),
    ],
)
def test_other_ignored_files_have_another_key(top: Path, change: Callable[[Path], object]) -> None:
    """Whatever git ignores may be read by a test."""
    before = ignored_key(top)
    change(top)
    after = ignored_key(top)
    assert after != before
    assert ignored_key(top) == after


@pytest.mark.parametrize(
    ("path", "beside"),
    [
        ("data/__pycache__/m.txt", ""),
        ("data/.pytest_cache/v", ""),
        ("data/m.pyc", ""),
        ("data/.coverage.host.1", ""),
        ("data/environment/lib/m.py", "data/environment/pyvenv.cfg"),
        ("data/cache/a", "data/cache/CACHEDIR.TAG"),
        ("out/report.xml", ""),
        ("out.txt", ""),
    ],
)
def test_what_runs_write_does_not_count(top: Path, path: str, beside: str) -> None:
    """Caches, environments and named outputs; and a file that is written again as it was."""
    before = ignored_key(top, {top / "out", top / "out.txt"})
    write(top / path, "1")
    if beside:
        write(top / beside, "")
    (top / "s.txt").write_text("100")
    assert ignored_key(top, {top / "out", top / "out.txt"}) == before


def test_large_ignored_files(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are not read, and another one of the same size and time is noticed all the same."""
    monkeypatch.setattr("pytest_dlperf.duel.evidence_key._SMALL", 3)
    weights = top / "data" / "weights"
    weights.write_text("four")
    os.utime(weights, ns=(1, 1))
    before = ignored_key(top)
    assert ignored_key(top) == before
    weights.write_text("for.")
    os.utime(weights, ns=(1, 1))
    assert ignored_key(top) != before


def test_too_many_ignored_files(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then nobody knows whether they are the same."""
    monkeypatch.setattr("pytest_dlperf.duel.evidence_key._MOST_FILES", 2)
    assert ignored_key(top) is not None
    (top / "third.txt").touch()
    assert ignored_key(top) is None
    assert tree_key(top, ()) is None


def test_links_out_of_the_repository_are_followed(top: Path, tmp_path: Path) -> None:
    """A folder of data is often elsewhere; one that leads back to itself ends nowhere."""
    write(tmp_path / "disk" / "rows", "1")
    (tmp_path / "disk" / "again").symlink_to(tmp_path / "disk")
    (top / "data-linked").symlink_to(tmp_path / "disk")
    (top / "lost.txt").symlink_to("nowhere")
    before = ignored_key(top)
    write(tmp_path / "disk" / "rows", "2")
    assert ignored_key(top) != before


def test_files_whose_changes_git_is_told_not_to_look_for(top: Path) -> None:
    """Such as a configuration that everybody changes for himself."""
    for flag in ("--skip-worktree", "--assume-unchanged"):
        git(top, "update-index", flag, "file")
        before = content_key(top)
        write(top / "file", f"changed {flag}")
        assert git(top, "status", "--porcelain") == ""
        assert content_key(top) != before
        git(top, "update-index", flag.replace("--", "--no-"), "file")


@pytest.mark.parametrize("name", ["file", "new", "s.txt"])
@pytest.mark.parametrize("where", ["part", "out"])
def test_other_repositories_inside(top: Path, tmp_path: Path, where: str, name: str) -> None:
    """What a submodule, or a repository that is none, has changed, new and ignored."""
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "--quiet", "-b", "main")
    commit(other, ".gitignore", "*.txt")
    commit(other, "file", "one")
    if where == "part":
        allowed = ("-c", "protocol.file.allow=always")
        git(top, *allowed, "submodule", "--quiet", "add", str(other), "part")
        git(top, "commit", "--quiet", "-m", "with a part")
    else:
        git(top, "clone", "--quiet", str(other), str(top / "out"))
    write(top / where / name, "two")
    before = tree_key(top, ())
    write(top / where / name, "three")
    assert tree_key(top, ()) != before


def test_distributions(tmp_path: Path) -> None:
    """Another version, and the same one when it is built again; environments are always new."""
    (tmp_path / "a-1.dist-info").mkdir()
    (tmp_path / "a").mkdir()
    folders = [tmp_path, tmp_path / "none"]
    keys = {distributions_key(folders)}
    versions = versions_key(folders)
    os.utime(tmp_path / "a-1.dist-info", ns=(1, 1))
    keys.add(distributions_key(folders))
    assert versions_key(folders) == versions
    (tmp_path / "a-1.dist-info").rename(tmp_path / "a-2.dist-info")
    keys.add(distributions_key(folders))
    assert len(keys) == 3
    assert versions_key(folders) != versions


@pytest.mark.parametrize(
    ("variables", "same"),
    [
        ({"GITHUB_RUN_ID": "2", "SSH_TTY": "2", "PYTEST_CURRENT_TEST": "t", "_": "p"}, True),
        ({"KERAS_BACKEND": "jax"}, False),
        ({"PYTEST_ADDOPTS": "--size=3"}, False),
        ({"OUR_BATCH": "64"}, False),
    ],
)
def test_variables(variables: dict[str, str], *, same: bool) -> None:
    """All may be read by a test, but those of a terminal or a run of CI."""
    assert (variables_key({"A": "1", **variables}) == variables_key({"A": "1"})) is same


@pytest.mark.parametrize(
    ("options", "same"),
    [
        (["-vv", "-k", "fast", "-m", "slow", "--tb=short", "-x", "--durations", "3"], True),
        (["--dlperf-budget-time=12s", "--dlperf-seed", "2", "--junitxml=a.xml", "-kfast"], True),
        (["--size=3"], False),
        (["-o", "log_level=DEBUG"], False),
        (["--dlperf-clients=4"], False),
    ],
)
def test_options(options: list[str], *, same: bool) -> None:
    """Those that select or report do not change what is measured."""
    assert (options_key([*options, "-p", "dlperf"]) == options_key(["-p", "dlperf"])) is same
