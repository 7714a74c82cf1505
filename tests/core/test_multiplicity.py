"""Multiplicity: error rates of many questions at once."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_dlperf.core.statistics.multiplicity import holm, split_alpha

_P_VALUES = st.lists(st.floats(0, 1), max_size=8)


@given(st.floats(1e-6, 0.5), st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=20))
def test_the_parts_make_up_the_whole(alpha: float, weights: list[float]) -> None:
    """What each question may err adds up to what the run may, in proportion to the weights."""
    parts = split_alpha(alpha, weights)
    assert math.fsum(parts) == pytest.approx(alpha)
    for part, weight in zip(parts, weights, strict=True):
        assert part / parts[0] == pytest.approx(weight / weights[0])


def test_one_question_has_it_all() -> None:
    """A single question errs as often as the run may; no question needs nothing."""
    assert split_alpha(0.01, [7.0]) == (0.01,)
    assert split_alpha(0.01, []) == ()


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1, math.nan])
def test_alpha_is_a_probability(alpha: float) -> None:
    """What is no probability is refused."""
    with pytest.raises(ValueError, match="between 0 and 1"):
        split_alpha(alpha, [1.0])


@pytest.mark.parametrize("weight", [0.0, -1.0, math.inf, math.nan])
def test_every_question_weighs_something(weight: float) -> None:
    """A question that could never be answered is refused."""
    with pytest.raises(ValueError, match="above 0"):
        split_alpha(0.01, [1.0, weight])


def test_holm_by_hand() -> None:
    """Four p-values, times four, three, two and one, none below one before it, none above 1."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert holm([0.9, 0.8]) == (1.0, 1.0)
    assert holm([0.03]) == (0.03,)
    assert holm([]) == ()


@given(_P_VALUES, st.floats(0.001, 0.999))
def test_holm_is_its_step_down(ps: list[float], alpha: float) -> None:
    """What is adjusted to alpha or less is what Holm's procedure rejects, one by one."""
    rejected = set()
    for rank, place in enumerate(np.argsort(ps, kind="stable").tolist()):
        if (len(ps) - rank) * ps[place] > alpha:
            break
        rejected.add(place)
    assert {place for place, p in enumerate(holm(ps)) if p <= alpha} == rejected


@given(_P_VALUES)
def test_holm_is_between_the_plain_and_bonferroni(ps: list[float]) -> None:
    """No p-value becomes smaller, and none larger than times the number of questions."""
    for plain, adjusted in zip(ps, holm(ps), strict=True):
        assert plain <= adjusted <= min(1.0, len(ps) * plain)


def test_any_false_alarm_at_all() -> None:
    """Of 4,000 runs with eight questions, some alike, and no loss, 3 to 5 % have an alarm."""
    random = np.random.default_rng(0)
    shared = random.random((4000, 1))
    ps = np.hstack([np.repeat(shared, 3, axis=1), random.random((4000, 5))])
    alarms = sum(min(holm(run)) <= 0.05 for run in ps.tolist())
    assert 0.03 * 4000 <= alarms <= 0.05 * 4000


@pytest.mark.parametrize("p", [-0.1, 1.1, math.nan])
def test_only_p_values_are_adjusted(p: float) -> None:
    """What is no p-value is refused."""
    with pytest.raises(ValueError, match="no p-value"):
        holm([0.1, p])
