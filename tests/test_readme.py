"""The README: its test runs as it stands, and its tables are complete."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

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


def test_workflows_are_whole_files() -> None:
    """The files for GitHub Actions and GitLab CI have a duel for changes, and record the rest."""
    blocks = re.findall(r"^```yaml\n(.*?)^```", README, re.MULTILINE | re.DOTALL)

    github, gitlab = map(yaml.safe_load, blocks)

    jobs = github["jobs"]
    by_job = {name: str(job["steps"]) for name, job in jobs.items()}
    duel, record = "--dlperf-against=", "--dlperf-update=new --dlperf-update-in-ci"
    assert duel in by_job["duel"]
    assert record in by_job["record"]
    assert jobs["duel"]["steps"][0]["with"] == {"fetch-depth": 0}
    assert gitlab["variables"] == {"GIT_DEPTH": 0}
    assert duel in gitlab["duel"]["script"][0]
    assert record in gitlab["record"]["script"][0]
    for job in ("duel", "record"):
        assert "--dlperf-metrics=metrics.txt" in gitlab[job]["script"][0]
        assert gitlab[job]["artifacts"]["reports"]["metrics"] == "metrics.txt"


@pytest.mark.parametrize("option", sorted(set(re.findall(r"--dlperf-[a-z-]+", README))))
def test_every_option_that_is_named_exists(option: str) -> None:
    """No example has an option that pytest would refuse."""
    assert option.removeprefix("--dlperf-").replace("-", "_") in specs()


@pytest.mark.parametrize("word", [*METRICS, *Verdict])
def test_every_metric_and_verdict_is_explained(word: str) -> None:
    """Each metric and each verdict has its place in a table."""
    assert f"`{word}`" in README
