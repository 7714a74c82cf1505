"""`pytest-dlperf baselines prune`: remove the baselines of tests that are not there any more."""

from __future__ import annotations

import contextlib
import sys
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from pytest_dlperf._command import Command, Outcome
from pytest_dlperf.baselines.collect_tests import collect_tests
from pytest_dlperf.baselines.files import FOLDER, absent_modules, all_files, read_each
from pytest_dlperf.baselines.unused import not_there, with_new_names
from pytest_dlperf.baselines.unused_reports import rename_command
from pytest_dlperf.errors import UsageError
from pytest_dlperf.rootdir import add_rootdir, rootdir

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_dlperf.baselines.collect_tests import Listing
    from pytest_dlperf.results.baseline import Baseline


def _arguments(parser: argparse.ArgumentParser) -> None:
    add_rootdir(parser)
    parser.add_argument("--yes", action="store_true", help="remove them without asking")


def _lines(root: Path, *, unasked: bool) -> Iterator[str]:
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
    """What would be removed, by machine class."""
    by_machine: dict[str, list[Path]] = defaultdict(list)
    for path in paths:
        by_machine[path.parent.name].append(path)
    for machine, files in by_machine.items():
        yield machine
        for path in files:
            baseline = baselines[path]
            names = ", ".join(name for name in baseline.accepted if name)
            newest = max(accepted.revision.date for accepted in baseline.accepted.values())
            yield f"  {baseline.test}{f' [{names}]' if names else ''}  ({newest})"


def _renamed(
    baselines: dict[Path, Baseline], gone: tuple[str, ...], listing: Listing
) -> Iterator[str]:
    """How to keep what looks renamed."""
    known = {baseline.test for baseline in baselines.values()}
    fresh = dict.fromkeys(listing.measuring - known)
    for one in with_new_names({test: frozenset() for test in gone}, fresh):
        if one.renamed:
            yield f"{one.test} looks renamed; to keep its baselines:"
            yield f"  {rename_command(one)}"


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
        path.parent.rmdir()  # if it was the last one


def _run(given: argparse.Namespace) -> Outcome:
    return Outcome(_lines(rootdir(given), unasked=given.yes))


PRUNE: Final = Command(
    "prune",
    "remove the baselines of tests that are not there any more, of all machine classes",
    _arguments,
    _run,
)
