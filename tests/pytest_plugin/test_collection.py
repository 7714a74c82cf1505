"""What is wrong with a marker or an option is said before anything runs."""

from __future__ import annotations

import fnmatch
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ('"p9 <= 20ms"', "*unknown metric 'p9'*"),
        ('"p99 <= 20ms", scenaro=1', "*takes no argument 'scenaro'*"),
        ("serving=64", "*serving=64*expected Serving*"),
        ('missing="perhaps"', "*missing='perhaps'*"),
        ("64", "*takes budgets as text, not 64*"),
        ('"p99 <= 20ms", scenario=Offline()', "*needs a latency, and Offline() measures none*"),
    ],
)
def test_wrong_markers(run: Callable[..., pytest.RunResult], arguments: str, message: str) -> None:
    """A marker that makes no sense stops the run at collection, with file, line and test."""
    result = run(f"""
@pytest.mark.dlperf({arguments})
def test_it(dlperf):
    dlperf(identity, DATA)
""")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    said = " ".join(result.errlines)
    assert fnmatch.fnmatch(said, message)
    assert "test_module.py:" in said
    assert "Traceback" not in said + " ".join(result.outlines)


def test_the_place_in_a_budget_is_marked(run: Callable[..., pytest.RunResult]) -> None:
    """A caret points at the first wrong character."""
    result = run("""
@pytest.mark.dlperf("throughput >= 0.95 * base")
def test_it(dlperf):
    dlperf(identity, DATA)
""")

    lines = [line for line in result.errlines if "base" in line or "^" in line]
    budget = next(line for line in lines if line.endswith("* base"))
    caret = next(line for line in lines if "^" in line)
    assert caret.index("^") == budget.index("base")


def test_every_wrong_marker_is_listed_once(run: Callable[..., pytest.RunResult]) -> None:
    """All mistakes in one go, and a parametrised test only once."""
    result = run("""
@pytest.mark.dlperf("p9 <= 1ms")
@pytest.mark.parametrize("n", range(5))
def test_one(dlperf, n):
    dlperf(identity, DATA)

@pytest.mark.dlperf("p98 <= 1ms")
def test_two(dlperf):
    dlperf(identity, DATA)
""")

    said = "\n".join(result.errlines)
    assert said.count("unknown metric 'p9'") == 1
    assert said.count("unknown metric 'p98'") == 1


def test_a_marker_without_the_fixture(run: Callable[..., pytest.RunResult]) -> None:
    """A marker on a test that cannot measure is a mistake, not a green test."""
    result = run("""
@pytest.mark.dlperf("p99 <= 1s")
def test_it():
    pass
""")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "never measures" in " ".join(result.errlines)


def test_a_scenario_that_cannot_be(run: Callable[..., pytest.RunResult]) -> None:
    """A scenario is checked where it is written, without frames of ours."""
    result = run("""
BAD = ClosedLoop(clients=0)
def test_it(): pass
""")

    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*ClosedLoop(clients)=0: expected a whole number of at least 1*"])
    result.stdout.no_fnmatch_line("*scenarios.py*")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--dlperf-duration=soon"], "--dlperf-duration='soon' is not a length of time"),
        (["--dlperf-update=yes"], "invalid choice: 'yes'"),
        (["--dlperf-quick", "--dlperf-update=new"], "too briefly for a baseline"),
        (["--dlperf-only", "--dlperf-skip"], "together leave no test"),
        (["--dlperf-budgets=p9 <= 1s"], "unknown metric 'p9'"),
    ],
)
def test_wrong_options(
    run: Callable[..., pytest.RunResult], options: list[str], message: str
) -> None:
    """An option that makes no sense is a usage error."""
    result = run("def test_it(dlperf): dlperf(identity, DATA)", *options)

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert message in " ".join(result.errlines + result.outlines)


def test_wrong_ini_values(run: Callable[..., pytest.RunResult], pytester: pytest.Pytester) -> None:
    """An ini key that makes no sense is a usage error that names it."""
    pytester.makeini("[pytest]\ndlperf_missing = perhaps\n")

    result = run("def test_it(): pass")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "dlperf_missing='perhaps'" in " ".join(result.errlines)


def test_nearer_budgets_win(
    run: Callable[..., pytest.RunResult], pytester: pytest.Pytester
) -> None:
    """Marker over class over module over ini, metric by metric."""
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
    said = "\n".join(result.outlines)
    assert "BudgetFailure: p50 <= 2ns" in said
    assert "BudgetFailure: p50 <= 3ns" in said
    assert "errors <= 1%" in said
    assert "BudgetFailure: p50 <= 1ns" not in said


def test_the_command_line_wins_over_markers(run: Callable[..., pytest.RunResult]) -> None:
    """`--dlperf-budgets` is the nearest of all."""
    result = run(
        """
@pytest.mark.dlperf("p50 <= 1ns", **SHORT)
def test_it(dlperf):
    dlperf(identity, DATA)
""",
        "--dlperf-budgets=p50 <= 10s",
    )

    result.assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("options", "outcomes"),
    [
        (["--dlperf-only"], {"passed": 1, "deselected": 2}),
        (["--dlperf-skip"], {"passed": 2, "deselected": 1}),
        (["-m", "dlperf"], {"passed": 1, "deselected": 2}),
        (["-m", "not dlperf"], {"passed": 2, "deselected": 1}),
    ],
)
def test_selection(
    run: Callable[..., pytest.RunResult], options: list[str], outcomes: dict[str, int]
) -> None:
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


def test_everything_is_documented(run: Callable[..., pytest.RunResult]) -> None:
    """`--markers` shows the marker with its arguments, `--help` every option and ini key."""
    markers = "\n".join(run("", "--markers").outlines)
    assert "@pytest.mark.dlperf(*budgets, scenario=, serving=, clients=, duration=" in markers

    text = "\n".join(run("", "--help").outlines)
    for name in (
        "budgets",
        "duration",
        "missing",
        "inconclusive",
        "update",
        "update-in-ci",
        "quick",
        "json",
        "only",
        "skip",
    ):
        assert f"--dlperf-{name}" in text
        assert f"dlperf_{name.replace('-', '_')}" in text
