"""What others read: JSON, JUnit, xdist's controller, the terminal."""

from __future__ import annotations

import json
import sys
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

ONE_WORKER = pytest.param(["-n1"], marks=pytest.mark.subprocess)

ONE = """
@pytest.mark.dlperf("p99 <= 10s", "throughput >= 0.5 * baseline", **SHORT)
def test_it(dlperf):
    dlperf(identity, DATA)
"""


def test_json(run: Callable[..., pytest.RunResult], pytester: pytest.Pytester) -> None:
    """`--dlperf-json` holds machine, environment, metrics and verdicts."""
    run(ONE, "--dlperf-json=deep/out.json").assert_outcomes(passed=1)

    content = json.loads((pytester.path / "deep/out.json").read_text())
    assert content["schema"] == 1
    assert {"machine", "environment", "commit", "measurements"} <= set(content)
    (measurement,) = content["measurements"]
    assert measurement["test"] == "test_module.py::test_it"
    assert measurement["scenario"] == "ClosedLoop(clients=8)"
    p99 = measurement["metrics"]["p99"]
    assert (p99["unit"], p99["better"]) == ("s", "lower")
    assert 0 < p99["low"] <= p99["value"] <= p99["high"]
    verdicts = {verdict["budget"]: verdict for verdict in measurement["verdicts"]}
    assert verdicts["p99 <= 10s"]["verdict"] == "PASS"
    assert verdicts["p99 <= 10s"]["limit"] == 10.0
    assert verdicts["throughput >= 0.5 * baseline"]["verdict"] == "NEW"
    assert verdicts["throughput >= 0.5 * baseline"]["baseline"] is None


def test_json_that_cannot_be_written(run: Callable[..., pytest.RunResult]) -> None:
    """A path that cannot be written ends the run with that message, not with a traceback."""
    result = run(ONE, "--dlperf-json=/proc/nowhere/out.json")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    said = "\n".join(result.outlines)
    assert "--dlperf-json=/proc/nowhere/out.json: it cannot be written" in said
    result.assert_outcomes(passed=1)
    result.stdout.re_match_lines([r"test_it .*NEW"])


@pytest.mark.subprocess
def test_the_program_shows_the_report_and_the_baselines(
    run: Callable[..., pytest.RunResult], pytester: pytest.Pytester
) -> None:
    """`pytest-dlperf report FILE` and `pytest-dlperf baselines` show what pytest wrote."""
    run(ONE, "--dlperf-json=out.json", "--dlperf-update=new")
    program = [
        sys.executable,
        "-c",
        "import sys; from pytest_dlperf.cli import main; sys.exit(main())",
    ]

    report = pytester.run(*program, "report", "out.json")
    assert report.ret == 0
    report.stdout.re_match_lines([r"measurement .*verdict", r"test_it .*NEW"])

    baselines = pytester.run(*program, "baselines")
    assert baselines.ret == 0
    baselines.stdout.re_match_lines([r"  test_module.py::test_it ", r"    throughput .*p50"])


@pytest.mark.parametrize("text", [None, "", "[]", '{"schema": 99}', '{"measurements": [1]}'])
def test_the_program_refuses_what_is_no_report(
    pytester: pytest.Pytester, capsys: pytest.CaptureFixture[str], text: str | None
) -> None:
    """A file that is missing, damaged, foreign or too new: status 2 and one sentence."""
    from pytest_dlperf.cli import main

    path = pytester.path / "out.json"
    if text is not None:
        path.write_text(text)

    assert main(["report", str(path)]) == 2
    assert "out.json" in capsys.readouterr().err


