"""Losses row by row and seed by seed, and the verdicts on them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

import numpy as np
import pytest
from builders import ENVIRONMENT, MACHINE, make_accepted, make_measurement, make_rows
from scipy import stats

from pytest_dlperf.config.budgets import parse_budget
from pytest_dlperf.data.dataset import Data
from pytest_dlperf.duel.verdicts import judge_rows
from pytest_dlperf.history.compare import compare_sides
from pytest_dlperf.history.entries import MeasurementId
from pytest_dlperf.judge.contrasts import loss_on_rows, lost_on_rows
from pytest_dlperf.judge.error_rates import ErrorRates
from pytest_dlperf.judge.judge import judge
from pytest_dlperf.judge.loss_evidence import AgreedLoss, MeasuredLoss, PairedLoss
from pytest_dlperf.judge.losses import LossLimits
from pytest_dlperf.judge.shares import _share_of_different_rows
from pytest_dlperf.load.summary import Score, mean_score, summarise_score
from pytest_dlperf.measure.measure import rows_of
from pytest_dlperf.metrics import define, metric_named, users_metric
from pytest_dlperf.results.row_evidence import RowScores
from pytest_dlperf.results.verdict import Judgement, Verdict
from pytest_dlperf.statistics.estimate import Estimate, counted
from pytest_dlperf.statistics.proportions import (
    accuracy_decision,
    mcnemar,
    paired_loss,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_dlperf.metrics import Better
    from pytest_dlperf.results.baseline import BaselineEntry
    from pytest_dlperf.results.measurement import Measurement

ROWS: Final = 400
BASE: Final = np.random.default_rng(0).beta(4, 2, ROWS)
NOISE: Final = np.random.default_rng(1).normal(0, 0.02, ROWS)
PASS, FAIL, INCONCLUSIVE, INVALID, NEW = Verdict


@pytest.fixture(autouse=True)
def _metrics(own_metrics: None) -> None:
    """Shares of both directions, and a number."""
    del own_metrics
    directions: dict[str, Better] = {"ndcg": "higher", "miss": "lower"}
    for name, better in directions.items():
        define(users_metric(name, "share", better, 0.01))
    define(users_metric("rank", "1", "lower", 0.05))


def measurement_of(name: str, scores: NDArray[np.float64], data: str = "d") -> Measurement:
    """A measurement of one users' metric."""
    kept = RowScores(data, {name: scores})
    return make_measurement({name: mean_score(name, kept.scores[name])}, scores=kept)


def baseline_of(name: str, scores: NDArray[np.float64]) -> BaselineEntry:
    """The same as a baseline."""
    measurement = measurement_of(name, scores)
    return make_accepted(measurement.metrics, scores=measurement.scores)


def test_scores_by_scipy() -> None:
    """Mean, interval and both one-sided ends are those of scipy's paired t-test."""
    now = np.clip(BASE - 0.01 + NOISE, 0, 1)
    measurement, base = measurement_of("ndcg", now), measurement_of("ndcg", BASE)
    metric = metric_named("ndcg")
    assert measurement.scores is not None
    assert base.scores is not None
    kept = measurement.scores.scores["ndcg"], base.scores.scores["ndcg"]
    wanted = stats.ttest_rel(kept[1], kept[0])
    interval = wanted.confidence_interval(0.95)

    loss = lost_on_rows(metric, measurement, base)
    evidence = loss_on_rows(metric, measurement, base)

    assert loss is not None
    assert isinstance(evidence, MeasuredLoss)
    assert loss.value == pytest.approx((kept[1] - kept[0]).mean())
    assert (loss.low, loss.high) == pytest.approx((interval.low, interval.high))
    worse = stats.ttest_rel(kept[1], kept[0], alternative="greater").confidence_interval(0.99)
    assert evidence.measured.low(0.01) == pytest.approx(worse.low)
    # The other way round it is the gain.
    gain = lost_on_rows(metric, base, measurement)
    assert gain is not None
    assert (gain.value, gain.low) == pytest.approx((-loss.value, -loss.high))


def test_the_other_direction() -> None:
    """A share that is better when lower has a loss when it rises."""
    now = np.clip(BASE + 0.05, 0, 1)
    loss = lost_on_rows(
        metric_named("miss"), measurement_of("miss", now), measurement_of("miss", BASE)
    )
    assert loss is not None
    assert loss.value > 0.03


