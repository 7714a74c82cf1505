"""What each value of a knob was worth."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from builders import make_rows
from studies import GOAL, a_knob, a_trial, noisy, trials_of

from pytest_dlperf.statistics.estimate import Estimate, counted
from pytest_dlperf.tuning.configuration import configured
from pytest_dlperf.tuning.effects import effects_of, main_effects
from pytest_dlperf.tuning.result import Effect, TrialResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pytest_dlperf.tuning.configuration import Knob


UNITS = a_knob("units", 512, 256, 128)
BATCH = a_knob("max_batch_size", 64, 128, 256, stage="serving")
BOTH = (UNITS, BATCH)
TRUE = {("units", 256): 1.2, ("units", 128): 1.5, ("max_batch_size", 128): 1.1}
"""The true ratios of throughput; what is not named changes nothing."""

ONE_AT_A_TIME: tuple[Mapping[str, object], ...] = (
    {},
    {"units": 256},
    {"units": 128},
    {"max_batch_size": 128},
    {"max_batch_size": 256},
)
ALL = tuple(
    {"units": units, "max_batch_size": batch}
    for units, batch in itertools.product(UNITS.values, BATCH.values)
)
FOUR = tuple(a_knob(name, 0, 1) for name in "abcd")
EVEN = tuple(
    dict(zip("abcd", bits, strict=True))
    for bits in itertools.product((0, 1), repeat=4)
    if sum(bits) % 2 == 0
)
"""Half of a factorial of four knobs (Box and Hunter 1961): no two differ in one knob alone."""


def truth(values: Mapping[str, object]) -> float:
    """The true throughput of a configuration."""
    return 1000.0 * math.prod(
        TRUE.get((name, int(str(value))), 1.0) for name, value in values.items()
    )


def by_place(effects: Iterable[Effect]) -> dict[tuple[str, str, str], Effect]:
    """Effects by knob, value and metric."""
    return {(effect.knob, effect.value, effect.metric): effect for effect in effects}


def throughputs(
    measure: Callable[[Mapping[str, object]], float | Estimate],
) -> Callable[[Mapping[str, object]], Mapping[str, float | Estimate]]:
    """Trials that measure nothing but throughput."""
    return lambda values: {"throughput": measure(values)}


def test_known_ratio_and_interval() -> None:
    """Two trials of 1,000/s and 1,500/s, of 1 % each: 50 % more, within sqrt(2) %."""

    def measure(values: Mapping[str, object]) -> Estimate:
        value = truth(values)
        return Estimate(value, value * math.exp(-0.01), value * math.exp(0.01))

    effects = effects_of(trials_of(BOTH, ONE_AT_A_TIME, throughputs(measure)), BOTH)
    effect = by_place(effects)["units", "128", "throughput"]

    assert effect.change.value == pytest.approx(0.5)
    assert effect.change.low == pytest.approx(1.5 * math.exp(-0.01 * 2**0.5) - 1)
    assert effect.change.high == pytest.approx(1.5 * math.exp(0.01 * 2**0.5) - 1)
    assert (effect.basis, effect.count, effect.default) == ("pairs", 1, "512")


def test_every_value_of_every_knob() -> None:
    """In the order of knobs, values and metrics, and only what was measured."""

    def measure(values: Mapping[str, object]) -> Mapping[str, float | Estimate]:
        return {"p99": 1 / truth(values), "throughput": truth(values)}

    effects = effects_of(trials_of(BOTH, ONE_AT_A_TIME, measure), BOTH, GOAL)

    assert [(effect.knob, effect.value, effect.metric) for effect in effects] == [
        (knob.name, str(value), metric)
        for knob in BOTH
        for value in knob.values[1:]
        for metric in ("throughput", "p99")
    ]
    assert by_place(effects)["units", "128", "p99"].change.value == pytest.approx(1 / 1.5 - 1)


def test_a_share_changes_by_points() -> None:
    """Of 97 % and 96 % the difference is one point down, not 1.03 %."""

    def measure(values: Mapping[str, object]) -> Mapping[str, float | Estimate]:
        shares = {512: Estimate(0.97, 0.96, 0.98), 256: Estimate(0.96, 0.95, 0.97)}
        return {"accuracy": shares[int(str(values["units"]))]}

    trials = trials_of((UNITS,), ({}, {"units": 256}), measure)
    (effect,) = effects_of(trials, (UNITS,))

    assert effect.change.value == pytest.approx(-0.01)
    assert effect.change.high - effect.change.value == pytest.approx(0.01 * 2**0.5)


def test_the_same_rows_are_paired() -> None:
    """Answers that are right on the very same rows lost nothing, whatever two intervals say."""
    rows = make_rows([1] * 90 + [0] * 10)
    share = {"accuracy": Estimate(0.9, 0.83, 0.94)}
    other = {"accuracy": Estimate(0.9, 0.82, 0.95)}
    trials = [
        TrialResult(configured((UNITS,)), share, rows=rows),
        TrialResult(configured((UNITS,), {"units": 256}), other, rows=rows),
    ]
    (effect,) = effects_of(trials, (UNITS,))

    assert effect.change == counted(0.0)


def test_what_serves_only_leaves_training_alone() -> None:
    """A training that both share took the same time to the last digit: there is no noise."""

    def measure(values: Mapping[str, object]) -> Mapping[str, float | Estimate]:
        seconds = 3.0 if values["units"] == 512 else 2.0
        return {"train.time": Estimate(seconds, seconds * 0.9, seconds * 1.1)}

    effects = by_place(effects_of(trials_of(BOTH, ALL, measure), BOTH))

    assert effects["max_batch_size", "128", "train.time"].change == counted(0.0)
    assert effects["units", "256", "train.time"].change.value == pytest.approx(2 / 3 - 1)


def test_one_training_is_one_observation() -> None:
    """A model that is served three times was trained once: its interval does not narrow."""

    def measure(values: Mapping[str, object]) -> Mapping[str, float | Estimate]:
        seconds = 3.0 if values["units"] == 512 else 2.0
        return {"train.time": Estimate(seconds, seconds * 0.9, seconds * 1.1)}

    once = by_place(effects_of(trials_of(BOTH, ONE_AT_A_TIME, measure), BOTH))
    thrice = by_place(effects_of(trials_of(BOTH, ALL, measure), BOTH))
    place = "units", "256", "train.time"

    assert thrice[place].count == 1
    assert thrice[place].change == once[place].change


def test_failed_trials_are_left_out() -> None:
    """What was not measured has no effect, and spoils no other."""
    trials = trials_of(BOTH, ONE_AT_A_TIME, throughputs(truth))
    trials[1] = TrialResult(trials[1].configuration, failed="diverged")
    effects = by_place(effects_of(trials, BOTH))

    assert ("units", "256", "throughput") not in effects
    assert effects["units", "128", "throughput"].change.value == pytest.approx(0.5)


def test_no_trials() -> None:
    """Nothing was tried, and nothing can be told."""
    assert effects_of([], BOTH) == ()
    assert effects_of([TrialResult(configured(BOTH), failed="no")], BOTH) == ()


def test_least_squares_against_numpy() -> None:
    """Without pairs the effects are those of numpy's solution of the normal equations."""
    generator = np.random.default_rng(3)
    figures = {str(changes): float(generator.uniform(900, 1100)) for changes in EVEN}
    effects = effects_of(
        trials_of(FOUR, EVEN, throughputs(lambda values: figures[str(dict(values))])), FOUR
    )
    design = np.array([[1, *changes.values()] for changes in EVEN], float)
    logs = np.log([figures[str(changes)] for changes in EVEN])
    expected = np.linalg.solve(design.T @ design, design.T @ logs)

    assert {effect.basis for effect in effects} == {"least squares"}
    assert {effect.count for effect in effects} == {4}
    np.testing.assert_allclose(
        [effect.change.value for effect in effects], np.expm1(expected[1:]), rtol=1e-9
    )


