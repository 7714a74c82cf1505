"""Trainings from several seeds: what they say of an accuracy since the baseline."""

from __future__ import annotations

import json

import pytest
from builders import ENVIRONMENT, make_accepted, make_measurement, make_record
from scipy import stats

from pytest_dlperf.config.budgets import parse_budget
from pytest_dlperf.judge.judge import judge
from pytest_dlperf.results.baseline import BaselineEntry, accept
from pytest_dlperf.results.record import record_from_json, record_to_json
from pytest_dlperf.results.verdict import Judgement, Verdict
from pytest_dlperf.statistics.estimate import Estimate

NO_LOSS = "accuracy >= baseline - 1pt"
SPREAD = (0.90, 0.93, 0.96, 0.94)
"""Seeds differ by more than what is allowed to be lost."""


def judged(now: tuple[float, ...], then: tuple[float, ...], budget: str = NO_LOSS) -> Judgement:
    """An accuracy of several seeds against another."""
    measured, base = (
        {"accuracy": Estimate(sum(seeds) / len(seeds), min(seeds) - 0.05, max(seeds))}
        for seeds in (now, then)
    )
    (judgement,) = judge(
        make_measurement(measured, seeds=now),
        [parse_budget(budget)],
        make_accepted(base, seeds=then),
        ENVIRONMENT,
        "",
    )
    return judgement


def test_seed_by_seed_a_small_loss_is_found() -> None:
    """Each seed lost 3 points, give or take: lost among the seeds, clear between the pairs."""
    worse = tuple(
        seed - loss for seed, loss in zip(SPREAD, (0.030, 0.032, 0.029, 0.031), strict=True)
    )

    assert judged(worse, SPREAD).verdict is Verdict.FAIL
    assert judged(SPREAD, SPREAD).verdict is Verdict.PASS


def test_the_interval_is_students_over_the_differences() -> None:
    """Between a loss that it excludes and one that it does not, where scipy has its end."""
    losses = (0.004, -0.006, 0.010, 0.002)
    now = tuple(seed - loss for seed, loss in zip(SPREAD, losses, strict=True))
    _, high = stats.t.interval(0.95, 3, sum(losses) / 4, stats.sem(losses))
    assert 0.01 < high < 0.1

    above, below = (f"accuracy >= baseline - {high * 100 + step:.3f}pt" for step in (0.01, -0.01))

    assert judged(now, SPREAD, above).verdict is Verdict.PASS
    assert judged(now, SPREAD, below).verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("now", [(0.5, 0.5), (0.95, 0.95)])
def test_two_seeds_tell_nothing(now: tuple[float, ...]) -> None:
    """However much was lost, and if nothing was: it says how many it takes."""
    judgement = judged(now, (0.95, 0.95))

    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert "train from at least 3" in judgement.reason


def test_other_seeds_are_compared_by_their_intervals() -> None:
    """A baseline that has no seeds, as one of the history: what is far below still FAILs."""
    assert judged((0.3, 0.3, 0.3), (0.95,)).verdict is Verdict.FAIL


def test_seeds_travel() -> None:
    """From a measurement to the baseline's file and to the report, and back."""
    measurement = make_measurement({"accuracy": Estimate(0.93, 0.9, 0.95)}, seeds=SPREAD)
    accepted = accept(measurement, ENVIRONMENT, make_accepted().revision)

    assert BaselineEntry.from_json(json.loads(json.dumps(accepted.to_json()))).seeds == SPREAD
    value = json.loads(json.dumps(record_to_json(make_record(measurement=measurement))))
    assert record_from_json(value).measurement.seeds == SPREAD


def test_what_has_no_seeds_is_written_as_before() -> None:
    """Baselines of loads do not change."""
    assert "seeds" not in make_accepted().to_json()
