"""The program `pytest-dlperf`: look at baselines, reports and the machine without any test."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from typing import TYPE_CHECKING, Final

from pytest_dlperf.baselines.cli import BASELINES
from pytest_dlperf.doctor.cli import DOCTOR
from pytest_dlperf.errors import DlperfError
from pytest_dlperf.history.cli import COMPARE, HISTORY
from pytest_dlperf.report.json_report import REPORT
from pytest_dlperf.tuning.cli import TUNE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import TypeAlias

    from pytest_dlperf._command import Command, CommandResult

    _Commands: TypeAlias = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001

_COMMANDS: Final = (BASELINES, COMPARE, HISTORY, REPORT, DOCTOR, TUNE)
_INTERRUPTED: Final = 128 + signal.SIGINT  # as shells have it


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit status.

    0, 1 where a command was asked to fail and there is reason to, 2 for what cannot be used, 130
    after Ctrl-C.
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
    try:
        for line in lines:
            sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has seen enough; Python must not try to flush again when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _add(commands: _Commands, command: Command) -> None:
    one = commands.add_parser(command.name, help=command.help, description=command.help)
    command.arguments(one)
    one.set_defaults(run=command.run)
    if command.parts:
        parts = one.add_subparsers(metavar="COMMAND")
        for part in command.parts:
            _add(parts, part)
