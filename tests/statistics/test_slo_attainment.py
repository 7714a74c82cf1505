"""The share of requests in time, and how sure it is where requests queue."""

from __future__ import annotations

import numpy as np
import pytest
from builders import make_samples, totals_of
from queues import random_service_limit, single_server

from pytest_dlperf.measure.rate_search import within_limit
from pytest_dlperf.statistics.proportions import wilson
from pytest_dlperf.statistics.slo_attainment import Attainment

pytestmark = pytest.mark.simulation

MILLISECOND = 1_000_000
DONE = [(call + 1) * MILLISECOND for call in range(20)]


def attainment(total: object, within: object, early: object) -> Attainment:
    """Counts as arrays."""
    return Attainment(*(np.array(column, np.float64) for column in (total, within, early)))


@pytest.mark.parametrize(("utilisation", "requests"), [(0.5, 5_000), (0.8, 25_000)])
def test_the_interval_covers_where_requests_queue(utilisation: float, requests: int) -> None:
    """M/M/1 exactly at its limit: the 95 % interval holds the true share in 93 % of 200 runs.

    Wilson's interval on the plain number of requests does so in fewer than 70 %.
    """
    random = np.random.default_rng(7)
    limit = random_service_limit(utilisation, 1.0, 0.99)
    covered = plainly = 0
    for _ in range(200):
        samples = single_server(utilisation, 1.0, requests / utilisation, random)
        measured = within_limit(totals_of(samples, slo=limit))
        share = measured.share(0.95)
        assert share is not None
        plain = wilson(measured.within.sum(), measured.requests)
        covered += share.low <= 0.99 <= share.high
        plainly += plain.low <= 0.99 <= plain.high

    assert covered >= 0.93 * 200
    assert plainly < 0.70 * 200


def test_independent_requests_count_in_full() -> None:
    """The effective size of n independent requests is n, give or take a fifth."""
    random = np.random.default_rng(3)
    total = np.full(400, 500.0)
    hits = random.binomial(500, 0.95, 400)

    measured = attainment(total, hits, random.binomial(500, 0.9, 400))

    assert 0.8 < measured.effective / 200_000 <= 1


def test_blocks_that_go_as_one_count_once() -> None:
    """Half of the blocks all good, half all bad, in turn: 20 blocks are worth 19 requests."""
    measured = attainment([100.0] * 20, [100.0, 0.0] * 10, [90.0] * 20)

    assert measured.effective == pytest.approx(19)


def test_neighbouring_blocks_that_are_alike_count_less() -> None:
    """A correlation r of 0.85 at lag 1 makes each of them worth (1 - r) / (1 + r) as much."""
    level = [100.0] * 10 + [50.0] * 10
    in_turn = [100.0, 50.0] * 10

    together, apart = (attainment([100.0] * 20, hits, [90.0] * 20) for hits in (level, in_turn))

    assert together.effective == pytest.approx(apart.effective * 0.15 / 1.85)


def test_misses_that_were_not_seen_may_still_come_in_clusters() -> None:
    """Without a miss, requests half way to the limit show the correlation."""
    spread = attainment([100.0] * 20, [100.0] * 20, [90.0] * 20)
    in_clusters = attainment([100.0] * 20, [100.0] * 20, ([100.0] * 4 + [50.0]) * 4)

    assert spread.effective == 2000
    assert in_clusters.effective < 500


def test_few_blocks() -> None:
    """Nine blocks are too few to estimate the correlation of requests; twice nine are enough."""
    nine = attainment([100.0] * 9, [100.0] * 9, [90.0] * 9)

    assert nine.share(0.95) is None
    assert nine.joined(nine).share(0.95) is not None


def test_counts_of_a_run() -> None:
    """20 calls of a request each, 1 ms apart, due at once; the first block is left out.

    13 are answered within 13 ms, and 11 before half way from the median, 10.5 ms, to there.
    """
    measured = within_limit(totals_of(make_samples([1] * 20, DONE), slo=0.013))

    assert measured.total.tolist() == [1] * 19
    assert measured.within.tolist() == [1] * 12 + [0] * 7
    assert measured.early.tolist() == [1] * 10 + [0] * 9


def test_bad_answers_are_not_within() -> None:
    """However fast, an exception is no answer in time."""
    outcome = [0] * 10 + [1] * 10

    measured = within_limit(totals_of(make_samples([1] * 20, DONE, outcome=outcome), slo=1.0))

    assert measured.within.sum() == 9


def test_unfinished_requests_are_not_within() -> None:
    """What was still waiting at the end counts against the last block."""
    measured = within_limit(totals_of(make_samples([1] * 20, DONE, unfinished=30), slo=1.0))

    assert measured.total.tolist() == [1] * 18 + [31]
    assert measured.requests == 49
    assert measured.within.sum() == 19


def test_rejected_requests_count_where_others_waited() -> None:
    """The queue was full where the waiting was long; there the rejected ones are missed."""
    calm = [end - MILLISECOND for end in DONE]
    due = [*calm[:10], *(end - 5 * MILLISECOND for end in DONE[10:12]), *calm[12:]]
    samples = make_samples([1] * 20, DONE, dispatched_ns=calm, intended_ns=due, rejected=8)

    measured = within_limit(totals_of(samples, slo=1.0))

    assert measured.total.tolist() == [1] * 9 + [5, 5] + [1] * 8
    assert measured.within.sum() == 19


def test_a_long_run_says_the_same() -> None:
    """Folded into counts, a run's requests are within the limit, and early, as one by one."""
    samples = single_server(800, 1000.0, 5.0, np.random.default_rng(2))

    each = within_limit(totals_of(samples, slo=0.01))
    folded = within_limit(totals_of(samples, slo=0.01, exact=100))

    assert folded.total.sum() == pytest.approx(each.total.sum(), rel=0.01)
    assert folded.within.sum() == pytest.approx(each.within.sum(), rel=0.01)
    assert folded.early.sum() == pytest.approx(each.early.sum(), rel=0.01)
    assert 0 < each.early.sum() < each.within.sum() < each.total.sum()


def test_no_good_answer_at_all() -> None:
    """Where nothing was answered well, nothing is within or early."""
    samples = make_samples([1] * 20, DONE, outcome=[1] * 20)

    for exact in (1000, 5):
        measured = within_limit(totals_of(samples, slo=1.0, exact=exact))
        assert measured.requests >= 18
        assert not measured.within.any()
        assert not measured.early.any()