def test_what_cannot_be_told_apart_is_left_out() -> None:
    """Two knobs that were only ever changed together have no effect each; a third one has."""
    knobs: tuple[Knob, ...] = FOUR[:3]
    tried = [{"a": a, "b": a, "c": c} for a, c in itertools.product((0, 1), repeat=2)]
    trials = trials_of(
        knobs, tried, throughputs(lambda changes: 1000.0 + 100 * int(str(changes["c"])))
    )

    assert [(effect.knob, effect.basis) for effect in effects_of(trials, knobs)] == [("c", "pairs")]


def covered(  # noqa: PLR0913 - a study, its noise and its truth
    knobs: tuple[Knob, ...],
    tried: tuple[Mapping[str, object], ...],
    *,
    stated: float,
    real: float,
    truths: Callable[[Mapping[str, object]], float] = truth,
    runs: int = 300,
) -> float:
    """How often an interval holds the true effect.

    Args:
        knobs: of the study.
        tried: configurations.
        stated: the relative standard error that the intervals speak of.
        real: the one that there is.
        truths: the true throughput of a configuration.
        runs: studies.
    """
    generator = np.random.default_rng(5)
    base = truths(configured(knobs).values)
    held = []
    for _ in range(runs):
        trials = []
        for values in tried:
            configuration = configured(knobs, values)
            seen = noisy(truths(configuration.values), real, generator).value
            reach = math.exp(1.959963984540054 * stated)
            trials.append(
                a_trial(configuration, {"throughput": Estimate(seen, seen / reach, seen * reach)})
            )
        for effect in effects_of(trials, knobs):
            values = {effect.knob: _value(knobs, effect)}
            true = truths(configured(knobs, values).values) / base - 1
            held.append(effect.change.low <= true <= effect.change.high)
    return float(np.mean(held))