@pytest.mark.parametrize(("name", "sign"), [("ndcg", 1), ("miss", -1)])
def test_hits_are_judged_as_accuracy_is(name: str, sign: int) -> None:
    """Where each row is right or wrong, rows are counted, and McNemar's test decides."""
    metric = metric_named(name)
    base = np.ones(200)
    now = base.copy()
    now[:9], base[9:11] = 0, 0
    measurement, before = measurement_of(name, now), measurement_of(name, base)
    pairs = (9, 2, 200) if sign == 1 else (2, 9, 200)

    evidence = loss_on_rows(metric, measurement, before)
    assert evidence == PairedLoss(*pairs)
    assert evidence.loss == paired_loss(*pairs)
    decision = accuracy_decision(*pairs, allowed=0.0, line=0.02, alpha=0.05, beta=0.05)
    assert evidence.decision(LossLimits(0.0, 0.02), 0.05, 0.05) == decision
    accurate = make_measurement(rows=make_rows(now.astype(int).tolist()))
    exact = make_measurement(rows=make_rows(base.astype(int).tolist()))
    assert loss_on_rows(metric_named("accuracy"), accurate, exact) == PairedLoss(9, 2, 200)


@pytest.mark.parametrize("scores", [BASE, np.round(BASE), np.array([0.3])])
def test_unchanged_answers_have_lost_nothing(scores: NDArray[np.float64]) -> None:
    """The loss of unchanged answers is exactly 0, after storing too."""
    measurement = measurement_of("ndcg", scores)
    assert measurement.scores is not None
    stored = RowScores.from_json(measurement.scores.to_json())
    base = make_accepted(measurement.metrics, scores=stored)
    evidence = loss_on_rows(metric_named("ndcg"), measurement, base)
    assert evidence is not None
    assert evidence.loss == counted(0.0)
    assert not evidence.differs
    assert evidence.decision(LossLimits(0.0, 0.01), 0.01, 0.05) == "PASS"


def test_nothing_in_common() -> None:
    """Other data, a single row that differs, or another metric give no evidence."""
    metric = metric_named("ndcg")
    measurement, single_row = measurement_of("ndcg", BASE), measurement_of("ndcg", np.array([0.5]))
    for other in (
        measurement_of("ndcg", BASE, data="other"),
        measurement_of("miss", BASE),
        make_measurement(),
    ):
        assert lost_on_rows(metric, measurement, other) is None
        assert lost_on_rows(metric, other, measurement) is None
    assert lost_on_rows(metric, single_row, measurement_of("ndcg", np.array([0.25]))) is None


# As good, but by other rows.
SHUFFLED: Final = np.random.default_rng(2).permutation(BASE)

CASES = [
    ("ndcg >= baseline", BASE, PASS),
    ("ndcg >= baseline", BASE - 0.05 + NOISE, FAIL),
    ("ndcg >= baseline - 8pt", BASE - 0.05 + NOISE, PASS),
    ("ndcg >= baseline - 2pt", BASE - 0.05 + NOISE, FAIL),
    ("ndcg >= baseline", SHUFFLED, INCONCLUSIVE),
    ("ndcg >= 60%", BASE, PASS),
    ("ndcg >= 70%", BASE, FAIL),
    ("ndcg >= 66%", BASE, INCONCLUSIVE),
]


@pytest.mark.parametrize(("budget", "now", "verdict"), CASES)
def test_verdicts_against_a_stored_baseline(
    budget: str, now: NDArray[np.float64], verdict: Verdict
) -> None:
    """A share that a user has defined is judged row by row."""
    measurement = measurement_of("ndcg", np.clip(now, 0, 1))
    parsed = [parse_budget(budget)]

    (judgement,) = judge(measurement, parsed, baseline_of("ndcg", BASE), ENVIRONMENT, "")

    assert judgement.verdict is verdict
    (first,) = judge(measurement, parsed, None, ENVIRONMENT, "no baseline yet")
    assert first.verdict is (NEW if parsed[0].relative else verdict)
    (other,) = judge(measurement, parsed, make_accepted(), ENVIRONMENT, "")
    assert other.verdict is (NEW if parsed[0].relative else verdict)


def test_answers_are_judged_though_speeds_are_invalid() -> None:
    """Answers are judged even if the speeds of a run are invalid."""
    measurement = make_measurement(
        measurement_of("ndcg", BASE).metrics,
        scores=measurement_of("ndcg", BASE).scores,
        invalid="late",
    )
    (judgement,) = judge(measurement, [parse_budget("ndcg >= 60%")], None, ENVIRONMENT, "")
    assert judgement.verdict is PASS


