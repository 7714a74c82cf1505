"""`pytest-dlperf baselines list`: the accepted baselines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pytest_dlperf._command import Command, Outcome
from pytest_dlperf.baselines.files import FOLDER, all_files, read_each
from pytest_dlperf.errors import UsageError
from pytest_dlperf.history.sources import title_of
from pytest_dlperf.history.timeline import is_usual
from pytest_dlperf.metrics import in_order, metric_named
from pytest_dlperf.rootdir import add_rootdir, rootdir
from pytest_dlperf.units import format_quantity

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_dlperf.results.baseline import Accepted


def _lines(folder: Path) -> Iterator[str]:
    paths = all_files(folder)
    if not paths:
        raise UsageError(f"no baselines in {folder}", "record them: pytest --dlperf-update=new")
    baselines, damaged = read_each(paths)
    machine = ""
    for path, baseline in baselines.items():
        if path.parent.name != machine:
            machine = path.parent.name
            yield machine
        for name, accepted in baseline.accepted.items():
            yield from _measurement(title_of(baseline.test, name), accepted)
    if damaged:
        raise UsageError("\n".join(map(str, damaged)))


def _measurement(title: str, accepted: Accepted) -> Iterator[str]:
    count = len(accepted.sessions)
    sessions = f", {count} sessions" if count > 1 else ""
    yield f"  {title}  ({accepted.revision}{sessions})"
    shown = (
        f"{metric} {format_quantity(accepted.metrics[metric].value, metric_named(metric).unit)}"
        for metric in in_order(accepted.metrics)
        if is_usual(metric)
    )
    yield f"    {', '.join(shown)}"
    if accepted.anchor is not None and accepted.changes:
        since = f"{accepted.changes} accepted change{'s' if accepted.changes > 1 else ''}"
        yield f"    anchor: {accepted.anchor.revision}, {since} ago"


def list_baselines(given: argparse.Namespace) -> Outcome:
    """List what is in the root folder."""
    return Outcome(_lines(rootdir(given) / FOLDER))


LIST: Final = Command("list", "list the accepted baselines", add_rootdir, list_baselines)
