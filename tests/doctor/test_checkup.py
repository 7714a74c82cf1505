"""Checkups of machines whose noise is known."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from checkups import QUIET_HOST, SIGMAS, block_of, drawn, noise_of
from hypothesis import given
from hypothesis import strategies as st

from pytest_dlperf.doctor.checkup import check_up, pair_seconds, wants_pair
from pytest_dlperf.doctor.detectable_loss import detectable_loss, loss_by_pair_effects
from pytest_dlperf.doctor.noise_measurement import Timer
from pytest_dlperf.results.usage import Usage
from pytest_dlperf.statistics.pair_effects import PAIR_NOISE

ALIKE = [block_of(0.01, sign * 0.02, pair) for pair in range(3) for sign in (1, -1) * 50]
"""Three pairs that do not differ at all."""


def test_the_noise_of_lengths_by_hand() -> None:
    """Ratios 2 % above and below their pair's median: sigma is 1.4826 times 2 %."""
    checkup = check_up(
        noise_of(
            [
                block_of(0.01, middle + sign * 0.02, pair, seconds=0.05)
                for pair, middle in enumerate((0.01, -0.01))
                for sign in (1, -1, 1, -1)
            ]
        )
    )

    (noise,) = checkup.lengths
    assert (noise.length, noise.blocks) == (0.01, 8)
    assert noise.sigma == pytest.approx(1.4826 * 0.02)
    assert noise.figure == pytest.approx((1.4826 * 0.02) ** 2 * 0.05)
    assert noise.low < noise.figure < noise.high
    assert (checkup.pairs, checkup.best) == (2, 0.01)


def test_medians() -> None:
    """Of hand-overs, which are a block's time without its slots, and of starts."""
    blocks = [
        block_of(0.01, 0.0, pair, seconds=2 * 0.01 + 4 * handover)
        for pair in (0, 1)
        for handover in (0.001, 0.002, 0.009)
    ]
    checkup = check_up(noise_of(blocks))

    assert checkup.handover == pytest.approx(0.002)
    assert checkup.starting == 6.0
    assert checkup.others == pytest.approx(1 / 120)
    assert checkup.stolen == 0


def test_the_noise_is_recovered() -> None:
    """With many blocks: each length's sigma, the best length, and the spread of pairs."""
    effects = (0.02, -0.02, 0.01, -0.01)
    checkup = check_up(noise_of(drawn(effects, SIGMAS, 2000)))

    for noise, (length, sigma) in zip(checkup.lengths, SIGMAS.items(), strict=True):
        assert noise.length == length
        assert noise.sigma == pytest.approx(sigma, rel=0.05)
    assert checkup.best == 0.01
    assert checkup.spread == pytest.approx(np.std(effects, ddof=1), rel=0.03)
    assert checkup.spread < checkup.spread_high


def test_identical_pairs_have_no_spread() -> None:
    """Pairs that differ no more than their blocks explain."""
    checkup = check_up(noise_of(drawn((0, 0, 0, 0), SIGMAS, 2000)))

    assert checkup.spread < 0.0005


def test_a_spread_that_noise_hides() -> None:
    """With noisy blocks, the prior for pairs in general is counted instead."""
    noisy = [block_of(0.01, sign * 0.2, pair) for pair in range(3) for sign in (1, -1) * 5]
    checkup = check_up(noise_of(noisy))

    assert checkup.spread_high > PAIR_NOISE > checkup.spread
    assert checkup.spread_counted == PAIR_NOISE
    assert checkup.pair_limits[0] == loss_by_pair_effects(PAIR_NOISE, 1)
    assert checkup.detectable[0].by_pairs[0] > checkup.detectable[0].blocks


def test_a_measured_spread_is_counted() -> None:
    """Small or large; and an upper bound below the prior replaces the prior."""
    small = check_up(noise_of(drawn((0.004, -0.004, 0.004, -0.004), SIGMAS, 2000)))
    large = check_up(noise_of(drawn((0.04, -0.04, 0.04, -0.04), SIGMAS, 2000)))
    alike = check_up(noise_of(drawn((0, 0, 0, 0), SIGMAS, 2000, seed=1)))

    assert small.spread_counted == small.spread < PAIR_NOISE
    assert large.spread_counted == large.spread > PAIR_NOISE
    assert alike.spread_counted == alike.spread_high < PAIR_NOISE / 10


def test_a_few_lucky_blocks_are_not_the_best() -> None:
    """Two blocks that happen to agree do not win over hundreds of quiet ones."""
    lucky = [block_of(0.1, 0.0001 * sign, pair) for pair in (0, 1) for sign in (1, -1)]
    checkup = check_up(noise_of([*drawn((0, 0), {0.01: 0.01}, 200), *lucky]))

    assert checkup.lengths[1].figure < checkup.lengths[0].figure
    assert checkup.best == 0.01


