"""The base's tree: submodules and files brought along, and what an error at the base may lack."""

from __future__ import annotations

import os
import shutil
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from git_repositories import git

from pytest_dlperf.duel import carried_files
from pytest_dlperf.duel.carried_files import copy_carried, find_carried
from pytest_dlperf.duel.cleanup_process import CleanupProcess
from pytest_dlperf.duel.missing_files import MissingFiles, lfs_pointers
from pytest_dlperf.duel.submodules import EmptySubmodule, add_submodules
from pytest_dlperf.duel.worktree import add_worktree, python_files, repository
from pytest_dlperf.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pytest_dlperf.duel.worktree import Repository

pytestmark = pytest.mark.usefixtures("git_of_nobody")

CLONE = ("-c", "protocol.file.allow=always")


def write(path: Path, text: str = "") -> Path:
    """Write a file, and the folders that it is in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def commit(folder: Path, *submodules: Path) -> str:
    """Commit all of a folder, a repository from then on, with these as submodules."""
    if not (folder / ".git").exists():
        git(folder, "init", "--quiet", "-b", "main")
    for each in submodules:
        git(folder, *CLONE, "submodule", "--quiet", "add", str(each), each.name)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "-m", "one more")
    return git(folder, "rev-parse", "HEAD").strip()


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """A repository: tracked, ignored and new files, and `outer`, a submodule with `inner`."""
    write(tmp_path / "inner" / "deep.py", "deep")
    commit(tmp_path / "inner")
    write(tmp_path / "outer" / "flat.py", "flat")
    commit(tmp_path / "outer", tmp_path / "inner")
    top = tmp_path / "repo"
    write(top / ".gitignore", "*.npy\ngenerated/\nbuilt.py\n.venv\n*.so\n")
    write(top / "service" / "test_it.py")
    commit(top, tmp_path / "outer")
    git(top, *CLONE, "submodule", "--quiet", "update", "--init", "--recursive")
    write(top / "service" / "data" / "rows.npy", "rows")
    write(top / "service" / "data" / "more.npy", "more rows")
    write(top / "generated" / "one.txt")
    write(top / "service" / "lib" / "built.py")
    write(top / "service" / "lib" / "fast.cpython-311.so")
    write(top / ".venv" / "pyvenv.cfg")
    write(top / "notes.txt")
    write(top / "service" / "new_module.py")
    return top


@pytest.fixture
def cleanup() -> Iterator[CleanupProcess]:
    """What removes the trees."""
    with CleanupProcess() as process:
        yield process


def tree_of(top: Path, cleanup: CleanupProcess, name: str = "tree") -> Repository:
    """The worktree of the last commit."""
    repo = repository(top)
    head = git(top, "rev-parse", "HEAD").strip()
    return add_worktree(repo, head, top.parent / name, cleanup)


def records(top: Path) -> set[str]:
    """All of a repository's own files, also of its submodules, but no logs."""
    return {str(path.relative_to(top)) for path in (top / ".git").rglob("*")}


@pytest.mark.parametrize("working", [True, False])
def test_submodules(top: Path, working: bool) -> None:  # noqa: FBT001 - a parameter
    """They are checked out, and leave nothing; also those that the working tree has not."""
    before = records(top)
    configuration = (top / ".git" / "config").read_text()
    with CleanupProcess() as cleanup:
        tree = tree_of(top, cleanup)
        if not working:
            shutil.rmtree(top / "outer")

        empty = add_submodules(top, tree.top, cleanup)

        assert empty == ()
        assert (tree.top / "outer" / "flat.py").read_text() == "flat"
        assert (tree.top / "outer" / "inner" / "deep.py").read_text() == "deep"
        assert set(python_files(tree)) >= {"outer/flat.py", "outer/inner/deep.py"}
        assert git(tree.top, "status", "--porcelain") == ""
    assert records(top) == before
    assert (top / ".git" / "config").read_text() == configuration
    assert not tree.top.exists()


