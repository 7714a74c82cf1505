"""Reads arrival times from CSV files; a module of its own because it does I/O."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_dlperf.errors import UsageError
from pytest_dlperf.load.scenarios import Trace, checked_times

if TYPE_CHECKING:
    from pytest_dlperf.load.scenarios import Scenario


def with_times(scenario: Scenario) -> Scenario:
    """The scenario, with the times of a trace instead of its file; raises as `read_times`."""
    match scenario:
        case Trace(str() as path):
            return Trace(read_times(Path(path)))
        case _:
            return scenario


def read_times(path: Path) -> tuple[float, ...]:
    """The first column of a CSV file, in seconds from the start.

    Raises:
        UsageError: if the file cannot be read, or a line holds no time.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            cells = [row[0].strip() for row in csv.reader(file) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"Trace({str(path)!r}) cannot be read: {error}") from None
    if cells and not _is_number(cells[0]):
        cells = cells[1:]
    return checked_times(cells, f"Trace({str(path)!r})")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
