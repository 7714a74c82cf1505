"""A small process that cleans up after a duel, however the duel ends.

It runs this very file as a script, with only the standard library, in a session of its own. It
reads lines of JSON that say what to remove: `["group", pid]`, `["forget", pid]`,
`["marked", variable]`, `["tree", repository, path]`, `["folder", path]`. It removes all that at
`["end"]`, at the end of its input, or when the process that started it ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from typing import IO, Self

GROUP_SECONDS: Final = 10.0
"""How long to wait for killed processes; the kernel may be slow to free their memory."""

_CLOSE_SECONDS: Final = 60.0
_GATE: Final = 'read -r go && exec "$@"'
_SHOWN_LINES: Final = 20


class ChildProcess(Protocol):
    """A child of this process, as `subprocess.Popen`."""

    @property
    def pid(self) -> int:
        """Its number, and that of its process group."""
        ...

    @property
    def returncode(self) -> int | None:
        """How it ended; None until it was waited for."""
        ...

    def wait(self) -> int:
        """Wait for its end, and reap it."""
        ...


class CleanupRegister:
    """What to remove at the end: process groups, daemons, worktrees and folders."""

    def __init__(self) -> None:
        self._groups: dict[int, str] = {}
        self._marks: set[bytes] = set()
        self._trees: dict[str, str] = {}
        self._folders: dict[str, None] = {}

    def note(self, word: str, *arguments: str) -> None:
        """Register what one line (see the module) names.

        Raises:
            ValueError: if the line is invalid.
        """
        match (word, *arguments):
            case ("group", number):
                self._groups[int(number)] = _started(int(number))
            case ("forget", number):
                self._groups.pop(int(number), None)
            case ("marked", variable):
                self._marks.add(variable.encode())
            case ("tree", repository, path):
                self._trees[path] = repository
            case ("folder", path):
                self._folders[path] = None
            case _:
                raise ValueError(f"{word} {arguments}: not a line of a cleanup register")

    def clean_up(self) -> None:
        """Remove all of it; ignores what no longer exists."""
        self._kill()
        for path, repository in self._trees.items():
            remove_worktree(repository, path)
        for path in self._folders:
            _remove(path)

    def _kill(self) -> None:
        ours = {number for number, start in self._groups.items() if _started(number) in {start, ""}}
        end = time.monotonic() + GROUP_SECONDS
        while time.monotonic() < end:
            for number in ours:
                signal_group(number, signal.SIGKILL)
            # After the groups, which may have been about to start others.
            daemons = _marked(self._marks)
            for number in daemons:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(number, signal.SIGKILL)
            ours &= _living_groups()
            if not (ours or daemons):
                return
            time.sleep(0.005)


def signal_group(number: int, which: signal.Signals) -> None:
    """Signal a process group; ignore it if it no longer exists."""
    try:
        os.killpg(number, which)
    except (ProcessLookupError, PermissionError):
        return


def remove_worktree(repository: str, path: str) -> None:
    """Remove a worktree, whole, half made or half removed, and no other.

    `git worktree remove --force` refuses a half-made worktree, and `git worktree prune` also
    removes worktrees that are away for the moment.

    Args:
        repository: the folder that holds `.git`, or the repository's own folder.
        path: of the worktree.
    """
    records = common_folder(Path(repository)) / "worktrees"
    ours = [record for record in _entries(records) if _is_record_of(record, Path(path))]
    _remove(path)
    for record in ours:
        _remove(str(record))
    if ours and not _entries(records):
        with contextlib.suppress(OSError):  # another worktree may have been added just now
            records.rmdir()


def common_folder(repository: Path) -> Path:
    """The repository's own folder, also where `repository` is itself a worktree or a submodule."""
    folder = repository / ".git"
    if not folder.exists():  # it is that folder itself: that of a submodule without a working tree
        folder = repository
    if folder.is_file():
        folder = repository / _read(folder).removeprefix("gitdir: ")
    return folder / _read(folder / "commondir")


def _is_record_of(record: Path, path: Path) -> bool:
    target = _read(record / "gitdir")
    if not target:  # git ended between making the record and writing into it
        return record.name == path.name
    return (record / target).parent.resolve() == path.resolve()


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _read(path: Path) -> str:
    try:
        return os.fsdecode(path.read_bytes()).rstrip("\n")
    except OSError:
        return ""


def _remove(path: str) -> None:
    import shutil  # here, since importing it takes as long as all the rest

    shutil.rmtree(path, ignore_errors=True)
    if Path(path).is_dir() and not Path(path).is_symlink():
        with contextlib.suppress(OSError):
            for folder, _, _ in os.walk(path):  # some are read-only, as caches are
                Path(folder).chmod(0o700)
        shutil.rmtree(path, ignore_errors=True)


def _stat(number: int | str) -> list[str]:
    """Fields of a process from its state on; empty if it is gone."""
    return _read(Path(f"/proc/{number}/stat")).rpartition(")")[2].split()


def _started(number: int) -> str:
    """When a process started: tells it from a later one with the same number."""
    fields = _stat(number)
    return fields[19] if fields else ""


def _living_groups() -> set[int]:
    """Groups of all processes that are not zombies."""
    stats = [_stat(entry.name) for entry in _entries(Path("/proc")) if entry.name.isdigit()]
    return {int(fields[2]) for fields in stats if fields and fields[0] not in "ZX"}


