"""`dlperf.max_rate(...)` and `dlperf.sweep(...)`, as a user of pytest sees them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from plugin_projects import assert_no_frame_of_ours, measuring, text

if TYPE_CHECKING:
    from plugin_projects import Run


NAPPING = """
def napping(batch):
    spend(100e-6)
    return batch.copy()
"""

# Small batches make for low rates, and those for few requests.
SEARCH = 'dlperf.max_rate(napping, DATA, slo="p50 <= 1ms", serving=Serving(4))'


def test_a_rate_that_holds(run: Run, pytester: pytest.Pytester) -> None:
    """Judged, shown in a column of its own, and in the JSON like any measurement."""
    marker = '"max_rate >= 1/s", "accuracy >= 90%", duration="0.1s"'
    checked = f"m = {SEARCH}; assert m.max_rate == m['max_rate'].low < m['max_rate'].high"
    result = run(NAPPING + measuring(marker, checked), "--dlperf-json=out.json")

    result.assert_outcomes(passed=1)
    result.stdout.re_match_lines(
        [
            r"measurement +max_rate .*verdict",
            r"test_it +[\d.,]+M?/s .*PASS",
            r".*note: max_rate: .*",
        ]
    )
    (measurement,) = json.loads((pytester.path / "out.json").read_text())["measurements"]
    assert measurement["scenario"] == "max_rate(p50 <= 1ms)"
    assert measurement["verdicts"][0]["verdict"] == "PASS"


def test_a_rate_that_fails(run: Run) -> None:
    """A rate out of reach: red, at the user's line, with how the search ended."""
    result = run(NAPPING + measuring('"max_rate >= 900000000/s", duration="0.1s"', SEARCH))

    result.assert_outcomes(failed=1)
    result.stdout.re_match_lines(
        [
            r">       dlperf.max_rate\(napping, DATA, slo=\"p50 <= 1ms\", serving=Serving\(4\)\)",
            r"E       pytest_dlperf.BudgetFailure: max_rate >= 900000000/s, was .*/s",
            r"E       max_rate >= .* FAIL",
            r"E       note: max_rate: .*",
            r"test_module.py:\d+: BudgetFailure",
        ]
    )
    assert_no_frame_of_ours(result)


def test_a_rate_as_a_baseline(run: Run, again: Run) -> None:
    """Recorded as a baseline and compared with it; another limit is not compared."""
    source = NAPPING + measuring('"max_rate >= 0.01 * baseline", duration="0.1s"', SEARCH)
    run(source, "--dlperf-update=new").stdout.re_match_lines([r".*baseline recorded"])
    again().stdout.re_match_lines([r"test_it .*PASS"])
    other = run(source.replace("1ms", "1.5ms"))

    other.stdout.re_match_lines(
        [r"test_it .*INCONCLUSIVE", r".*the baseline's scenario was max_rate\(p50 <= 1ms\)"]
    )


def test_no_rate_is_no_baseline(run: Run, pytester: pytest.Pytester) -> None:
    """Where not even the slowest rate holds there is nothing to hold a later one against."""
    result = run(
        f"""{NAPPING}
def test_rate(dlperf):
    m = dlperf.max_rate(napping, DATA, slo="p90 <= 1ns", serving=Serving(4), duration="0.1s")
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
            "budget 'p99 <= 20ms': dlperf.max_rate(...) does not measure p99",
        ),
        (
            "max_rate >= 5000/s",
            "dlperf(identity, DATA)",
            "budget 'max_rate >= 5000/s': dlperf(...) does not measure max_rate",
        ),
        (
            "errors <= 1%",
            "dlperf.max_rate(napping, DATA, slo='throughput >= 5/s')",
            "slo='throughput >= 5/s': throughput is no percentile",
        ),
        ("errors <= 1%", "dlperf.max_rate(napping, DATA, slo='20ms')", "slo='20ms'"),
        ("errors <= 1%", "dlperf.sweep(identity, DATA, clients=())", "sweep(clients=()) has no"),
        (
            "errors <= 1%",
            "dlperf.sweep(identity, DATA, clients='threads')",
            "clients that are real: the marker",
        ),
        ("errors <= 1%", "dlperf(identity, DATA, clients=8)", "scenario=ClosedLoop(clients=8)"),
        # Budgets that only a sweep follows have not been judged.
        (
            "p99 <= 1s",
            "dlperf.sweep(identity, DATA, clients=(1,))",
            "this test has dlperf budgets, but dlperf(...) measured nothing",
        ),
    ],
)
def test_wrong_calls(run: Run, budget: str, call: str, message: str) -> None:
    """A budget that a call does not measure is refused in words, as is a wrong argument."""
    result = run(NAPPING + measuring(f'"{budget}", duration="0.1s"', call))

    result.assert_outcomes(failed=1)
    assert message in text(result)
    assert_no_frame_of_ours(result)


def test_sweep(run: Run) -> None:
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


def test_errors_in_a_sweep_fail_the_test(run: Run) -> None:
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
    dlperf(identity, DATA, **SHORT)
    dlperf.sweep(Sometimes(), DATA, clients=(1,))
"""
    result = run(source)

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.re_match_lines(
        [r"E .*BudgetFailure: errors == 0, was .*", r"E .*ValueError.*one in a hundred"]
    )


def test_budgets_for_all_tests(run: Run) -> None:
    """A budget of the command line holds where it can, and breaks no search and no sweep."""
    result = run(
        """
def test_load(dlperf):
    dlperf(identity, DATA, **SHORT)

def test_rate(dlperf):
    dlperf.max_rate(identity, DATA, slo="p90 <= 1ms", serving=Serving(4), duration="0.1s")

def test_sweep(dlperf):
    dlperf.sweep(identity, DATA, clients=(1, 4), duration="0.1s")
""",
        "--dlperf-budgets=p50 <= 1ns",
        "--dlperf-quick",
    )

    result.assert_outcomes(passed=3)
