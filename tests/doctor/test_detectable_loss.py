"""The smallest losses that are found in some time, and how long a loss takes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_dlperf.doctor.detectable_loss import (
    LOSSES,
    POWER,
    PairSeconds,
    detectable_loss,
    smallest_loss,
    time_to_find,
)
from pytest_dlperf.judge.error_rates import ALPHA
from pytest_dlperf.metrics import METRICS
from pytest_dlperf.statistics.pair_effects import PairBounds, look_at, next_look, spread_of

EACH = PairSeconds(first=4.0, further=0.5, measuring=0.5)
DUELS = 1500


def looks_until(pairs: int) -> list[int]:
    """The numbers of pairs after which a duel decides, up to this one."""
    looks = [next_look(0)]
    while next_look(looks[-1]) <= pairs:
        looks.append(next_look(looks[-1]))
    return looks


def share_of_failures(deviation: float, pairs: int, loss: float) -> float:
    """Of duels on this loss, those that the real rule fails by so many pairs, at any look."""
    random = np.random.default_rng(pairs)
    bounds, prior = PairBounds(0.0, loss, ALPHA, ALPHA), spread_of(METRICS["throughput"])
    failures = 0
    for effects in random.normal(loss, deviation, (DUELS, pairs)):
        decisions = (look_at(effects[:look], bounds, prior).decision for look in looks_until(pairs))
        failures += next(filter(None, decisions), None) == "FAIL"
    return failures / DUELS


@pytest.mark.parametrize(
    ("deviation", "pairs"),
    [(0.005, 5), (0.01, 13), (0.02, 2), (0.02, 8), (0.02, 20), (0.035, 3), (0.035, 8), (0.05, 27)],
)
def test_95_of_100_are_found(deviation: float, pairs: int) -> None:
    """By the rule that decides duels; and hardly more, so that the loss is not far too large.

    With the reach of the deviation itself, as if a duel knew it, 89 to 93 of 100 are found.
    """
    found = share_of_failures(deviation, pairs, smallest_loss(deviation, pairs))

    slack = 2.6 * math.sqrt(POWER * (1 - POWER) / DUELS)
    assert POWER - slack <= found <= POWER + 0.04


def test_without_any_noise() -> None:
    """What pairs differ by is not known before, so that even two equal ones show little."""
    assert smallest_loss(0.0, 20) > 0
    assert smallest_loss(0.0, 2) > LOSSES[0]


@settings(max_examples=20, deadline=None)
@given(st.floats(0.001, 0.1), st.sampled_from([2, 5, 8, 20, 36]))
def test_more_noise_hides_more(deviation: float, pairs: int) -> None:
    """And twice as much noise hides no more than a little over twice as much."""
    loss = smallest_loss(deviation, pairs)

    assert loss < smallest_loss(2 * deviation, pairs) < 2.01 * loss


@given(st.floats(1.0, 60.0), st.floats(0.1, 20.0), st.floats(0.1, 20.0), st.floats(0.0, 300.0))
def test_pairs_that_fit(first: float, further: float, measuring: float, seconds: float) -> None:
    """As many as take no more than the time; one more would."""
    each = PairSeconds(first, further, measuring)
    pairs = each.pairs_in(seconds)

    assert pairs == 0 or each.needed(pairs) <= seconds + 1e-6
    assert each.needed(pairs + 1) > seconds - 1e-6


def test_losses_by_hand() -> None:
    """Four seconds of starting leave 10 s six pairs: 4 + 5 * 0.5 + 6 * 0.5 = 9.5."""
    row = detectable_loss(10.0, EACH, 0.01, 0.02)

    assert (row.seconds, row.pairs) == (10.0, 6)
    assert row.loss == smallest_loss(0.01, 6)
    assert row.loss_at_most == smallest_loss(0.02, 6)


def test_between_two_looks() -> None:
    """Of seven pairs, the first six are looked at."""
    assert detectable_loss(11.0, EACH, 0.01, 0.01).pairs == 7
    assert detectable_loss(11.0, EACH, 0.01, 0.01).loss == smallest_loss(0.01, 6)


@pytest.mark.parametrize("seconds", [3.0, 4.9])
def test_too_short_for_a_decision(seconds: float) -> None:
    """One pair decides nothing, whatever it shows."""
    row = detectable_loss(seconds, EACH, 0.01, 0.02)

    assert (row.pairs <= 1, row.loss, row.loss_at_most) == (True, None, None)


def test_more_time_never_finds_less() -> None:
    """Later looks spend small parts of the error rate: an earlier one may find more."""
    rows = [detectable_loss(float(seconds), EACH, 0.02, 0.02).loss for seconds in range(5, 90, 7)]
    known = [loss for loss in rows if loss is not None]

    assert known == sorted(known, reverse=True)


@pytest.mark.parametrize("loss", LOSSES)
def test_the_time_for_a_loss(loss: float) -> None:
    """It is found after this time, and was not at the look before."""
    time = time_to_find(loss, EACH, 0.02)

    assert time.pairs is not None
    assert time.seconds == EACH.needed(time.pairs)
    row = detectable_loss(time.seconds, EACH, 0.02, 0.02)
    before = detectable_loss(time.seconds - 1.0, EACH, 0.02, 0.02)
    assert row.loss is not None
    assert before.loss is not None
    assert row.loss <= loss < before.loss


def test_a_loss_that_is_never_found() -> None:
    """A thousand pairs are too few where pairs differ twofold."""
    time = time_to_find(LOSSES[1], EACH, 1.0)

    assert (time.pairs, time.seconds) == (None, None)
