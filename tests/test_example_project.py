"""The example project tells its story: record, pass, slower is red, worse is red."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.tensorflow

PROJECT = Path(__file__).parent.parent / "example_project"
TESTS = "test_closed_loop", "test_open_loop", "test_accuracy", "test_full_batches"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the example project with a recorded baseline."""
    copy = copied(tmp_path_factory.mktemp("example"))
    status, verdicts = run(copy, "--dlperf-update=new")
    assert status == 0
    assert verdicts["test_closed_loop", "throughput"] == {"NEW"}
    assert len(list(copy.glob(".dlperf/baselines/*/*.json"))) == len(TESTS)
    return copy


def copied(folder: Path) -> Path:
    """A copy of the example project without what earlier runs left in it."""
    leftovers = shutil.ignore_patterns(".dlperf", ".pytest_cache")
    return Path(shutil.copytree(PROJECT, folder / "project", ignore=leftovers))


def run(
    project: Path, *options: str, units: int | None = None
) -> tuple[int, dict[tuple[str, str], set[str]]]:
    """Exit status, and the verdicts of each test and metric."""
    variables = {name: value for name, value in os.environ.items() if name != "CI"}
    if units is not None:
        variables["DIGITS_UNITS"] = str(units)
    report = project / "report.json"
    command = [sys.executable, "-m", "pytest", "-q", "--dlperf-duration=2s"]
    done = subprocess.run(  # noqa: S603 - our own pytest
        [*command, f"--dlperf-json={report}", *options],
        cwd=project,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in {0, 1}, done.stdout + done.stderr
    verdicts: dict[tuple[str, str], set[str]] = {}
    for measurement in json.loads(report.read_text())["measurements"]:
        for verdict in measurement["verdicts"]:
            key = measurement["test"].rsplit("::", 1)[-1], verdict["metric"]
            verdicts.setdefault(key, set()).add(verdict["verdict"])
    return done.returncode, verdicts


def test_unchanged_code_passes(project: Path) -> None:
    """The same model again: nothing is red."""
    status, verdicts = run(project)

    assert status == 0
    assert {test for test, _ in verdicts} == set(TESTS)
    assert "FAIL" not in set().union(*verdicts.values())


def test_a_wider_model_fails_on_throughput_only(project: Path) -> None:
    """12,000 units: slower, and as accurate as before."""
    status, verdicts = run(project, units=12_000)

    assert status == 1
    assert verdicts["test_closed_loop", "throughput"] == {"FAIL"}
    assert "FAIL" not in verdicts["test_accuracy", "accuracy"]


def test_a_narrow_model_fails_on_accuracy_only(project: Path) -> None:
    """2 units: faster, and wrong."""
    status, verdicts = run(project, units=2)

    assert status == 1
    assert "FAIL" in verdicts["test_accuracy", "accuracy"]
    assert "FAIL" not in verdicts["test_closed_loop", "throughput"]


def test_each_test_runs_on_each_device(tmp_path: Path) -> None:
    """Two logical CPUs: every test on both, as accurate there, and a GPU that is absent skipped."""
    project = copied(tmp_path)
    options = ["--dlperf-devices=all,gpu:99", "--dlperf-logical-cpus=2", "--dlperf-duration=0.5s"]
    status, verdicts = run(project, *options)

    assert status == 0
    devices = ("cpu:0", "cpu:1")
    assert {test for test, _ in verdicts} == {f"{test}[{on}]" for test in TESTS for on in devices}
    for on in devices:
        assert verdicts[f"test_accuracy[{on}]", "accuracy"] == {"PASS", "NEW"}
