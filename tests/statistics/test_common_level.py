"""What tests share is the machine's: false steps and power beside moods of the machine."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from pytest_dlperf.statistics.change_points import find_levels
from pytest_dlperf.statistics.common_level import (
    CommonLevel,
    common_level,
    own_steps,
    shared_by,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pytest_dlperf.statistics.change_points import Step

pytestmark = pytest.mark.simulation

_NOISE = 0.02
_ALPHA = 0.002 / 4  # of four curves


def _moods(random: np.random.Generator, runs: int) -> NDArray[np.float64]:
    """A machine that is 3 % slower or faster for 5 to 15 days at a time."""
    parts = [np.full(int(random.integers(5, 16)), random.choice([-0.03, 0.03])) for _ in range(30)]
    return np.concatenate(parts)[:runs]


def _curves(seed: int, tests: int = 20, runs: int = 90) -> NDArray[np.float64]:
    """Four curves of each test, in the moods of one machine."""
    random = np.random.default_rng(seed)
    return _NOISE * random.normal(size=(tests, 4, runs)) + _moods(random, runs)


def _beside(curves: NDArray[np.float64], test: int, runs: int) -> CommonLevel:
    others = [own[:, :runs] for number, own in enumerate(curves) if number != test]
    return common_level(others, 0.002, np.random.default_rng(runs))


def _steps(curves: NDArray[np.float64], test: int, runs: int, curve: int = 0) -> tuple[Step, ...]:
    random = np.random.default_rng([runs, test, curve])
    return own_steps(curves[test, curve, :runs], _beside(curves, test, runs), _ALPHA, random)


def _stepped(
    curves: NDArray[np.float64], tests: slice, size: float = 0.1, at: int = 70
) -> NDArray[np.float64]:
    stepped = curves.copy()
    stepped[tests, :, at:] += size
    return stepped


def test_moods_of_the_machine_are_no_steps_of_tests() -> None:
    """At most one of 20 tests has a false step in looks at 60, 70, 80 and 90 runs.

    Of curves searched by themselves as if runs were independent, nearly all have one.
    """
    curves = _curves(0)
    false: set[int] = set()
    undivided: set[int] = set()
    for runs in range(60, 91, 10):
        for test in range(20):
            common = _beside(curves, test, runs)
            for curve in range(4):
                costs, random = curves[test, curve, :runs], np.random.default_rng([runs, test])
                if own_steps(costs, common, _ALPHA, random):
                    false.add(test)
                if test not in undivided and find_levels(costs, _ALPHA, random):
                    undivided.add(test)
    assert len(false) <= 1
    assert len(undivided) >= 15


@pytest.mark.parametrize(("size", "runs", "least"), [(0.05, 80, 10), (0.1, 70, 10), (-0.1, 70, 10)])
def test_a_step_of_one_test_is_found_in_moods(size: float, runs: int, least: int) -> None:
    """Of 12 steps in one test's code, nearly all are found after 20 or 10 runs.

    By itself the curve shows a quarter of them.
    """
    found = 0
    for seed in range(12):
        curves = _stepped(_curves(seed, tests=10, runs=runs), slice(0, 1), size, 60)
        steps = _steps(curves, 0, runs)
        found += any(abs(s.at - 60) <= 8 and s.change.value * size > 0 for s in steps)
    assert found >= least


def _everywhere(curves: NDArray[np.float64]) -> NDArray[np.float64]:
    return _stepped(curves, slice(None))


def _but_the_first(curves: NDArray[np.float64]) -> NDArray[np.float64]:
    return _stepped(curves, slice(1, None))


def _of_the_first(curves: NDArray[np.float64]) -> NDArray[np.float64]:
    return _stepped(curves, slice(0, 1))


@pytest.mark.parametrize(
    ("change", "tests", "own"),
    [
        (_everywhere, 6, set()),
        (_but_the_first, 6, set()),
        (_of_the_first, 4, {0}),
        (_of_the_first, 8, {0}),
    ],
)
def test_whose_step_it_is(
    change: Callable[[NDArray[np.float64]], NDArray[np.float64]], tests: int, own: set[int]
) -> None:
    """What most tests share is nobody's own, nor is its reflection in the one without it.

    A step of one test among few is its own alone, though it moves what the others are held to.
    """
    wrong = 0
    for seed in range(3):
        curves = change(_curves(seed, tests))
        having = {test for test in range(tests) if _steps(curves, test, 90)}
        wrong += having != own
    assert wrong <= 1


def test_a_common_step_is_counted() -> None:
    """It is found in what the others share, with how many tests have it."""
    curves = _NOISE * np.random.default_rng(0).normal(size=(8, 4, 90))
    curves = _stepped(curves, slice(2, None))
    common = _beside(curves, 7, 90)
    (step,) = common.steps
    assert abs(step.at - 70) <= 2
    assert step.change.value == pytest.approx(0.1, abs=0.03)
    assert shared_by(step, curves[7, 0], common) == (6, 8)
    assert shared_by(step, curves[0, 0], common) == (5, 8)


@pytest.mark.parametrize("loading", [0.0, 1.0, 3.0])
def test_how_far_a_curve_follows_the_machine(loading: float) -> None:
    """A curve that does not follow the machine, or follows it three times, has no false step."""
    false = 0
    for seed in range(8):
        curves = _curves(seed, tests=10)
        random = np.random.default_rng(seed)
        common = _beside(curves, 0, 90)
        costs = _NOISE * random.normal(size=90) + loading * common.level
        false += bool(own_steps(costs, common, _ALPHA, random))
    assert false <= 1


def test_runs_with_too_few_others() -> None:
    """They have no level; where most runs are such, there is nothing to compare with."""
    curves = [_NOISE * np.random.default_rng(n).normal(size=(1, 60)) for n in range(4)]
    for own in curves[1:]:
        own[:, :20] = math.nan
    common = common_level(curves, _ALPHA, np.random.default_rng(0))
    assert common.known.tolist() == [False] * 20 + [True] * 40
    assert common.enough
    for own in curves[1:]:
        own[:, :40] = math.nan
    assert not common_level(curves, _ALPHA, np.random.default_rng(0)).enough


def test_a_step_keeps_its_place_among_runs_that_are_left_out() -> None:
    """Indices are those of all runs."""
    curves = [0.001 * np.random.default_rng(n).normal(size=(1, 60)) for n in range(6)]
    for own in curves[1:]:
        own[:, 10:25] = math.nan
    costs = curves[0][0].copy()
    costs[40:] += 0.1
    common = common_level(curves[1:], _ALPHA, np.random.default_rng(0))
    (step,) = own_steps(costs, common, _ALPHA, np.random.default_rng(0))
    assert (step.low, step.at, step.high) == (40, 40, 40)


def test_without_noise() -> None:
    """Counts that never change have no level but 0, and their steps are their own."""
    common = common_level([np.ones((2, 30))] * 3, _ALPHA, np.random.default_rng(0))
    costs = np.repeat([1.0, 2.0], 15)
    (step,) = own_steps(costs, common, _ALPHA, np.random.default_rng(0))
    assert step.at == 15


def test_no_curves() -> None:
    """Without other tests there is no level."""
    with pytest.raises(ValueError, match="at least one other test"):
        common_level([], _ALPHA, np.random.default_rng(0))
