"""Each verdict, as a user of pytest sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable


def test_pass(run: Callable[..., pytest.RunResult]) -> None:
    """A budget that is held: a green test, and a row in the summary."""
    result = run("""
@pytest.mark.dlperf("p99 <= 10s", "accuracy >= 90%", **SHORT)
def test_it(dlperf):
    m = dlperf(identity, DATA)
    assert m.accuracy == 1.0
    assert m["p99"].low <= m.p99 <= m["p99"].high
""")

    result.assert_outcomes(passed=1)
    result.stdout.re_match_lines(
        [r"=+ dlperf: \S+ =+", r"measurement .*verdict", r"test_it .*PASS"]
    )


def test_fail(run: Callable[..., pytest.RunResult]) -> None:
    """A broken budget: the test itself fails, at the user's line, with the table."""
    result = run("""
@pytest.mark.dlperf("p99 <= 1ns", "throughput >= 1/s", **SHORT)
def test_it(dlperf):
    dlperf(identity, DATA)
""")

    result.assert_outcomes(failed=1)
    result.stdout.re_match_lines(
        [
            r">       dlperf\(identity, DATA\)",
            r"E       pytest_dlperf.BudgetFailure: p99 <= 1ns, was .*s",
            r"E       budget .*measured .*limit .*baseline .*verdict",
            r"E       p99 <= 1ns .* 1 ns .* FAIL",
            r"E       throughput >= 1/s .* PASS",
            r"E .*in the queue and",
            r"test_module.py:\d+: BudgetFailure",
        ]
    )
    result.stdout.no_fnmatch_line("*measuring.py*")


def test_new(run: Callable[..., pytest.RunResult]) -> None:
    """Without a baseline a relative budget is NEW: green, with the way to record one."""
    result = run("""
@pytest.mark.dlperf("throughput >= 0.5 * baseline", **SHORT)
def test_it(dlperf):
    dlperf(identity, DATA)
""")

    result.assert_outcomes(passed=1)
    result.stdout.re_match_lines(
        [r"test_it .*NEW", r".*no baseline yet on this machine class", r".*--dlperf-update=new"]
    )


@pytest.mark.parametrize(
    ("policy", "outcomes"),
    [
        ("pass", {"passed": 1}),
        ("warn", {"passed": 1, "warnings": 1}),
        ("fail", {"failed": 1}),
    ],
)
def test_missing_baseline_policy(
    run: Callable[..., pytest.RunResult], policy: str, outcomes: dict[str, int]
) -> None:
    """`--dlperf-missing` says what a missing baseline does to the test."""
    result = run(
        """
@pytest.mark.dlperf("throughput >= 0.5 * baseline", **SHORT)
def test_it(dlperf):
    dlperf(identity, DATA)
""",
        f"--dlperf-missing={policy}",
    )

    result.assert_outcomes(**outcomes)
    if policy == "warn":
        result.stdout.fnmatch_lines(["*DlperfWarning: NEW: throughput >= 0.5 * baseline*"])


def test_invalid(run: Callable[..., pytest.RunResult]) -> None:
    """A percentile that too few requests carry is INVALID, and red until that is mended."""
    result = run("""
def slow(batch):
    spend(0.01)
    return batch.copy()

@pytest.mark.dlperf("p99.9 <= 1s", scenario=SingleStream(), duration="0.3s")
def test_it(dlperf):
    dlperf(slow, DATA)
""")

    result.assert_outcomes(failed=1)
    result.stdout.re_match_lines(
        [r".*BudgetFailure: INVALID: p99.9 <= 1s", r".*p99.9: \d+ requests, p99.9 needs 6636"]
    )


@pytest.mark.parametrize(
    ("policy", "outcomes"),
    [
        ("warn", {"passed": 1, "warnings": 1}),
        ("pass", {"passed": 1}),
        ("fail", {"failed": 1}),
    ],
)
def test_inconclusive(
    run: Callable[..., pytest.RunResult], policy: str, outcomes: dict[str, int]
) -> None:
    """An interval that holds the limit decides nothing; the policy decides what that does."""
    result = run(
        """
def one_wrong(batch):
    out = batch.copy()
    out[np.isclose(batch, INPUTS[0]).all(axis=1)] = np.roll(INPUTS[0], 1)
    return out

@pytest.mark.dlperf("accuracy >= 99.5%", **SHORT)
def test_it(dlperf):
    dlperf(one_wrong, DATA)
""",
        f"--dlperf-inconclusive={policy}",
    )

    result.assert_outcomes(**outcomes)
    result.stdout.re_match_lines([r"(E  +)?.*INCONCLUSIVE", r".*it would have been"])


def test_several_measurements_are_told_apart(run: Callable[..., pytest.RunResult]) -> None:
    """Each name is a row; a name used twice is an error that says how to mend it."""
    result = run("""
@pytest.mark.dlperf(**SHORT)
def test_two(dlperf):
    dlperf(identity, DATA, name="first")
    dlperf(identity, DATA, name="second", scenario=SingleStream())

@pytest.mark.dlperf(**SHORT)
def test_twice(dlperf):
    dlperf(identity, DATA)
    dlperf(identity, DATA)
""")

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.re_match_lines(
        [r".*this test has a measurement already", r".*name='...'", r"test_two \[first\]"]
    )
