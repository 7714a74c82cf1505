"""What other programs are told when a run ends: a file of metrics, GitHub's pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from duel_projects import Project
from prometheus_client.openmetrics.parser import text_string_to_metric_families

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., pytest.RunResult]

ONE_WORKER = pytest.param(["-n1"], marks=pytest.mark.subprocess)

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
    path.write_text("said before\n")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(path))
    monkeypatch.setenv("GITHUB_WORKSPACE", str(pytester.path.parent))
    return path


def commands(result: pytest.RunResult) -> list[str]:
    """The workflow commands that a run printed."""
    return [line for line in result.outlines if line.startswith("::")]


def line_of(pytester: pytest.Pytester, text: str) -> int:
    """The line of the test module that has a text."""
    lines = (pytester.path / "test_module.py").read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if text in line)


@pytest.mark.parametrize("options", [[], ONE_WORKER])
def test_github(run: Run, pytester: pytest.Pytester, summary: Path, options: list[str]) -> None:
    """Under Actions a run has a summary, and one error at the marker of each failed test."""
    result = run(ONE + BAD, *MARKER, *options)

    result.assert_outcomes(passed=1, failed=1)
    (error,) = commands(result)
    file = f"{pytester.path.name}/test_module.py"
    line = line_of(pytester, 'dlperf("p99 <= 1ns"')
    assert error.startswith(
        f"::error file={file},line={line},title=dlperf%3A test_bad[x%2Cy]::p99 <= 1ns: FAIL; "
    )
    text = summary.read_text()
    assert text.startswith("said before\n### dlperf: ")
    assert text.count("### dlperf: ") == 1
    assert "| `test_it` |" in text
    assert "#### FAIL: `test_module.py::test_bad[x,y]`" in text
    assert "| `p99 <= 1ns` |" in text


def test_markers_say_what_an_open_budget_is(run: Run, summary: Path) -> None:
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


def test_nothing_of_it_elsewhere(
    run: Run, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without GITHUB_ACTIONS nothing is printed or written for GitHub."""
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(pytester.path / "summary.md"))

    result = run(BAD)

    result.assert_outcomes(failed=1)
    assert not commands(result)
    assert not (pytester.path / "summary.md").exists()


def test_runs_without_measurements_say_nothing(run: Run, summary: Path) -> None:
    """An ordinary suite under Actions is left alone, and so is collecting."""
    plain = run("def test_plain(): pass")
    collected = run(BAD, "--collect-only")

    assert not commands(plain)
    assert not commands(collected)
    assert summary.read_text() == "said before\n"


def test_a_summary_that_cannot_be_written(
    run: Run, monkeypatch: pytest.MonkeyPatch, summary: Path
) -> None:
    """Nobody asked for it, so the run is what it is; but it is said."""
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary.parent))

    result = run(BAD)

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["GITHUB_STEP_SUMMARY=*: it cannot be written: *"])
    assert len(commands(result)) == 1


DUEL = """
@pytest.mark.dlperf("throughput >= 0.1 * baseline", "p99 <= 1ns", **HALF)
def test_bad(dlperf):
    dlperf(model.infer, DATA)
"""


@pytest.mark.subprocess
def test_github_in_a_duel(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that leads the duel reports, once, with the place in the working tree."""
    project = Project(pytester, monkeypatch)
    project.tests(DUEL)
    project.commit()
    summary, metrics = (project.top.parent / name for name in ("summary.md", "out.prom"))
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    monkeypatch.setenv("GITHUB_WORKSPACE", str(project.top))

    result = project.duel(f"--dlperf-metrics={metrics}")

    result.assert_outcomes(failed=1)
    (error,) = commands(result)
    lines = (project.top / "test_module.py").read_text().splitlines()
    line = next(number for number, line in enumerate(lines, 1) if "dlperf(" in line)
    assert error.startswith(f"::error file=test_module.py,line={line},")
    assert summary.read_text().count("#### FAIL") == 1
    (verdict,) = read(metrics)["dlperf_verdict"]
    assert verdict == ({"test": "test_module.py::test_bad", "verdict": "FAIL"}, 1.0)


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


@pytest.mark.parametrize("options", [[], ONE_WORKER])
def test_metrics_file(run: Run, pytester: pytest.Pytester, options: list[str]) -> None:
    """`--dlperf-metrics` has each metric of each test, whatever its verdict."""
    run(ONE + BAD, *MARKER, "--dlperf-metrics=deep/out.prom", *options)

    found = read(pytester.path / "deep/out.prom")
    ok, bad = "test_module.py::test_it", "test_module.py::test_bad[x,y]"
    assert [labels["test"] for labels, _ in found["dlperf_throughput_per_second"]] == [ok, bad]
    assert all(value > 0 for _, value in found["dlperf_p99_seconds"])
    assert found["dlperf_verdict"] == [
        ({"test": ok, "verdict": "NEW"}, 1.0),
        ({"test": bad, "verdict": "FAIL"}, 1.0),
    ]


def test_metrics_file_from_the_ini_file(run: Run, pytester: pytest.Pytester) -> None:
    """The option has its ini twin."""
    pytester.makeini("[pytest]\ndlperf_metrics = out.prom")

    run(ONE, *MARKER)

    assert "dlperf_p99_seconds" in read(pytester.path / "out.prom")


def test_metrics_file_that_cannot_be_written(run: Run) -> None:
    """The run's results are shown, and its exit status is that of a wrong option."""
    result = run(ONE, *MARKER, "--dlperf-metrics=/proc/nowhere/out.prom")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.assert_outcomes(passed=1)
    said = "\n".join(result.outlines)
    assert "--dlperf-metrics=/proc/nowhere/out.prom: it cannot be written" in said


def test_metrics_into_a_folder_are_refused_at_once(run: Run, pytester: pytest.Pytester) -> None:
    """Nothing is measured for a file that has no place."""
    (pytester.path / "out").mkdir()

    result = run(ONE, *MARKER, "--dlperf-metrics=out")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "out is a folder" in " ".join(result.errlines)


def test_collecting_leaves_old_metrics_alone(run: Run, pytester: pytest.Pytester) -> None:
    """`--collect-only` has nothing to tell, so it writes nothing."""
    (pytester.path / "out.prom").write_text("old")

    run(ONE, *MARKER, "--dlperf-metrics=out.prom", "--collect-only")

    assert (pytester.path / "out.prom").read_text() == "old"


def test_an_ordinary_run_has_an_empty_file(run: Run, pytester: pytest.Pytester) -> None:
    """A run that measured nothing leaves no old figures behind."""
    (pytester.path / "out.prom").write_text("old")

    run("def test_plain(): pass", "--dlperf-metrics=out.prom").assert_outcomes(passed=1)

    assert (pytester.path / "out.prom").read_text() == "# EOF\n"