def test_no_baselines_is_an_answer(
    pytester: pytest.Pytester, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where nothing was recorded, the program says how to."""
    from pytest_dlperf.cli import main

    assert main(["baselines", "--rootdir", str(pytester.path)]) == 2
    assert "--dlperf-update=new" in capsys.readouterr().err


@pytest.mark.parametrize("options", [[], ONE_WORKER])
def test_junit_has_each_metric(
    run: Callable[..., pytest.RunResult], pytester: pytest.Pytester, options: list[str]
) -> None:
    """JUnit XML has metrics and verdict as properties, and beside them what the test recorded."""
    run(
        """
@pytest.mark.dlperf("p99 <= 10s", **SHORT)
def test_it(dlperf, record_property):
    record_property("mine", 1)
    dlperf(identity, DATA)
    dlperf(identity, DATA, name="warm")
""",
        "--junitxml=junit.xml",
        *options,
    ).assert_outcomes(passed=1)

    tree = ET.parse(pytester.path / "junit.xml")  # noqa: S314 - pytest's own file
    found = {one.attrib["name"]: one.attrib["value"] for one in tree.iterfind(".//property")}
    assert found["mine"] == "1"
    assert float(found["dlperf.throughput"]) > 0
    assert 0 < float(found["dlperf.warm.p99"]) <= 10
    assert found["dlperf.verdict"] == found["dlperf.warm.verdict"] == "PASS"
    assert all(len(value) < 30 for value in found.values())


def test_a_broken_budget_is_a_failure_in_junit(
    run: Callable[..., pytest.RunResult], pytester: pytest.Pytester
) -> None:
    """Other tools see a failed test, with the budget in its message."""
    run(
        """
@pytest.mark.dlperf("p99 <= 1ns", **SHORT)
def test_it(dlperf):
    dlperf(identity, DATA)
""",
        "--junitxml=junit.xml",
    )

    tree = ET.parse(pytester.path / "junit.xml")  # noqa: S314 - pytest's own file
    failure = tree.find(".//failure")
    assert failure is not None
    assert "p99 <= 1ns" in failure.attrib["message"]


def test_last_failed_runs_a_broken_budget_again(
    run: Callable[..., pytest.RunResult], again: Callable[..., pytest.RunResult]
) -> None:
    """`--lf` selects the test whose budget broke."""
    run(
        ONE
        + """
@pytest.mark.dlperf("p99 <= 1ns", **SHORT)
def test_bad(dlperf):
    dlperf(identity, DATA)
"""
    )

    again("--lf").assert_outcomes(failed=1)


def test_eighty_columns_without_colour(run: Callable[..., pytest.RunResult]) -> None:
    """Redirected output is plain and fits 80 columns."""
    result = run("""
@pytest.mark.dlperf("p99 <= 1ns", "throughput >= 0.95 * baseline", "accuracy >= baseline - 0.5pt",
                    **SHORT)
def test_with_a_rather_long_name_that_does_not_fit(dlperf):
    dlperf(identity, DATA)
""")

    start = next(i for i, line in enumerate(result.outlines) if line.startswith("E "))
    for line in result.outlines[start:]:
        assert "\x1b" not in line
        if "BudgetFailure" not in line and "FAILED" not in line and "--dlperf-update" not in line:
            assert len(line) <= 80, line


def test_quick_judges_answers_only(run: Callable[..., pytest.RunResult]) -> None:
    """A smoke run leaves speeds and baselines alone, and says so."""
    result = run(
        """
@pytest.mark.dlperf("p99 <= 1ns", "throughput >= 0.5 * baseline", "accuracy >= 90%", **SHORT)
def test_fast(dlperf):
    dlperf(identity, DATA)

@pytest.mark.dlperf("accuracy >= 90%", **SHORT)
def test_wrong(dlperf):
    dlperf(lambda batch: -batch, DATA)
""",
        "--dlperf-quick",
    )

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.re_match_lines(
        [r".*BudgetFailure: accuracy >= 90%", r"quick: only errors and absolute budgets"]
    )


@pytest.mark.subprocess
def test_several_xdist_workers_do_not_measure(
    pytester: pytest.Pytester, run: Callable[..., pytest.RunResult]
) -> None:
    """With workers side by side a measurement is refused, with what to do; quick runs go on."""
    source = ONE + "\ndef test_other(): pass\n"
    result = run(source, "-n2")

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*nothing can be measured while 2 pytest-xdist workers*", "*-n0*"])

    quick = pytester.runpytest_inprocess("-p", "no:benchmark", "-n2", "--dlperf-quick")
    quick.assert_outcomes(passed=2)
    quick.stdout.re_match_lines([r"test_it .*PASS"])


@pytest.mark.subprocess
def test_one_xdist_worker_measures(run: Callable[..., pytest.RunResult]) -> None:
    """A single worker is alone on the machine; its records reach the controller."""
    result = run(ONE, "-n1")

    result.assert_outcomes(passed=1)
    result.stdout.re_match_lines([r"test_it .*NEW"])


@pytest.mark.subprocess
def test_wrong_markers_under_xdist(run: Callable[..., pytest.RunResult]) -> None:
    """The message reaches the user from a worker too."""
    result = run(
        """
@pytest.mark.dlperf("p9 <= 1s")
def test_it(dlperf):
    dlperf(identity, DATA)
""",
        "-n2",
    )

    assert result.ret != 0
    assert "unknown metric 'p9'" in "\n".join(result.outlines + result.errlines)


NEIGHBOURS = ("-p", "no:hypothesispytest", "-p", "no:codspeed")
"""Plugins that import heavy packages themselves."""

HEAVY = ("tensorflow", "keras", "scipy", "rich", "sklearn", "numpy", "sqlalchemy")


@pytest.mark.subprocess
@pytest.mark.parametrize("options", [["--help"], ["--markers"], ["--collect-only"], []])
def test_nothing_heavy_is_imported(pytester: pytest.Pytester, options: list[str]) -> None:
    """Help, markers, collecting, and suites that do not measure stay light."""
    pytester.makepyfile(
        test_module="""
from pytest_dlperf import ClosedLoop, Serving
import pytest

def test_plain():
    pass

@pytest.mark.dlperf("p99 <= 1s", scenario=ClosedLoop(4), serving=Serving(8))
def test_it(dlperf):
    raise AssertionError("deselected")
"""
    )
    probe = (
        "import sys, pytest; code = pytest.main(sys.argv[1:]); "
        f"print('HEAVY', [m for m in {HEAVY!r} if m in sys.modules]); sys.exit(code)"
    )

    result = pytester.run(sys.executable, "-c", probe, *NEIGHBOURS, "-k", "plain", *options)

    assert result.ret == 0
    result.stdout.fnmatch_lines(["HEAVY []"])


def test_a_second_attempt_replaces_the_first(
    run: Callable[..., pytest.RunResult], pytester: pytest.Pytester
) -> None:
    """A plugin that runs a failed test again gets one record, of the last attempt."""
    pytester.makeconftest("""
from _pytest.runner import runtestprotocol

def pytest_runtest_protocol(item, nextitem):
    for attempt in range(3):
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
        for report in reports:
            if attempt < 2 and report.when == "call":
                report.outcome = "rerun"
            item.ihook.pytest_runtest_logreport(report=report)
    return True
""")

    run(ONE, "--dlperf-json=out.json")

    content = json.loads((pytester.path / "out.json").read_text())
    assert len(content["measurements"]) == 1


def test_json_into_a_folder_is_refused_at_once(
    run: Callable[..., pytest.RunResult], pytester: pytest.Pytester
) -> None:
    """Nothing is measured for a report that has no place."""
    (pytester.path / "out").mkdir()

    result = run(ONE, "--dlperf-json=out")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "out is a folder" in " ".join(result.errlines)


def test_collecting_leaves_an_old_report_alone(
    run: Callable[..., pytest.RunResult], pytester: pytest.Pytester
) -> None:
    """`--collect-only` has nothing to report, so it writes nothing."""
    (pytester.path / "out.json").write_text("old")

    run(ONE, "--dlperf-json=out.json", "--collect-only")

    assert (pytester.path / "out.json").read_text() == "old"


def test_a_damaged_baseline_does_not_hide_the_others(
    run: Callable[..., pytest.RunResult],
    pytester: pytest.Pytester,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """`pytest-dlperf baselines` lists what it can read, and ends with what it cannot."""
    from pytest_dlperf.cli import main

    run(ONE, "--dlperf-update=new")
    (path,) = pytester.path.glob(".dlperf/baselines/*/*.json")
    (path.parent / "a.json").write_text("{")
    capsys.readouterr()

    assert main(["baselines", "--rootdir", str(pytester.path)]) == 2
    said = capsys.readouterr()
    assert "test_module.py::test_it" in said.out
    assert "a.json" in said.err
