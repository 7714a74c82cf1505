"""Command: what every command of the program is, as values."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


WIDTH: Final = 80
"""Columns of what is printed."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command.

    Attributes:
        name: as it is called.
        help: one sentence.
        arguments: adds what it takes to its parser.
        run: what it does with what was given: yields its lines as they come, and returns its exit
            status.
        parts: commands of its own, which are called in its place.
    """

    name: str
    help: str
    arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], CommandResult]
    parts: tuple[Command, ...] = ()


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What a command came to.

    Attributes:
        lines: to print, in turn.
        status: asks for the exit status once all lines are printed.
    """

    lines: Iterable[str]
    status: Callable[[], int] = lambda: 0


def add_rootdir(parser: argparse.ArgumentParser) -> None:
    """Let a command take it; it may stand before the name of the command's part, or after."""
    parser.add_argument(
        "--rootdir",
        type=Path,
        # What is not given must not cover what was given before the part's name.
        default=argparse.SUPPRESS,
        metavar="DIR",
        help="pytest's root folder; default: the current one",
    )


def rootdir(given: argparse.Namespace) -> Path:
    """What was given, else the current folder."""
    root: Path = getattr(given, "rootdir", Path())
    return root
