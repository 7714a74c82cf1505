"""A worktree of another commit, beside a repository that stays as it is."""

from __future__ import annotations

from pathlib import Path

import git_repositories
import pytest

from pytest_dlperf.duel.cleanup_process import CleanupProcess
from pytest_dlperf.duel.evidence_key import content_key
from pytest_dlperf.duel.worktree import (
    Repository,
    add_worktree,
    rebase,
    repository,
    resolve,
    without_git,
)
from pytest_dlperf.errors import UsageError

pytestmark = pytest.mark.usefixtures("git_of_nobody")


def git(folder: Path, *arguments: str) -> str:
    """What git says, without the line's end."""
    return git_repositories.git(folder, *arguments).strip()


def commit(folder: Path, **files: str) -> str:
    """Write files, commit all, and return the commit's hash."""
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "-m", "one more")
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """A repository with two commits: `file` is one, then two; `sub/` is in both."""
    folder = tmp_path / "repo"
    folder.mkdir()
    git(folder, "init", "--quiet", "-b", "main")
    commit(folder, file="one", sub__test="one")
    commit(folder, file="two")
    return folder


def everything(top: Path) -> tuple[dict[str, bytes], str, str]:
    """All of a repository's own files, its status and its worktrees."""
    own = (path for path in sorted((top / ".git").rglob("*")) if path.is_file())
    return (
        {str(path): path.read_bytes() for path in own},
        git(top, "status", "--porcelain"),
        git(top, "worktree", "list"),
    )


def test_the_repository_stays_as_it_is(top: Path, tmp_path: Path) -> None:
    """Index, stash, branches, HEAD, reflogs, status and worktrees are as before, to the byte."""
    (top / "file").write_text("stashed")
    git(top, "stash")
    (top / "file").write_text("staged")
    git(top, "add", ".")
    (top / "file").write_text("changed")
    (top / "new").write_text("new")
    hook = top / ".git" / "hooks" / "post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch '{tmp_path}/hooked'\n")
    hook.chmod(0o755)
    before = everything(top)

    with CleanupProcess() as cleanup:
        repo = repository(top)
        content_key(repo.top)
        tree = add_worktree(repo, resolve(repo, "HEAD~1"), tmp_path / "tree", cleanup)
        assert (tree.root / "file").read_text() == "one"
        (tree.root / "file").write_text("changed too")
        assert git(top, "worktree", "list").count("\n") == 1

    assert everything(top) == before
    assert not (tmp_path / "tree").exists()
    assert not (tmp_path / "hooked").exists()


def test_in_a_hook_of_git(top: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables that git sets for its hooks do not lead the worktree astray."""
    index = top / ".git" / "index"
    before = index.read_bytes()
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(index))
    monkeypatch.setenv("GIT_WORK_TREE", str(tmp_path))
    repo = repository(top)
    with CleanupProcess() as cleanup:
        tree = add_worktree(repo, resolve(repo, "HEAD~1"), tmp_path / "tree", cleanup)
        assert (tree.root / "file").read_text() == "one"
    assert index.read_bytes() == before
    assert without_git({"GIT_DIR": "a", "PATH": "b"}) == {"PATH": "b"}


def test_the_place_of_the_root(top: Path, tmp_path: Path) -> None:
    """The root folder may be below the top folder, and be reached through a link."""
    assert repository(top) == Repository(top, "", top)
    assert repository(top / "sub").root == top / "sub"
    link = tmp_path / "link"
    link.symlink_to(top)
    assert repository(link / "sub") == Repository(top, "sub", link)
    within = tmp_path / "within"
    within.symlink_to(top / "sub")
    assert repository(within) == Repository(top, "sub", top)


def test_the_root_in_the_worktree(top: Path, tmp_path: Path) -> None:
    """The worktree is used from the same folder as the repository, if that is there."""
    first = resolve(repository(top), "HEAD")
    commit(top, late__test="late")
    with CleanupProcess() as cleanup:
        tree = add_worktree(repository(top / "sub"), first, tmp_path / "tree", cleanup)
        assert (tree.root / "test").read_text() == "one"
        with pytest.raises(UsageError, match="has no folder late"):
            add_worktree(repository(top / "late"), first, tmp_path / "other", cleanup)


def test_git_refuses(top: Path, tmp_path: Path) -> None:
    """What git says is in the error."""
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "full").touch()
    repo = repository(top)
    with (
        CleanupProcess() as cleanup,
        pytest.raises(UsageError, match=r"git says:\n.*already exists"),
    ):
        add_worktree(repo, resolve(repo, "HEAD"), tmp_path / "tree", cleanup)


def test_no_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside a repository, in a bare one and without git a duel is refused in words."""
    with pytest.raises(UsageError, match="not in the working tree of a git repository: not a git"):
        repository(tmp_path)
    git(tmp_path, "init", "--bare", "--quiet", "bare.git")
    with pytest.raises(UsageError, match="must be run in a work tree"):
        repository(tmp_path / "bare.git")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="git, which is not installed"):
        repository(tmp_path)


