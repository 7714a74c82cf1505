"""With the real pytest-benchmark: every measurement is an entry of its session."""

from __future__ import annotations

import json
import os
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest
from duel_projects import Project, text
from plugin_projects import HEADER, measuring

if TYPE_CHECKING:
    from pathlib import Path

    from plugin_projects import Run


ONE = measuring('"p99 <= 10s", **SHORT')
OWN = """
def test_own(benchmark):
    benchmark.pedantic(sum, ((1, 2),), rounds=2)
"""

MIXED = (
    ONE
    + """
@pytest.mark.benchmark(group="rows")
@pytest.mark.dlperf(**SHORT)
@pytest.mark.parametrize("rows", [50, 100])
def test_rows(dlperf, rows):
    dlperf(identity, (INPUTS[:rows], None))

def test_plain():
    pass
"""
    + OWN
)

BESIDE = ("-p", "no:codspeed", "-W", "error::pytest.PytestWarning")


@pytest.fixture
def beside(pytester: pytest.Pytester) -> Run:
    """Write a test module below the common header, and run it with pytest-benchmark."""

    def run_module(source: str, *options: str) -> pytest.RunResult:
        pytester.makepyfile(test_module=HEADER + source)
        return pytester.runpytest_inprocess(*BESIDE, *options)

    return run_module


def entries(path: Path) -> dict[str, dict[str, Any]]:
    """The entries of a file of pytest-benchmark's, by full name; strictly JSON."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    content = json.loads(path.read_text(), parse_constant=refuse)
    return {entry["fullname"]: entry for entry in content["benchmarks"]}


def saved(folder: Path) -> list[Path]:
    """The runs that pytest-benchmark saved."""
    return sorted(folder.glob(".benchmarks/*/*.json"))


def test_json(beside: Run, pytester: pytest.Pytester) -> None:
    """`--benchmark-json` has each measurement: items a second, and the rest in extra_info."""
    result = beside(MIXED, "--benchmark-json=out.json")

    result.assert_outcomes(passed=5)
    by_name = entries(pytester.path / "out.json")
    assert sorted(by_name) == [
        "test_module.py::test_it",
        "test_module.py::test_own",
        "test_module.py::test_rows[100]",
        "test_module.py::test_rows[50]",
    ]
    entry, rows = by_name["test_module.py::test_it"], by_name["test_module.py::test_rows[50]"]
    ours = entry["extra_info"]["dlperf"]
    assert entry["name"] == "test_it"
    assert entry["stats"]["ops"] == pytest.approx(ours["metrics"]["throughput"]["value"])
    assert entry["stats"]["rounds"] == len(entry["stats"]["data"]) <= 10
    assert ours["verdict"] == "PASS"
    assert ours["budgets"][0] == {"budget": "p99 <= 10s", "verdict": "PASS"}
    assert ours["scenario"] == "ClosedLoop(clients=8)"
    assert (rows["group"], rows["param"], rows["params"]) == ("rows", "50", {"rows": 50})


def test_its_table_is_shown_on_request(beside: Run) -> None:
    """An option of pytest-benchmark or a test with its fixture shows its table as well."""
    assert "OPS" not in beside(ONE).stdout.str()
    assert "OPS" in beside(ONE, "--benchmark-sort=name").stdout.str()
    assert (
        "OPS"
        in beside(
            ONE + "\ndef test_own(benchmark): benchmark.pedantic(sum, ((1, 2),), rounds=2)\n"
        ).stdout.str()
    )


def test_several_measurements_of_a_test(beside: Run, pytester: pytest.Pytester) -> None:
    """A name makes an entry of its own; so does a search, with the rate it found."""
    beside(
        """
def test_it(dlperf):
    dlperf(identity, DATA, **SHORT)
    dlperf(identity, DATA, name="warm", **SHORT)
    dlperf.max_rate(
        identity, DATA, slo="p50 <= 1ms", serving=Serving(4), duration="0.1s", name="most"
    )
