"""Command: what every command of the program is, as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import argparse
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
    run: Callable[[argparse.Namespace], Outcome]
    parts: tuple[Command, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command came to.

    Attributes:
        lines: to print, in turn.
        status: asks for the exit status once all lines are printed.
    """

    lines: Iterable[str]
    status: Callable[[], int] = lambda: 0
