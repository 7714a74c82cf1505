"""Rendering: rich objects as lines of plain text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table
from rich.text import Text

from pytest_dlperf.report.tables import render

_WORDS = st.text(alphabet="ab[]/:red*_ ", min_size=1, max_size=40)


def _table(*rows: tuple[str, str]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("left", overflow="fold")
    table.add_column("right", justify="right")
    for row in rows:
        table.add_row(*row)
    return table


@given(st.lists(st.tuples(_WORDS, _WORDS), max_size=4), st.integers(20, 100))
def test_lines_fit(rows: list[tuple[str, str]], width: int) -> None:
    """No line is longer than the width, and none ends in blanks."""
    lines = render(_table(*rows), width, colour=False)
    assert lines
    for line in lines:
        assert len(line) <= width
        assert line == line.rstrip()


@pytest.mark.parametrize("text", ["test_a[red]", "[/]", "[bold]x[/bold]", ":smile:", "1e-3 'x'"])
def test_text_is_not_markup(text: str) -> None:
    """Brackets and colons of a test's name are shown as they are."""
    assert any(text in line for line in render(_table((text, "1")), 80, colour=False))


@pytest.mark.parametrize("terminal", ["xterm-256color", "dumb", ""])
def test_colour_is_asked_for(monkeypatch: pytest.MonkeyPatch, terminal: str) -> None:
    """There are colours if the caller says so, whatever the terminal and the environment say."""
    monkeypatch.setenv("TERM", terminal)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    plain = render(Text("FAIL", style="red"), 80, colour=False)
    assert plain == ["FAIL"]
    (coloured,) = render(Text("FAIL", style="red"), 80, colour=True)
    assert coloured.startswith("\x1b[31m")
    assert "FAIL" in coloured


@pytest.mark.parametrize("width", [40, 120])
def test_width_is_the_callers(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    """The width is the one asked for, not the terminal's."""
    monkeypatch.setenv("COLUMNS", "60")
    assert max(map(len, render(Text("word " * 100), width, colour=False))) > width - 6
    assert max(map(len, render(Text("word " * 100), width, colour=False))) <= width
