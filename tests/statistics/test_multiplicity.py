"""One error rate for many tests: which are rejected, and how often a true one is."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_dlperf.statistics.multiplicity import Levels, holm


def _of(p: list[float], groups: str, alpha: float = 0.05) -> Levels:
    return holm(groups, alpha, lambda number, level: p[number] <= level)


@pytest.mark.parametrize(
    ("p", "groups", "rejected"),
    [
        ([0.016, 0.024, 0.049], "abc", [True, True, True]),
        ([0.016, 0.026, 0.001], "abc", [True, True, True]),
        ([0.017, 0.024, 0.049], "abc", [False, False, False]),
        ([0.044, 0.049], "aa", [True, True]),
        ([0.046, 0.006], "aa", [False, False]),
        ([0.046, 0.004], "aa", [True, True]),
        ([], "", []),
    ],
)
def test_by_hand(p: list[float], groups: str, rejected: list[bool]) -> None:
    """A rejected one leaves its level to its group, and a whole group to the others."""
    assert list(_of(p, groups).rejected) == rejected


def test_levels() -> None:
    """The first sum up to the error rate; those that are left have it all in the end."""
    levels = _of([0.001, 0.9, 0.9, 0.001], "aabc")
    assert sum(levels.first) == pytest.approx(0.05)
    assert levels.first == pytest.approx((0.015, 0.05 / 30, 0.05 / 3, 0.05 / 3))
    assert levels.last[1] + levels.last[2] == pytest.approx(0.05)


@pytest.mark.parametrize("alike", [0.0, 0.9])
def test_true_hypotheses_beside_false_ones(alike: float) -> None:
    """Any true one of a family is rejected in at most 5 % of families, independent or alike.

    With the whole part of its group for each member it is 6.6 % of independent ones.
    """
    from scipy.special import ndtr

    random, groups = np.random.default_rng(0), "aabbcd"
    shared = random.normal(size=(4000, 1))
    z = np.sqrt(alike) * shared + np.sqrt(1 - alike) * random.normal(size=(4000, 6))
    z[:, [0, 4]] -= 6  # false ones
    p = ndtr(z)
    true = [1, 2, 3, 5]
    wrong = sum(any(_of(row.tolist(), groups).rejected[n] for n in true) for row in p)
    assert wrong <= 247  # 99.9 % of the binomial with 5 %
