"""Output for other programs when a run ends: a file of metrics, GitHub's pages."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from duel_projects import simulate_workers
from plugin_projects import text
from prometheus_client.openmetrics.parser import text_string_to_metric_families

if TYPE_CHECKING:
    from pathlib import Path

    from plugin_projects import Run


ONE = """
@pytest.mark.slow
@pytest.mark.dlperf(
    "p99 <= 10s", "throughput >= 0.5 * baseline", **SHORT)
def test_it(dlperf):
    dlperf(identity, DATA)
"""
BAD = """
@pytest.mark.parametrize("a", ["x,y"])
@pytest.mark.dlperf("p99 <= 1ns", **SHORT)
def test_bad(dlperf, a):
    dlperf(identity, DATA)
"""
MARKER = ("-W", "ignore::pytest.PytestUnknownMarkWarning")


@pytest.fixture
def summary(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a step's summary, as under GitHub Actions; the repository is one folder up."""
    path = pytester.path / "summary.md"
    path.write_text("earlier\n")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(path))
    monkeypatch.setenv("GITHUB_WORKSPACE", str(pytester.path.parent))
    return path


def commands(result: pytest.RunResult) -> list[str]:
    """The workflow commands that a run printed."""
    return [line for line in result.outlines if line.startswith("::")]


def line_of(pytester: pytest.Pytester, part: str) -> int:
    """The line of the test module that has a text."""
    lines = (pytester.path / "test_module.py").read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if part in line)


def test_github(run: Run, pytester: pytest.Pytester, summary: Path) -> None:
    """Under Actions a run has a summary, and one error at the marker of each failed test."""
    result = run(ONE + BAD, *MARKER)

    result.assert_outcomes(passed=1, failed=1)
    (error,) = commands(result)
    file = f"{pytester.path.name}/test_module.py"
    line = line_of(pytester, 'dlperf("p99 <= 1ns"')
    assert error.startswith(
        f"::error file={file},line={line},title=dlperf%3A test_bad[x%2Cy]::p99 <= 1ns: FAIL; "
    )
    shown = summary.read_text()
    assert shown.startswith("earlier\n### dlperf: ")
    assert shown.count("### dlperf: ") == 1
    assert "| `test_it` |" in shown
    assert "#### FAIL: `test_module.py::test_bad[x,y]`" in shown
    assert "| `p99 <= 1ns` |" in shown


@pytest.mark.subprocess
def test_one_xdist_worker(
    run: Run, pytester: pytest.Pytester, summary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A single worker may measure; the controller writes all output, once."""
    simulate_workers(monkeypatch)  # a verdict on this machine's own time may be INCONCLUSIVE
    files = ("--junitxml=junit.xml", "--dlperf-metrics=out.prom", "--dlperf-json=out.json")
    result = run(ONE + BAD, *MARKER, "-p", "simulated_time", "-p", "xdist", "-n1", *files)

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.re_match_lines([r"test_it .*NEW"])
    assert [line.partition(" ")[0] for line in commands(result)] == ["::error"]
    assert summary.read_text().count("### dlperf: ") == 1
    assert len(read(pytester.path / "out.prom")["dlperf_verdict"]) == 2
    assert len(json.loads((pytester.path / "out.json").read_text())["measurements"]) == 2
    assert (pytester.path / "junit.xml").read_text().count("dlperf.verdict") == 2


def test_markers_decide_about_open_budgets(run: Run, summary: Path) -> None:
    """A missing baseline is shown as the test's marker takes it: not, as a warning or an error."""
    source = "".join(
        ONE.replace("**SHORT", f'missing="{missing}", **SHORT').replace(
            "test_it", f"test_{missing}"
        )
        for missing in ("pass", "warn", "fail")
    )

    result = run(source, *MARKER)

    result.assert_outcomes(passed=2, failed=1)
    assert [line.partition(" ")[0] for line in commands(result)] == ["::warning", "::error"]
    assert "| `test_pass` |" in summary.read_text()


def test_without_github(
    run: Run, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without GITHUB_ACTIONS nothing is printed or written for GitHub."""
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(pytester.path / "summary.md"))

    result = run(BAD)

    result.assert_outcomes(failed=1)
    assert not commands(result)
    assert not (pytester.path / "summary.md").exists()


def test_runs_without_measurements_print_nothing(run: Run, summary: Path) -> None:
    """An ordinary suite under Actions is left alone, and so is collecting."""
    plain = run("def test_plain(): pass")
    collected = run(BAD, "--collect-only")

    assert not commands(plain)
    assert not commands(collected)
    assert summary.read_text() == "earlier\n"


def test_a_summary_that_cannot_be_written(
    run: Run, monkeypatch: pytest.MonkeyPatch, summary: Path
) -> None:
    """The run's results and exit status stay, with a message."""
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary.parent))

    result = run(BAD)

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["GITHUB_STEP_SUMMARY=*: it cannot be written: *"])
    assert len(commands(result)) == 1