""",
        "--benchmark-json=out.json",
    ).assert_outcomes(passed=1)

    by_name = entries(pytester.path / "out.json")
    test = "test_module.py::test_it"
    assert {test, f"{test}::warm"} <= set(by_name) <= {test, f"{test}::warm", f"{test}::most"}
    assert by_name[f"{test}::warm"]["name"] == "test_it::warm"
    for entry in by_name.values():
        metrics = entry["extra_info"]["dlperf"]["metrics"]
        rate = metrics.get("throughput", metrics.get("max_rate"))["value"]
        assert entry["stats"]["ops"] == pytest.approx(rate)


def test_only_and_skip(beside: Run) -> None:
    """`--benchmark-only` runs tests that measure, `--benchmark-skip` all others."""
    beside(MIXED, "--benchmark-only").assert_outcomes(passed=4, skipped=1)
    beside(MIXED, "--benchmark-skip").assert_outcomes(passed=1, skipped=4)


def test_disable_makes_a_smoke_run(beside: Run, pytester: pytest.Pytester) -> None:
    """`--benchmark-disable` runs tests for an instant; nothing is an entry."""
    result = beside(
        MIXED.replace("p99 <= 10s", "p99 <= 1ns"),
        "--benchmark-disable",
        "--benchmark-json=out.json",
    )

    result.assert_outcomes(passed=5)
    result.stdout.re_match_lines([r"quick: only errors and absolute budgets"])
    assert not (pytester.path / "out.json").exists()


def test_enable_wins_over_disable(beside: Run) -> None:
    """As with pytest-benchmark's own tests, for a `--benchmark-disable` in the ini file."""
    source = ONE.replace("p99 <= 10s", "peak_memory <= 1KiB")

    beside(source, "--benchmark-disable", "--benchmark-enable").assert_outcomes(failed=1)


@pytest.mark.parametrize("option", ["--dlperf-update=new", "--dlperf-against=HEAD"])
def test_what_a_smoke_run_cannot_do_is_refused(beside: Run, option: str) -> None:
    """No baseline of a smoke run and no duel of smoke runs; the message names both options."""
    result = beside(ONE, "--benchmark-disable", option)

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    for name in ("--benchmark-disable", option.partition("=")[0], "--benchmark-enable"):
        assert name in text(result)


@pytest.mark.parametrize(
    ("options", "name", "data"),
    [
        (["--benchmark-save=first", "--benchmark-save-data"], "0001_first.json", True),
        (["--benchmark-autosave"], "0001_*.json", False),
    ],
)
def test_saved_runs(
    beside: Run, pytester: pytest.Pytester, options: list[str], name: str, *, data: bool
) -> None:
    """`--benchmark-save`, `-autosave` and `-save-data` keep our entries as they keep theirs."""
    beside(ONE, *options).assert_outcomes(passed=1)

    (path,) = saved(pytester.path)
    assert path.match(name)
    (entry,) = entries(path).values()
    assert ("data" in entry["stats"]) is data
    assert entry["extra_info"]["dlperf"]["schema"] == 1


def made_faster(path: Path, factor: float) -> None:
    """Make what was saved so many times as fast."""
    content = json.loads(path.read_text())
    for entry in content["benchmarks"]:
        for name in ("min", "max", "mean", "median", "total"):
            entry["stats"][name] /= factor
    path.write_text(json.dumps(content))


def test_compare(beside: Run, pytester: pytest.Pytester) -> None:
    """`--benchmark-compare` shows both runs, and `--benchmark-compare-fail` fails on a loss."""
    beside(ONE, "--benchmark-save=first")
    (path,) = saved(pytester.path)

    made_faster(path, 1e-3)
    faster = beside(ONE, "--benchmark-compare", "--benchmark-compare-fail=mean:5%")
    made_faster(path, 1e6)
    slower = beside(ONE, "--benchmark-compare", "--benchmark-compare-fail=mean:5%")

    assert faster.ret == 0
    faster.stdout.re_match_lines_random([r"test_it \(0001_first\) ", r"test_it \(NOW\) "])
    assert slower.ret != 0
    assert "Performance has regressed" in "\n".join(slower.outlines + slower.errlines)


