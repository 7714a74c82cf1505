"""Markers and options: errors are reported before anything runs, nearer ones win."""

from __future__ import annotations

import fnmatch
import re
from typing import TYPE_CHECKING

import pytest
from plugin_projects import assert_no_frame_of_ours, measuring, text

from pytest_dlperf.config.options import specs

if TYPE_CHECKING:
    from plugin_projects import Run


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ('"p9 <= 20ms"', "*unknown metric 'p9'*"),
        ('"p99 <= 20ms", scenaro=1', "*takes no argument 'scenaro'*"),
        ("serving=64", "*serving=64*expected Serving*"),
        ('missing="perhaps"', "*missing='perhaps'*"),
        ("64", "*takes budgets as text, not 64*"),
        ('"p99 <= 20ms", scenario=Offline()', "*needs a latency, and Offline() measures none*"),
        ('clients="fibers"', "*clients='fibers'*one of virtual, threads, async*"),
    ],
)
def test_wrong_markers(run: Run, arguments: str, message: str) -> None:
    """A marker that makes no sense stops the run at collection, with file, line and test."""
    result = run(measuring(arguments))

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert fnmatch.fnmatch(" ".join(result.errlines), message)
    assert re.search(r"test_module.py:\d+: test_it", text(result))
    assert_no_frame_of_ours(result)


def test_the_place_in_a_budget_is_marked(run: Run) -> None:
    """A caret points at the first wrong character."""
    result = run(measuring('"throughput >= 0.95 * base"'))

    budget = next(line for line in result.errlines if line.endswith("* base"))
    caret = next(line for line in result.errlines if "^" in line)
    assert caret.index("^") == budget.index("base")


def test_every_wrong_marker_is_listed_once(run: Run) -> None:
    """All mistakes in one run, and a parametrised test only once."""
    result = run(
        """
@pytest.mark.dlperf("p9 <= 1ms")
@pytest.mark.parametrize("n", range(5))
def test_one(dlperf, n):
    dlperf(identity, DATA)
"""
        + measuring('"p98 <= 1ms"')
    )

    assert text(result).count("unknown metric 'p9'") == 1
    assert text(result).count("unknown metric 'p98'") == 1


def test_a_marker_without_the_fixture(run: Run) -> None:
    """A marker on a test that cannot measure is a mistake, not a green test."""
    result = run(measuring('"p99 <= 1s"', "pass").replace("(dlperf):", "():"))

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "never measures" in text(result)


def test_an_impossible_scenario(run: Run) -> None:
    """A scenario is checked where it is written, without frames of ours."""
    result = run("BAD = ClosedLoop(clients=0)")

    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*ClosedLoop(clients)=0: expected a whole number of at least 1*"])
    assert_no_frame_of_ours(result)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--dlperf-duration=soon"], "--dlperf-duration='soon' is not a length of time"),
        (["--dlperf-slo=0ms"], "--dlperf-slo='0ms': expected more than 0"),
        (["-o", "dlperf_quick=maybe"], "dlperf_quick: invalid truth value 'maybe'"),
        (["--dlperf-update=yes"], "invalid choice: 'yes'"),
        (["--dlperf-quick", "--dlperf-update=new"], "too briefly for a baseline"),
        (["--dlperf-only", "--dlperf-skip"], "together leave no test"),
        (["--dlperf-budgets=p9 <= 1s"], "--dlperf-budgets: unknown metric 'p9'"),
        (["-o", "dlperf_budgets=p9 <= 1s"], "ini file: dlperf_budgets: unknown metric 'p9'"),
    ],
)
def test_wrong_options(run: Run, options: list[str], message: str) -> None:
    """An option that makes no sense is a usage error."""
    result = run(measuring(), *options)

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert message in text(result)


def test_wrong_ini_values(run: Run, pytester: pytest.Pytester) -> None:
    """An ini key that makes no sense is a usage error that names it."""
    pytester.makeini("[pytest]\ndlperf_missing = perhaps\n")

    result = run("def test_it(): pass")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "dlperf_missing='perhaps'" in text(result)


def test_nearer_budgets_win(run: Run, again: Run, pytester: pytest.Pytester) -> None:
    """Command line over marker over class over module over ini, metric by metric."""
    pytester.makeini("[pytest]\ndlperf_budgets =\n  p50 <= 1ns\n  errors <= 1%\n")

    result = run("""
pytestmark = pytest.mark.dlperf("p50 <= 2ns", **SHORT)

def test_module(dlperf):
    dlperf(identity, DATA)

@pytest.mark.dlperf("p50 <= 3ns")
class TestClass:
    def test_class(self, dlperf):
        dlperf(identity, DATA)

    @pytest.mark.dlperf("p50 <= 10s")
    def test_marker(self, dlperf):
        dlperf(identity, DATA)

def test_plain():
    pass
""")

    result.assert_outcomes(passed=2, failed=2)
    for budget in ("BudgetFailure: p50 <= 2ns", "BudgetFailure: p50 <= 3ns", "errors <= 1%"):
        assert budget in text(result)
    assert "BudgetFailure: p50 <= 1ns" not in text(result)

    again("--dlperf-budgets=p50 <= 10s").assert_outcomes(passed=4)


@pytest.mark.parametrize(
    ("options", "outcomes"),
    [
        (["--dlperf-only"], {"passed": 1, "deselected": 2}),
        (["--dlperf-skip"], {"passed": 2, "deselected": 1}),
        (["-m", "dlperf"], {"passed": 1, "deselected": 2}),
        (["-m", "not dlperf"], {"passed": 2, "deselected": 1}),
    ],
)
def test_selection(run: Run, options: list[str], outcomes: dict[str, int]) -> None:
    """Tests that measure can be run alone or left out, with or without a marker of their own."""
    result = run(
        """
def test_measures(dlperf):
    dlperf(identity, DATA, **SHORT)

def test_one(): pass
def test_two(): pass
""",
        "--strict-markers",
        *options,
    )

    result.assert_outcomes(**outcomes)


def test_everything_is_documented(run: Run) -> None:
    """`--markers` shows the marker with its arguments, `--help` every option and ini key."""
    arguments = "*budgets, scenario=, serving=, clients=, task=, output=, allow_nan=, duration="
    assert f"@pytest.mark.dlperf({arguments}" in text(run("", "--markers"))

    shown = text(run("", "--help"))
    for name, spec in specs().items():
        if spec.kind != "value":
            assert f"--dlperf-{name.replace('_', '-')}" in shown
            assert f"dlperf_{name}" in shown
