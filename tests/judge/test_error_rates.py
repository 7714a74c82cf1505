"""How the error rate of a budget is divided among the measurements of its test."""

from __future__ import annotations

import math

import numpy as np
import pytest
from builders import ENVIRONMENT, estimate, make_accepted, make_measurement
from hypothesis import given
from hypothesis import strategies as st

from pytest_dlperf.config.budgets import parse_budget
from pytest_dlperf.judge.conditions import MachineConditions
from pytest_dlperf.judge.error_rates import ALPHA, AlphaSpending, ErrorRates
from pytest_dlperf.judge.judge import judge
from pytest_dlperf.results.verdict import Verdict

NAMES = [f"batch {2**power}" for power in range(8)]


@pytest.mark.parametrize("count", [1, 2, 8, 30])
def test_known_measurements_share_evenly(count: int) -> None:
    """As many as the baseline has; a single one keeps 95 % of the rate, eight 99.3 % together."""
    names = [str(number) for number in range(count)]
    spending = AlphaSpending()

    shares = [spending.share(name, names) for name in names]

    assert shares == pytest.approx([1 / (count + 1 / 19)] * count)
    assert 0.95 <= sum(shares) + 1e-12 < 1


def test_unknown_measurements() -> None:
    """Each has less than the one before, and all together never more than one."""
    spending = AlphaSpending()

    shares = [spending.share(str(number)) for number in range(1000)]

    assert shares[:4] == pytest.approx([1 / 2, 1 / 6, 1 / 12, 1 / 20])
    assert math.fsum(shares) < 1


@given(st.lists(st.tuples(st.integers(0, 12), st.frozensets(st.integers(0, 12))), max_size=40))
def test_whatever_comes(measured: list[tuple[int, frozenset[int]]]) -> None:
    """Shares are above 0, never exceed one together, and stay when a measurement is repeated."""
    spending = AlphaSpending()
    shares: dict[str, float] = {}
    for number, known in measured:
        share = spending.share(str(number), {str(other) for other in known})
        assert shares.setdefault(str(number), share) == share > 0
    assert math.fsum(shares.values()) <= 1 + 1e-12


def test_rates_of_a_share() -> None:
    """All rates of a share are those of as many more budgets."""
    assert ErrorRates(2).shared(0.25) == ErrorRates(8)
    assert ErrorRates(0).shared(0.5) == ErrorRates(2)
    assert ErrorRates(3).shared(1.0).stored == pytest.approx(ALPHA / 3)


@pytest.mark.parametrize("share", [0.0, -0.1, 1.1, math.nan])
def test_no_share(share: float) -> None:
    """A judgement without a rate, or with more than there is, is a mistake of ours."""
    with pytest.raises(ValueError, match="share of error rates"):
        ErrorRates(1).shared(share)


def session_fails(rng: np.random.Generator, spending: AlphaSpending, known: list[str]) -> bool:
    """Whether any of eight measurements of unchanged code is a FAIL, against ten sessions."""
    budget = parse_budget("throughput >= baseline")
    for name in NAMES:
        *earlier, newest, now = (
            estimate(value, 0.001) for value in 1000 * np.exp(rng.normal(0, 0.05, 11))
        )
        sessions = tuple(make_accepted({"throughput": one}).newest for one in earlier)
        baseline = make_accepted({"throughput": newest}, earlier=sessions)
        rates = ErrorRates(1).shared(spending.share(name, known))
        conditions = MachineConditions(alpha=rates.stored)
        measurement = make_measurement({"throughput": now}, name=name)
        (judgement,) = judge(measurement, [budget], baseline, ENVIRONMENT, "", conditions)
        if judgement.verdict is Verdict.FAIL:
            return True
    return False


@pytest.mark.simulation
@pytest.mark.parametrize("known", [NAMES, []])
def test_eight_named_measurements(known: list[str]) -> None:
    """Of 2,000 sessions on unchanged code with eight of them, at most 1.3 % have a FAIL.

    With the rate of a single one for each, 5.7 % have.
    """
    rng = np.random.default_rng(3)
    failed = sum(session_fails(rng, AlphaSpending(), known) for _ in range(2000))
    assert 5 <= failed <= 26
