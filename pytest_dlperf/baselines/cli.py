"""`pytest-dlperf baselines`: list, review, anchor, prune and rename baselines."""

from __future__ import annotations

import contextlib
import sys
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from pytest_dlperf._command import Command, CommandResult, add_rootdir, rootdir
from pytest_dlperf.baselines.collect_tests import collect_tests
from pytest_dlperf.baselines.files import (
    FOLDER,
    absent_modules,
    all_files,
    file_name,
    files_of,
    move_anchors,
    read_baseline,
    read_each,
    rename_baseline,
)
from pytest_dlperf.baselines.review import REVIEW, metric_lines
from pytest_dlperf.baselines.unused import nearest_names, not_there, with_new_names
from pytest_dlperf.errors import UsageError
from pytest_dlperf.metrics import is_usual
from pytest_dlperf.report.hints import rename_command
from pytest_dlperf.results.measurement import title_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_dlperf.baselines.collect_tests import ProjectTests
    from pytest_dlperf.results.baseline import Baseline, BaselineEntry


_HISTORY_KEEPS: Final = (
    "the history still has it under the old name: there both names go on side by side"
)


def _prune_arguments(parser: argparse.ArgumentParser) -> None:
    add_rootdir(parser)
    parser.add_argument("--yes", action="store_true", help="remove them without asking")


def _prune_lines(root: Path, *, unasked: bool) -> Iterator[str]:
    baselines, damaged = read_each(all_files(root / FOLDER))
    yield from (f"kept: {error}" for error in damaged)
    if not baselines:
        yield f"no baselines in {root / FOLDER}"
        return
    yield f"collecting the tests in {root.resolve()}"
    listing = collect_tests(root)
    tests = {baseline.test for baseline in baselines.values()}
    gone = not_there(tests, listing.collected, absent_modules(root, tests))
    paths = [path for path, baseline in baselines.items() if baseline.test in gone]
    if not paths:
        yield f"the test of every baseline is there ({len(baselines)}): nothing to remove"
        return
    yield from _described(paths, baselines)
    yield from _renamed(baselines, gone, listing)
    if not unasked and not _agreed(len(paths)):
        yield "nothing was removed"
        return
    for path in paths:
        _remove(path)
    yield f"removed: {len(paths)} of {len(baselines)} baselines"


def _described(paths: list[Path], baselines: dict[Path, Baseline]) -> Iterator[str]:
    """The baselines to remove, by machine class."""
    by_machine: dict[str, list[Path]] = defaultdict(list)
    for path in paths:
        by_machine[path.parent.name].append(path)
    for machine, files in by_machine.items():
        yield machine
        for path in files:
            baseline = baselines[path]
            names = ", ".join(name for name in baseline.accepted if name)
            newest = max(entry.revision.date for entry in baseline.accepted.values())
            yield f"  {baseline.test}{f' [{names}]' if names else ''}  ({newest})"


def _renamed(
    baselines: dict[Path, Baseline], gone: tuple[str, ...], listing: ProjectTests
) -> Iterator[str]:
    """The commands that keep baselines of tests that look renamed."""
    known = {baseline.test for baseline in baselines.values()}
    fresh = dict.fromkeys(listing.measuring - known)
    for unused in with_new_names({test: frozenset() for test in gone}, fresh):
        if unused.renamed:
            yield f"{unused.test} looks renamed; to keep its baselines:"
            yield f"  {rename_command(unused.test, unused.renamed)}"


def _agreed(count: int) -> bool:
    if not sys.stdin.isatty():
        raise UsageError(
            "nothing was removed: there is no terminal to ask on",
            "--yes removes them without asking",
        )
    try:
        answer = input(f"remove {count} file{'' if count == 1 else 's'}? [y/N] ")
    except EOFError:
        sys.stdout.write("\n")
        return False
    return answer.strip().lower() in {"y", "yes"}


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(f"{path} cannot be removed: {error.strerror or error}") from None
    with contextlib.suppress(OSError):
        path.parent.rmdir()  # fails unless it was the last file


def _prune(given: argparse.Namespace) -> CommandResult:
    return CommandResult(_prune_lines(rootdir(given), unasked=given.yes))


PRUNE: Final = Command(
    "prune",
    "remove the baselines of tests that are not there any more, of all machine classes",
    _prune_arguments,
    _prune,
)


def _anchor_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("test", metavar="TEST", help="the test's node id")
    parser.add_argument(
        "--name", metavar="NAME", help="only the measurement of this name; default: all of the test"
    )
    parser.add_argument(
        "--all", action="store_true", help="on all machine classes; default: on this machine's"
    )
    add_rootdir(parser)


def _anchor_lines(test: str, name: str | None, baselines: dict[Path, Baseline]) -> Iterator[str]:
    names_by_path = {
        path: [known for known in baseline.accepted if name in {None, known}]
        for path, baseline in baselines.items()
    }
    if not any(names_by_path.values()):
        known = {repr(known) for baseline in baselines.values() for known in baseline.accepted}
        raise UsageError(
            f"{test} has no measurement {name!r:.80}", f"it has {', '.join(sorted(known))}"
        )
    for path, names in names_by_path.items():
        if not names:
            continue
        moved = move_anchors(path, names)
        yield path.parent.name
        for moved_name in names:
            yield f"  {title_of(test, moved_name)}"
            yield f"    {_moved(baselines[path], moved, moved_name)}"


