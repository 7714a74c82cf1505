"""`pytest-dlperf report`: what `--dlperf-json` wrote, as pytest's summary shows it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_dlperf.commands.command import WIDTH, Command, Outcome
from pytest_dlperf.core.record import SCHEMA, record_from_json
from pytest_dlperf.errors import UsageError
from pytest_dlperf.reports.terminal import summary_lines

if TYPE_CHECKING:
    import argparse


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path)


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
    return summary_lines(records, WIDTH, colour=sys.stdout.isatty())


def _run(given: argparse.Namespace) -> Outcome:
    return Outcome(_report_lines(given.file))


REPORT: Final = Command("report", "show what --dlperf-json wrote", _arguments, _run)
