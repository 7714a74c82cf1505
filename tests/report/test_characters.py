"""Characters that a terminal cannot show."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_dlperf.report.characters import printable

SPARKLINE = "▁▂▃▄▅▆▇█"


@pytest.mark.parametrize(
    ("text", "encoding", "expected"),
    [
        ("±1 µs → ≤ 3", "utf-8", "±1 µs → ≤ 3"),
        ("±1 µs → ≤ 3", "latin-1", "±1 µs -> <= 3"),
        ("±1 µs → ≤ 3", "ascii", "+-1 us -> <= 3"),
        (SPARKLINE, "cp1252", "_.-~=+*#"),
        ("test_schön[汉]", "latin-1", "test_schön[?]"),
        ("test_schön[汉]", None, "test_sch?n[?]"),
        ("test_lo…", "no such encoding", "test_lo~"),
        ("a\udcff", "utf-8", "a?"),
    ],
)
def test_characters_are_replaced(text: str, encoding: str | None, expected: str) -> None:
    """Those that the encoding lacks, and no others."""
    assert printable(text, encoding) == expected


@given(
    st.text(st.characters(exclude_categories=[])), st.sampled_from(["ascii", "latin-1", "utf-8"])
)
def test_every_text_can_be_printed(text: str, encoding: str) -> None:
    """Whatever a test is called."""
    assert printable(text, encoding).encode(encoding)[:0] == b""
