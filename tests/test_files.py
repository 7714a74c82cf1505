"""Atomic writing: the old file or the new one, never a part of either."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

import pytest

from pytest_dlperf._files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def _raise(error: BaseException) -> Callable[..., None]:
    def act(*_: object, **__: object) -> None:
        raise error

    return act


@pytest.mark.parametrize("content", [b"", b"one line\n", bytes(range(256)) * 1000])
def test_content_is_written(tmp_path: Path, content: bytes) -> None:
    """The file holds exactly the content, and nothing else is left in the folder."""
    path = tmp_path / "a.json"
    write_atomically(path, content)
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_folders_are_made(tmp_path: Path) -> None:
    """Folders that are missing are made."""
    path = tmp_path / "new" / "newer" / "a.json"
    write_atomically(path, b"x")
    assert path.read_bytes() == b"x"


def test_old_content_is_replaced(tmp_path: Path) -> None:
    """A shorter content leaves nothing of a longer one."""
    path = tmp_path / "a.json"
    write_atomically(path, b"long" * 1000)
    write_atomically(path, b"short")
    assert path.read_bytes() == b"short"


def test_others_may_read(tmp_path: Path) -> None:
    """The file has the permissions of a file that is committed, not of a temporary one."""
    path = tmp_path / "a.json"
    write_atomically(path, b"x")
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_reader_of_the_old_file_is_not_disturbed(tmp_path: Path) -> None:
    """A reader that has the old file open reads the old content to its end."""
    path = tmp_path / "a.json"
    write_atomically(path, b"old content")
    with path.open("rb") as file:
        first = file.read(3)
        write_atomically(path, b"NEW")
        assert first + file.read() == b"old content"
    assert path.read_bytes() == b"NEW"


def test_content_is_flushed_before_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the time of `fsync` the old file is still in place."""
    path = tmp_path / "a.json"
    path.write_bytes(b"old")
    seen = []

    def sync(handle: int) -> None:
        seen.append((path.read_bytes(), os.fstat(handle).st_size))

    monkeypatch.setattr(os, "fsync", sync)
    write_atomically(path, b"brand new")
    assert seen == [(b"old", 9)]


@pytest.mark.parametrize("step", ["fsync", "replace", "rename", "fdopen"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "disk full"), KeyboardInterrupt()])
def test_failure_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, error: BaseException
) -> None:
    """Whatever fails on the way, the old file is whole and no temporary one stays behind."""
    path = tmp_path / "a.json"
    path.write_bytes(b"old")
    with monkeypatch.context() as patch:
        patch.setattr(os, step, _raise(error))
        if step in {"replace", "rename"}:
            # Whichever of the two the writer uses.
            patch.setattr(type(path), step, _raise(error))
            patch.setattr(
                type(path), {"replace": "rename", "rename": "replace"}[step], _raise(error)
            )
        with pytest.raises(type(error)):
            write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_in_the_way(tmp_path: Path) -> None:
    """A folder of that name is an OSError, and no temporary file stays behind."""
    (tmp_path / "a.json").mkdir()
    with pytest.raises(OSError, match=r".+"):
        write_atomically(tmp_path / "a.json", b"x")
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_name_as_long_as_names_may_be(tmp_path: Path) -> None:
    """A name of 255 characters leaves room for the temporary one."""
    path = tmp_path / ("n" * 250 + ".json")
    write_atomically(path, b"x")
    assert path.read_bytes() == b"x"