def test_submodules_that_are_not_here(top: Path, cleanup: CleanupProcess) -> None:
    """A commit and a whole clone that are missing: each says how to get it."""
    missing = "12" * 20
    git(top, "update-index", "--cacheinfo", f"160000,{missing},outer")
    git(top, "commit", "--quiet", "-m", "not here")
    lacking = add_submodules(top, tree_of(top, cleanup).top, cleanup)
    shutil.rmtree(top / "outer")
    shutil.rmtree(top / ".git" / "modules")
    gone = add_submodules(top, tree_of(top, cleanup, "other").top, cleanup)

    command = f"git -C {top}/outer fetch origin {missing}"
    assert lacking == (
        EmptySubmodule("outer", f"its commit {missing[:12]} is not in this clone: {command}"),
    )
    assert [one.path for one in gone] == ["outer"]
    assert "git submodule update --init --recursive" in gone[0].reason


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        (["data"], ["service/data/more.npy", "service/data/rows.npy"]),
        (["data/rows.npy"], ["service/data/rows.npy"]),
        (["data/*.npy"], ["service/data/more.npy", "service/data/rows.npy"]),
        (["**/*.so", "../notes.txt"], ["notes.txt", "service/lib/fast.cpython-311.so"]),
        (["../outer/inner"], ["outer/inner/own.npy"]),
        (["../nested"], ["nested/.git/HEAD", "nested/file"]),
        (["link"], ["service/link"]),
    ],
)
def test_what_is_carried(top: Path, wanted: list[str], names: list[str]) -> None:
    """Files, folders and patterns, in submodules and other repositories; relative to the root."""
    write(top / "outer" / "inner" / "own.npy")
    write(top / "nested" / "file")
    git(top / "nested", "init", "--quiet")
    (top / "service" / "link").symlink_to(top.parent / "inner", target_is_directory=True)

    carried = find_carried(repository(top), top / "service", wanted)

    found = [name for name in carried.names if "/.git/" not in name or name.endswith("/.git/HEAD")]
    assert found == names


def test_copies_and_links(top: Path, cleanup: CleanupProcess) -> None:
    """A link leads to the base's own copy, or to the same place outside of the repository."""
    data = top / "service" / "data"
    outside = write(top.parent / "outside")
    (data / "beside.npy").symlink_to("rows.npy")
    (data / "absolute.npy").symlink_to(data / "rows.npy")
    (data / "outside.npy").symlink_to("../../../outside")
    repo, tree = repository(top), tree_of(top, cleanup)

    copy_carried(repo, tree, find_carried(repo, top, ["service/data"]))

    copied = tree.top / "service" / "data"
    assert (copied / "rows.npy").read_text() == "rows"
    assert (copied / "beside.npy").resolve() == (copied / "rows.npy").resolve()
    assert (copied / "absolute.npy").resolve() == (copied / "rows.npy").resolve()
    assert (copied / "outside.npy").resolve() == outside
    (copied / "rows.npy").write_text("changed by the base")
    assert (data / "rows.npy").read_text() == "rows"


def test_other_content_has_another_key(top: Path) -> None:
    """What duels have shown holds for the same files only."""
    repo, rows = repository(top), top / "service" / "data" / "rows.npy"
    before = find_carried(repo, top, ["service/data"]).key
    assert find_carried(repo, top, ["service/data"]).key == before
    assert find_carried(repo, top, ["service/data/rows.npy"]).key != before
    os.utime(rows, ns=(1, 1))
    assert find_carried(repo, top, ["service/data"]).key != before


def linked(top: Path) -> str:
    """A folder below a symbolic link."""
    (top / "link").symlink_to(top / "service")
    return "link/data"


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        (lambda _: "nowhere", "there is no .*nowhere"),
        (lambda _: "*.none", r"there is no .*\*\.none"),
        (lambda _: "service/test_it.py", "git tracks it, so the base has its own"),
        (lambda _: "../outside", "there is no|outside of the repository"),
        (lambda _: "/etc/hostname", "outside of the repository"),
        (lambda _: ".", "that is the repository itself"),
        (lambda _: ".git/config", "that is the repository itself"),
        (linked, "link is a symbolic link\n.*--dlperf-against-carry=link"),
    ],
)
def test_what_is_refused(top: Path, path: Callable[[Path], str], problem: str) -> None:
    """In words that name the option."""
    with pytest.raises(UsageError, match=f"^--dlperf-against-carry=.*{problem}"):
        find_carried(repository(top), top, [path(top)])


