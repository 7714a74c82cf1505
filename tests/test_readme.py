"""The README: its test runs as it stands, and its tables are complete."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pytest_dlperf.core.metrics import METRICS
from pytest_dlperf.core.options import specs
from pytest_dlperf.core.verdict import Verdict

README = (Path(__file__).parent.parent / "README.md").read_text()


def code_block(language: str) -> str:
    """The first block in a language."""
    match = re.search(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    assert match is not None
    return match[1]


@pytest.mark.tensorflow
def test_the_copied_test_runs(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a reader copies passes in an empty folder; a smoke run keeps this one short."""
    monkeypatch.delenv("CI", raising=False)
    pytester.makepyfile(test_copied=code_block("python"))

    result = pytester.runpytest_subprocess("--strict-markers", "--dlperf-quick")

    result.assert_outcomes(passed=1)
    result.stdout.re_match_lines([r"measurement .*verdict", r"test_digits_under_load .*PASS"])


@pytest.mark.parametrize("option", [n for n, spec in specs().items() if spec.kind != "value"])
def test_every_option_is_explained(option: str) -> None:
    """Each option has its place in the table."""
    assert f"`--dlperf-{option.replace('_', '-')}" in README


@pytest.mark.parametrize("word", [*METRICS, *Verdict])
def test_every_metric_and_verdict_is_explained(word: str) -> None:
    """Each metric and each verdict has its place in a table."""
    assert f"`{word}`" in README
