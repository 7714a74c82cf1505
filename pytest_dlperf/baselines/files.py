"""Baseline files: accepted measurements that are committed and reviewed like code."""

from __future__ import annotations

import glob
import hashlib
import json
import re
from contextlib import suppress
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from pytest_dlperf._files import locked, write_atomically
from pytest_dlperf.errors import BaselineError
from pytest_dlperf.report.hints import RECORD_ANEW, RESOLVE_CONFLICT
from pytest_dlperf.results.baseline import SCHEMA, Baseline, BaselineEntry
from pytest_dlperf.results.codec import as_object
from pytest_dlperf.results.environment import MachineClass

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path


FOLDER: Final = ".dlperf/baselines"
"""The folder of baselines in pytest's root directory."""

_LINE: Final = 140  # columns
_READABLE: Final = 120  # characters of a test's name that its file name keeps
_LARGEST: Final = 16 << 20  # bytes; a larger file is no baseline
_LARGEST_SEARCHED: Final = 1 << 20  # bytes of a file that is read for a remark only
_CONFLICT: Final = re.compile(rb"(<{7}|\|{7}|>{7})( |$)|={7}$")
_MARKS: Final = 9  # line numbers that are listed
_REPLACE: Final = f"delete it and {RECORD_ANEW}"
_REPAIR: Final = f"restore it from version control, or {_REPLACE}"


class BaselineFiles:
    """One file per test, in the folder of a machine class below `root`."""

    def __init__(self, root: Path, machine: MachineClass) -> None:
        self._root = root
        self._machine = machine

    def path(self, test: str) -> Path:
        """The file of a test's baseline, whether or not it exists."""
        return self._root / self._machine.slug / file_name(test)

    def load(self, test: str) -> Baseline | None:
        """The baseline of a test, None if there is none.

        Raises:
            BaselineError: if the file cannot be read as a baseline of this test.
        """
        path = self.path(test)
        baseline = read_baseline(path)
        if baseline is not None and baseline.test != test:
            raise BaselineError(
                str(path), f"it belongs to {baseline.test}", "restore or delete the file"
            )
        return baseline

    def save(self, test: str, name: str, accepted: BaselineEntry) -> None:
        """Make a measurement the baseline, leaving the test's other measurements as they are.

        A next session follows all that are stored by now, those of concurrent runs included.

        Raises:
            BaselineError: if an existing file cannot be read, or the new one cannot be written;
                what was there is kept.
        """
        path = self.path(test)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Two runs may record measurements of the same test: read and write as one step.
            with locked(path.parent):
                baseline = self.load(test) or Baseline(test, MappingProxyType({}))
                following = accepted.following(baseline.accepted.get(name))
                entries = MappingProxyType({**baseline.accepted, name: following})
                _write(path, replace(baseline, accepted=entries).to_json(self._machine))
        except OSError as error:
            raise BaselineError(
                str(path), f"it cannot be written: {error.strerror or error}", "nothing was changed"
            ) from None


def file_name(test: str) -> str:
    """The name of a test's baseline file, the same for all machine classes."""
    readable = re.sub(r"[^A-Za-z0-9._\[\]-]+", "-", test.replace("::", "--").replace("/", "."))
    digest = hashlib.sha256(test.encode(errors="surrogatepass")).hexdigest()[:8]
    return f"{readable[:_READABLE]}-{digest}.json"


def rename_baseline(path: Path, test: str) -> Path:
    """Give a baseline file to another test; nothing else in it changes.

    The new file is written before the old one is removed.

    Args:
        path: a file that `read_baseline` can read.
        test: node id of the other test, which has no baseline in that folder.

    Raises:
        BaselineError: if the new file cannot be written, or the old one cannot be removed.
    """
    new = path.with_name(file_name(test))
    try:
        with locked(path.parent):
            value = json.loads(path.read_bytes())
            _write(new, {**value, "test": test})
            path.unlink()
    except OSError as error:
        raise BaselineError(
            str(path),
            f"it cannot become {new.name}: {error.strerror or error}",
            "check the permissions of its folder",
        ) from None
    return new


def move_anchors(path: Path, names: Collection[str]) -> Baseline:
    """Make the newest session the anchor, for some measurements of a baseline file.

    Args:
        path: of the file.
        names: of the measurements.

    Returns:
        The new content.

    Raises:
        BaselineError: if the file cannot be read, which leaves it as it is, or cannot be written.
    """
    try:
        with locked(path.parent):
            baseline = read_baseline(path)
            if baseline is None:
                raise BaselineError(str(path), "it is not there any more", "nothing was changed")
            machine = MachineClass.from_json(as_object(json.loads(path.read_bytes())["machine"]))
            moved = {
                name: entry.anchored() if name in names else entry
                for name, entry in baseline.accepted.items()
            }
            baseline = replace(baseline, accepted=MappingProxyType(moved))
            _write(path, baseline.to_json(machine))
    except OSError as error:
        raise BaselineError(
            str(path), f"it cannot be written: {error.strerror or error}", "nothing was changed"
        ) from None
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path, f"machine: {_said(error)}") from None
    return baseline


