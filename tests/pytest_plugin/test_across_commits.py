"""Across commits, end to end: the program reads what runs of pytest have recorded."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from git_repositories import git

from pytest_dlperf.cli import main

if TYPE_CHECKING:
    import pytest
    from plugin_projects import Run

MODULE = """
def slow(batch):
    spend({seconds})
    return np.eye(4, dtype="float32")[batch.argmax(axis=1)]

def test_speed(dlperf):
    dlperf(slow, DATA, **SHORT)
"""


def test_from_runs_to_verdicts(
    pytester: pytest.Pytester, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of two commits one is ten times as slow: files and history agree that it is a loss."""
    git(pytester.path, "init", "-q", "-b", "main")
    commits = []
    for seconds in (0.002, 0.02):
        pytester.makepyfile(module=f"SECONDS = {seconds}")
        git(pytester.path, "add", "module.py")
        git(pytester.path, "commit", "-q", "-m", "a commit")
        commits.append(git(pytester.path, "rev-parse", "HEAD").strip())
        result = run(MODULE.format(seconds=seconds), f"--dlperf-json={seconds}.json")
        result.assert_outcomes(passed=1)
    capsys.readouterr()
    root = ["--rootdir", str(pytester.path)]

    verdicts = {}
    for base, candidate in ((commits[0], commits[1]), ("0.002.json", "0.02.json")):
        words = ["compare", base, candidate, "--metric", "throughput", "--metric", "accuracy"]
        status = main([*words, "--format", "json", "--fail-on", "regression", *root])
        (measurement,) = json.loads(capsys.readouterr().out)["measurements"]
        verdicts[base] = status, {row["metric"]: row["verdict"] for row in measurement["metrics"]}
    status = main(["compare", "main", "latest", *root])
    shown = capsys.readouterr().out

    expected = (1, {"throughput": "FAIL", "accuracy": "PASS"})
    assert set(map(str, verdicts.values())) == {str(expected)}
    assert status == 0
    assert "main: branch, 1 session up to " in shown
    assert main(["history", "speed", "--metric", "throughput", *root]) == 0
    assert "2 of 10 runs: too few" in " ".join(capsys.readouterr().out.split())