@pytest.mark.parametrize(
    ("factor", "verdict"), [(1.0, PASS), (1.2, FAIL), (1.03, INCONCLUSIVE), (0.5, PASS)]
)
def test_other_metrics_are_judged_as_ratios(factor: float, verdict: Verdict) -> None:
    """On the same rows only the noise of training again counts, as for a loss."""
    ranks = 1 + np.random.default_rng(3).poisson(5, ROWS).astype(float)
    measurement, base = measurement_of("rank", ranks * factor), baseline_of("rank", ranks)
    (judgement,) = judge(measurement, [parse_budget("rank <= baseline")], base, ENVIRONMENT, "")
    assert judgement.verdict is verdict


@pytest.mark.parametrize(
    ("now", "decision"),
    [(BASE, "PASS"), (BASE - 0.05 + NOISE, "FAIL"), (SHUFFLED, None)],
)
def test_a_duel_decides_by_rows(now: NDArray[np.float64], decision: str | None) -> None:
    """The question that further pairs are asked; the numbers are those of the rows."""
    measurement, base = measurement_of("ndcg", np.clip(now, 0, 1)), measurement_of("ndcg", BASE)
    budgets = [parse_budget("ndcg >= baseline"), parse_budget("ndcg >= 10%")]

    _, (question,) = judge_rows(measurement, base, budgets, ErrorRates(1))

    assert question.budget.text == "ndcg >= baseline"
    bounds = question.bounds
    assert question.evidence.decision(question.limits, bounds.alpha, bounds.beta) == decision
    assert question.evidence.loss == lost_on_rows(metric_named("ndcg"), measurement, base)


@pytest.mark.parametrize(
    ("now", "verdict"),
    [(BASE, PASS), (BASE - 0.05 + NOISE, FAIL), (SHUFFLED, INCONCLUSIVE)],
)
def test_a_comparison_decides_by_rows(now: NDArray[np.float64], verdict: Verdict) -> None:
    """`pytest-dlperf compare` shows and judges users' metrics by default."""
    place = MeasurementId("a.py::test_it", "", MACHINE)
    candidate = {place: baseline_of("ndcg", np.clip(now, 0, 1))}

    compared = compare_sides({place: baseline_of("ndcg", BASE)}, candidate)

    (row,) = compared.measurements[0].rows
    assert (row.metric, row.verdict) == ("ndcg", verdict)
    assert row.change is not None
    mean = candidate[place].metrics["ndcg"].value - baseline_of("ndcg", BASE).metrics["ndcg"].value
    assert row.change.value == pytest.approx(mean)


def test_unchanged_code_rarely_fails() -> None:
    """Models that differ by chance FAIL no more often than alpha."""
    rng = np.random.default_rng(4)
    limits = LossLimits(0.0, 0.05)
    metric = metric_named("ndcg")
    failed = 0
    for _ in range(400):
        now, then = np.clip(BASE + rng.normal(0, 0.1, (2, ROWS)), 0, 1)
        candidate, base = measurement_of("ndcg", now), measurement_of("ndcg", then)
        evidence = loss_on_rows(metric, candidate, base)
        assert evidence is not None
        failed += evidence.decision(limits, 0.05, 0.05) == "FAIL"
    # Binomial: more than 34 of 400 have a probability of 0.2 %, fewer than 8 one of 0.1 %.
    assert 8 <= failed <= 34


def with_copies(right: NDArray[np.bool_], distinct: NDArray[np.int64] | None) -> Measurement:
    """A measurement of rows that are copies of each other where they have the same number."""
    rows = len(right)
    score = Score(np.ones(rows, int), right.astype(float), None, classifies=True, distinct=distinct)
    data = Data(np.zeros((rows, 1)), np.zeros(rows), "d", distinct)
    return make_measurement(summarise_score(score), rows=rows_of(data, score))


@pytest.mark.parametrize("copies", [1, 10])
def test_copies_of_rows_are_no_evidence(copies: int) -> None:
    """Of 1,500 pairs of equal models on 500 rows, ten times each, at most 5 % FAIL at 5 %.

    Plus four standard deviations. Counted one by one, copies make it 30 %.
    """
    random, accuracy = np.random.default_rng(9), metric_named("accuracy")
    base = np.arange(500) < 450
    distinct = np.tile(np.arange(500), copies) if copies > 1 else None
    failed, as_rows = 0, 0
    for _ in range(1500):
        sides = [np.tile(base ^ (random.random(500) < 0.02), copies) for _ in range(2)]
        now, then = (with_copies(side, distinct) for side in sides)
        evidence = loss_on_rows(accuracy, now, then)
        assert isinstance(evidence, PairedLoss)
        assert evidence.rows == 500
        failed += evidence.decision(LossLimits(0.0, 0.02), 0.05, 0.05) == "FAIL"
        b, c = int((sides[1] & ~sides[0]).sum()), int((sides[0] & ~sides[1]).sum())
        as_rows += mcnemar(b, c) < 0.05
    assert failed <= 75 + 4 * 9
    assert (as_rows > 375) is (copies > 1)


