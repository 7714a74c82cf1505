"""What has to be the same for a duel to repeat an earlier one, whose pairs then count on.

Whatever may change what is measured changes a key: better no evidence is continued than that of
other code. So files count by what they hold, or by their times where they are large; only what is
known to be a cache, or the output of a run, is left out.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_dlperf.duel.submodules import submodules_of
from pytest_dlperf.duel.worktree import checked_git, without_git
from pytest_dlperf.git import nul_entries

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from typing import IO

    from pytest_dlperf.duel.workspace import Workspace

_PIECE: Final = 1 << 20
_READ_BYTES: Final = 256 << 20  # of the new files of a working tree
_IGNORED_BYTES: Final = 64 << 20  # of the ignored files of a working tree
_SMALL: Final = 1 << 20  # of an ignored file that is read
_MOST_FILES: Final = 100_000

_OURS: Final = ":(exclude,glob)**/.dlperf/**"  # files that a run writes do not change the code
_CACHES: Final = frozenset(
    {
        *("__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".hypothesis", ".dlperf"),
        *(".tox", ".nox", ".eggs", "node_modules", ".git", ".idea", ".vscode", ".benchmarks"),
        *(".ipynb_checkpoints", ".DS_Store", "htmlcov", "coverage.xml", "coverage.json"),
    }
)
_CACHE_ENDS: Final = (".pyc", ".swp", "~")
_COVERAGE: Final = re.compile(r"\.coverage(\..+)?")
_SIGNS_OF_CACHES: Final = frozenset({"pyvenv.cfg", "conda-meta", "CACHEDIR.TAG"})
"""What environments and caches have in their top folder."""

_HIDDEN: Final = re.compile("[a-zS] ")
"""How `git ls-files -v` marks files whose changes git does not look for."""

_INSTALLED: Final = (".dist-info", ".egg-info", ".egg-link", ".pth")

_OF_SESSION: Final = re.compile(
    r"_|SHLVL|(OLD)?PWD|COLUMNS|LINES|TERM|WINDOWID|(WAYLAND_)?DISPLAY|XAUTHORITY|TMUX(_PANE)?|STY"
    r"|(TERM|VTE|SSH|XDG|DBUS|VSCODE|GNOME|KDE)_.*|COLORTERM|(NO|FORCE)_COLOR|LS_COLORS|PS1|LESS.*"
    r"|(GITHUB|RUNNER|ACTIONS|CI|GITLAB|BUILDKITE|CIRCLE|TRAVIS|JENKINS|HUDSON)_.*"
    r"|BUILD_(ID|NUMBER|URL|TAG|DISPLAY_NAME)|JOB_(NAME|URL)|GIT_.*|INVOCATION_ID|JOURNAL_STREAM"
    r"|PYTEST_(CURRENT_TEST|VERSION|XDIST_.*)|DLPERF_.*"
)
"""Variables that tell one terminal or one run of CI from another."""

_OF_REPORTS: Final = re.compile(
    r"-[vqsxl]+|-[kmr].+|--(verbose|quiet|exitfirst|no-header|no-summary|showlocals|last-failed|lf"
    r"|failed-first|ff|new-first|nf|stepwise|sw|stepwise-skip|sw-skip|pdb|trace)"
)
_OF_REPORTS_WITH_VALUE: Final = re.compile(
    r"-[kmrW]|--(tb|durations(-min)?|maxfail|color|verbosity|capture|show-capture|deselect|ignore"
    r"|ignore-glob|junit-?xml|log-file|report-log|html|csv|pdbcls|last-failed-no-failures|lfnf"
    r"|dlperf-(seed|budget-time|against|history|json|metrics|inconclusive|missing|base-broken))"
)


def repetition_key(
    workspace: Workspace, variables: Mapping[str, str], written: Collection[Path]
) -> tuple[str, ...] | None:
    """What all duels have in common that repeat this one.

    Args:
        workspace: of this one, whose sides are ready to be started.
        variables: the environment.
        written: files and folders that runs write.

    Returns:
        None if there are too many files to tell.

    Raises:
        UsageError: if git refuses, in git's words.
    """
    tree = tree_key(workspace.repo.top, written)
    if tree is None:
        return None
    top, request = workspace.repo.top, workspace.request
    ours = [Path(entry) for entry in sys.path if not Path(entry).is_relative_to(top)]
    others = {spec.python for spec in workspace.specs.values()} - {sys.executable}
    theirs = [
        folder
        for python in sorted(others)
        for folder in sorted(Path(python).parent.parent.glob("lib*/python*/site-packages"))
    ]
    return (
        workspace.commit,
        tree,
        workspace.carried.key,
        distributions_key(ours),
        # Environments of an installation are made anew for each run.
        versions_key(theirs) if request.install else distributions_key(theirs),
        variables_key(without_git(variables)),
        options_key(request.options),
        *(submodule.path for submodule in workspace.missing.submodules),
    )


def content_key(top: Path, written: Collection[Path] = ()) -> str:
    """A hash of a working tree's content: committed, changed and new files.

    Files that git ignores do not count, nor do caches. Of new files the first 256 MiB are read;
    beyond that, sizes and times stand for them. Nothing is written, not even the index.

    Args:
        top: the top folder.
        written: new files that do not count.

    Raises:
        UsageError: if git refuses, in git's words.
    """
    key = hashlib.sha256()
    key.update(checked_git(top, "rev-parse", "HEAD^{tree}").encode())
    plain = ("--binary", "--full-index", "--no-renames", "--no-ext-diff", "--no-textconv")
    with tempfile.TemporaryFile() as changes:
        checked_git(top, "diff", "HEAD", "--no-color", *plain, "--", ".", _OURS, into=changes)
        changes.seek(0)
        _feed(key, changes)
    listed = checked_git(top, "ls-files", "--others", "--exclude-standard", "-z", "--", ".", _OURS)
    known = nul_entries(checked_git(top, "ls-files", "-v", "-z", "--", ".", _OURS))
    hidden = (entry[2:] for entry in known if _HIDDEN.match(entry))
    left = _READ_BYTES
    for name in sorted((*nul_entries(listed), *hidden)):
        if top / name not in written and not any(map(_is_cache, Path(name).parts)):
            left -= _feed_file(key, name, top / name, left)
    return key.hexdigest()


def ignored_key(top: Path, written: Collection[Path] = ()) -> str | None:
    """A hash of the files of a working tree that git ignores, and of repositories that it holds.

    Files of up to 1 MiB are read, 64 MiB in all; sizes, times and inodes stand for the others.
    Symbolic links are followed. Caches and environments do not count.

    Args:
        top: the top folder.
        written: files and folders that do not count.

    Returns:
        None if there are more than 100,000.

    Raises:
        UsageError: if git refuses, in git's words.
    """
    command = ("ls-files", "--others", "--exclude-standard", "-z")
    ignored = nul_entries(checked_git(top, *command, "--ignored", "--directory"))
    new = nul_entries(checked_git(top, *command))
    names = sorted({*ignored, *(name for name in new if name.endswith("/"))})
    key, left, seen = hashlib.sha256(), _IGNORED_BYTES, set[tuple[int, int]]()
    found = (file for name in names for file in _counting(top / name, written, seen))
    for number, file in enumerate(found):
        if number == _MOST_FILES:
            return None
        left -= _feed_file(key, str(file.relative_to(top)), file, min(left, _SMALL))
    return key.hexdigest()


def _counting(path: Path, written: Collection[Path], seen: set[tuple[int, int]]) -> Iterator[Path]:
    """The files below a path, or itself, that are no caches; each folder once."""
    if _is_cache(path.name) or path in written:
        return
    if not path.is_dir():
        yield path
        return
    for parent, folders, files in os.walk(path, followlinks=True):
        folder = Path(parent)
        place = _place(folder)
        if place in seen or folder in written or _SIGNS_OF_CACHES & {*folders, *files}:
            folders.clear()
            continue
        seen.add(place)
        folders[:] = sorted(name for name in folders if not _is_cache(name))
        for name in sorted(files):
            if not _is_cache(name) and folder / name not in written:
                yield folder / name


def _place(folder: Path) -> tuple[int, int]:
    try:
        status = folder.stat()
    except OSError:  # it has gone since it was listed
        return 0, 0
    return status.st_dev, status.st_ino


def _is_cache(name: str) -> bool:
    known = name in _CACHES or name.endswith(_CACHE_ENDS)
    return known or _COVERAGE.fullmatch(name) is not None


def tree_key(top: Path, written: Collection[Path]) -> str | None:
    """A hash of all of a working tree, and of its submodules, that may change what is measured.

    Args:
        top: the top folder.
        written: files and folders that runs write.

    Returns:
        None if there are too many files to tell.

    Raises:
        UsageError: if git refuses, in git's words.
    """
    parts = [content_key(top, written), ignored_key(top, written)]
    for path in sorted(submodules_of(top)):
        if (top / path / ".git").exists():
            parts += [path, tree_key(top / path, written)]
    known = [part for part in parts if part is not None]
    return _hash(known) if len(known) == len(parts) else None


def distributions_key(folders: Iterable[Path]) -> str:
    """A hash of what is installed in some folders, and when; of what is installed in place, where.

    A distribution that is built and installed again may differ, though its version is the same.
    """
    return _hash(f"{entry.path} {entry.stat().st_mtime_ns}" for entry in _installed(folders))


def versions_key(folders: Iterable[Path]) -> str:
    """A hash of the names and versions of what is installed in folders that are made anew."""
    return _hash(entry.name for entry in _installed(folders))


def _installed(folders: Iterable[Path]) -> Iterator[os.DirEntry[str]]:
    for folder in folders:
        if folder.is_dir():
            with os.scandir(folder) as entries:
                kept = [entry for entry in entries if entry.name.endswith(_INSTALLED)]
            yield from sorted(kept, key=lambda entry: entry.name)


def variables_key(variables: Mapping[str, str]) -> str:
    """A hash of environment variables, without those of the terminal and of one run of CI."""
    return _hash(
        f"{name}={value}"
        for name, value in sorted(variables.items())
        if not _OF_SESSION.fullmatch(name)
    )


def options_key(options: Sequence[str]) -> str:
    """A hash of pytest's options, without those that select or report only.

    >>> options_key(["-v", "-k", "a or b", "--tb=short"]) == options_key(["-x"])
    True
    >>> options_key(["--size=2"]) == options_key(["--size=3"])
    False
    """
    kept, rest = [], iter(options)
    for option in rest:
        name, has_value, _ = option.partition("=")
        if _OF_REPORTS_WITH_VALUE.fullmatch(name):
            if not has_value:
                next(rest, None)
        elif not _OF_REPORTS.fullmatch(name):
            kept.append(option)
    return _hash(kept)


def _hash(parts: Iterable[str]) -> str:
    return hashlib.sha256("\0".join(parts).encode(errors="surrogateescape")).hexdigest()


def _feed_file(key: hashlib._Hash, name: str, path: Path, left: int) -> int:
    """Add a file to a hash, by its content if it has at most `left` bytes.

    Returns:
        The number of bytes read.
    """
    try:
        status = path.lstat()
        key.update(
            f"\0{name}\0{status.st_mode}\0{status.st_size}\0".encode(errors="surrogateescape")
        )
        if stat.S_ISLNK(status.st_mode):
            key.update(os.fsencode(path.readlink()))
            status = path.stat()
        if stat.S_ISREG(status.st_mode) and status.st_size <= left:
            with path.open("rb") as file:
                _feed(key, file)
            return status.st_size
        if stat.S_ISREG(status.st_mode):
            # Programs that keep a file's time still give it another inode, or change its status.
            times = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
            key.update(repr(times).encode())
    except OSError:  # it has gone since it was listed, leads nowhere, or cannot be read
        key.update(b"\0unreadable")
    return 0


def _feed(key: hashlib._Hash, file: IO[bytes]) -> None:
    while piece := file.read(_PIECE):
        key.update(piece)
