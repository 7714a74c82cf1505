"""Where the dlperf marker of a test stands."""

from __future__ import annotations

import pytest

from pytest_dlperf.report.github import marker_line

SOURCE = """\
import pytest

@pytest.mark.slow
@pytest.mark.dlperf(
    "p99 <= 1s",
)
def test_marked(dlperf):
    pass

@pytest.mark.slow
def test_unmarked(dlperf):
    pass

class TestThings:
    @mark.dlperf
    async def test_inner(self, dlperf):
        pass

def test_plain(dlperf):
    pass
"""


@pytest.mark.parametrize(
    ("first", "line"),
    [
        pytest.param(3, 4, id="below another decorator"),
        pytest.param(10, 11, id="no marker of its own: its def"),
        pytest.param(15, 15, id="in a class"),
        pytest.param(19, 19, id="no decorator"),
        pytest.param(1, 1, id="no test is there"),
        pytest.param(99, 99, id="beyond the end"),
    ],
)
def test_marker_line(first: int, line: int) -> None:
    """From the line that pytest tells, to the one that a reader looks for."""
    assert marker_line(SOURCE, first) == line


@pytest.mark.parametrize("source", ["def (", "\0", ""])
def test_what_is_no_python(source: str) -> None:
    """A file that has changed meanwhile is no reason to fail."""
    assert marker_line(source, 7) == 7
