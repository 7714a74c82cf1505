"""Each verdict, as a user of pytest sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from builders import make_judgement
from plugin_projects import assert_no_frame_of_ours, measuring

from pytest_dlperf.results.verdict import Verdict

if TYPE_CHECKING:
    from plugin_projects import Run

RELATIVE = measuring('"throughput >= 0.5 * baseline", **SHORT')
POLICIES = [
    ("pass", {"passed": 1}),
    ("warn", {"passed": 1, "warnings": 1}),
    ("fail", {"failed": 1}),
]


def test_pass(run: Run) -> None:
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


def test_fail(run: Run) -> None:
    """A broken budget: the test itself fails, at the user's line, with the table in 80 columns."""
    name = "test_with_a_rather_long_name_that_does_not_fit"
    budgets = '"p99 <= 1ns", "throughput >= 1/s", "accuracy >= baseline - 0.5pt"'
    result = run(measuring(f"{budgets}, **SHORT", name=name))

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
    assert_no_frame_of_ours(result)
    start = next(i for i, line in enumerate(result.outlines) if line.startswith("E "))
    for line in result.outlines[start:]:
        assert "\x1b" not in line
        if "BudgetFailure" not in line and "FAILED" not in line and "--dlperf-update" not in line:
            assert len(line) <= 80, line


def test_new(run: Run) -> None:
    """Without a baseline a relative budget is NEW: green, with the way to record one."""
    result = run(RELATIVE)

    result.assert_outcomes(passed=1)
    result.stdout.re_match_lines(
        [r"test_it .*NEW", r".*no baseline yet on this machine class", r".*--dlperf-update=new"]
    )


@pytest.mark.parametrize(("policy", "outcomes"), POLICIES)
def test_missing_baseline_policy(run: Run, policy: str, outcomes: dict[str, int]) -> None:
    """`--dlperf-missing` says what a missing baseline does to the test."""
    result = run(RELATIVE, f"--dlperf-missing={policy}")

    result.assert_outcomes(**outcomes)
    if policy == "warn":
        result.stdout.fnmatch_lines(["*DlperfWarning: NEW: throughput >= 0.5 * baseline*"])


@pytest.mark.parametrize(("policy", "outcomes"), POLICIES)
def test_inconclusive(run: Run, policy: str, outcomes: dict[str, int]) -> None:
    """An interval that holds the limit decides nothing; the policy decides what that does."""
    result = run(
        """
def one_wrong(batch):
    spend(200e-6)
    out = batch.copy()
    out[np.isclose(batch, INPUTS[0]).all(axis=1)] = np.roll(INPUTS[0], 1)
    return out
"""
        + measuring('"accuracy >= 99.5%", **SHORT', "dlperf(one_wrong, DATA)"),
        f"--dlperf-inconclusive={policy}",
    )

    result.assert_outcomes(**outcomes)
    result.stdout.re_match_lines([r"(E  +)?.*INCONCLUSIVE", r".*it would have been"])


@pytest.mark.parametrize(
    ("budget", "call"),
    [
        ("throughput >= 0.5 * baseline", "dlperf(identity, DATA)"),
        (
            "max_rate >= 0.5 * baseline",
            'dlperf.max_rate(identity, DATA, slo="p50 <= 1ms", serving=Serving(4))',
        ),
        ("errors <= 1%", "dlperf.sweep(identity, DATA, clients=(1,))"),
    ],
)
def test_warnings_point_at_the_test(
    run: Run,
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    budget: str,
    call: str,
) -> None:
    """An open verdict warns with the line of the call in the test, not with one of ours."""
    # Only a sweep judges here, and errors, which are counted, leave no verdict open.
    still_open = make_judgement(Verdict.INCONCLUSIVE, budget=budget)
    monkeypatch.setattr("pytest_dlperf.pytest_plugin.dlperf.judge", lambda *_: (still_open,))

    result = run(
        measuring(f'"{budget}", duration="0.1s"', f"{call}  # the call"), "--dlperf-missing=warn"
    )

    result.assert_outcomes(passed=1, warnings=1)
    lines = (pytester.path / "test_module.py").read_text().splitlines()
    number = next(number for number, line in enumerate(lines, 1) if "# the call" in line)
    result.stdout.re_match_lines([rf".*test_module.py:{number}: DlperfWarning: .*"])


def test_several_measurements_of_a_test(run: Run) -> None:
    """Each name is a row."""
    result = run("""
def test_two(dlperf):
    dlperf(identity, DATA, name="first", **SHORT)
    dlperf(identity, DATA, name="second", scenario=SingleStream(), duration="0.2s")
""")

    result.assert_outcomes(passed=1)
    result.stdout.re_match_lines([r"test_two \[first\]"])
