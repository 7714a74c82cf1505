"""Checkups of machines whose noise is known."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from checkups import QUIET_HOST, SLOT_SECONDS, drawn, noise_of
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pytest_dlperf.doctor.checkup import check_up, wants_pair
from pytest_dlperf.doctor.detectable_loss import LOSSES, SECONDS, detectable_loss, time_to_find
from pytest_dlperf.doctor.noise_measurement import Timer
from pytest_dlperf.doctor.pair_noise import pair_noise
from pytest_dlperf.results.usage import Usage

ALIKE = [[0.02, -0.02] * 10] * 8
"""Pairs that do not differ at all."""
FOUR = (0.03, -0.01, 0.0, 0.02)


def test_noise_by_hand() -> None:
    """Ratios 2 % above and below their pair's effect: a block varies by 1.4826 times 2 %."""
    noise = pair_noise(noise_of([effect + sign * 0.02 for sign in (1, -1) * 10] for effect in FOUR))

    assert (noise.pairs, noise.blocks, noise.slot_seconds) == (4, 80, SLOT_SECONDS)
    assert noise.block_noise == pytest.approx(1.4826 * 0.02)
    error = math.sqrt(math.pi / 2) * 1.4826 * 0.02 / math.sqrt(20)
    assert noise.block_error == pytest.approx(error)
    assert noise.deviation == pytest.approx(np.std(FOUR, ddof=1))
    assert noise.mean == pytest.approx(0.01)
    assert noise.mean_error == pytest.approx(stats.sem(FOUR))
    low, _ = stats.t.interval(0.99, 3, 0.01, stats.sem(FOUR))
    assert noise.mean_reach == pytest.approx(0.01 - low)
    assert noise.holds_zero


def test_the_upper_bound_of_the_deviation_holds() -> None:
    """Of 1000 sets of ten pairs that differ by 1 %, about 95 % have a bound above it."""
    random = np.random.default_rng(0)
    bounds = [
        pair_noise(noise_of([[effect] for effect in random.normal(0, 0.01, 10)])).deviation_high
        for _ in range(1000)
    ]

    assert 0.93 < np.mean([bound >= 0.01 for bound in bounds]) < 0.97


def test_one_in_a_hundred_does_not_hold_zero() -> None:
    """Where the sides do not differ; and one side that is always slower is seen."""
    random = np.random.default_rng(0)
    sets = random.normal(0, 0.02, (1000, 10))
    wrong = [
        not pair_noise(noise_of([[effect] for effect in effects])).holds_zero for effects in sets
    ]

    assert 0.002 < np.mean(wrong) < 0.02
    assert not pair_noise(noise_of(drawn([0.01, 0.012, 0.008] * 3, 0.001))).holds_zero


def test_seconds_and_losses() -> None:
    """The first pair's start, and medians of all others, from which the table is computed."""
    measurement = noise_of(drawn([0.01, -0.01, 0.0], 0.01))
    checkup = check_up(measurement)
    each, noise = checkup.pair_seconds, checkup.noise

    assert (each.first, each.further) == (5.0, 0.6)
    assert each.measuring == pytest.approx(20 * 4 * SLOT_SECONDS)
    assert checkup.detectable == tuple(
        detectable_loss(seconds, each, noise.deviation, noise.deviation_high) for seconds in SECONDS
    )
    assert checkup.times == tuple(time_to_find(loss, each, noise.deviation) for loss in LOSSES)
    assert checkup.others == pytest.approx(1 / 120)
    assert checkup.stolen == 0


def test_no_noise_at_all() -> None:
    """A clock too coarse to show any noise gives zeros, not a division by zero."""
    noise = pair_noise(noise_of([[0.0] * 4] * 3))

    assert noise.deviation == noise.deviation_high == noise.block_noise == 0
    assert noise.holds_zero


def test_one_pair_is_too_few() -> None:
    """One pair has no deviation."""
    with pytest.raises(ValueError, match="expected at least two"):
        pair_noise(noise_of(ALIKE[:1]))


