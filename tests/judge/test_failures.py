"""Errors against a baseline: counts of calls, so that a single time-out is no regression."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from builders import ENVIRONMENT, REVISION, make_measurement
from scipy import stats

from pytest_dlperf.config.budgets import parse_budget
from pytest_dlperf.judge.conditions import MachineConditions
from pytest_dlperf.judge.failures import ErrorComparison
from pytest_dlperf.judge.judge import judge
from pytest_dlperf.results.baseline import BaselineEntry, accept
from pytest_dlperf.results.verdict import Judgement, Verdict
from pytest_dlperf.statistics.estimate import counted
from pytest_dlperf.statistics.failure_counts import FailedCalls

PASS, FAIL, INCONCLUSIVE, _, _ = Verdict
NO_MORE = parse_budget("errors <= baseline")


def judged(
    budget: str, now: tuple[int, int, int], then: tuple[int, int, int], alpha: float = 0.01
) -> Judgement:
    """Judge failed requests, all requests and calls, now and in the baseline."""
    sides = [
        make_measurement(
            {"errors": counted(failed / requests)},
            requests=requests,
            batch_sizes={requests // calls: calls},
        )
        for failed, requests, calls in (now, then)
    ]
    stored = BaselineEntry.from_json(accept(sides[1], ENVIRONMENT, REVISION).to_json())
    conditions = MachineConditions(alpha=alpha, beta=0.01)
    (judgement,) = judge(sides[0], [parse_budget(budget)], stored, ENVIRONMENT, "", conditions)
    return judgement


@pytest.mark.parametrize(
    ("budget", "now", "then", "verdict"),
    [
        # One request, or one batch of 64, more than none.
        ("errors <= baseline", (1, 10_000, 10_000), (0, 10_000, 10_000), PASS),
        ("errors <= baseline", (1, 500, 500), (0, 500, 500), INCONCLUSIVE),
        ("errors <= baseline", (64, 64_000, 1000), (0, 64_000, 1000), INCONCLUSIVE),
        ("errors <= baseline", (640, 64_000, 1000), (0, 64_000, 1000), FAIL),
        ("errors <= baseline", (7, 10_000, 10_000), (0, 10_000, 10_000), FAIL),
        ("errors <= baseline", (0, 100, 100), (0, 100, 100), PASS),
        ("errors <= baseline", (0, 10_000, 10_000), (500, 10_000, 10_000), PASS),
        # Loads of other lengths are compared by shares, not by counts.
        ("errors <= baseline", (20, 2000, 2000), (200, 20_000, 20_000), PASS),
        ("errors <= baseline", (60, 2000, 2000), (200, 20_000, 20_000), FAIL),
        ("errors <= baseline + 1pt", (60, 10_000, 10_000), (0, 10_000, 10_000), PASS),
        ("errors <= baseline + 1pt", (160, 10_000, 10_000), (0, 10_000, 10_000), FAIL),
        ("errors <= 0.5 * baseline", (300, 10_000, 10_000), (1000, 10_000, 10_000), PASS),
        ("errors <= 0.5 * baseline", (520, 10_000, 10_000), (1000, 10_000, 10_000), INCONCLUSIVE),
        ("errors <= 0.5 * baseline", (700, 10_000, 10_000), (1000, 10_000, 10_000), FAIL),
        ("errors == baseline", (1, 10_000, 10_000), (0, 10_000, 10_000), PASS),
        ("errors == baseline", (0, 10_000, 10_000), (20, 10_000, 10_000), FAIL),
        ("errors == baseline", (20, 10_000, 10_000), (0, 10_000, 10_000), FAIL),
        # Absolute budgets are exact.
        ("errors == 0", (1, 10_000, 10_000), (0, 10_000, 10_000), FAIL),
        ("errors <= 0.01%", (2, 10_000, 10_000), (0, 10_000, 10_000), FAIL),
        ("errors <= 0.01%", (1, 10_000, 10_000), (0, 10_000, 10_000), PASS),
    ],
)
def test_errors(
    budget: str, now: tuple[int, int, int], then: tuple[int, int, int], verdict: Verdict
) -> None:
    """Errors FAIL where more than the budget allows are proven; calls count, not their requests."""
    assert judged(budget, now, then).verdict is verdict


def test_a_pass_says_what_it_excludes() -> None:
    """A short run without an error passes, and says that it excludes little."""
    short = judged("errors <= baseline", (0, 100, 100), (0, 100, 100))
    assert short.verdict is PASS
    assert short.reason == "100 calls exclude a rise of 5.16 % or more, not a smaller one"
    assert stats.binom.pmf(0, 100, 0.0516) == pytest.approx(0.005, rel=0.01)
    assert judged("errors <= baseline", (0, 10_000, 10_000), (0, 10_000, 10_000)).reason == ""


def test_a_baseline_without_counts() -> None:
    """A baseline that has no counts is taken for as many calls as this measurement."""
    measurement = make_measurement({"errors": counted(0.0001)}, requests=10_000)
    before = make_measurement({"errors": counted(0.0)}, requests=10_000)
    written = accept(before, ENVIRONMENT, REVISION).to_json()
    del written["sessions"][0]["counts"]  # type: ignore[index]
    stored = BaselineEntry.from_json(written)
    assert stored.newest.counts is None
    (judgement,) = judge(measurement, [NO_MORE], stored, ENVIRONMENT, "")
    assert judgement.verdict is PASS


@pytest.mark.parametrize("calls", [100, 1000, 20_000])
@pytest.mark.parametrize("share", [0.0002, 0.005, 0.1])
def test_unchanged_services_rarely_fail(calls: int, share: float) -> None:
    """Of 5,000 sessions with the same errors 1 % FAIL at the most, and nearly all big rises do.

    Comparing the shares themselves fails up to a half.
    """
    random, sessions = np.random.default_rng(calls), 5000
    rates = {"alpha": 0.01, "beta": 0.01}

    def decided(now: float, wanted: str, budget: str = "errors <= baseline") -> int:
        drawn = (random.binomial(calls, rate, sessions).tolist() for rate in (now, share))
        parsed, found = parse_budget(budget), 0
        for (failed, before), times in Counter(zip(*drawn, strict=True)).items():
            errors = ErrorComparison(FailedCalls(failed, calls), FailedCalls(before, calls))
            found += times * (errors.decision(parsed, **rates) == wanted)
        return found

    most = 0.01 * sessions + 4 * math.sqrt(0.01 * sessions)
    assert decided(share, "FAIL") <= most
    detect = NO_MORE.metric.detect
    assert decided(share + detect, "PASS") <= most
    assert decided(share + 0.01, "PASS", "errors <= baseline + 1pt") <= most
    if calls >= 1000:
        assert decided(3 * share + 0.02, "FAIL") >= 0.97 * sessions