def test_columns_groups_and_order(beside: Run) -> None:
    """`--benchmark-columns`, `-group-by` and `-sort` order our entries as theirs."""
    result = beside(
        MIXED,
        "-k",
        "rows",
        "--benchmark-columns=ops,rounds",
        "--benchmark-group-by=param:rows",
        "--benchmark-sort=name",
    )

    result.stdout.re_match_lines(
        [
            r"-+ benchmark 'rows=100': 1 tests -+",
            r"Name \(time in .*\) +OPS.* Rounds",
            r"test_rows\[100\] ",
            r"-+ benchmark 'rows=50': 1 tests -+",
            r"test_rows\[50\] ",
        ]
    )
    assert not [line for line in result.outlines if "StdDev" in line]


@pytest.mark.subprocess
def test_histogram_and_program(beside: Run, pytester: pytest.Pytester) -> None:
    """`--benchmark-histogram` draws our entries; `pytest-benchmark compare` prints them."""
    pytester.makepyfile(test_module=HEADER + ONE)
    # Drawing may change for good how a process finds packages.
    options = ("--benchmark-histogram=drawn/it", "--benchmark-save=first")
    pytester.runpytest_subprocess(*BESIDE, *options).assert_outcomes(passed=1)
    beside(ONE, "--benchmark-save=second")
    program = (
        "import sys; from pytest_benchmark.cli import main; sys.argv[1:] = ['compare']; main(); "
        "sys.argv[1:] = ['compare', '--between=ops,mean']; main()"
    )

    compared = pytester.run(sys.executable, "-c", program)

    (drawing,) = pytester.path.glob("drawn/*.svg")
    assert "test_it" in drawing.read_text()
    assert compared.ret == 0
    compared.stdout.re_match_lines_random([r"test_it \(0001_first\) ", r"test_it \(0002_second\) "])
    compared.stdout.re_match_lines([r".*1 tests, 2 sources", r"test_it "])


def test_a_test_that_uses_both(beside: Run, pytester: pytest.Pytester) -> None:
    """The test's own benchmark keeps its name; group and extra_info are those of the test."""
    beside(
        """
def test_it(dlperf, benchmark):
    benchmark.group = "mine"
    benchmark.extra_info["note"] = "text"
    dlperf(identity, DATA, **SHORT)
    benchmark.pedantic(sum, ((1, 2),), rounds=2)
""",
        "--benchmark-json=out.json",
    ).assert_outcomes(passed=1)

    by_name = entries(pytester.path / "out.json")
    assert set(by_name) == {"test_module.py::test_it", "test_module.py::test_it::dlperf"}
    ours = by_name["test_module.py::test_it::dlperf"]
    assert ours["group"] == "mine"
    assert ours["extra_info"]["note"] == "text"
    assert "dlperf" not in by_name["test_module.py::test_it"]["extra_info"]


def test_a_failed_budget_is_an_entry_with_its_verdict(
    beside: Run, pytester: pytest.Pytester
) -> None:
    """It was measured; what answered nothing was not. Neither is said to be unused."""
    result = beside(
        """
@pytest.mark.dlperf("p99 <= 1ns", **SHORT)
def test_slow(dlperf):
    dlperf(identity, DATA)

def fail(batch):
    raise RuntimeError

@pytest.mark.dlperf(**SHORT)
def test_broken(dlperf):
    dlperf(fail, DATA)

@pytest.mark.dlperf(**SHORT)
def test_unused(dlperf):
    pass
""",
        "--benchmark-json=out.json",
    )

    result.assert_outcomes(failed=2, passed=1)
    (entry,) = entries(pytester.path / "out.json").values()
    assert entry["name"] == "test_slow"
    assert entry["extra_info"]["dlperf"]["verdict"] == "FAIL"