def _marked(marks: Collection[bytes]) -> list[int]:
    """Processes other than this one that have one of these environment variables."""
    return [
        int(entry.name)
        for entry in (_entries(Path("/proc")) if marks else ())
        if entry.name.isdigit()
        and int(entry.name) != os.getpid()
        and any(each in marks for each in os.fsencode(_read(entry / "environ")).split(b"\0"))
    ]


class CleanupProcess:
    """Starts the cleanup process, and registers what it is to remove; a context manager.

    If the cleanup process is itself killed, this process cleans up on closing. If this process is
    killed, the cleanup process sees the end of its input, or of this process if a fork of it holds
    the input open.
    """

    def __init__(self) -> None:
        self._registered = CleanupRegister()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Start the cleanup process."""
        import subprocess

        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter
            [sys.executable, "-I", "-S", __file__, str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            cwd="/",  # so that it keeps no folder from being removed
            start_new_session=True,  # so that Ctrl-C does not reach it
        )
        return self

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """Of the cleanup process; None unless it runs."""
        return None if self._process is None else self._process.pid

    def group(self, number: int) -> None:
        """Kill this process group at the end. Its leader must not have been waited for yet."""
        self._register("group", str(number))

    def forget(self, number: int) -> None:
        """Do not kill this process group: it has ended, and its number may be used again."""
        self._register("forget", str(number))

    def marked(self, name: str, value: str) -> None:
        """Kill all processes that have this environment variable at the end.

        Among them are those that have left the group of the process that has started them.
        """
        self._register("marked", f"{name}={value}")

    def tree(self, repository: Path, path: Path) -> None:
        """Remove this worktree at the end. To be called before it is made."""
        self._register("tree", str(repository), str(path))

    def folder(self, path: Path) -> None:
        """Remove this folder at the end. To be called before it is made."""
        self._register("folder", str(path))

    def run(
        self,
        command: Sequence[str],
        *,
        folder: Path,
        environment: Mapping[str, str],
        seconds: float,
    ) -> tuple[int | None, list[str]]:
        """Run a program, and kill it after a time limit; it does not outlive this process.

        Returns:
            Its exit code, negative for a signal and None if it took longer than `seconds`; and the
            last lines that it wrote.
        """
        import subprocess
        import tempfile

        from pytest_dlperf._processes import exit_code, last_lines

        with tempfile.TemporaryFile() as log:
            # The shell waits until the cleanup process knows of it, and does nothing if this
            # process is killed before: the program never runs without being registered.
            process = subprocess.Popen(  # noqa: S603 - what the caller asked for
                ["/bin/sh", "-c", _GATE, "sh", *command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                bufsize=0,
                cwd=folder,
                env=environment,
                start_new_session=True,
            )
            try:
                self.group(process.pid)
                _write(process.stdin, b"go\n")
                code = exit_code(process.pid, seconds)
            finally:
                self.end(process)
                if process.stdin is not None:
                    process.stdin.close()
            return code, last_lines(log.fileno(), _SHOWN_LINES)

    def end(self, process: ChildProcess) -> None:
        """Kill a process and its group, reap it, and forget the group."""
        if process.returncode is None:
            # Until its leader is reaped, no other group can have this number.
            signal_group(process.pid, signal.SIGKILL)
        process.wait()
        self.forget(process.pid)

    def close(self) -> None:
        """Clean up. The second time there is nothing to do."""
        process, self._process = self._process, None
        if process is not None and process.stdin is not None:
            # Closing is not enough, since a fork of this process may hold the pipe open.
            _write(process.stdin, b'["end"]\n')
            process.stdin.close()
            if _ended_well(process):
                return
            process.kill()
            process.wait()
        self._registered.clean_up()

    def _register(self, *line: str) -> None:
        with self._lock:
            self._registered.note(*line)
            if self._process is not None:
                _write(self._process.stdin, json.dumps(line).encode() + b"\n")


def _write(pipe: IO[bytes] | None, line: bytes) -> None:
    if pipe is None:
        return
    try:
        pipe.write(line)
    except BrokenPipeError:
        return  # its process is dead, which shows when it is waited for


def _ended_well(process: subprocess.Popen[bytes]) -> bool:
    import subprocess

    try:
        return process.wait(_CLOSE_SECONDS) == 0
    except subprocess.TimeoutExpired:
        return False


def _lines(parent: int) -> Iterator[list[str]]:
    """Lines of the standard input, until its end or the parent's."""
    watched = [0]
    with contextlib.suppress(OSError):  # it is gone, or the kernel is too old to tell
        # A fork of the parent would hold the input open when the parent is gone.
        watched.append(os.pidfd_open(parent))
    # If it ended before this process could open it, read only what has been written already.
    timeout = None if os.getppid() == parent else 0
    rest = b""
    while True:
        ready, _, _ = select.select(watched, [], [], timeout)
        data = os.read(0, 65536) if 0 in ready else b""
        if not data:
            return
        *lines, rest = (rest + data).split(b"\n")
        yield from map(json.loads, lines)


def main() -> None:
    """Run the cleanup process, whose argument is the number of its parent."""
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    register = CleanupRegister()
    for line in _lines(int(sys.argv[1])):
        if line == ["end"]:
            break
        register.note(*line)
    register.clean_up()


if __name__ == "__main__":
    main()
