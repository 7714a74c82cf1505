"""Users' metrics, as a user of pytest writes and sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_dlperf import cli

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.usefixtures("own_metrics")

METRIC = """
import numpy as np
import pytest_dlperf

@pytest_dlperf.metric(unit="share", better="higher", detect=0.01)
def overlap(outputs, labels):
    best = np.argsort(-outputs, axis=1)[:, :2]
    return (best[:, :, None] == labels[:, None, :]).any(axis=1).mean(axis=1)
"""
RELEVANT = """
NOISE = np.random.default_rng(1).normal(0, 0.2, INPUTS.shape)
RELEVANT = np.argsort(-INPUTS - NOISE, axis=1)[:, :3]
RANKED = (INPUTS, RELEVANT)
"""
WORSE = """
def worse(batch):
    return -batch
"""


def test_of_a_test_module(run: Callable[..., pytest.RunResult]) -> None:
    """Defined beside the tests: PASS, FAIL with the table, and a misspelt name at collection."""
    result = run(f"""
{METRIC}{RELEVANT}
@pytest.mark.dlperf("overlap >= 40%", **SHORT)
def test_good(dlperf):
    assert dlperf(identity, RANKED).overlap > 0.4

@pytest.mark.dlperf("overlap >= 90%", **SHORT)
def test_bad(dlperf):
    dlperf(identity, RANKED)
""")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.re_match_lines(
        [
            r"E +pytest_dlperf.BudgetFailure: overlap >= 90%, was \d\d\.\d\d %",
            r"E +overlap >= 90% .*90.00 % .*FAIL",
            r"test_good .*PASS",
            r"  overlap \d\d\.\d\d % \(\d\d\.\d\d to \d\d\.\d\d %\)",
        ]
    )


def test_of_a_conftest(
    pytester: pytest.Pytester,
    run: Callable[..., pytest.RunResult],
    again: Callable[..., pytest.RunResult],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """NEW, then recorded, then PASS without any loss, then FAIL; and shown where it is unknown."""
    pytester.makeconftest(METRIC)
    source = f"""
{RELEVANT}{WORSE}
@pytest.mark.dlperf("overlap >= baseline", **SHORT)
def test_it(dlperf):
    dlperf(identity, RANKED)
"""
    first = run(source)
    first.assert_outcomes(passed=1)
    first.stdout.re_match_lines([r"test_it .*NEW", r".*overlap: no baseline yet"])
    again("--dlperf-update=new").assert_outcomes(passed=1)
    again().stdout.re_match_lines([r"test_it .*PASS"])
    worse = run(source.replace("dlperf(identity", "dlperf(worse"))
    worse.assert_outcomes(failed=1)
    worse.stdout.re_match_lines([r"E +overlap >= baseline.*FAIL"])

    monkeypatch.setattr("pytest_dlperf.metrics._defined", {})
    for words in (("history", "test_it"), ("baselines", "list")):
        assert cli.main([*words, "--rootdir", str(pytester.path)]) == 0
        assert "overlap" in capsys.readouterr().out


def test_what_an_ini_file_says(
    pytester: pytest.Pytester,
    run: Callable[..., pytest.RunResult],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It may name what only a test module defines; a name that nobody defines is an error."""
    pytester.makeini("[pytest]\ndlperf_budgets = overlap >= 40%\ndlperf_detect = overlap 2pt")
    source = f"{RELEVANT}\ndef test_it(dlperf):\n    dlperf(identity, RANKED, duration=0.3)\n"
    result = run(METRIC + source)
    result.assert_outcomes(passed=1)
    result.stdout.re_match_lines([r"  overlap \d\d\.\d\d %"])

    monkeypatch.setattr("pytest_dlperf.metrics._defined", {})  # as in a new process
    result = run(source)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*ini file: dlperf_budgets: unknown metric 'overlap'*"])


def test_a_function_that_fails(run: Callable[..., pytest.RunResult]) -> None:
    """The test is red, and the error names the metric and what its function was given."""
    result = run(f"""
{METRIC}
@pytest.mark.dlperf("overlap >= 0", **SHORT)
def test_it(dlperf):
    dlperf(identity, DATA)
""")
    result.assert_outcomes(failed=1)
    result.stdout.re_match_lines(
        [
            r"E .*UsageError: metric 'overlap': its function raised IndexError: .*",
            r"E +it was given",
        ]
    )
    result.stdout.no_fnmatch_line("*data/scoring.py*")


def test_a_name_that_is_taken(run: Callable[..., pytest.RunResult]) -> None:
    """It is said where it is written, when the module is imported."""
    result = run(METRIC.replace("def overlap", "def accuracy") + "\ndef test_it():\n    pass\n")
    result.assert_outcomes(errors=1)
    result.stdout.re_match_lines([r"E .*metric 'accuracy': this name is taken"])


@pytest.mark.parametrize(
    ("candidate", "verdict"), [("identity", "PASS"), ("worse", "FAIL.*|E .*FAIL")]
)
def test_in_a_duel(run: Callable[..., pytest.RunResult], candidate: str, verdict: str) -> None:
    """Two models answer the same rows: what was lost of a users' metric is judged row by row."""
    result = run(f"""
{METRIC}{RELEVANT}{WORSE}
@pytest.mark.dlperf("overlap >= baseline", **SHORT)
def test_it(dlperf):
    dlperf.duel(identity, {candidate}, RANKED)
""")
    result.assert_outcomes(**{"passed" if candidate == "identity" else "failed": 1})
    result.stdout.re_match_lines([rf"(test_it|E +overlap >= baseline) .*({verdict})"])
