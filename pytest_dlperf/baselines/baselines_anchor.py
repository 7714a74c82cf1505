"""`pytest-dlperf baselines anchor`: accept what crept in, by moving the anchor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pytest_dlperf._command import Command, Outcome
from pytest_dlperf.baselines.baselines_rename import meant
from pytest_dlperf.baselines.files import FOLDER, files_of, move_anchors, read_baseline
from pytest_dlperf.errors import UsageError
from pytest_dlperf.history.sources import title_of
from pytest_dlperf.rootdir import add_rootdir, rootdir

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_dlperf.results.baseline import Baseline


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("test", metavar="TEST", help="the test's node id")
    parser.add_argument(
        "--name", metavar="NAME", help="only the measurement of this name; default: all of the test"
    )
    parser.add_argument(
        "--all", action="store_true", help="on all machine classes; default: on this machine's"
    )
    add_rootdir(parser)


def _lines(test: str, name: str | None, baselines: dict[Path, Baseline]) -> Iterator[str]:
    names_by_path = {
        path: [one for one in baseline.accepted if name is None or one == name]
        for path, baseline in baselines.items()
    }
    if not any(names_by_path.values()):
        known = {repr(one) for baseline in baselines.values() for one in baseline.accepted}
        raise UsageError(
            f"{test} has no measurement {name!r:.80}", f"it has {', '.join(sorted(known))}"
        )
    for path, names in names_by_path.items():
        if not names:
            continue
        moved = move_anchors(path, names)
        yield path.parent.name
        for one in names:
            yield f"  {title_of(test, one)}"
            yield f"    {_told(baselines[path], moved, one)}"


def _told(before: Baseline, after: Baseline, name: str) -> str:
    old, new = before.accepted[name], after.accepted[name]
    if new.anchor is None or old.anchor == new.anchor:
        return f"the anchor is the newest session already: {new.revision}"
    told = f"the anchor is {new.anchor.revision} now"
    return f"{told}; it was {old.anchor.revision}" if old.anchor else told


def _baselines(folder: Path, machine: str, test: str) -> dict[Path, Baseline]:
    """Those of a machine class, or of all; all are read before any is changed."""
    found = {}
    for path in files_of(folder, test, machine):
        baseline = read_baseline(path)
        if baseline is not None and baseline.test == test:
            found[path] = baseline
    return found


def _run(given: argparse.Namespace) -> Outcome:
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
        raise UsageError(f"no baseline of {given.test} in {folder}", meant(folder, given.test))
    return Outcome(_lines(given.test, given.name, baselines))


ANCHOR: Final = Command(
    "anchor",
    "make the newest session of a test's baseline its anchor: later losses are counted from there",
    _arguments,
    _run,
)
