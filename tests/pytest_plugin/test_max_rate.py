"""`dlperf.max_rate(...)` and `dlperf.sweep(...)`, as a user of pytest sees them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable


NAPPING = """
def napping(batch):
    spend(100e-6)
    return batch.copy()
"""

HELD = f"""{NAPPING}
@pytest.mark.dlperf("max_rate >= 1/s", "accuracy >= 90%", duration="0.1s")
def test_rate(dlperf):
    m = dlperf.max_rate(napping, DATA, slo="p50 <= 1ms")
    assert m.max_rate == m["max_rate"].low < m["max_rate"].high
"""


def test_a_rate_that_holds(run: Callable[..., pytest.RunResult], pytester: pytest.Pytester) -> None:
    """Judged, shown in a column of its own, and in the JSON like any measurement."""
    result = run(HELD, "--dlperf-json=out.json")

    result.assert_outcomes(passed=1)
    result.stdout.re_match_lines(
        [
            r"measurement +max_rate .*verdict",
            r"test_rate +[\d.,]+M?/s .*PASS",
            r".*note: max_rate: .*",
        ]
    )
    (measurement,) = json.loads((pytester.path / "out.json").read_text())["measurements"]
    assert measurement["scenario"] == "max_rate(p50 <= 1ms)"
    assert measurement["verdicts"][0]["verdict"] == "PASS"


def test_a_rate_that_fails(run: Callable[..., pytest.RunResult]) -> None:
    """A rate out of reach: red, at the user's line, with how the search ended."""
    result = run(f"""{NAPPING}
@pytest.mark.dlperf("max_rate >= 900000000/s", duration="0.1s")
def test_rate(dlperf):
    dlperf.max_rate(napping, DATA, slo="p50 <= 1ms")
""")

    result.assert_outcomes(failed=1)
    result.stdout.re_match_lines(
        [
            r">       dlperf.max_rate\(napping, DATA, slo=\"p50 <= 1ms\"\)",
            r"E       pytest_dlperf.BudgetFailure: max_rate >= 900000000/s, was .*/s",
            r"E       max_rate >= .* FAIL",
            r"E       note: max_rate: .*",
            r"test_module.py:\d+: BudgetFailure",
        ]
    )
    result.stdout.no_fnmatch_line("*measuring.py*")


def test_a_rate_as_a_baseline(
    run: Callable[..., pytest.RunResult], again: Callable[..., pytest.RunResult]
) -> None:
    """Recorded as a baseline and compared with it; another limit is not compared."""
    source = f"""{NAPPING}
@pytest.mark.dlperf("max_rate >= 0.01 * baseline", duration="0.1s")
def test_rate(dlperf):
    dlperf.max_rate(napping, DATA, slo="p50 <= 1ms")
"""
    run(source, "--dlperf-update=new").stdout.re_match_lines([r".*baseline recorded"])
    again().stdout.re_match_lines([r"test_rate .*PASS"])
    other = run(source.replace("1ms", "1.5ms"))

    other.stdout.re_match_lines(
        [r"test_rate .*INCONCLUSIVE", r".*the baseline's scenario was max_rate\(p50 <= 1ms\)"]
    )


def test_no_rate_is_no_baseline(
    run: Callable[..., pytest.RunResult], pytester: pytest.Pytester
) -> None:
    """Where not even the slowest rate holds there is nothing to hold a later one against."""
    result = run(
        f"""{NAPPING}
def test_rate(dlperf):
    m = dlperf.max_rate(napping, DATA, slo="p90 <= 1ns", duration="0.1s")
    assert m.max_rate == 0
""",
        "--dlperf-update=new",
    )

    result.assert_outcomes(passed=1)
    result.stdout.re_match_lines([r".*not recorded: no rate held the limit"])
    assert not list(pytester.path.glob(".dlperf/**/*.json"))


@pytest.mark.parametrize(
    ("budget", "call", "message"),
    [
        (
            "p99 <= 20ms",
            "dlperf.max_rate(napping, DATA, slo='p99 <= 10ms')",
            "*budget 'p99 <= 20ms': dlperf.max_rate(...) does not measure p99*",
        ),
        (
            "max_rate >= 5000/s",
            "dlperf(identity, DATA)",
            "*budget 'max_rate >= 5000/s': dlperf(...) does not measure max_rate*",
        ),
        (
            "errors <= 1%",
            "dlperf.max_rate(napping, DATA, slo='throughput >= 5/s')",
            "*slo='throughput >= 5/s': throughput is no percentile*",
        ),
        (
            "errors <= 1%",
            "dlperf.sweep(identity, DATA, clients=())",
            "*sweep(clients=()) has no points*",
        ),
    ],
)
def test_wrong_calls(
    run: Callable[..., pytest.RunResult], budget: str, call: str, message: str
) -> None:
    """A budget that a call does not measure is refused in words, as is a wrong argument."""
    result = run(f"""{NAPPING}
@pytest.mark.dlperf("{budget}", duration="0.1s")
def test_it(dlperf):
    {call}
""")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([message])
    result.stdout.no_fnmatch_line("*measuring.py*")


