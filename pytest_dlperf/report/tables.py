"""Tables, wrapped lines and shortened lists. The only importer of rich."""

from __future__ import annotations

import io
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.text import Text

    Cell: TypeAlias = str | Text

LINE: Final = 79
"""Columns of a line of text: one less than most terminals have."""
MESSAGE: Final = 72
"""Columns of a message: pytest puts eight in front of a failure."""
_COMMANDS: Final = ("pytest", "git config ")
_QUOTED: Final = "    "


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        heading: its name.
        right: whether its cells are aligned to the right.
        folds: whether a cell that does not fit continues on the next line; else it is cut off.
        min_width: columns of the terminal, without the gap; None if any.
    """

    heading: str
    right: bool = False
    folds: bool = False
    min_width: int | None = None


def styled(text: str, style: str) -> Text:
    """A cell in a colour or a weight, as rich names them."""
    from rich.text import Text

    return Text(text, style=style)


def table(
    columns: Iterable[Column],
    rows: Iterable[Sequence[Cell]],
    width: int,
    *,
    colour: bool,
    header: bool = True,
) -> list[str]:
    """The lines of a table without borders, without trailing blanks.

    Args:
        columns: from left to right.
        rows: a cell for each column; a cell may have several lines.
        width: columns of the terminal.
        colour: whether to emit ANSI colours.
        header: whether the headings are shown.
    """
    from rich.console import Console
    from rich.table import Table

    drawn = Table(
        box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold", show_header=header
    )
    for column in columns:
        drawn.add_column(
            column.heading,
            justify="right" if column.right else "left",
            overflow="fold" if column.folds else "ellipsis",
            no_wrap=not column.folds,
            min_width=column.min_width,
        )
    for row in rows:
        drawn.add_row(*row)
    # Names of tests hold brackets, colons and numbers: nothing in them is mark-up.
    console = Console(
        file=io.StringIO(),
        width=width,
        force_terminal=colour,
        color_system="standard" if colour else None,
        legacy_windows=False,
        highlight=False,
        emoji=False,
        markup=False,
    )
    with console.capture() as capture:
        console.print(drawn)
    return [line.rstrip() for line in capture.get().splitlines()]


def markdown_table(columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table whose cells are Markdown."""
    headings = [column.heading for column in columns]
    marks = ["--:" if column.right else "---" for column in columns]
    return [f"| {' | '.join(row)} |" for row in (headings, marks, *rows)]


def wrap(text: str, first: str = "", rest: str = "  ", width: int = LINE) -> list[str]:
    """Text in lines that fit.

    Args:
        text: line ends in it count as blanks.
        first: what the first line begins with.
        rest: what each further line begins with.
        width: columns of a line.
    """
    # Options and node ids hold hyphens: broken there, they could not be copied.
    return textwrap.wrap(
        text, width, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False
    )


def wrap_labelled(label: str, text: str, label_width: int, width: int = LINE) -> list[str]:
    """Text in lines that fit, to the right of a label of at most `label_width - 1` columns."""
    return wrap(text, f"{label:<{label_width}}", " " * label_width, width)


def wrap_message(message: str) -> list[str]:
    """A sentence, and below it the message's further lines, indented.

    Commands among these stay whole, so that they can be copied; lines that begin with four blanks,
    as the output of a process does, stay as they are.
    """
    sentence, *rest = message.split("\n")
    lines = wrap(sentence, width=MESSAGE)
    for line in rest:
        if line.startswith(_QUOTED):
            lines.append(line.rstrip())
            continue
        further = line.strip()
        command = further.startswith(_COMMANDS)
        lines += [f"  {further}"] if command else wrap(further, "  ", "    ", MESSAGE)
    return lines


def limited(items: Sequence[str], limit: int) -> list[str]:
    """The first items, and how many more there are."""
    more = [f"and {len(items) - limit} more"] if len(items) > limit else []
    return [*items[:limit], *more]