def read(path: Path) -> dict[str, list[tuple[dict[str, str], float]]]:
    """The samples of a file of metrics, without their scenarios."""
    return {
        family.name: [
            (
                {name: sample.labels[name] for name in sample.labels if name != "scenario"},
                sample.value,
            )
            for sample in family.samples
        ]
        for family in text_string_to_metric_families(path.read_text())
    }


def test_metrics_file(run: Run, pytester: pytest.Pytester) -> None:
    """`--dlperf-metrics` has each metric of each test, whatever its verdict."""
    run(ONE + BAD, *MARKER, "--dlperf-metrics=deep/out.prom")

    metrics = read(pytester.path / "deep/out.prom")
    ok, bad = "test_module.py::test_it", "test_module.py::test_bad[x,y]"
    assert [labels["test"] for labels, _ in metrics["dlperf_throughput_per_second"]] == [ok, bad]
    assert all(value > 0 for _, value in metrics["dlperf_p99_seconds"])
    assert metrics["dlperf_verdict"] == [
        ({"test": ok, "verdict": "NEW"}, 1.0),
        ({"test": bad, "verdict": "FAIL"}, 1.0),
    ]


def test_metrics_file_from_the_ini_file(run: Run, pytester: pytest.Pytester) -> None:
    """The option has its ini twin."""
    pytester.makeini("[pytest]\ndlperf_metrics = out.prom")

    run(ONE, *MARKER)

    assert "dlperf_p99_seconds" in read(pytester.path / "out.prom")


@pytest.mark.parametrize("option", ["--dlperf-metrics", "--dlperf-json"])
def test_files_that_cannot_be_written(run: Run, pytester: pytest.Pytester, option: str) -> None:
    """Nothing is measured; results whose file was in order at the start are shown all the same."""
    (pytester.path / "out").mkdir()
    for path, reason in (("/proc/nowhere/out", "cannot be written"), ("out", "is a folder")):
        result = run(ONE, *MARKER, f"{option}={path}")
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        assert "passed" not in text(result)
        assert f"{path} {reason}" in text(result)

    became_a_folder = f"import os; os.makedirs({str(pytester.path / 'file')!r})"
    result = run(f"{ONE}\ndef test_last():\n    {became_a_folder}\n", *MARKER, f"{option}=file")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.assert_outcomes(passed=2)
    assert "file cannot be written: Is a directory" in text(result)


def test_files_of_an_earlier_run(run: Run, pytester: pytest.Pytester) -> None:
    """`--collect-only` leaves them alone; a run that measured nothing empties them."""
    metrics, report = (pytester.path / name for name in ("out.prom", "out.json"))
    options = ("--dlperf-metrics=out.prom", "--dlperf-json=out.json")
    for path in (metrics, report):
        path.write_text("old")

    run(ONE, *MARKER, *options, "--collect-only")
    assert metrics.read_text() == report.read_text() == "old"

    run("def test_plain(): pass", *options).assert_outcomes(passed=1)
    assert metrics.read_text() == "# EOF\n"
    assert json.loads(report.read_text())["measurements"] == []