def test_warnings_point_at_the_test(run: Callable[..., pytest.RunResult]) -> None:
    """An open verdict warns with the line of the test, not with one of ours."""
    result = run(
        f"""{NAPPING}
@pytest.mark.dlperf("max_rate >= 0.5 * baseline", duration="0.1s")
def test_rate(dlperf):
    dlperf.max_rate(napping, DATA, slo="p50 <= 1ms")
""",
        "--dlperf-missing=warn",
    )

    result.assert_outcomes(passed=1, warnings=1)
    result.stdout.re_match_lines([r".*test_module.py:\d+: DlperfWarning: NEW: max_rate.*"])


def test_sweep(run: Callable[..., pytest.RunResult]) -> None:
    """The curve is returned and can be printed; nothing is recorded."""
    result = run(
        """
def test_curve(dlperf):
    curve = dlperf.sweep(identity, DATA, clients=(4, 1), duration=0.3)
    assert isinstance(curve, Sweep)
    assert [point.clients for point in curve.points] == [1, 4]
    assert curve.knee in curve.points
    assert curve.whole.accuracy == 1.0
    print(curve)
""",
        "-s",
    )

    result.assert_outcomes(passed=1)
    result.stdout.re_match_lines([r".*clients +throughput +p50", r" +1 .*/s", r" +4 .*/s"])
    result.stdout.no_fnmatch_line("*= dlperf:*")


def test_errors_in_a_sweep_fail_the_test(run: Callable[..., pytest.RunResult]) -> None:
    """As in a plain measurement, unless a budget allows them."""
    source = """
class Sometimes:
    calls = 0

    def infer(self, batch):
        self.calls += 1
        if self.calls % 100 == 99:
            raise ValueError("one in a hundred")
        return batch.copy()

@pytest.mark.dlperf(duration="0.3s")
def test_strict(dlperf):
    dlperf.sweep(Sometimes(), DATA, clients=(1,))

@pytest.mark.dlperf("errors <= 10%", duration="0.3s")
def test_lenient(dlperf):
    dlperf(identity, DATA)
    dlperf.sweep(Sometimes(), DATA, clients=(1,))
"""
    result = run(source)

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.re_match_lines(
        [r"E .*BudgetFailure: errors == 0, was .*", r"E .*ValueError.*one in a hundred"]
    )


def test_a_sweep_judges_no_budget(run: Callable[..., pytest.RunResult]) -> None:
    """A test with budgets that only sweeps has not been judged, and is not green."""
    result = run("""
@pytest.mark.dlperf("p99 <= 1s", duration="0.3s")
def test_curve(dlperf):
    dlperf.sweep(identity, DATA, clients=(1,))
""")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*this test has dlperf budgets, but dlperf(...) measured nothing*"]
    )


def test_budgets_for_all_tests(run: Callable[..., pytest.RunResult]) -> None:
    """A budget of the command line holds where it can, and breaks no search and no sweep."""
    result = run(
        """
def test_load(dlperf):
    dlperf(identity, DATA, **SHORT)

def test_rate(dlperf):
    dlperf.max_rate(identity, DATA, slo="p90 <= 1ms", duration="0.1s")

def test_sweep(dlperf):
    dlperf.sweep(identity, DATA, clients=(1, 4), duration="0.1s")
""",
        "--dlperf-budgets=p50 <= 1ns",
        "--dlperf-quick",
    )

    result.assert_outcomes(passed=3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ('dlperf.sweep(identity, DATA, clients="threads")', "clients that are real: the marker"),
        ('dlperf.max_rate(identity, DATA, slo="20ms")', "slo='20ms'"),
        ("dlperf(identity, DATA, clients=8)", "scenario=ClosedLoop(clients=8)"),
    ],
)
def test_what_is_easily_confused(
    run: Callable[..., pytest.RunResult], call: str, message: str
) -> None:
    """The message says what was meant where, and how it is written."""
    result = run(f"""
def test_it(dlperf):
    {call}
""")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"*{message}*"])
