"""Whatever ends a duel, nothing of it is left."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from git_repositories import git
from isolation import TIMEOUT, wait_for

from pytest_dlperf.duel import cleanup_process
from pytest_dlperf.duel.cleanup_process import CleanupProcess, CleanupRegister, remove_worktree

if TYPE_CHECKING:
    from collections.abc import Iterator

WAIT = "import threading; threading.Event().wait()"
PARENT = f"""
import json, os, signal, subprocess, sys, threading
from pathlib import Path
from pytest_dlperf.duel.cleanup_process import CleanupProcess

signal.signal(signal.SIGINT, signal.SIG_IGN)
fork, *paths = sys.argv[1:]
repository, tree, folder = map(Path, paths)
cleanup = CleanupProcess().start()
cleanup.tree(repository, tree)
cleanup.folder(folder)
add = ["git", "-C", repository, "worktree", "add", "--quiet", "--detach", tree, "HEAD"]
subprocess.run(add, check=True)
(tree / "new").write_text("not in git")
folder.mkdir()
(folder / "full").write_text("not empty")
children = []
for _ in range(2):
    child = subprocess.Popen([sys.executable, "-c", {WAIT!r}], start_new_session=True)
    cleanup.group(child.pid)
    os.killpg(child.pid, signal.SIGSTOP)
    children.append(child.pid)
if fork == "forked" and os.fork() == 0:
    threading.Event().wait()
print(json.dumps([cleanup.pid, *children]), flush=True)
threading.Event().wait()
"""


pytestmark = pytest.mark.usefixtures("git_of_nobody")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with one commit."""
    folder = tmp_path / "a repository"
    folder.mkdir()
    git(folder, "init", "--quiet", "-b", "main")
    (folder / "file").write_text("content")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "first")
    return folder


@contextlib.contextmanager
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that leads a group and does nothing, stopped."""
    with subprocess.Popen(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", WAIT], start_new_session=True
    ) as process:
        os.killpg(process.pid, signal.SIGSTOP)
        try:
            yield process
        finally:
            process.kill()


class Parent:
    """A process that has a cleanup, two stopped children, a worktree and a folder."""

    def __init__(self, repository: Path, scratch: Path, fork: str = "") -> None:
        self.left = (scratch / "tree", scratch / "folder")
        self.repository = repository
        self.process = subprocess.Popen(  # noqa: S603 - our own interpreter
            [sys.executable, "-c", PARENT, fork, str(repository), *map(str, self.left)],
            stdout=subprocess.PIPE,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        assert self.process.stdout is not None
        self.cleanup, *children = json.loads(self.process.stdout.readline())
        self.cleanup_ends = os.pidfd_open(self.cleanup)
        self.children_end = [os.pidfd_open(child) for child in children]
        assert all(path.exists() for path in self.left)

    def kill(self) -> None:
        """Kill it and nothing else."""
        self.process.kill()
        self.process.wait(TIMEOUT)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def assert_nothing_is_left(self) -> None:
        """The cleanup process ends by itself, and with it everything that it was told to remove."""
        assert wait_for(self.cleanup_ends)
        assert all(wait_for(child) for child in self.children_end)
        assert not any(path.exists() for path in self.left)
        assert git(self.repository, "worktree", "list").count("\n") == 1
        assert not (self.repository / ".git" / "worktrees").exists()


def test_a_parent_that_is_killed_leaves_nothing(repository: Path, tmp_path: Path) -> None:
    """Its stopped children are killed and its worktree and folder removed."""
    parent = Parent(repository, tmp_path)
    parent.kill()
    parent.assert_nothing_is_left()


def test_a_fork_of_a_killed_parent_changes_nothing(repository: Path, tmp_path: Path) -> None:
    """All is removed though a fork lives on that holds the pipe to the cleanup open."""
    parent = Parent(repository, tmp_path, "forked")
    parent.kill()
    try:
        parent.assert_nothing_is_left()
    finally:
        os.killpg(parent.process.pid, signal.SIGKILL)


def test_signals_are_not_for_the_cleanup_process(repository: Path, tmp_path: Path) -> None:
    """It outlives Ctrl-C in its parent's terminal, and the signals of a CI runner."""
    parent = Parent(repository, tmp_path)
    end = time.monotonic() + TIMEOUT
    while not ignores(parent.cleanup, signal.SIGHUP) and time.monotonic() < end:
        time.sleep(0.001)
    os.killpg(parent.process.pid, signal.SIGINT)
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(parent.cleanup, each)

    parent.kill()
    parent.assert_nothing_is_left()


