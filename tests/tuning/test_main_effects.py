"""Main effects by least squares."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from pytest_dlperf.tuning.effects import main_effects

FACTORIAL = np.array(list(itertools.product((0, 1), repeat=3)), bool)
"""All combinations of three changes."""


def test_against_numpy() -> None:
    """Coefficients are those of numpy's least squares."""
    generator = np.random.default_rng(2)
    measured = generator.normal(size=8)
    expected, *_ = np.linalg.lstsq(np.column_stack([np.ones(8), FACTORIAL]), measured, rcond=None)
    found = main_effects(FACTORIAL, measured)

    np.testing.assert_allclose(found.values, expected[1:])
    assert found.freedom == 4
    assert found.told.all()


def test_the_interval_of_two_groups() -> None:
    """With one change it is Student's t test of two samples, as scipy has it."""
    from scipy import stats

    one, other = [1.0, 1.2, 0.9, 1.1], [2.0, 2.3, 1.8]
    changed = np.array([[False]] * 4 + [[True]] * 3)
    expected = stats.ttest_ind(other, one).confidence_interval(0.95)
    found = main_effects(changed, np.array([*one, *other]))

    assert found.values[0] - found.reach[0] == pytest.approx(expected.low)
    assert found.values[0] + found.reach[0] == pytest.approx(expected.high)


def test_changes_that_came_together_only() -> None:
    """Neither of two can be told; a third one can."""
    together = FACTORIAL[:, [0, 0, 2]]
    found = main_effects(together, np.arange(8.0))

    assert found.told.tolist() == [False, False, True]
    assert found.values[2] == pytest.approx(1.0)


@pytest.mark.parametrize("trials", [0, 1, 4])
def test_no_trial_is_left_for_the_residuals(trials: int) -> None:
    """Nothing is told of four coefficients by four trials or fewer."""
    chosen = FACTORIAL[[0, 1, 2, 4]][:trials]

    assert not main_effects(chosen, np.zeros(trials)).told.any()
