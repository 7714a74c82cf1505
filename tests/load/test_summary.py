"""Summary: metrics from samples and scores."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from builders import make_samples, totals_of
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pytest_dlperf.load.samples import Outcome, Samples
from pytest_dlperf.load.summary import Score, mean_score, summarise_load, summarise_score
from pytest_dlperf.metrics import METRICS, define, users_metric
from pytest_dlperf.statistics.estimate import Estimate, counted
from pytest_dlperf.statistics.percentiles import required_requests
from pytest_dlperf.statistics.proportions import wilson

if TYPE_CHECKING:
    from pytest_dlperf.metrics import Better

MS = 1_000_000
LATENCIES = {name for name, metric in METRICS.items() if metric.latency}


def _steady(calls: int = 1000, size: int = 10, outcome: list[int] | None = None) -> Samples:
    """Calls of 1 ms back to back, each of whose requests was due 4 ms before it was done."""
    done = [(i + 1) * MS for i in range(calls)]
    intended = np.repeat(np.array(done) - 4 * MS, size)
    return make_samples([size] * calls, done, intended_ns=intended, outcome=outcome)


def test_steady_load_by_hand() -> None:
    """Ten requests every millisecond: 10,000/s, every latency 4 ms, no errors, no doubt."""
    metrics = summarise_load(totals_of(_steady()), latencies=True).metrics
    assert metrics["throughput"].value == pytest.approx(10_000)
    assert metrics["throughput"].low == pytest.approx(10_000)
    for name in LATENCIES:
        assert metrics[name].value == pytest.approx(0.004)
        assert metrics[name].low == pytest.approx(0.004, rel=0.0021)
        assert metrics[name].high == pytest.approx(0.004, rel=0.0021)
    assert metrics["errors"].value == 0


def test_every_timed_metric_is_measured_or_refused() -> None:
    """Throughput, errors and all latencies are accounted for, each once."""
    summary = summarise_load(totals_of(_steady(calls=50)), latencies=True)
    assert not summary.metrics.keys() & summary.refused.keys()
    assert summary.metrics.keys() | summary.refused.keys() == {"throughput", "errors", *LATENCIES}


def test_offline_has_no_latencies() -> None:
    """Where latencies mean nothing there are none, not even refused ones."""
    summary = summarise_load(totals_of(_steady()), latencies=False)
    assert summary.metrics.keys() == {"throughput", "errors"}
    assert summary.refused == {}


def test_throughput_counts_good_answers_only() -> None:
    """A wrong answer is an error, adds nothing to the throughput, and has no latency."""
    bad = [Outcome.WRONG_SHAPE if i % 4 == 0 else Outcome.OK for i in range(10_000)]
    samples = _steady(outcome=bad)
    samples.intended_ns[::4] -= 500 * MS
    metrics = summarise_load(totals_of(samples), latencies=True).metrics
    assert metrics["throughput"].value == pytest.approx(7500)
    assert metrics["errors"].value == pytest.approx(0.25)
    assert metrics["max"].value == pytest.approx(0.004)


def test_unfinished_requests_are_errors() -> None:
    """Requests that were due and never answered count among the errors."""
    done = [(i + 1) * MS for i in range(30)]
    summary = summarise_load(totals_of(make_samples([1] * 30, done, unfinished=10)), latencies=True)
    assert summary.metrics["errors"].value == pytest.approx(0.25)


@given(st.integers(0, 7000))
def test_percentiles_need_their_requests(calls: int) -> None:
    """A percentile with too few requests is refused with the number needed, others are not."""
    calls = max(calls, 40)
    summary = summarise_load(totals_of(_steady(calls=calls, size=1)), latencies=True)
    for name, metric in METRICS.items():
        if metric.percentile is None:
            continue
        needed = required_requests(metric.percentile)
        assert (name in summary.metrics) is (calls >= needed)
        if calls < needed:
            assert f"{calls} requests" in summary.refused[name]
            assert str(needed) in summary.refused[name]


def test_too_few_intervals() -> None:
    """Fewer than ten intervals with calls in them say nothing about the noise: no speeds."""
    done = [(i + 1) * 10 * MS for i in range(9)]
    summary = summarise_load(totals_of(make_samples([500] * 9, done)), latencies=True)
    assert summary.refused.keys() == {"throughput", *LATENCIES}
    assert "9 calls in 9 of 20 intervals" in summary.refused["p50"]
    assert summary.metrics.keys() == {"errors"}


def test_no_good_answer() -> None:
    """Where every request went wrong the speeds are refused and the errors are 100 %."""
    summary = summarise_load(
        totals_of(_steady(outcome=[Outcome.EXCEPTION] * 10_000)), latencies=True
    )
    assert summary.metrics["errors"].value == 1
    assert set(summary.refused.values()) == {"no request was answered well"}
    assert summary.refused.keys() == {"throughput", *LATENCIES}


def test_good_answers_in_one_interval_only() -> None:
    """A target that dies at once leaves every latency measured or refused, none forgotten."""
    outcome = [Outcome.OK] * 200 + [Outcome.EXCEPTION] * 9800
    summary = summarise_load(totals_of(_steady(outcome=outcome)), latencies=True)
    assert summary.metrics.keys() | summary.refused.keys() == {"throughput", "errors", *LATENCIES}


def test_latencies_by_numpy() -> None:
    """Percentiles, mean and maximum are those of all good latencies."""
    generator = np.random.default_rng(0)
    done = np.cumsum(generator.integers(MS // 2, 2 * MS, 8000))
    latency = (generator.lognormal(1, 0.5, 8000) * MS).astype(np.int64)
    samples = make_samples([1] * 8000, done, intended_ns=done - latency)
    metrics = summarise_load(totals_of(samples), latencies=True).metrics
    seconds = latency * 1e-9
    for percent, name in ((50, "p50"), (90, "p90"), (95, "p95"), (99, "p99"), (99.9, "p99.9")):
        bracket = np.quantile(seconds, percent / 100 + np.array([-2e-4, 2e-4]))
        assert bracket[0] <= metrics[name].value <= bracket[1]
        assert metrics[name].low < metrics[name].value < metrics[name].high
    assert metrics["mean"].value == pytest.approx(seconds.mean())
    assert metrics["mean"].low < seconds.mean() < metrics["mean"].high
    assert metrics["max"].value == pytest.approx(seconds.max())


@pytest.mark.parametrize("exact", [0, 10**6])
def test_unanswered_requests_are_later_than_all_others(exact: int) -> None:
    """Of 2,000 requests 100 had no answer: p90 is of the answered ones, and p95 beyond them all."""
    samples = make_samples(
        [1] * 1900,
        [(i + 1) * MS for i in range(1900)],
        intended_ns=[(i + 1) * MS - 2 * MS - i * 100 for i in range(1900)],
        unfinished=100,
    )
    totals = totals_of(samples, exact=exact, seconds=1.0, open_loop=True)

    summary = summarise_load(totals, latencies=True)

    assert summary.metrics["p50"].value == pytest.approx(2.1e-3, rel=2e-3)
    assert summary.metrics["p90"].value == pytest.approx(2.18e-3, rel=2e-3)
    for name in ("p95", "p99", "max"):
        assert name not in summary.metrics
        assert summary.at_least[name] == pytest.approx(0.9)  # the drain after one second
        assert summary.refused[name].startswith("100 of 2,000 requests had no answer")
    answered = 1900 * 2e-3 + 1e-7 * 1900 * 1899 / 2
    assert summary.at_least["mean"] == pytest.approx((answered + 100 * 0.9) / 2000)


@pytest.mark.parametrize("exact", [0, 10**6])
def test_more_unanswered_than_answered(exact: int) -> None:
    """Then every percentile from the median on is beyond the longest latency."""
    samples = make_samples([1] * 1000, [(i + 1) * MS for i in range(1000)], unfinished=5000)
    summary = summarise_load(totals_of(samples, exact=exact, open_loop=True), latencies=True)

    assert summary.metrics.keys() == {"throughput", "errors"}
    assert set(summary.at_least.values()) > {1.0}
    assert summary.at_least.keys() == LATENCIES - {"p99.9"}


def test_throughput_knows_its_noise() -> None:
    """A machine that was slow for a while makes the interval of the throughput wide."""
    steady = summarise_load(totals_of(_steady()), latencies=False).metrics["throughput"]
    gaps = np.where(np.arange(1000) % 500 < 250, MS, 2 * MS)
    samples = make_samples([10] * 1000, np.cumsum(gaps))
    uneven = summarise_load(totals_of(samples), latencies=False)
    got = uneven.metrics["throughput"]
    assert got.value == pytest.approx(10_000 / 1.5)
    assert got.high - got.low > 0.1 * got.value
    assert steady.high - steady.low < 0.001 * steady.value


def _score(
    answered: list[int], right: list[float], loss: list[float], *, classifies: bool = True
) -> Score:
    return Score(np.array(answered), np.array(right, float), np.array(loss, float), classifies)


def test_each_row_counts_once() -> None:
    """Accuracy and loss are over distinct rows, however often each was asked."""
    metrics = summarise_score(_score([100, 1, 0, 2], [100, 0, 0, 1], [50, 3, 0, 2]))
    # Rows: always right, never, not asked, every second time; mean losses 0.5, 3 and 1.
    assert metrics["accuracy"].value == pytest.approx((1 + 0 + 0.5) / 3)
    assert metrics["loss"].value == pytest.approx(1.5)
    assert metrics["accuracy"].low < metrics["accuracy"].value < metrics["accuracy"].high
    assert metrics["loss"].low < 1.5 < metrics["loss"].high


def test_asking_more_often_is_no_more_evidence() -> None:
    """Sending the same rows again does not narrow the interval of the accuracy."""
    once = summarise_score(_score([1] * 50, [1, 0] * 25, [0.5] * 50))
    often = summarise_score(_score([40] * 50, [40, 0] * 25, [20.0] * 50))
    assert once == often


def test_regression_has_no_accuracy() -> None:
    """Where there is no right and wrong there is a loss only."""
    metrics = summarise_score(_score([1, 1], [0, 0], [1, 3], classifies=False))
    assert metrics.keys() == {"loss"}
    assert metrics["loss"].value == 2


def test_one_row_and_none() -> None:
    """One row has a loss without an interval; no row has nothing."""
    metrics = summarise_score(_score([2, 0], [2, 0], [3, 0]))
    assert (metrics["loss"].low, metrics["loss"].value, metrics["loss"].high) == (1.5, 1.5, 1.5)
    assert metrics["accuracy"].value == 1
    assert summarise_score(_score([0, 0], [0, 0], [0, 0])) == {}


def test_scores_of_two_loads() -> None:
    """Row by row, what both loads answered, rightly and with which loss."""
    both = _score([1, 0], [1, 0], [0.5, 0]).plus(_score([3, 2], [1, 2], [0.25, 1]))

    assert both.answered.tolist() == [4, 2]
    assert both.right.tolist() == [2, 2]
    assert both.loss.tolist() == [0.75, 1]


def test_rows_without_an_answer_are_wrong() -> None:
    """NaN counts as a wrong answer, a row that only failed as a wrong row, one not asked not."""
    score = dataclasses.replace(
        _score([2, 0, 1, 0, 1], [2, 0, 1, 0, 1], [1, 0, 1, 0, 1]),
        unusable=np.array([0, 3, 1, 0, 0]),
        failed=np.array([0, 0, 0, 4, 5]),
    )
    # Right; always NaN; every second time NaN; only failed; right at another time.
    assert score.asked.all()
    assert score.right_shares.tolist() == [1, 0, 0.5, 0, 1]
    assert summarise_score(score)["accuracy"] == wilson(2.5, 5)
    assert summarise_score(score)["loss"].value == pytest.approx(2.5 / 3)
    not_asked = dataclasses.replace(score, failed=None)
    assert not_asked.asked.tolist() == [True, True, True, False, True]
    assert summarise_score(not_asked)["accuracy"] == wilson(2.5, 4)
    both = score.plus(not_asked)
    assert both.unusable is not None
    assert both.failed is not None
    assert (both.unusable.tolist(), both.failed.tolist()) == ([0, 6, 2, 0, 0], [0, 0, 0, 4, 5])


@pytest.mark.usefixtures("own_metrics")
@pytest.mark.parametrize(("better", "worst"), [("higher", 0.0), ("lower", 1.0)])
def test_users_shares_without_an_answer(better: Better, worst: float) -> None:
    """An answer that is none has the worst score of a share; of another metric it has none."""
    define(users_metric("hit", "share", better, 0.01))
    define(users_metric("rank", "1", "lower", 0.01))
    score = Score(
        answered=np.array([2, 0, 1, 0]),
        right=np.zeros(4),
        loss=None,
        classifies=False,
        by_user={"hit": np.array([1.0, 0, 0.5, 0]), "rank": np.array([6.0, 0, 5, 0])},
        unusable=np.array([0, 1, 1, 0]),
        failed=np.array([0, 0, 0, 1]),
    )
    assert score.row_scores("hit").tolist() == [0.5, worst, (0.5 + worst) / 2, worst]
    np.testing.assert_array_equal(score.row_scores("rank"), [3, np.nan, 5, np.nan])
    assert summarise_score(score)["rank"].value == 4


def test_copies_of_a_row_are_one_row() -> None:
    """The same rows ten times have the same accuracy, with the interval of one time."""
    once = _score([1] * 40, [1, 1, 1, 0] * 10, [0.5, 0.25, 0.25, 1] * 10)
    often = _score([1] * 400, [1, 1, 1, 0] * 100, [0.5, 0.25, 0.25, 1] * 100)
    copied = dataclasses.replace(often, distinct=np.arange(400) % 40)
    assert summarise_score(copied).keys() == {"accuracy", "loss"}
    for name, wanted in summarise_score(once).items():
        got = summarise_score(copied)[name]
        assert (got.value, got.low, got.high) == pytest.approx(
            (wanted.value, wanted.low, wanted.high)
        )
        as_many = summarise_score(often)[name]
        assert as_many.high - as_many.low < 0.5 * (got.high - got.low)


def test_rows_with_more_copies_weigh_more() -> None:
    """The accuracy is that of all rows, with the interval of the rows that the copies are worth."""
    distinct = np.repeat([0, 1, 2, 3], [5, 1, 1, 1])
    score = _score([1] * 8, [1] * 5 + [0, 1, 0], [0.1] * 8)
    merged, copies = dataclasses.replace(score, distinct=distinct).of_distinct_rows()
    assert copies is not None
    assert copies.tolist() == [5, 1, 1, 1]
    assert merged.right.tolist() == [5, 0, 1, 0]
    got = summarise_score(dataclasses.replace(score, distinct=distinct))["accuracy"]
    assert got == wilson(0.75 * 64 / 28, 64 / 28)


@pytest.mark.usefixtures("own_metrics")
def test_users_metrics() -> None:
    """The mean over rows, each once: Student's interval by scipy, of hits Wilson's."""
    define(users_metric("ndcg", "share", "higher", 0.01))
    define(users_metric("hits", "share", "higher", 0.01))
    ndcg = np.random.default_rng(0).beta(2, 3, 100)
    hits = (np.arange(100) % 4 > 0).astype(float)
    answered = np.arange(100) % 3 + 1
    score = Score(
        answered=np.append(answered, 0),
        right=np.zeros(101),
        loss=None,
        classifies=False,
        by_user={
            "ndcg": np.append(ndcg * answered, 0),
            "hits": np.append(hits * answered, 0),
        },
    )

    metrics = summarise_score(score)

    assert metrics.keys() == score.metrics == {"ndcg", "hits"}
    wanted = stats.ttest_1samp(ndcg, 0).confidence_interval(0.95)
    assert metrics["ndcg"].value == pytest.approx(ndcg.mean())
    assert (metrics["ndcg"].low, metrics["ndcg"].high) == pytest.approx((wanted.low, wanted.high))
    assert metrics["hits"] == wilson(75, 100)
    assert np.isnan(score.row_scores("ndcg")[-1])
    np.testing.assert_allclose(score.row_scores("ndcg")[:-1], ndcg)
    twice = score.plus(score)
    assert twice.loss is None
    np.testing.assert_allclose(twice.row_scores("ndcg"), score.row_scores("ndcg"))


@pytest.mark.usefixtures("own_metrics")
def test_a_share_stays_one() -> None:
    """No interval of a share goes beyond 1, and one row says next to nothing of others."""
    define(users_metric("ndcg", "share", "higher", 0.01))
    assert mean_score("ndcg", np.array([0.99, 0.2, 1.0, 1.0])).high == 1.0
    assert mean_score("ndcg", np.array([0.4])) == Estimate(0.4, 0.0, 1.0)


@pytest.mark.usefixtures("own_metrics")
def test_one_row_of_what_is_no_share() -> None:
    """One row of a metric that is no share has no interval, as for a loss."""
    define(users_metric("rank", "1", "lower", 0.05))
    assert mean_score("rank", np.array([7.0])) == counted(7.0)


@pytest.mark.parametrize("rejected", [0, 5000])
def test_a_queue_with_a_limit_keeps_latencies_bounded(rejected: int) -> None:
    """A load that is too fast makes latencies grow without end, unless requests are rejected."""
    done = np.arange(1, 1001) * MS
    late = np.where(np.arange(1000) < 980, 4 * MS, 400 * MS)
    samples = make_samples(
        [10] * 1000,
        done.tolist(),
        intended_ns=np.repeat(done - late, 10),
        dispatched_ns=(done - MS).tolist(),
        rejected=rejected,
    )

    summary = summarise_load(totals_of(samples, seconds=0.5, open_loop=True), latencies=True)

    reason = "".join(summary.unbounded.values())
    assert ("slower than the load" in reason) is not bool(rejected)
    assert math.isinf(summary.metrics["p90"].high) is not bool(rejected)


def test_rows_with_positions() -> None:
    """Accuracy and loss are over positions, hand-computed; the interval counts rows.

    Rows of 2, 3 and 5 positions, asked 2, 1 and 1 times: 3 of 4, 3 of 3 and 0 of 5 right, which
    is 1.5 + 3 + 0 of 10. An empty row, and one that was not asked, do not count.
    """
    score = dataclasses.replace(
        _score([2, 1, 1, 1, 0], [3, 3, 0, 0, 0], [1.0, 0.2, 0.4, 0, 0]),
        positions=np.array([2, 3, 5, 0, 7]),
    )

    metrics = summarise_score(score)

    worth = 10 * 10 / (4 + 9 + 25)
    assert metrics["accuracy"] == wilson(0.45 * worth, worth)
    assert metrics["loss"].value == pytest.approx((2 * 0.5 + 3 * 0.2 + 5 * 0.4) / 10)
    twice = dataclasses.replace(score, distinct=np.array([0, 1, 2, 3, 4])).of_distinct_rows()[0]
    assert twice.positions is not None
    assert twice.positions.tolist() == [2, 3, 5, 0, 7]
    assert summarise_score(score.plus(score))["accuracy"] == metrics["accuracy"]
    empty = dataclasses.replace(score, positions=np.zeros(5, int))
    assert summarise_score(empty) == {}


def test_copies_of_rows_with_positions() -> None:
    """A row weighs its copies times its positions: 2 x 3 of 4 and 1 x 1 of 1."""
    score = dataclasses.replace(
        _score([1, 1, 1], [3, 1, 3], [0, 0, 0]),
        positions=np.array([4, 1, 4]),
        distinct=np.array([0, 1, 0]),
    )
    assert summarise_score(score)["accuracy"].value == pytest.approx(7 / 9)
