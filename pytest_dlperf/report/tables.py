"""Rendering: rich tables as plain text."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import RenderableType


def render(renderable: RenderableType, width: int, *, colour: bool) -> list[str]:
    """The lines of a rich object, without trailing blanks.

    Args:
        renderable: what to draw.
        width: columns.
        colour: whether to emit ANSI colours.
    """
    from rich.console import Console

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
        console.print(renderable)
    return [line.rstrip() for line in capture.get().splitlines()]