def ignores(number: int, which: signal.Signals) -> bool:
    """Whether a process ignores a signal."""
    status = Path(f"/proc/{number}/status").read_text()
    (mask,) = (line.split()[1] for line in status.splitlines() if line.startswith("SigIgn"))
    return bool(int(mask, 16) >> (which - 1) & 1)


@pytest.mark.parametrize("cleanup_dies", [False, True])
def test_closing_cleans_up(repository: Path, tmp_path: Path, *, cleanup_dies: bool) -> None:
    """Closing returns when all is gone, also if the cleanup's process was killed on the way."""
    tree, folder = tmp_path / "tree", tmp_path / "folder"
    with sleeper() as first, sleeper() as second:
        with CleanupProcess() as cleanup:
            cleanup.group(first.pid)
            if cleanup_dies:
                assert cleanup.pid is not None
                os.kill(cleanup.pid, signal.SIGKILL)
                assert wait_for(os.pidfd_open(cleanup.pid))
            cleanup.group(second.pid)
            cleanup.tree(repository, tree)
            git(repository, "worktree", "add", "--quiet", "--detach", str(tree))
            cleanup.folder(folder)
            folder.mkdir()
        assert first.wait(TIMEOUT) == second.wait(TIMEOUT) == -signal.SIGKILL
    assert not tree.exists()
    assert not folder.exists()
    assert not (repository / ".git" / "worktrees").exists()
    cleanup.close()


def test_what_is_forgotten_is_left_alone() -> None:
    """A group that has ended is not killed, since its number may be used again by then."""
    with sleeper() as process:
        with CleanupProcess() as cleanup:
            cleanup.group(process.pid)
            cleanup.forget(process.pid)
        assert process.poll() is None


@pytest.mark.parametrize("register_dies", [False, True])
def test_daemons_are_known_by_their_environment(*, register_dies: bool) -> None:
    """A server in a session of its own is killed after its group, and no one else's is."""
    daemons = [
        subprocess.Popen(  # noqa: S603 - our own interpreter
            [sys.executable, "-c", WAIT],
            start_new_session=True,
            env={**os.environ, "MARK": mark},
        )
        for mark in ("this", "this and more")
    ]
    with daemons[0] as ours, daemons[1] as other:
        with CleanupProcess() as cleanup:
            cleanup.marked("MARK", "this")
            if register_dies:
                assert cleanup.pid is not None
                os.kill(cleanup.pid, signal.SIGKILL)
                assert wait_for(os.pidfd_open(cleanup.pid))
        assert ours.wait(TIMEOUT) == -signal.SIGKILL
        assert other.poll() is None
        other.kill()


def test_a_number_that_is_now_another_processs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A group's leader that started at another time is not the one that was meant."""
    register = CleanupRegister()
    with sleeper() as process:
        with monkeypatch.context() as patch:
            patch.setattr(cleanup_process, "_started", lambda _: "long ago")
            register.note("group", str(process.pid))
        register.clean_up()
        assert process.poll() is None


def test_cleaning_up_twice(repository: Path, tmp_path: Path) -> None:
    """What is gone, or never came to be, does no harm."""
    register = CleanupRegister()
    register.note("tree", str(repository), str(tmp_path / "tree"))
    register.note("tree", str(tmp_path / "no repository"), str(tmp_path / "other"))
    register.note("folder", str(tmp_path / "folder"))
    with sleeper() as process:
        register.note("group", str(process.pid))
        register.clean_up()
        assert process.wait(TIMEOUT) == -signal.SIGKILL
    register.clean_up()