def test_rows_of_many_copies_weigh_more() -> None:
    """The loss is that of all rows; FAIL and PASS need both the rows and the distinct rows."""
    accuracy, limits = metric_named("accuracy"), LossLimits(0.0, 0.01)
    distinct = np.concatenate([np.zeros(1000, int), np.arange(1, 1001)])
    base = np.ones(2000, bool)
    heavy, light = base.copy(), base.copy()
    heavy[distinct == 0] = False  # one distinct row, half of all
    light[1000:1050] = False
    loss = loss_on_rows(accuracy, with_copies(heavy, distinct), with_copies(base, distinct))
    assert isinstance(loss, AgreedLoss)
    assert loss.loss.value == pytest.approx(0.5)
    # A single distinct row proves nothing of others, but 50 points must not pass either.
    assert loss.decision(limits, 0.01, 0.01) is None
    loss = loss_on_rows(accuracy, with_copies(light, distinct), with_copies(base, distinct))
    assert loss is not None
    assert loss.loss.value == pytest.approx(0.025)
    assert loss.decision(limits, 0.01, 0.01) == "FAIL"
    same = loss_on_rows(accuracy, with_copies(base, distinct), with_copies(base, distinct))
    assert same == PairedLoss(0, 0, 1001)


def test_copies_that_are_answered_otherwise() -> None:
    """Of a row whose copies are answered differently, most answers decide."""
    distinct = np.repeat(np.arange(3), 3)
    right = np.array([1, 1, 0, 1, 0, 0, 0, 0, 0], bool)
    rows = with_copies(right, distinct).rows
    assert rows is not None
    assert rows.right.tolist() == [True, False, False]


def test_rows_that_are_not_answered_are_lost() -> None:
    """A candidate that answers NaN on the rows that the base has right loses these rows."""
    rows = 1000
    base = Score(np.ones(rows, int), np.ones(rows), None, classifies=True)
    hard = np.arange(rows) < 30
    nan = dataclasses.replace(
        base,
        answered=(~hard).astype(int),
        right=(~hard).astype(float),
        unusable=hard.astype(int),
    )
    failed = dataclasses.replace(nan, unusable=None, failed=hard.astype(int))
    data = Data(np.zeros((rows, 1)), np.zeros(rows), "d")
    before = make_measurement(summarise_score(base), rows=rows_of(data, base))
    for score in (nan, failed):
        now = make_measurement(summarise_score(score), rows=rows_of(data, score))
        assert now.accuracy == pytest.approx(0.97)
        loss = loss_on_rows(metric_named("accuracy"), now, before)
        assert loss == PairedLoss(30, 0, rows)
        # The other way round it is a gain.
        assert loss_on_rows(metric_named("accuracy"), before, now) == PairedLoss(0, 30, rows)
    not_asked = dataclasses.replace(nan, unusable=None)
    now = make_measurement(summarise_score(not_asked), rows=rows_of(data, not_asked))
    assert loss_on_rows(metric_named("accuracy"), now, before) == PairedLoss(0, 0, rows - 30)


NO_LOSS = "accuracy >= baseline - 1pt"
SPREAD = (0.90, 0.93, 0.96, 0.94)
"""Seeds differ by more than what is allowed to be lost."""


def judge_seeds(
    now: tuple[float, ...], then: tuple[float, ...], budget: str = NO_LOSS
) -> Judgement:
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
    """A loss of 3 points, hidden by the spread of seeds, is clear in the pairs."""
    worse = tuple(
        seed - loss for seed, loss in zip(SPREAD, (0.030, 0.032, 0.029, 0.031), strict=True)
    )

    assert judge_seeds(worse, SPREAD).verdict is FAIL
    assert judge_seeds(SPREAD, SPREAD).verdict is PASS


