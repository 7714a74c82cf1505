"""Reports for other programs: JSON, JUnit, xdist's controller; and what stays unimported."""

from __future__ import annotations

import json
import re
import sys
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

import pytest
from plugin_projects import measuring, text

from pytest_dlperf.cli import main

if TYPE_CHECKING:
    from plugin_projects import Run

ONE = measuring('"p99 <= 10s", "throughput >= 0.5 * baseline", **SHORT')
BAD = measuring('"p99 <= 1ns", **SHORT', name="test_bad")


def test_json(run: Run, pytester: pytest.Pytester) -> None:
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


def test_the_program_shows_the_report_and_the_baselines(
    run: Run, pytester: pytest.Pytester, capsys: pytest.CaptureFixture[str]
) -> None:
    """`report` and `baselines` show what pytest wrote; a damaged file does not hide the others."""
    run(ONE, "--dlperf-json=out.json", "--dlperf-update=new")
    capsys.readouterr()

    assert main(["report", "out.json"]) == 0
    assert re.search(r"measurement .*verdict\n(.*\n)*test_it .*NEW", capsys.readouterr().out)

    listed = r"  test_module.py::test_it .*\n    throughput .*p50"
    assert main(["baselines"]) == 0
    assert re.search(listed, capsys.readouterr().out)

    (path,) = pytester.path.glob(".dlperf/baselines/*/*.json")
    (path.parent / "a.json").write_text("{")
    assert main(["baselines"]) == 2
    printed = capsys.readouterr()
    assert re.search(listed, printed.out)
    assert "a.json" in printed.err


@pytest.mark.parametrize("content", [None, "", "[]", '{"schema": 99}', '{"measurements": [1]}'])
def test_the_program_refuses_what_is_no_report(
    pytester: pytest.Pytester, capsys: pytest.CaptureFixture[str], content: str | None
) -> None:
    """A file that is missing, damaged, foreign or too new: status 2 and one sentence."""
    path = pytester.path / "out.json"
    if content is not None:
        path.write_text(content)

    assert main(["report", str(path)]) == 2
    assert "out.json" in capsys.readouterr().err


def test_junit_has_each_metric(run: Run, pytester: pytest.Pytester) -> None:
    """JUnit XML has metrics and verdicts as properties, and a broken budget as a failure."""
    run(
        """
@pytest.mark.dlperf("p99 <= 10s", **SHORT)
def test_it(dlperf, record_property):
    record_property("mine", 1)
    dlperf(identity, DATA)
    dlperf(identity, DATA, name="warm")
"""
        + BAD,
        "--junitxml=junit.xml",
    ).assert_outcomes(passed=1, failed=1)

    tree = ET.parse(pytester.path / "junit.xml")  # noqa: S314 - pytest's own file
    good, bad = tree.iterfind(".//testcase")
    properties = {item.attrib["name"]: item.attrib["value"] for item in good.iter("property")}
    assert properties["mine"] == "1"
    assert float(properties["dlperf.throughput"]) > 0
    assert 0 < float(properties["dlperf.warm.p99"]) <= 10
    assert properties["dlperf.verdict"] == properties["dlperf.warm.verdict"] == "PASS"
    assert all(len(value) < 30 for value in properties.values())
    (failure,) = bad.iter("failure")
    assert "p99 <= 1ns" in failure.attrib["message"]


def test_last_failed_runs_a_broken_budget_again(run: Run, again: Run) -> None:
    """`--lf` selects the test whose budget broke."""
    run(ONE + BAD)

    again("--lf").assert_outcomes(failed=1)


def test_quick_judges_answers_only(run: Run) -> None:
    """A smoke run leaves speeds and baselines alone, and says so."""
    budgets = '"p99 <= 1ns", "throughput >= 0.5 * baseline", "accuracy >= 90%"'
    fast = measuring(f"{budgets}, **SHORT", name="test_fast")
    wrong = measuring('"accuracy >= 90%", **SHORT', "dlperf(lambda batch: -batch, DATA)")
    result = run(fast + wrong, "--dlperf-quick")

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.re_match_lines(
        [r".*BudgetFailure: accuracy >= 90%", r"quick: only errors and absolute budgets"]
    )


@pytest.mark.subprocess
def test_several_xdist_workers_do_not_measure(pytester: pytest.Pytester, run: Run) -> None:
    """With workers side by side a measurement is refused, with what to do; quick runs go on."""
    source = ONE + "\ndef test_other(): pass\n"
    result = run(source, "-p", "xdist", "-n2")

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*nothing can be measured while 2 pytest-xdist workers*", "*-n0*"])

    quick = pytester.runpytest_inprocess("-p", "dlperf", "-p", "xdist", "-n2", "--dlperf-quick")
    quick.assert_outcomes(passed=2)
    quick.stdout.re_match_lines([r"test_it .*PASS"])


@pytest.mark.subprocess
def test_wrong_markers_under_xdist(run: Run) -> None:
    """The message reaches the user from a worker too."""
    result = run(measuring('"p9 <= 1s"'), "-p", "xdist", "-n1")

    assert result.ret != 0
    assert "unknown metric 'p9'" in text(result)


NEIGHBOURS = ("-p", "no:hypothesispytest", "-p", "no:codspeed")
"""Plugins that import heavy packages themselves."""

HEAVY = ("tensorflow", "keras", "scipy", "rich", "sklearn", "numpy", "sqlalchemy")


@pytest.mark.subprocess
def test_nothing_heavy_is_imported(pytester: pytest.Pytester) -> None:
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
    probe = f"""
import sys, pytest
for option in ("--help", "--markers", "--collect-only", "--verbose"):
    code = pytest.main([*sys.argv[1:], option])
    print("HEAVY", code, option, [name for name in {HEAVY!r} if name in sys.modules])
"""

    result = pytester.run(sys.executable, "-c", probe, *NEIGHBOURS, "-k", "plain")

    options = ("--help", "--markers", "--collect-only", "--verbose")
    result.stdout.fnmatch_lines([f"HEAVY 0 {option} [[][]]" for option in options])