@pytest.mark.parametrize("line", [["group"], ["tree", "only one"], ["else", "1"], ["group", "x"]])
def test_lines_that_are_none(line: list[str]) -> None:
    """A line that is not understood is an error."""
    with pytest.raises(ValueError, match=r"not a line|invalid literal"):
        CleanupRegister().note(*line)


def test_other_worktrees_stay(repository: Path, tmp_path: Path) -> None:
    """Neither another worktree nor the record of one that is away is touched."""
    ours, theirs, away = (tmp_path / name for name in ("ours", "theirs", "away"))
    for path in (ours, theirs, away):
        git(repository, "worktree", "add", "--quiet", "--detach", str(path))
    away.rename(tmp_path / "elsewhere")

    remove_worktree(str(repository), str(ours))

    assert not ours.exists()
    assert {entry.name for entry in (repository / ".git" / "worktrees").iterdir()} == {
        "theirs",
        "away",
    }


@pytest.mark.parametrize("whole", [True, False])
def test_half_made_worktrees(repository: Path, tmp_path: Path, *, whole: bool) -> None:
    """A worktree that git was killed over is removed, though git calls it locked."""
    tree = tmp_path / "tree"
    git(repository, "worktree", "add", "--quiet", "--detach", str(tree))
    record = repository / ".git" / "worktrees" / "tree"
    (record / "locked").write_text("initializing")
    if not whole:
        (record / "gitdir").unlink()
        (tree / ".git").unlink()

    remove_worktree(str(repository), str(tree))

    assert not tree.exists()
    assert not (repository / ".git" / "worktrees").exists()


def test_a_worktree_of_a_worktree(repository: Path, tmp_path: Path) -> None:
    """The repository may itself be a worktree of another."""
    mine, tree = tmp_path / "mine", tmp_path / "tree"
    git(repository, "worktree", "add", "--quiet", "--detach", str(mine))
    git(mine, "worktree", "add", "--quiet", "--detach", str(tree))

    remove_worktree(str(mine), str(tree))

    assert not tree.exists()
    assert git(mine, "worktree", "list").count("\n") == 2


def test_folders_without_write_permission(tmp_path: Path) -> None:
    """A folder is removed though something in it is read-only."""
    folder = tmp_path / "folder"
    (folder / "locked").mkdir(parents=True)
    (folder / "locked" / "file").touch()
    (folder / "locked").chmod(0o500)
    register = CleanupRegister()
    register.note("folder", str(folder))
    register.clean_up()
    assert not folder.exists()


def test_running_a_program(tmp_path: Path) -> None:
    """Its exit code and the last that it wrote, on either stream."""
    command = ["/bin/sh", "-c", 'echo "$A"; pwd >&2; exit 3']
    with CleanupProcess() as cleanup:
        done = cleanup.run(command, folder=tmp_path, environment={"A": "a"}, seconds=TIMEOUT)
    assert done == (3, ["a", str(tmp_path)])


def test_a_program_that_takes_too_long(tmp_path: Path) -> None:
    """It is ended with all that it started."""
    command = ["/bin/sh", "-c", "sleep 1000 & echo $!; wait"]
    environment = dict(os.environ)
    with CleanupProcess() as cleanup:
        status, lines = cleanup.run(command, folder=tmp_path, environment=environment, seconds=0.3)
    assert status is None
    for line in lines:
        with contextlib.suppress(ProcessLookupError):  # ended, and reaped by whoever adopted it
            assert wait_for(os.pidfd_open(int(line)))


def test_a_program_never_runs_unknown_to_the_cleanup_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that dies before it has registered a program has not started it."""

    def die(_: CleanupProcess, __: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(CleanupProcess, "group", die)
    made = tmp_path / "made"
    with CleanupProcess() as cleanup, pytest.raises(KeyboardInterrupt):
        cleanup.run(
            ["touch", str(made)], folder=tmp_path, environment=dict(os.environ), seconds=TIMEOUT
        )
    assert not made.exists()
