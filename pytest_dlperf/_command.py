"""The type of the commands of the program `pytest-dlperf`, and their `--rootdir`."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


WIDTH: Final = 80
"""Width of the output in columns."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command of the program: adds its arguments to a parser, and runs with the parsed ones.

    Each of its `parts`, subcommands, runs in its place.
    """

    name: str
    help: str
    arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], CommandResult]
    parts: tuple[Command, ...] = ()


@dataclass(frozen=True, slots=True)
class CommandResult:
    """Output of a command, printed as it comes, and the exit status, known after all lines."""

    lines: Iterable[str]
    status: Callable[[], int] = lambda: 0


def add_rootdir(parser: argparse.ArgumentParser) -> None:
    """Add `--rootdir` to a command; it may stand before or after the name of a subcommand."""
    parser.add_argument(
        "--rootdir",
        type=Path,
        # A default would override the value given before the subcommand.
        default=argparse.SUPPRESS,
        metavar="DIR",
        help="pytest's root folder; default: the current one",
    )


def rootdir(given: argparse.Namespace) -> Path:
    """The given root folder, else the current folder."""
    root: Path = getattr(given, "rootdir", Path())
    return root
