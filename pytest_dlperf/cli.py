"""The program `pytest-dlperf`: look at baselines, reports and the machine without any test."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_dlperf.adapters.files import FOLDER, all_files, read_baseline
from pytest_dlperf.core.metrics import METRICS
from pytest_dlperf.core.record import SCHEMA, record_from_json
from pytest_dlperf.core.units import format_quantity
from pytest_dlperf.errors import BaselineError, DlperfError, UsageError
from pytest_dlperf.reports.terminal import summary_lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_WIDTH = 80
_INTERRUPTED = 128 + signal.SIGINT  # as shells have it


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit status: 0, 2 for what cannot be used, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(prog="pytest-dlperf", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    baselines = commands.add_parser("baselines", help="list the accepted baselines")
    baselines.add_argument("root", nargs="?", type=Path, default=Path(), help="project folder")
    baselines.set_defaults(lines=lambda given: _baseline_lines(given.root / FOLDER))
    report = commands.add_parser("report", help="show what --dlperf-json wrote")
    report.add_argument("file", type=Path)
    report.set_defaults(lines=lambda given: _report_lines(given.file))
    doctor = commands.add_parser(
        "doctor", help="measure in a minute how small a loss can be found on this machine"
    )
    doctor.add_argument("--json", type=Path, metavar="FILE", help="write what was found there too")
    doctor.set_defaults(lines=lambda given: _doctor_lines(given.json))
    given = parser.parse_args(arguments)
    try:
        for line in given.lines(given):
            sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
    except DlperfError as error:
        sys.stderr.write(f"pytest-dlperf: {error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("pytest-dlperf: interrupted\n")
        return _INTERRUPTED
    except BrokenPipeError:
        # The reader has seen enough; Python must not try to flush again when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


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


def _report_lines(path: Path) -> list[str]:
    hint = "expected a file that pytest --dlperf-json wrote"
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}", hint) from error
    except ValueError as error:
        raise UsageError(f"{path} is no JSON: {error}", hint) from error
    schema = content.get("schema") if isinstance(content, dict) else None
    if isinstance(schema, int) and schema > SCHEMA:
        raise UsageError(f"{path} was written by a newer pytest-dlperf", "upgrade pytest-dlperf")
    try:
        records = [record_from_json(value) for value in content["measurements"]]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{path} is no report: {type(error).__name__}: {error}", hint) from error
    return summary_lines(records, _WIDTH, colour=sys.stdout.isatty())


def _doctor_lines(path: Path | None) -> Iterator[str]:
    import numpy as np

    from pytest_dlperf.adapters.atomic import write_atomically
    from pytest_dlperf.core.checkup import check_up
    from pytest_dlperf.engine.doctor import examine
    from pytest_dlperf.reports.doctor import doctor_json, doctor_lines
    from pytest_dlperf.reports.progress import LineProgress, NoProgress

    if sys.stderr.isatty():
        line = LineProgress(os.dup(sys.stderr.fileno()), lambda: _WIDTH - 1)
        with contextlib.closing(line):
            try:
                figures = examine(line, np.random.default_rng())
            finally:
                line.clear()
    else:
        figures = examine(NoProgress(), np.random.default_rng())
    found = check_up(figures)
    yield from doctor_lines(found, colour=sys.stdout.isatty())
    if path is not None:
        content = json.dumps(doctor_json(found), indent=1, allow_nan=False)
        try:
            write_atomically(path, f"{content}\n".encode())
        except OSError as error:
            raise UsageError(f"{path} cannot be written: {error.strerror or error}") from error
