"""Lines of ours in pytest's report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_dlperf.report.characters import printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pytest


def write_lines(reporter: pytest.TerminalReporter, lines: Iterable[str], **markup: bool) -> None:
    """Write lines to the terminal, which may lack some of their characters.

    pytest would escape the whole line.
    """
    file = reporter._tw._file  # noqa: SLF001 - the only way to its encoding
    for line in lines:
        reporter.write_line(printable(line, getattr(file, "encoding", None)), **markup)