def test_what_names_a_commit(top: Path) -> None:
    """Branches, tags, short hashes and what git computes from them; `...` is the merge base."""
    repo = repository(top)
    base = git(top, "rev-parse", "main")
    git(top, "tag", "-a", "v1", "-m", "annotated")
    git(top, "checkout", "--quiet", "-b", "topic")
    topic = commit(top, file="topic")
    git(top, "checkout", "--quiet", "main")
    main = commit(top, file="main")

    assert resolve(repo, "topic") == topic
    assert resolve(repo, "v1") == resolve(repo, base[:10]) == resolve(repo, "HEAD~1") == base
    assert resolve(repo, "main...topic") == resolve(repo, "...topic") == base
    assert resolve(repo, "topic...") == base
    assert resolve(repo, "HEAD") == main


@pytest.mark.parametrize("ref", ["", "-h", "--all", "main...--all"])
def test_what_cannot_name_a_commit(top: Path, ref: str) -> None:
    """An option is not handed on to git."""
    with pytest.raises(UsageError, match=r"names no commit to compare with\n.*such as origin/main"):
        resolve(repository(top), ref)


@pytest.mark.parametrize("ref", ["nowhere", "main:file", "main..HEAD", "nowhere...main"])
def test_unknown_references(top: Path, ref: str) -> None:
    """A name that is none, a file, a range: the error says so and how to look."""
    with pytest.raises(UsageError, match=r"names no commit in .*\n.*git branch --all"):
        resolve(repository(top), ref)


def test_a_reference_that_only_the_server_has(top: Path, tmp_path: Path) -> None:
    """A remote's branch of that name is proposed; otherwise how to fetch it."""
    git(top, "branch", "topic")
    git(tmp_path, "clone", "--quiet", str(top), "clone")
    clone = repository(tmp_path / "clone")
    with pytest.raises(UsageError, match="there is origin/topic: compare with that"):
        resolve(clone, "topic")
    with pytest.raises(UsageError, match="git fetch origin nowhere"):
        resolve(clone, "nowhere")


def test_a_shallow_clone(top: Path, tmp_path: Path) -> None:
    """A CI checkout without history is told how to get it."""
    git(tmp_path, "clone", "--quiet", "--depth", "1", f"file://{top}", "clone")
    with pytest.raises(UsageError, match=r"shallow.*git fetch --unshallow.*fetch-depth: 0"):
        resolve(repository(tmp_path / "clone"), "HEAD~1")


def test_histories_that_never_met(top: Path) -> None:
    """Two branches without a common commit have no merge base."""
    git(top, "checkout", "--quiet", "--orphan", "other")
    commit(top)
    with pytest.raises(UsageError, match="have no commit in common"):
        resolve(repository(top), "main...other")


REPO = Repository(Path("/r/repo"), "", Path("/home/link"))


@pytest.mark.parametrize(
    ("argument", "moved"),
    [
        ("/r/repo", "/t"),
        ("/r/repo/", "/t/"),
        ("/r/repo/tests/x.py::t[a-1]", "/t/tests/x.py::t[a-1]"),
        ("--opt=/r/repo/a", "--opt=/t/a"),
        ("--opt=/r/repo", "--opt=/t"),
        ("-c/r/repo/pytest.ini", "-c/t/pytest.ini"),
        ("/r/repo/src:/else:/r/repo", "/t/src:/else:/t"),
        ("/home/link/a", "/t/a"),
        ("file:///r/repo/a", "file:///t/a"),
        ("a = '/r/repo/b', \"/r/repo\"", "a = '/t/b', \"/t\""),
    ],
)
def test_paths_in_the_repository_move(argument: str, moved: str) -> None:
    """They name the same place in the worktree; moving twice changes nothing more."""
    assert rebase(argument, REPO, Path("/t")) == moved
    assert rebase(moved, REPO, Path("/t")) == moved


@pytest.mark.parametrize(
    "argument",
    [
        *("", "-x", "tests/x.py", "r/repo", "/r", "/r/repo-other/a", "/r/repo2", "/r/repo.git"),
        *("/else/r/repo/a", "--opt=./r/repo", "/r/repo_", "../r/repo/a", "x/r/repo"),
    ],
)
def test_other_arguments_stay(argument: str) -> None:
    """A sibling, a part of another path and what is no path at all are left alone."""
    assert rebase(argument, REPO, Path("/t")) == argument


def test_paths_that_the_worktree_has_not(tmp_path: Path) -> None:
    """A path into a virtual environment of the repository stays; so does one in the worktree."""
    repo = Repository(tmp_path, "", tmp_path)
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "pyvenv.cfg").touch()
    for path in (f"{tmp_path}/.venv/bin/python", f"{tmp_path}/tree/a"):
        assert rebase(path, repo, tmp_path / "tree") == path


def test_no_commit_yet(tmp_path: Path) -> None:
    """A repository without a commit has nothing to compare, which git says."""
    git(tmp_path, "init", "--quiet")
    repo = repository(tmp_path)
    with pytest.raises(UsageError, match="names no commit"):
        resolve(repo, "HEAD")
    with pytest.raises(UsageError, match="git rev-parse fails"):
        content_key(repo.top)