def files_of(folder: Path, test: str, machine: str = "") -> list[Path]:
    """The baseline files of a test, in a stable order.

    Args:
        folder: of all machine classes.
        test: pytest's node id.
        machine: the slug of a class; empty for all.
    """
    return sorted(folder.glob(f"{glob.escape(machine) or '*'}/{glob.escape(file_name(test))}"))


def read_each(paths: Iterable[Path]) -> tuple[dict[Path, Baseline], list[BaselineError]]:
    """The baselines of files, in their order, and the errors of those that cannot be read."""
    baselines: dict[Path, Baseline] = {}
    damaged: list[BaselineError] = []
    for path in paths:
        try:
            baseline = read_baseline(path)
        except BaselineError as error:
            damaged.append(error)
            continue
        if baseline is not None:
            baselines[path] = baseline
    return baselines, damaged


def absent_modules(root: Path, tests: Iterable[str]) -> frozenset[str]:
    """The files of these tests that no longer exist below pytest's root folder."""
    modules = {test.partition("::")[0] for test in tests}
    return frozenset(module for module in modules if not (root / module).exists())


def read_baseline(path: Path) -> Baseline | None:
    """Read one baseline file, None if it does not exist.

    Raises:
        BaselineError: if it cannot be read, is damaged, or has another schema.
    """
    try:
        if path.stat().st_size > _LARGEST:
            raise BaselineError(str(path), "it is far too large for a baseline", _REPAIR)
        content = path.read_bytes()
        value: Any = json.loads(content)
    except FileNotFoundError:
        return None
    except OSError as error:
        problem = f"it cannot be read: {error.strerror or error}"
        raise BaselineError(str(path), problem, "check its permissions") from None
    except (RecursionError, ValueError) as error:
        raise _conflict(path, content) or _damaged(path, str(error)) from None
    try:
        schema = as_object(value)["schema"]
    except (KeyError, ValueError) as error:
        raise _damaged(path, _said(error)) from None
    if not isinstance(schema, int) or schema < 1:
        raise _damaged(path, f"schema: expected a number, not {schema!r:.80}")
    if schema != SCHEMA:
        newer = schema > SCHEMA
        raise BaselineError(
            str(path),
            f"it was written by {'a newer' if newer else 'an older'} pytest-dlperf "
            f"(schema {schema}, this reads {SCHEMA})",
            "upgrade pytest-dlperf" if newer else _REPLACE,
        )
    try:
        return Baseline.from_json(value)
    except (KeyError, ValueError) as error:
        raise _damaged(path, _said(error)) from None


def _said(error: Exception) -> str:
    return f"there is no {error}" if isinstance(error, KeyError) else str(error)


def _conflict(path: Path, content: bytes) -> BaselineError | None:
    """The error of a file in which git has left a merge conflict; None without one."""
    marks = [n for n, line in enumerate(content.splitlines(), 1) if _CONFLICT.match(line)]
    if not marks:
        return None
    lines = ", ".join(map(str, marks[:_MARKS])) + (", ..." if len(marks) > _MARKS else "")
    problem = f"it is damaged: it has the marks of a merge conflict (lines {lines})"
    return BaselineError(str(path), problem, RESOLVE_CONFLICT)


def _damaged(path: Path, problem: str) -> BaselineError:
    return BaselineError(str(path), f"it is damaged: {problem}", _REPAIR)


def _write(path: Path, value: object) -> None:
    write_atomically(path, f"{_text(value)}\n".encode())


def _text(value: object, indent: str = "") -> str:
    """JSON with short flat lists and dictionaries on one line, so that changes review well."""
    whole = json.dumps(value, allow_nan=False)
    if not isinstance(value, (dict, list)) or not value:
        return whole
    items = value.values() if isinstance(value, dict) else value
    flat = not any(isinstance(item, (dict, list)) for item in items)
    if flat and len(indent) + len(whole) <= _LINE:
        return whole
    deeper = indent + "  "
    if isinstance(value, dict):
        parts = [f"{json.dumps(name)}: {_text(item, deeper)}" for name, item in value.items()]
    else:
        parts = [_text(item, deeper) for item in value]
    start, end = "{}" if isinstance(value, dict) else "[]"
    lines = f",\n{deeper}".join(parts)
    return f"{start}\n{deeper}{lines}\n{indent}{end}"


def all_files(root: Path) -> list[Path]:
    """Every baseline file below a folder, of all machine classes, in a stable order."""
    return sorted(root.glob("*/*.json"))


def machines_with(folder: Path, test: str, name: str) -> list[MachineClass]:
    """The machine classes that have a baseline of a measurement; unreadable files are skipped."""
    machines = []
    for path in files_of(folder, test):
        # Runs on that machine report what is wrong with its files.
        with suppress(OSError, RecursionError, ValueError, KeyError, TypeError):
            if path.stat().st_size <= _LARGEST_SEARCHED:
                value: Any = json.loads(path.read_bytes())
                if name in value["measurements"]:
                    machines.append(MachineClass.from_json(value["machine"]))
    return machines