def test_without_pytest_benchmark(run: Run) -> None:
    """`-p no:benchmark` takes nothing away but the entries."""
    plan = run(ONE, "--setup-plan").stdout
    plan.fnmatch_lines(["*SETUP*F dlperf*"])
    plan.no_fnmatch_line("*SETUP*F benchmark*")

    run(ONE).assert_outcomes(passed=1)


@pytest.mark.subprocess
def test_under_xdist(beside: Run, pytester: pytest.Pytester) -> None:
    """pytest-benchmark turns itself off, with a warning; tests are judged as ever."""
    options = ("--benchmark-json=out.json", "-W", "default::pytest.PytestWarning", "-n1")
    result = beside(ONE, *options)

    result.assert_outcomes(passed=1)
    result.stdout.re_match_lines([r"test_it .*PASS"])
    assert not (pytester.path / "out.json").exists()


def test_a_version_that_is_not_known(
    beside: Run, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One warning for all tests, no entry, and everything else as ever."""

    class Changed:
        def __init__(self, name: str) -> None:
            self.name = name

    monkeypatch.setattr("pytest_benchmark.stats.Metadata", Changed)

    result = beside(
        ONE + ONE.replace("test_it", "test_again"),
        *("--benchmark-json=out.json", "--dlperf-json=ours.json", "-W", "default"),
    )

    result.assert_outcomes(passed=2)
    lines = [line for line in result.outlines if "not passed on to pytest-benchmark" in line]
    assert len(lines) == 1
    assert not (pytester.path / "out.json").exists()
    assert len(json.loads((pytester.path / "ours.json").read_text())["measurements"]) == 2


def test_the_last_attempt_counts(beside: Run, pytester: pytest.Pytester) -> None:
    """A plugin that runs a failed test again gets one record and one entry, of the last attempt."""
    pytester.makeconftest("""
from _pytest.runner import runtestprotocol

def pytest_runtest_protocol(item, nextitem):
    for attempt in range(3):
        for report in runtestprotocol(item, nextitem=nextitem, log=False):
            if attempt < 2 and report.when == "call":
                report.outcome = "rerun"
            item.ihook.pytest_runtest_logreport(report=report)
    return True
""")

    beside(ONE, "--benchmark-json=out.json", "--dlperf-json=ours.json")

    for name, key in (("out.json", "benchmarks"), ("ours.json", "measurements")):
        assert len(json.loads((pytester.path / name).read_text())[key]) == 1


def github_action_benchmark(content: str) -> list[dict[str, Any]]:
    """What github-action-benchmark takes from a file, with `tool: pytest`.

    As `extractPytestResult` in its `src/extract.ts` does.
    """
    return [
        {
            "name": entry["fullname"],
            "value": entry["stats"]["ops"],
            "unit": "iter/sec",
            "range": f"stddev: {entry['stats']['stddev']}",
            "extra": (entry["stats"]["mean"], entry["stats"]["rounds"]),
        }
        for entry in json.loads(content)["benchmarks"]
    ]


def bencher(content: str) -> dict[str, dict[str, tuple[float, float, float]]]:
    """What Bencher's adapter `python_pytest` takes: value, lower and upper, in nanoseconds.

    As `Pytest::convert` in its `lib/bencher_adapter/src/adapters/python/pytest.rs` does.
    """
    by_name = {}
    for entry in json.loads(content)["benchmarks"]:
        by_average = {}
        for average, spread in (("mean", "stddev"), ("median", "iqr")):
            value, reach = (entry["stats"][name] * 1e9 for name in (average, spread))
            by_average[average] = value, value - reach, value + reach
        by_name[entry["fullname"]] = by_average
    return by_name


def test_services_read_our_entries(beside: Run, pytester: pytest.Pytester) -> None:
    """github-action-benchmark has items a second, Bencher nanoseconds an item."""
    beside(ONE, "--benchmark-json=out.json")

    content = (pytester.path / "out.json").read_text()
    (charted,) = github_action_benchmark(content)
    (named,) = bencher(content).items()

    metrics = json.loads(content)["benchmarks"][0]["extra_info"]["dlperf"]["metrics"]
    throughput = metrics["throughput"]["value"]
    assert charted["name"] == named[0] == "test_module.py::test_it"
    assert charted["value"] == pytest.approx(throughput)
    assert charted["extra"][0] == pytest.approx(1 / throughput)
    assert charted["extra"][1] >= 1
    value, lower, upper = named[1]["mean"]
    assert value == pytest.approx(1e9 / throughput)
    assert lower <= value <= upper
    assert {type(bound) for bound in named[1]["median"]} == {float}


@pytest.mark.subprocess
def test_duel(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """The controller writes all output once: entries, metrics, GitHub's summary and annotations."""
    project = Project(pytester, monkeypatch)
    project.tests(
        """
@pytest.mark.benchmark(group="slow")
@pytest.mark.parametrize("rows", [50])
@pytest.mark.dlperf("throughput >= 0.1 * baseline", "p99 <= 1ns", **HALF)
def test_speed(dlperf, rows):
    dlperf(model.infer, (INPUTS[:rows], None))
"""
        + OWN
    )
    project.commit()
    json_file, metrics, summary = (
        project.top.parent / name for name in ("out.json", "out.prom", "summary.md")
    )
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    monkeypatch.setenv("GITHUB_WORKSPACE", str(project.top))

    result = project.duel(
        *("-p", "benchmark", "-p", "no:codspeed", f"--dlperf-metrics={metrics}"),
        *(f"--benchmark-json={json_file}", "--benchmark-save=it", "--benchmark-group-by=group"),
    )

    result.assert_outcomes(passed=1, failed=1)
    assert "1 measured in turn" in text(result)
    assert not project.leftovers()

    by_name = entries(json_file)
    test = "test_module.py::test_speed[50]"
    assert set(by_name) == {test, "test_module.py::test_own"}
    speed = by_name[test]
    assert (speed["group"], speed["params"]) == ("slow", {"rows": 50})
    throughput = speed["extra_info"]["dlperf"]["metrics"]["throughput"]["value"]
    assert speed["stats"]["ops"] == pytest.approx(throughput)
    assert by_name["test_module.py::test_own"]["stats"]["rounds"] > 1
    assert len(saved(project.top)) == 1

    (error,) = (line for line in result.outlines if line.startswith("::"))
    lines = (project.top / "test_module.py").read_text().splitlines()
    marker = next(number for number, line in enumerate(lines, 1) if "dlperf(" in line)
    assert error.startswith(f"::error file=test_module.py,line={marker},")
    assert summary.read_text().count("#### FAIL") == 1
    (verdict,) = (line for line in metrics.read_text().splitlines() if "dlperf_verdict{" in line)
    assert f'test="{test}"' in verdict
    assert 'verdict="FAIL"' in verdict


@pytest.mark.subprocess
@pytest.mark.skipif(find_spec("pytest_codspeed") is None, reason="pytest-codspeed is not installed")
def test_beside_codspeed(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """pytest-codspeed takes the fixture's place or not: tests are measured and judged as ever."""
    for name in list(os.environ):
        if name.startswith("CODSPEED_"):
            monkeypatch.delenv(name)
    source = ONE.replace("p99 <= 10s", "peak_memory <= 1KiB").replace("test_it", "test_slow")
    pytester.makepyfile(test_module=HEADER + ONE + source)
    runs = (
        "import pytest; [pytest.main(words) for words in ([], ['--codspeed'], ['-pno:benchmark'])]"
    )

    lines = pytester.run(sys.executable, "-c", runs).outlines

    for beginning, count in (("codspeed:", 3), ("test_it ", 3), ("test_slow ", 3)):
        assert sum(line.startswith(beginning) for line in lines) == count
    assert sum(" 1 failed, 1 passed" in line for line in lines) == 3
    assert all(line.endswith("PASS") for line in lines if line.startswith("test_it "))
    assert all(line.endswith("FAIL") for line in lines if line.startswith("test_slow "))