def test_no_room(top: Path, cleanup: CleanupProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said before anything is copied."""
    usage = SimpleNamespace(disk_usage=lambda _: SimpleNamespace(free=3))
    monkeypatch.setattr(carried_files, "shutil", usage)
    repo, tree = repository(top), tree_of(top, cleanup)
    with pytest.raises(UsageError, match=r"0.0 GB do not fit into .*\n.*TMPDIR"):
        copy_carried(repo, tree, find_carried(repo, top, ["service/data"]))
    assert not (tree.top / "service" / "data").exists()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            "FileNotFoundError: 'data/rows.npy'",
            (
                "data/rows.npy is ignored by git, so the base's tree lacks it\n"
                "bring it along: --dlperf-against-carry=data"
            ),
        ),
        (
            "FileNotFoundError: '{tree}/service/data/rows.npy'",
            (
                "data/rows.npy is ignored by git, so the base's tree lacks it\n"
                "bring it along: --dlperf-against-carry=data"
            ),
        ),
        (
            "FileNotFoundError: '../notes.txt'",
            (
                "../notes.txt is not tracked by git, so the base's tree lacks it\n"
                "bring it along: --dlperf-against-carry=../notes.txt"
            ),
        ),
        (
            "ModuleNotFoundError: No module named 'lib.built'",
            (
                "lib/built.py is ignored by git, so the base's tree lacks it\n"
                "it is made by a build: build each side: "
                '--dlperf-against-install="pip install -e ."; or bring it along: '
                "--dlperf-against-carry=lib/built.py"
            ),
        ),
        (
            "ImportError: cannot import name 'fast' from 'lib' (unknown location)",
            (
                "lib/fast.cpython-311.so is ignored by git, so the base's tree lacks it\n"
                "it is made by a build: build each side: "
                '--dlperf-against-install="pip install -e ."; or bring it along: '
                "--dlperf-against-carry=lib/fast.cpython-311.so"
            ),
        ),
        (
            "RuntimeError: run make data",
            (
                "git does not track ../generated/, ../notes.txt, data/, ...: the base's tree lacks "
                "that; if the test needs it, bring it along: --dlperf-against-carry=../generated/"
            ),
        ),
    ],
)
def test_what_an_error_lacks(top: Path, cleanup: CleanupProcess, error: str, expected: str) -> None:
    """Files that the candidate has and the base lacks, from pytest's root folder."""
    tree = tree_of(top, cleanup)
    missing = MissingFiles(repository(top), tree, top / "service")

    said = missing.explain(error.format(tree=tree.top), "test_it.py::test_it")

    assert said == expected


def test_an_empty_submodule_is_named(top: Path, cleanup: CleanupProcess) -> None:
    """Where an error names a file in it, and where it names nothing."""
    empty = EmptySubmodule("outer", "its commit is not here")
    missing = MissingFiles(repository(top), tree_of(top, cleanup), top, (empty,))

    for error in ("No such file: 'outer/flat.py'", "RuntimeError: it is wrong"):
        assert missing.explain(error, "test_it.py::test_it").startswith(
            "submodule outer is empty there: its commit is not here"
        )
    assert missing.submodule_of("outer/tests/test_a.py") == empty
    assert missing.submodule_of("outer2/test_a.py") is None


def test_nothing_is_lacking(tmp_path: Path, cleanup: CleanupProcess) -> None:
    """Caches, environments, new modules and what the base has are not named."""
    top = tmp_path / "repo"
    write(top / ".gitignore", "__pycache__\n.venv\n")
    write(top / "file.txt")
    commit(top)
    for name in ("__pycache__/a.pyc", ".venv/pyvenv.cfg", ".pytest_cache/v", "new.py", "a.log"):
        write(top / name)
    missing = MissingFiles(repository(top), tree_of(top, cleanup), top)

    assert missing.lacks == ""
    assert missing.explain("OSError: 'file.txt' and '.pytest_cache' and 'gone'", "t::t") == ""
    assert missing.explain(f"OSError: '{'long' * 999}'", "t::t") == ""


POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'ab' * 32}\nsize 9\n"


def test_pointers(tmp_path: Path, cleanup: CleanupProcess) -> None:
    """Only those whose content the candidate has."""
    top = tmp_path / "repo"
    for name in ("real.bin", "same.bin", "gone.bin"):
        write(top / name, POINTER)
    write(top / "about.md", f"{POINTER}{'a long text about it' * 60}")
    commit(top)
    write(top / "real.bin", "content")
    (top / "gone.bin").unlink()
    repo, tree = repository(top), tree_of(top, cleanup)

    assert lfs_pointers(repo, tree, cleanup) == ("real.bin",)
    write(top / "same.bin", "content")
    assert set(lfs_pointers(repo, tree, cleanup)) == {"gone.bin", "real.bin", "same.bin"}
