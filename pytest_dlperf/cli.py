"""The program `pytest-dlperf`: look at baselines, reports and the machine without any test."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from functools import partial
from typing import TYPE_CHECKING, Final

from pytest_dlperf.baselines.cli import BASELINES
from pytest_dlperf.doctor.cli import DOCTOR
from pytest_dlperf.errors import DlperfError, UsageError
from pytest_dlperf.history.cli import HISTORY
from pytest_dlperf.history.compare_cli import COMPARE
from pytest_dlperf.report.characters import printable
from pytest_dlperf.report.json_report import REPORT
from pytest_dlperf.tuning.cli import TUNE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import TypeAlias

    from pytest_dlperf._command import Command, CommandResult

    _Commands: TypeAlias = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001

_COMMANDS: Final = (BASELINES, COMPARE, HISTORY, REPORT, DOCTOR, TUNE)
_INTERRUPTED: Final = 128 + signal.SIGINT  # as shells do


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program.

    Returns:
        The exit status: 0; 1 if a command was asked to fail on what it found, and found it; 2 for
        unusable arguments or files; 130 after Ctrl-C.
    """
    parser = argparse.ArgumentParser(prog="pytest-dlperf", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in _COMMANDS:
        _add(commands, command)
    given = parser.parse_args(arguments)
    try:
        outcome: CommandResult = given.run(given)
        _print(outcome.lines)
        return outcome.status()
    except DlperfError as error:
        sys.stderr.write(f"pytest-dlperf: {error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("pytest-dlperf: interrupted\n")
        return _INTERRUPTED


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        write = partial(sys.stdout.write, f"{printable(line, sys.stdout.encoding)}\n")
        if not _is_read(write):
            return
    _is_read(sys.stdout.flush)


def _is_read(write: Callable[[], object]) -> bool:
    """Write, and return whether there still is a reader.

    Raises:
        UsageError: if the output cannot be written.
    """
    try:
        write()
    except OSError as error:
        # Python must not flush stdout again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            return False
        raise UsageError(f"the output cannot be written: {error.strerror}") from None
    return True


def _add(commands: _Commands, command: Command) -> None:
    subparser = commands.add_parser(command.name, help=command.help, description=command.help)
    command.arguments(subparser)
    subparser.set_defaults(run=command.run)
    if command.parts:
        parts = subparser.add_subparsers(metavar="COMMAND")
        for part in command.parts:
            _add(parts, part)
