"""`pytest-dlperf report`: what `--dlperf-json` wrote, as pytest's summary shows it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_dlperf._command import WIDTH, Command, Outcome
from pytest_dlperf.report.json_report import read_report
from pytest_dlperf.report.terminal import summary_lines

if TYPE_CHECKING:
    import argparse


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path)


def _report_lines(path: Path) -> list[str]:
    return summary_lines(read_report(path).records, WIDTH, colour=sys.stdout.isatty())


def _run(given: argparse.Namespace) -> Outcome:
    return Outcome(_report_lines(given.file))


REPORT: Final = Command("report", "show what --dlperf-json wrote", _arguments, _run)
