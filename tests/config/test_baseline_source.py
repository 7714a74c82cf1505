"""Basis: where baselines come from, as the option says it."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_dlperf.config.baseline_source import (
    FILES,
    OF_FILES,
    BaselineSource,
    advice_of_history,
    parse_baseline_source,
)
from pytest_dlperf.errors import UsageError


@pytest.mark.parametrize(
    ("text", "basis"),
    [
        ("files", FILES),
        ("history:main", BaselineSource(in_history=True, branch="main")),
        ("history:feature/x-1", BaselineSource(in_history=True, branch="feature/x-1")),
        ("history:a:b", BaselineSource(in_history=True, branch="a:b")),
        ("history:merge-base", BaselineSource(in_history=True)),
    ],
)
def test_what_can_be_said(text: str, basis: BaselineSource) -> None:
    """Three forms, each of which reads back as it is written."""
    assert parse_baseline_source(text, "--dlperf-baseline") == basis
    assert str(basis) == text


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
    basis = parse_baseline_source(f"history:{name}", "")

    assert basis == BaselineSource(in_history=True, branch="" if name == "merge-base" else name)
    assert str(basis) == f"history:{name}"


def test_ways_of_files() -> None:
    """Each is a command that the reader can give."""
    texts = dataclasses.astuple(OF_FILES)[:-1]
    assert all("--dlperf-update=" in text for text in texts)
    assert OF_FILES.ratchets


def test_ways_of_a_history() -> None:
    """No option records there: a run does, if it is of the right code."""
    here, elsewhere = (
        advice_of_history("branch main", ""),
        advice_of_history("branch main", "it is not"),
    )

    for ways in (here, elsewhere):
        assert not any("--dlperf-update" in str(text) for text in dataclasses.astuple(ways))
    assert "the next run is compared with this one" in here.record
    assert elsewhere.record == "run it on branch main with the same --dlperf-history"
    assert (here.ratchets, elsewhere.ratchets) == (True, False)