def test_a_quiet_machine_needs_no_advice() -> None:
    """Advice needs a measured cause."""
    assert check_up(noise_of(ALIKE)).advice == ()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"used": Usage(60.0, 60.0, 6.0, 120.0)}, "the host took 5.0 %"),
        ({"used": Usage(60.0, 96.0, 0.0, 120.0)}, "other processes took 30.0 %"),
        ({"timer": Timer(4e-8, 4e-4, 5e-4)}, "ends 400 us late"),
        ({"timer": Timer(4e-8, 5e-5, 4e-3)}, "one in a hundred 4 ms"),
        ({"host": replace(QUIET_HOST, governors=("performance", "powersave"))}, "is powersave"),
        ({"host": replace(QUIET_HOST, turbo=True)}, "turbo is on"),
        ({"host": replace(QUIET_HOST, cores=1)}, "may use 1 processors"),
        ({"host": replace(QUIET_HOST, quota=1.5)}, "may use 1.5 processors"),
        ({"host": replace(QUIET_HOST, accelerators="1x H100")}, "a GPU (1x H100)"),
        ({"spawned": "a thread was started"}, "longer than forking them: a thread was started"),
    ],
)
def test_each_cause_has_its_advice(change: dict[str, object], words: str) -> None:
    """One cause, one sentence, with the measured value."""
    (advice,) = check_up(noise_of(ALIKE, **change)).advice

    assert words in advice


@pytest.mark.parametrize(
    "change",
    [
        {"host": replace(QUIET_HOST, governors=(), turbo=None, quota=8.0, cores=2)},
        {"used": Usage(0.1, 0.5, 0.4, 0.9)},
        {"used": Usage(60.0, 69.0, 1.0, 120.0)},
    ],
)
def test_no_cause_no_advice(change: dict[str, object]) -> None:
    """Unknown or small values are no cause."""
    assert check_up(noise_of(ALIKE, **change)).advice == ()


def test_identical_code_that_differs() -> None:
    """First of all, since no verdict on a smaller loss means anything."""
    biased = drawn([0.011, 0.009] * 5, 0.0001)
    advice, *_ = check_up(noise_of(biased, host=replace(QUIET_HOST, turbo=True))).advice

    assert advice.startswith("identical code differs by +1.0 % (standard error 0.0 %)")


def test_a_duel_needs_more_time_than_it_has() -> None:
    """The option that gives it to it, if a loss of 5 % takes longer than a minute of pairs."""
    measurement = noise_of(drawn([0.06, -0.06] * 5, 0.001))
    checkup = check_up(measurement)
    usual = checkup.times[0].seconds
    assert usual is not None
    assert usual > 65
    (advice,) = checkup.advice

    assert f"--dlperf-budget-time={math.ceil(usual - 5.0)}s finds a loss of 5.0 %" in advice


def test_no_duel_is_long_enough() -> None:
    """Where pairs differ twofold, more time is no advice."""
    (advice,) = check_up(noise_of(drawn([0.7, -0.7] * 5, 0.001))).advice

    assert "a thousand of them do not show a loss of 5.0 %" in advice


def test_no_advice_on_pairs_of_a_busy_machine() -> None:
    """Other processes may be why pairs differ."""
    busy = Usage(60.0, 96.0, 0.0, 120.0)
    (advice,) = check_up(noise_of(drawn([0.06, -0.06] * 5, 0.001), used=busy)).advice

    assert "--dlperf" not in advice


@given(each=st.floats(0.1, 60.0), seconds=st.floats(1.0, 60.0))
def test_as_many_pairs_as_fit(each: float, seconds: float) -> None:
    """Eight at least; further ones only within the time."""
    pairs, left = 0, seconds
    while wants_pair(pairs, max(0.0, left), each):
        pairs += 1
        left -= each

    assert pairs >= 8
    assert pairs == 8 or -1e-9 <= left < each
