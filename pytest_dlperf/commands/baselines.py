"""`pytest-dlperf baselines`: the accepted baselines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_dlperf.adapters.files import FOLDER, all_files, read_baseline
from pytest_dlperf.commands.command import Command, Outcome
from pytest_dlperf.core.metrics import METRICS
from pytest_dlperf.core.units import format_quantity
from pytest_dlperf.errors import BaselineError, UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("root", nargs="?", type=Path, default=Path(), help="project folder")


def _baseline_lines(folder: Path) -> Iterator[str]:
    paths = all_files(folder)
    if not paths:
        raise UsageError(f"no baselines in {folder}", "record them: pytest --dlperf-update=new")
    machine = ""
    damaged: list[BaselineError] = []
    for path in paths:
        try:
            baseline = read_baseline(path)
        except BaselineError as error:
            damaged.append(error)
            continue
        if baseline is None:
            continue
        if path.parent.name != machine:
            machine = path.parent.name
            yield machine
        for name, accepted in baseline.accepted.items():
            count = len(accepted.sessions)
            sessions = f", {count} sessions" if count > 1 else ""
            title = f"{baseline.test}{f' [{name}]' if name else ''}"
            yield f"  {title}  ({accepted.revision}{sessions})"
            shown = (
                f"{metric} {format_quantity(accepted.metrics[metric].value, METRICS[metric].unit)}"
                for metric in ("throughput", "p50", "p99", "accuracy")
                if metric in accepted.metrics
            )
            yield f"    {', '.join(shown)}"
    if damaged:
        raise UsageError("\n".join(map(str, damaged)))


def _run(given: argparse.Namespace) -> Outcome:
    return Outcome(_baseline_lines(given.root / FOLDER))


BASELINES: Final = Command("baselines", "list the accepted baselines", _arguments, _run)
