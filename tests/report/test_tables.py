"""Tables, wrapped lines and shortened lists."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_dlperf.report.tables import (
    MESSAGE,
    Column,
    limited,
    markdown_table,
    styled,
    table,
    wrap,
    wrap_labelled,
    wrap_message,
)

COLUMNS = (Column("left", folds=True), Column("right", right=True))
_WORDS = st.text(alphabet="ab[]/:red*_ ", min_size=1, max_size=40)


def test_columns_are_aligned() -> None:
    """A gap of two, numbers to the right, a cell of several lines, and nothing cut off."""
    lines = table(COLUMNS, [("a", "1"), ("a longer name", "12,345\nof 9")], 80, colour=False)
    assert lines == [
        "left            right",
        "a                   1",
        "a longer name  12,345",
        "                 of 9",
    ]
    assert table(COLUMNS, [("a", "1")], 80, colour=False, header=False) == ["a  1"]
    wide = (Column("left", min_width=10), Column("right"))
    assert table(wide, [("a", "1")], 80, colour=False)[1] == "a           1"


@given(st.lists(st.tuples(_WORDS, _WORDS), max_size=4), st.integers(20, 100))
def test_tables_fit(rows: list[tuple[str, str]], width: int) -> None:
    """No line is longer than the width, and none ends in blanks."""
    lines = table(COLUMNS, rows, width, colour=False)
    assert lines
    for line in lines:
        assert len(line) <= width
        assert line == line.rstrip()


@pytest.mark.parametrize("width", [40, 120])
def test_the_width_is_the_callers(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    """The terminal's width does not matter; what folds takes all of the caller's."""
    monkeypatch.setenv("COLUMNS", "60")
    lines = table(COLUMNS, [("word " * 100, "1")], width, colour=False)
    assert width - 6 < max(map(len, lines)) <= width


@pytest.mark.parametrize("text", ["test_a[red]", "[/]", "[bold]x[/bold]", ":smile:", "1e-3 'x'"])
def test_text_is_not_markup(text: str) -> None:
    """Brackets and colons of a test's name are shown as they are."""
    assert any(text in line for line in table(COLUMNS, [(text, "1")], 80, colour=False))


@pytest.mark.parametrize("terminal", ["xterm-256color", "dumb", ""])
def test_colours_are_the_callers_choice(monkeypatch: pytest.MonkeyPatch, terminal: str) -> None:
    """Neither the terminal nor the environment changes it."""
    monkeypatch.setenv("TERM", terminal)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    row = ("a", styled("FAIL", "red"))
    assert table(COLUMNS, [row], 80, colour=False, header=False) == ["a  FAIL"]
    assert table(COLUMNS, [row], 80, colour=True, header=False) == ["a  \x1b[31mFAIL\x1b[0m"]


def test_markdown_table() -> None:
    """Columns to the right are marked."""
    assert markdown_table(COLUMNS, [("`a`", "1")]) == [
        "| left | right |",
        "| --- | --: |",
        "| `a` | 1 |",
    ]


def test_wrap() -> None:
    """Further lines are indented; words with hyphens stay whole, and line ends are blanks."""
    text = "pytest --dlperf-against=main\nand so on"
    assert wrap(text, width=24) == ["pytest", "  --dlperf-against=main", "  and so on"]
    assert wrap("a b c", "- ", "   ", 5) == ["- a b", "   c"]


def test_wrap_labelled() -> None:
    """All lines of the text begin in the same column."""
    assert wrap_labelled("base", "main: branch", 11, 18) == [
        "base       main:",
        "           branch",
    ]


def test_commands_of_a_message_stay_whole() -> None:
    """They can be copied; other lines are wrapped, and all but the first are indented."""
    command = "pytest-dlperf baselines anchor " + "tests/some_folder/" * 8 + "test_model.py::test"
    message = f"{'word ' * 30}\n{command}\n{'further ' * 20}"

    lines = wrap_message(message)

    assert f"  {command}" in lines
    assert all(len(line) <= MESSAGE for line in lines if command not in line)
    assert all(line.startswith("  ") for line in lines[1:])
    assert " ".join(" ".join(lines).split()) == " ".join(message.split())


def test_quoted_lines_stay_as_they_are() -> None:
    """What a process wrote, however long its lines are, and aligned as they were."""
    quoted = ["    >   assert one == two" + 20 * "  wide", "    E     +  where   one = 1", ""]
    lines = wrap_message("\n".join(["it last wrote:", *quoted, "a hint " * 20]))
    assert lines[: len(quoted)] == ["it last wrote:", *quoted[:2]]
    assert max(map(len, lines[len(quoted) :])) <= MESSAGE


@pytest.mark.parametrize(
    ("items", "shown"),
    [
        ([], []),
        (["a", "b"], ["a", "b"]),
        (["a", "b", "c", "d"], ["a", "b", "and 2 more"]),
    ],
)
def test_limited(items: list[str], shown: list[str]) -> None:
    """The first ones, and how many more there are."""
    assert limited(items, 2) == shown
