"""The proof of what tuning promises: what is no better is called so in one study of a hundred."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from workshop import argument, study

from pytest_dlperf.duel.questions import bounds_of
from pytest_dlperf.judge.losses import LossLimits
from pytest_dlperf.metrics import METRICS
from pytest_dlperf.statistics.pair_effects import (
    LOOKS,
    PairBounds,
    look_at,
    look_once,
    spread_of_copies,
    spread_of_layouts,
)
from pytest_dlperf.tuning.finals import rates_for

if TYPE_CHECKING:
    from pytest_dlperf.judge.error_rates import ErrorRates

pytestmark = pytest.mark.simulation

STUDIES = 3000
FINALISTS = 3
PAIR = 0.02
THROUGHPUT = METRICS["throughput"]
STUDY = study(argument("work", 1.0, 0.5))


def bounds(rates: ErrorRates) -> PairBounds:
    """Of the gain that a finalist has to prove."""
    return bounds_of(LossLimits.of(STUDY.goal.gain, 100.0), rates)


def called(effects: np.ndarray, asked: PairBounds) -> str:
    """What a finalist is called by the effects of its pairs."""
    for look in LOOKS:
        decision = look_at(effects[:look], asked, spread_of_copies(THROUGHPUT)).decision
        if decision:
            return decision
    return "INCONCLUSIVE"


def finalists(gain: float, pair: float, seed: int, studies: int = STUDIES) -> np.ndarray:
    """Effects of pairs that differ by `pair`, shape `(studies, finalists, pairs)`."""
    random = np.random.default_rng(seed)
    return pair * random.standard_normal((studies, FINALISTS, LOOKS[-1])) - np.log1p(gain)


def recommending(effects: np.ndarray, asked: PairBounds) -> int:
    """How many studies have a finalist that is called better."""
    return sum(
        any(called(finalist, asked) == "PASS" for finalist in one_study) for one_study in effects
    )


@pytest.mark.parametrize("pair", [PAIR, 0.028])
def test_what_is_no_better_is_called_so_in_one_study_of_a_hundred(pair: float) -> None:
    """Three finalists without a gain: one is called better in 1 % of studies at most.

    Pairs differ by 2 and 2.8 %.
    """
    asked = bounds(rates_for(STUDY, FINALISTS))

    assert asked.beta == pytest.approx(0.01 / FINALISTS)
    assert recommending(finalists(0.0, pair, 11), asked) <= 0.01 * STUDIES


def test_a_rate_that_is_not_divided_recommends_more() -> None:
    """The mutation: each finalist at 5 %, on pairs that differ by more than the prior."""
    asked = replace(bounds(rates_for(STUDY, FINALISTS)), beta=0.05)

    assert recommending(finalists(0.0, 0.028, 11, 1000), asked) > 0.01 * 1000


@pytest.mark.parametrize(("gain", "least"), [(0.2, 0.999), (0.1, 0.99), (0.05, 0.6)])
def test_a_gain_is_found(gain: float, least: float) -> None:
    """A fifth and a tenth faster: PASS in nearly all studies, and never FAIL."""
    asked = bounds(rates_for(STUDY, FINALISTS))
    seen = Counter(
        called(one, asked) for one in finalists(gain, PAIR, 12, 300).reshape(-1, LOOKS[-1])
    )

    assert seen["PASS"] >= least * seen.total()
    assert seen["FAIL"] == 0


def test_one_layout_recommends_what_no_layout_makes_only() -> None:
    """Finalists that cannot be copied: none without a gain, and a gain of a third is not enough."""
    asked = bounds(rates_for(STUDY, FINALISTS))
    layout = spread_of_layouts(THROUGHPUT)

    def decided(gain: float) -> Counter[str]:
        effects = finalists(gain, 0.04, 13)[:, :, 0].ravel()
        return Counter(str(look_once(float(one), asked, layout).decision) for one in effects)

    assert decided(0.0)["PASS"] == 0
    assert decided(0.33)["PASS"] < 0.5 * FINALISTS * STUDIES
    assert decided(1.0)["PASS"] > 0.99 * FINALISTS * STUDIES
