"""The proof of what tuning promises: what is no better is called so in one study of a hundred."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from pytest_dlperf.duel.confirmation import blocks_of_a_pair
from simulated_duels import (
    HEAVY_TAILS,
    LONG_CAP,
    by_pair,
    first,
    running_evidence,
    spread,
    unchanged,
)

from pytest_dlperf.duel.questions import pass_rate
from pytest_dlperf.judge.error_rates import BETA, ErrorRates
from pytest_dlperf.statistics.pair_effects import LOOKS, excludes, second_opinion

pytestmark = pytest.mark.simulation

STUDIES = 600
LAUNCH = 0.02
NO_GAIN = -1e-9  # what a finalist must not lose: it has to win something


def called(gain: float, beta: float, seed: int) -> Counter[str]:
    """What one finalist is called in many studies, of one first pair as tuning has it.

    As `test_proof.in_two_stages` leads them, with a gain that is demanded instead of a loss that
    must be found.

    Args:
        gain: of the finalist, as a log ratio.
        beta: how often a PASS may be wrong.
        seed: of the noise.
    """
    rates = ErrorRates(1)
    noise = replace(HEAVY_TAILS, launch=LAUNCH / math.sqrt(2))
    enough = blocks_of_a_pair(HEAVY_TAILS.white)
    d = unchanged(noise, seed, STUDIES, 1, LONG_CAP) - gain
    again = unchanged(noise, seed + 1, STUDIES, LOOKS[-1], LOOKS[-1] * enough) - gain
    fail = first(running_evidence(d) >= math.log(1 / rates.screen))
    passed = first(running_evidence(-d) >= math.log(1 / beta))
    seen = Counter[str]()
    for row in range(STUDIES):
        ends = min(fail[row], passed[row])
        if ends == LONG_CAP:
            seen["open"] += 1
            continue
        effects, errors = by_pair(d[row, : max(ends + 1, enough)], 1)
        better = passed[row] == ends
        if better and excludes(effects, NO_GAIN, beta, spread(errors)):
            seen["PASS"] += 1
            continue
        fresh, fresh_errors = by_pair(again[row], LOOKS[-1])
        opinions = (
            second_opinion(
                fresh[:count],
                effects,
                allowed=NO_GAIN,
                line=NO_GAIN,
                alpha=rates.confirm,
                beta=beta,
                spread=spread(fresh_errors[:count]),
            )
            for count in LOOKS
        )
        seen[next(filter(None, opinions), "open")] += 1
    return seen


def test_what_is_no_better_is_called_so_in_one_study_of_a_hundred() -> None:
    """No gain, pairs that differ by 2 % and blocks by 6 %: PASS in 1 % of studies or fewer.

    At the rate of a budget that has to find a loss, 5 %, more of them would be.
    """
    promised = pass_rate(NO_GAIN, ErrorRates(1))

    assert promised == 0.01
    assert called(0.0, promised, 11)["PASS"] <= 0.01 * STUDIES
    assert called(0.0, BETA, 11)["PASS"] > 0.01 * STUDIES


def test_a_gain_of_a_fifth_is_found() -> None:
    """20 % faster: PASS in nearly all studies, and never FAIL."""
    seen = called(math.log(1.2), pass_rate(NO_GAIN, ErrorRates(3)), 12)

    assert seen["PASS"] >= 0.98 * STUDIES
    assert seen["FAIL"] == 0


def test_the_rate_is_that_of_all_finalists_together() -> None:
    """Three finalists have a third of it each."""
    assert np.isclose(3 * pass_rate(NO_GAIN, ErrorRates(3)), pass_rate(NO_GAIN, ErrorRates(1)))