def test_the_interval_is_students_over_the_differences() -> None:
    """A loss just inside the one-sided interval is open, one just outside passes, as by scipy."""
    losses = (0.004, -0.006, 0.010, 0.002)
    now = tuple(seed - loss for seed, loss in zip(SPREAD, losses, strict=True))
    _, high = stats.t.interval(0.90, 3, sum(losses) / 4, stats.sem(losses))
    assert 0.01 < high < 0.1

    above, below = (f"accuracy >= baseline - {high * 100 + step:.3f}pt" for step in (0.01, -0.01))

    assert judge_seeds(now, SPREAD, above).verdict is PASS
    assert judge_seeds(now, SPREAD, below).verdict is INCONCLUSIVE


@pytest.mark.parametrize("now", [(0.5, 0.5), (0.95, 0.95)])
def test_two_seeds_are_too_few(now: tuple[float, ...]) -> None:
    """Two seeds never decide; the reason says how many are needed."""
    judgement = judge_seeds(now, (0.95, 0.95))

    assert judgement.verdict is INCONCLUSIVE
    assert "train from at least 3" in judgement.reason


def test_other_seeds_are_compared_by_their_intervals() -> None:
    """Without seeds in the baseline only a large loss FAILs."""
    assert judge_seeds((0.3, 0.3, 0.3), (0.95,)).verdict is FAIL


def test_baselines_without_seeds() -> None:
    """Baselines of loads have no key `seeds`."""
    assert "seeds" not in make_accepted().to_json()


def with_positions(right: NDArray[np.int64], positions: NDArray[np.int64]) -> Measurement:
    """A measurement of rows of many positions, each asked once."""
    rows = len(right)
    score = Score(
        np.ones(rows, int), right.astype(float), None, classifies=True, positions=positions
    )
    data = Data(np.zeros((rows, 1)), np.zeros(rows), "d")
    return make_measurement(summarise_score(score), rows=rows_of(data, score))


def test_the_loss_of_positions_is_measured_row_by_row() -> None:
    """By hand: rows of 2, 4 and 6 positions lose 1, 0 and 2 of them; an empty row tells nothing.

    3 of 12 positions are lost; each row's loss is its positions' over their mean, 4.
    """
    positions = np.array([2, 4, 0, 6])
    base = with_positions(positions, positions)
    now = with_positions(np.array([1, 4, 0, 4]), positions)

    loss = loss_on_rows(metric_named("accuracy"), now, base)

    assert isinstance(loss, MeasuredLoss)
    assert now.accuracy == 9 / 12
    assert loss.loss.value == pytest.approx(3 / 12)
    error = np.std([1 / 4, 0, 2 / 4], ddof=1) / np.sqrt(3)
    reach = stats.t.ppf(0.975, 2) * error
    assert (loss.loss.low, loss.loss.high) == pytest.approx((0.25 - reach, 0.25 + reach))
    same = loss_on_rows(metric_named("accuracy"), base, base)
    assert same == PairedLoss(0, 0, 3)


def test_positions_of_a_row_are_no_independent_evidence() -> None:
    """Of 1,000 pairs of equal models on rows of 1 to 40 tokens, at most 5 % FAIL at 5 %.

    Plus four standard deviations. Each model gets half of the tokens of a row wrong together.
    Counted token by token, as McNemar's test of all positions does, it is six times as many. A
    loss of 4 points is found.
    """
    random, accuracy = np.random.default_rng(3), metric_named("accuracy")
    positions = random.integers(1, 41, 300)
    limits = LossLimits(0.0, 0.02)

    def answers(chance: float) -> NDArray[np.int64]:
        return np.where(random.random(300) < chance, positions // 2, positions)

    failed, by_token, found = 0, 0, 0
    for _ in range(1000):
        then, now, worse = answers(0.05), answers(0.05), answers(0.13)
        evidence, lost = (
            loss_on_rows(accuracy, with_positions(side, positions), with_positions(then, positions))
            for side in (now, worse)
        )
        assert evidence is not None
        assert lost is not None
        failed += evidence.decision(limits, 0.05, 0.05) == "FAIL"
        found += lost.decision(limits, 0.05, 0.05) == "FAIL"
        away = then - now
        by_token += mcnemar(int(away[away > 0].sum()), int(-away[away < 0].sum())) < 0.05
    assert failed <= 50 + 4 * 7
    assert by_token > 250
    assert found > 900


def test_models_trained_anew_differ_by_positions() -> None:
    """What sessions may differ by is bounded by the share of positions that do, not of rows."""
    positions = np.full(10, 20)
    now = with_positions(positions - 1, positions)
    base = with_positions(positions, positions)

    assert _share_of_different_rows(metric_named("accuracy"), now, base) == pytest.approx(1 / 20)
