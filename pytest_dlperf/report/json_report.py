"""Report files: reading what `--dlperf-json` wrote, and `pytest-dlperf report`."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_dlperf._command import WIDTH, Command, CommandResult
from pytest_dlperf.errors import UsageError
from pytest_dlperf.report.terminal import summary_lines
from pytest_dlperf.results.codec import MisplacedValueError, as_list, at
from pytest_dlperf.results.record import SCHEMA, record_from_json

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

from pytest_dlperf.results.record import Record

_HINT: Final = "expected a file that pytest --dlperf-json wrote"
UNREADABLE: Final = (AttributeError, KeyError, OverflowError, RecursionError, TypeError, ValueError)
"""What reading values of another shape raises."""

_LARGEST: Final = 256 << 20


@dataclass(frozen=True, slots=True)
class ReportFile:
    """A report file.

    Attributes:
        records: its measurements.
        content: all of it, as plain values.
    """

    records: tuple[Record, ...]
    content: dict[str, Any]


def read_report(path: Path) -> ReportFile:
    """Read a report file.

    Raises:
        UsageError: if it cannot be read, is damaged, or was written by a newer version.
    """
    try:
        if path.stat().st_size > _LARGEST:
            raise UsageError(f"{path} is far too large for a report", _HINT)
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}", _HINT) from error
    except (RecursionError, ValueError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"{path} is no JSON: {error}", _HINT) from error
    schema = content.get("schema") if isinstance(content, dict) else None
    if isinstance(schema, int) and schema > SCHEMA:
        raise UsageError(f"{path} was written by a newer pytest-dlperf", "upgrade pytest-dlperf")
    try:
        records = tuple(_records(content["measurements"]))
    except UNREADABLE as error:
        raise damaged(path, error) from error
    return ReportFile(records, content)


def _records(values: list[dict[str, Any]]) -> Iterator[Record]:
    with at("measurements"):
        for number, value in enumerate(as_list(values)):
            with at(number):
                yield record_from_json(value)


def damaged(path: Path, error: Exception) -> UsageError:
    """The error of a file whose values have another shape."""
    if isinstance(error, MisplacedValueError):
        return UsageError(f"{path} is damaged: {error}", _HINT)
    return UsageError(f"{path} is no report: {type(error).__name__}: {error}", _HINT)


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path)


def _run(given: argparse.Namespace) -> CommandResult:
    records = read_report(given.file).records
    return CommandResult(summary_lines(records, WIDTH, colour=sys.stdout.isatty()))


REPORT: Final = Command("report", "show what --dlperf-json wrote", _arguments, _run)