def _moved(before: Baseline, after: Baseline, name: str) -> str:
    """The message about a measurement's anchor."""
    old, new = before.accepted[name], after.accepted[name]
    if new.anchor is None or old.anchor == new.anchor:
        return f"the anchor is the newest session already: {new.revision}"
    message = f"the anchor is {new.anchor.revision} now"
    return f"{message}; it was {old.anchor.revision}" if old.anchor else message


def _baselines(folder: Path, machine: str, test: str) -> dict[Path, Baseline]:
    """A test's baselines on a machine class, or on all; all are read before any is changed."""
    baselines = {path: read_baseline(path) for path in files_of(folder, test, machine)}
    return {path: known for path, known in baselines.items() if known and known.test == test}


def _anchor(given: argparse.Namespace) -> CommandResult:
    from pytest_dlperf.machine import machine_class

    folder, here = rootdir(given) / FOLDER, "" if given.all else machine_class().slug
    baselines = _baselines(folder, here, given.test)
    if not baselines:
        elsewhere = _baselines(folder, "", given.test)
        if elsewhere:
            classes = ", ".join(path.parent.name for path in elsewhere)
            raise UsageError(
                f"no baseline of {given.test} on this machine class ({here})",
                f"there is one on {classes}; --all moves the anchor there",
            )
        raise UsageError(
            f"no baseline of {given.test} in {folder}", _suggestion(folder, given.test)
        )
    return CommandResult(_anchor_lines(given.test, given.name, baselines))


ANCHOR: Final = Command(
    "anchor",
    "make the newest session of a test's baseline its anchor: later losses are counted from there",
    _anchor_arguments,
    _anchor,
)


def _list_lines(folder: Path) -> Iterator[str]:
    paths = all_files(folder)
    if not paths:
        raise UsageError(f"no baselines in {folder}", "record them: pytest --dlperf-update=new")
    baselines, damaged = read_each(paths)
    machine = ""
    for path, baseline in baselines.items():
        if path.parent.name != machine:
            machine = path.parent.name
            yield machine
        for name, entry in baseline.accepted.items():
            yield from _measurement(title_of(baseline.test, name), entry)
    if damaged:
        raise UsageError("\n".join(map(str, damaged)))


def _measurement(title: str, entry: BaselineEntry) -> Iterator[str]:
    count = len(entry.sessions)
    sessions = f", {count} sessions" if count > 1 else ""
    yield f"  {title}  ({entry.revision}{sessions})"
    yield f"    {', '.join(metric_lines(entry, is_usual))}"
    if entry.anchor is not None and entry.changes:
        since = f"{entry.changes} accepted change{'s' if entry.changes > 1 else ''}"
        yield f"    anchor: {entry.anchor.revision}, {since} ago"


def _list(given: argparse.Namespace) -> CommandResult:
    return CommandResult(_list_lines(rootdir(given) / FOLDER))


LIST: Final = Command("list", "list the accepted baselines", add_rootdir, _list)


def _rename_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("old", metavar="OLD", help="the test's node id as it was")
    parser.add_argument("new", metavar="NEW", help="its node id now")
    add_rootdir(parser)


def _rename_lines(folder: Path, old: str, new: str) -> Iterator[str]:
    if "::" not in new:
        raise UsageError(f"{new!r:.200} is no node id", "such as tests/test_model.py::test_fast")
    # Everything is checked before anything is changed.
    paths = list(_baselines(folder, "", old))
    if not paths:
        raise UsageError(f"no baseline of {old} in {folder}", _suggestion(folder, old))
    for path in paths:
        taken = path.with_name(file_name(new))
        if taken.exists():
            raise UsageError(
                f"{new} has a baseline on {path.parent.name} already: {taken}",
                "delete the one that is wrong, then rename",
            )
    for path in paths:
        rename_baseline(path, new)
        yield f"{path.parent.name}: renamed"
    yield _HISTORY_KEEPS


def _suggestion(folder: Path, test: str) -> str:
    """The tests with baselines whose names are similar, and how to list all."""
    baselines, _ = read_each(all_files(folder))
    near = nearest_names(test, (baseline.test for baseline in baselines.values()))
    listed = "pytest-dlperf baselines lists what is there"
    return f"did you mean {' or '.join(near)}? {listed}" if near else listed


def _rename(given: argparse.Namespace) -> CommandResult:
    return CommandResult(_rename_lines(rootdir(given) / FOLDER, given.old, given.new))


RENAME: Final = Command(
    "rename",
    "make a test's baselines those of its new name, on all machine classes",
    _rename_arguments,
    _rename,
)


BASELINES: Final = Command(
    "baselines",
    "list the accepted baselines, or change them with one of the commands below",
    add_rootdir,
    _list,
    (LIST, REVIEW, ANCHOR, PRUNE, RENAME),
)
