"""`pytest-dlperf baselines rename`: a test's baselines become those of its new name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pytest_dlperf._command import Command, Outcome
from pytest_dlperf.baselines.files import (
    FOLDER,
    all_files,
    file_name,
    files_of,
    read_baseline,
    read_each,
    rename_baseline,
)
from pytest_dlperf.baselines.unused import nearest_names
from pytest_dlperf.errors import UsageError
from pytest_dlperf.rootdir import add_rootdir, rootdir

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from pathlib import Path

_HISTORY: Final = "the history still has it under the old name: there both names go on side by side"


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("old", metavar="OLD", help="the test's node id as it was")
    parser.add_argument("new", metavar="NEW", help="its node id now")
    add_rootdir(parser)


def _lines(folder: Path, old: str, new: str) -> Iterator[str]:
    if "::" not in new:
        raise UsageError(f"{new!r:.200} is no node id", "such as tests/test_model.py::test_fast")
    # All is looked at before anything is changed.
    paths = [path for path in files_of(folder, old) if _belongs(path, old)]
    if not paths:
        raise UsageError(f"no baseline of {old} in {folder}", meant(folder, old))
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
    yield _HISTORY


def _belongs(path: Path, test: str) -> bool:
    baseline = read_baseline(path)
    return baseline is not None and baseline.test == test


def meant(folder: Path, test: str) -> str:
    """What to do about a test that has no baseline: the names that are like it.

    Args:
        folder: of all machine classes.
        test: the node id that was given.
    """
    baselines, _ = read_each(all_files(folder))
    near = nearest_names(test, (baseline.test for baseline in baselines.values()))
    listed = "pytest-dlperf baselines lists what is there"
    return f"did you mean {' or '.join(near)}? {listed}" if near else listed


def _run(given: argparse.Namespace) -> Outcome:
    return Outcome(_lines(rootdir(given) / FOLDER, given.old, given.new))


RENAME: Final = Command(
    "rename",
    "make a test's baselines those of its new name, on all machine classes",
    _arguments,
    _run,
)
