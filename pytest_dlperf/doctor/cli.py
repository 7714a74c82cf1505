"""`pytest-dlperf doctor`: how small a loss can be detected on this machine."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_dlperf._command import WIDTH, Command, CommandResult
from pytest_dlperf.errors import UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the result to this file too"
    )


def _doctor_lines(path: Path | None) -> Iterator[str]:
    import numpy as np

    from pytest_dlperf._files import why_unwritable, write_atomically
    from pytest_dlperf.doctor.checkup import check_up
    from pytest_dlperf.doctor.measure import measure_noise
    from pytest_dlperf.doctor.report import doctor_json, doctor_lines
    from pytest_dlperf.report.progress import LineProgress, NoProgress

    if path is not None and (reason := why_unwritable(path)):
        raise UsageError(f"--json {path} {reason}")
    if sys.stderr.isatty():
        line = LineProgress(os.dup(sys.stderr.fileno()), lambda: WIDTH - 1)
        with contextlib.closing(line):
            try:
                measurement = measure_noise(line, np.random.default_rng())
            finally:
                line.clear()
    else:
        measurement = measure_noise(NoProgress(), np.random.default_rng())
    checkup = check_up(measurement)
    yield from doctor_lines(checkup, colour=sys.stdout.isatty())
    if path is not None:
        content = json.dumps(doctor_json(checkup), indent=1, allow_nan=False)
        try:
            write_atomically(path, f"{content}\n".encode())
        except OSError as error:
            raise UsageError(f"{path} cannot be written: {error.strerror or error}") from error


def _run(given: argparse.Namespace) -> CommandResult:
    return CommandResult(_doctor_lines(given.json))


DOCTOR: Final = Command(
    "doctor",
    "measure in 40 s how small a loss can be found on this machine",
    _arguments,
    _run,
)