def test_no_noise_at_all() -> None:
    """A clock too coarse to show any noise gives zeros, not a division by zero."""
    checkup = check_up(noise_of([block_of(0.01, 0.0, pair) for pair in (0, 0, 1, 1)]))

    assert checkup.spread == pytest.approx(0, abs=1e-9)
    assert checkup.detectable[0].by_pairs[0] == pytest.approx(0, abs=1e-8)


def test_one_pair_is_too_few() -> None:
    """One pair has no spread."""
    with pytest.raises(ValueError, match="expected at least two"):
        check_up(noise_of(drawn((0,), SIGMAS, 5)))


def test_the_interval_of_a_figure_holds() -> None:
    """Of 300 sets with few long slots among many short ones, about 95 % hold the true figure."""
    truth = 0.02**2 * 0.4
    effects = (0.01, -0.01, 0.0, 0.005)
    held = []
    for seed in range(300):
        few, many = drawn(effects, {0.1: 0.02}, 5, seed), drawn(effects, {0.005: 0.02}, 60, seed)
        noise = check_up(noise_of([*few, *many])).lengths[1]
        held.append(noise.low <= truth <= noise.high)

    assert np.mean(held) > 0.91


def test_the_upper_bound_of_the_spread_holds() -> None:
    """Of 300 sets of four pairs that differ by 1 %, about 95 % have a bound above it."""
    random = np.random.default_rng(0)
    bounds = [
        check_up(noise_of(drawn(random.normal(0, 0.01, 4), {0.01: 0.005}, 10, seed))).spread_high
        for seed in range(300)
    ]

    held = np.mean([bound >= 0.01 for bound in bounds])
    assert 0.91 < held < 0.985


def test_detectable_losses_by_hand() -> None:
    """Noise of blocks and of pairs in quadrature; more pairs help only against the latter."""
    alone = detectable_loss(10.0, 0.0003, 0.0)
    both = detectable_loss(10.0, 0.0003, 0.01)
    one_pair = (2.3263 + 1.6449) * 0.01

    assert alone.by_pairs == (alone.blocks,) * 3
    assert both.blocks == alone.blocks
    assert both.by_pairs == pytest.approx(
        [math.hypot(alone.blocks, one_pair / math.sqrt(pairs)) for pairs in (1, 2, 4)], rel=1e-4
    )
    assert detectable_loss(40.0, 0.0003, 0.0).blocks == pytest.approx(alone.blocks / 2)


@pytest.mark.parametrize("pairs", [1, 2, 4])
def test_the_power_for_a_loss_by_pair_effects(pairs: int) -> None:
    """A normal test at 1 % over noiseless pairs detects it 95 times in 100."""
    spread, random = 0.01, np.random.default_rng(pairs)
    loss = loss_by_pair_effects(spread, pairs)
    means = random.normal(loss, spread, (20_000, pairs)).mean(axis=1)

    assert np.mean(means > 2.3263 * spread / math.sqrt(pairs)) == pytest.approx(0.95, abs=0.006)


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


def test_advice_on_the_number_of_pairs() -> None:
    """As many as bring their effects below the noise of blocks, eight at the most."""
    few = check_up(noise_of(drawn((0.002, -0.002, 0.002, -0.002), {0.01: 0.02}, 5000)))
    many = check_up(noise_of(drawn((0.03, -0.03, 0.03, -0.03), {0.01: 0.02}, 2000)))

    (advice,) = few.advice
    blocks = few.detectable[1].blocks
    needed = int(advice.partition("--dlperf-pairs=")[2].split()[0])
    assert 1 < needed < 8
    assert (
        loss_by_pair_effects(few.spread, needed)
        <= blocks
        < loss_by_pair_effects(few.spread, needed - 1)
    )
    assert "--dlperf-pairs=8 " in many.advice[0]


def test_no_advice_for_identical_pairs() -> None:
    """About 5 % of sets of identical pairs seem to differ; no more get advice."""
    advised = [
        bool(check_up(noise_of(drawn((0, 0, 0, 0), SIGMAS, 50, seed))).advice)
        for seed in range(200)
    ]

    assert np.mean(advised) < 0.1


def test_no_advice_on_pairs_of_a_busy_machine() -> None:
    """Other processes may be why pairs differ."""
    blocks = list(drawn((0.03, -0.03, 0.03, -0.03), {0.01: 0.02}, 200))
    (advice,) = check_up(noise_of(blocks, used=Usage(60.0, 96.0, 0.0, 120.0))).advice

    assert "pairs" not in advice


@given(starting=st.floats(0.1, 60.0))
def test_three_or_four_pairs_in_time(starting: float) -> None:
    """Four pairs if they fit, else three; within the time, unless three need more of it."""
    left, number, parts = 60.0, 0, []
    while wants_pair(number, left, starting):
        left -= starting
        parts.append(pair_seconds(number, left, starting))
        left -= parts[-1]
        number += 1

    assert number == (4 if 4 * (starting + 4.0) <= 60 else 3)
    assert all(4 <= part <= 12 for part in parts)
    assert left >= min(0.0, 60 - 3 * (starting + 4)) - 1e-9
