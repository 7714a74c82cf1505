"""Where baselines come from, as the option says it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_dlperf.config.baseline_source import (
    FILES,
    BaselineSource,
    parse_baseline_source,
)
from pytest_dlperf.errors import UsageError


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("files", FILES),
        ("history:main", BaselineSource(in_history=True, branch="main")),
        ("history:feature/x-1", BaselineSource(in_history=True, branch="feature/x-1")),
        ("history:a:b", BaselineSource(in_history=True, branch="a:b")),
        ("history:merge-base", BaselineSource(in_history=True)),
    ],
)
def test_what_can_be_said(text: str, source: BaselineSource) -> None:
    """Three forms, each of which reads back as it is written."""
    assert parse_baseline_source(text, "--dlperf-baseline") == source
    assert str(source) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "file",
        "Files",
        "files:main",
        "history",
        "history:",
        "history: main",
        "history:-x",
        "history:a b",
        "main",
        "history:a\n",
    ],
)
def test_what_cannot_be_said(text: str) -> None:
    """It is refused with the forms that there are."""
    with pytest.raises(UsageError) as caught:
        parse_baseline_source(text, "--dlperf-baseline")
    assert caught.value.problem == f"--dlperf-baseline={text!r}"
    assert "history:BRANCH" in caught.value.hint


@given(st.text("abc/-._:é", min_size=1).filter(lambda name: not name.startswith("-")))
def test_any_branch_that_git_allows(name: str) -> None:
    """A branch is whatever it is called; one called merge-base cannot be named."""
    source = parse_baseline_source(f"history:{name}", "")

    assert source == BaselineSource(in_history=True, branch="" if name == "merge-base" else name)
    assert str(source) == f"history:{name}"
