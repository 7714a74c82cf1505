"""Traces: arrival times from files, or an error that names the line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_dlperf.errors import UsageError
from pytest_dlperf.load.trace_files import read_times

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    "text",
    ["0\n0.5\n2\n", "time,user\n0,a\n0.5,b\n2,c\n", '"0"\r\n" 0.5"\r\n\r\n2\r\n'],
    ids=["bare", "heading", "quoted"],
)
def test_the_first_column_holds_the_times(tmp_path: Path, text: str) -> None:
    """With or without a heading and further columns."""
    path = tmp_path / "trace.csv"
    path.write_text(text)

    assert read_times(path) == (0.0, 0.5, 2.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0\nsoon\n", "could not convert string to float: 'soon'"),
        ("0\n2\n1\n", "time 2 is 1, after 2"),
        ("0\n-1\n", "time 1 is -1, after 0"),
        ("0\nnan\n", "time 1 is nan"),
        ("", "there are no times"),
        ("heading\n", "there are no times"),
    ],
)
def test_what_is_no_trace_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """The first line that is wrong is named, with the file."""
    path = tmp_path / "trace.csv"
    path.write_text(text)

    with pytest.raises(UsageError, match=message) as caught:
        read_times(path)
    assert "trace.csv" in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """A missing file is a usage error."""
    with pytest.raises(UsageError, match=r"nowhere\.csv.*cannot be read"):
        read_times(tmp_path / "nowhere.csv")