def _value(knobs: tuple[Knob, ...], effect: Effect) -> object:
    return next(knob for knob in knobs if knob.name == effect.knob).value_of(effect.value)


def in_two_knobs(values: Mapping[str, object]) -> float:
    """The true throughput where two of four knobs change it."""
    return 1000.0 * 1.1 ** int(str(values["a"])) * 0.8 ** int(str(values["c"]))


@pytest.mark.parametrize(
    ("knobs", "tried", "stated", "real", "truths", "low", "high"),
    [
        pytest.param(BOTH, ONE_AT_A_TIME, 0.02, 0.02, truth, 0.93, 0.97, id="one pair each"),
        pytest.param(BOTH, ALL, 0.02, 0.02, truth, 0.93, 0.985, id="three pairs each"),
        pytest.param(BOTH, ALL, 0.02, 0.06, truth, 0.92, 0.98, id="more scatter than stated"),
        pytest.param(FOUR, EVEN, 0.001, 0.03, in_two_knobs, 0.93, 0.97, id="least squares"),
    ],
)
def test_intervals_cover_the_truth(  # noqa: PLR0913, PLR0917 - a study, its noise and its truth
    knobs: tuple[Knob, ...],
    tried: tuple[Mapping[str, object], ...],
    stated: float,
    real: float,
    truths: Callable[[Mapping[str, object]], float],
    low: float,
    high: float,
) -> None:
    """About 95 % of the intervals hold the planted effect; scatter between trials widens them."""
    coverage = covered(knobs, tried, stated=stated, real=real, truths=truths)

    assert low < coverage < high


def test_pairs_that_scatter_where_no_trial_is_left_over() -> None:
    """Two pairs disagree by more than their errors, and main effects leave nothing: Student's 1."""
    batch = a_knob("max_batch_size", 64, 128, stage="serving")
    knobs = (a_knob("units", 512, 256), batch)

    def measure(values: Mapping[str, object]) -> Mapping[str, float | Estimate]:
        value = 0.95 if values["units"] == 512 else 0.92 if values["max_batch_size"] == 64 else 0.96
        return {"accuracy": Estimate(value, value - 0.001, value + 0.001)}

    four = [{"units": u, "max_batch_size": b} for u in (512, 256) for b in (64, 128)]
    effects = by_place(effects_of(trials_of(knobs, four, measure), knobs))
    effect = effects["units", "256", "accuracy"]

    assert effect.change.value == pytest.approx(-0.01)
    # Squares about the means, 8 of the units (-3, +1) and 16 of the batches (0, +4; what is equal
    # is known), over two degrees; of two pairs; times Student's 12.7062 of one degree.
    reach = math.sqrt(24e-4 / 2 / 2) * 12.7062
    assert effect.change.high - effect.change.value == pytest.approx(reach, rel=1e-4)


FACTORIAL = np.array(list(itertools.product((0, 1), repeat=3)), bool)
"""All combinations of three changes."""


def test_against_numpy() -> None:
    """Coefficients are those of numpy's least squares."""
    generator = np.random.default_rng(2)
    measured = generator.normal(size=8)
    expected, *_ = np.linalg.lstsq(np.column_stack([np.ones(8), FACTORIAL]), measured, rcond=None)
    fit = main_effects(FACTORIAL, measured)

    np.testing.assert_allclose(fit.values, expected[1:])
    assert fit.freedom == 4
    assert fit.identifiable.all()


def test_the_interval_of_two_groups() -> None:
    """With one change it is Student's t test of two samples, as scipy has it."""
    from scipy import stats

    without, changed_ = [1.0, 1.2, 0.9, 1.1], [2.0, 2.3, 1.8]
    changed = np.array([[False]] * 4 + [[True]] * 3)
    expected = stats.ttest_ind(changed_, without).confidence_interval(0.95)
    fit = main_effects(changed, np.array([*without, *changed_]))

    assert fit.values[0] - fit.reach[0] == pytest.approx(expected.low)
    assert fit.values[0] + fit.reach[0] == pytest.approx(expected.high)


def test_changes_that_came_together_only() -> None:
    """Neither of two can be told; a third one can."""
    together = FACTORIAL[:, [0, 0, 2]]
    fit = main_effects(together, np.arange(8.0))

    assert fit.identifiable.tolist() == [False, False, True]
    assert fit.values[2] == pytest.approx(1.0)


@pytest.mark.parametrize("trials", [0, 1, 4])
def test_no_trial_is_left_for_the_residuals(trials: int) -> None:
    """Nothing is told of four coefficients by four trials or fewer."""
    chosen = FACTORIAL[[0, 1, 2, 4]][:trials]

    assert not main_effects(chosen, np.zeros(trials)).identifiable.any()
