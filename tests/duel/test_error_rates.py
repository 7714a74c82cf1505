"""Error rates of duels under simulated noise of the kinds that real machines have.

Thousands of sessions at once, so the e-process is written here a second time, over sessions.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from noise_models import SHAPES, blocks
from scipy import stats
from simulated_duels import (
    ALPHA,
    BETA,
    CAP,
    FIVE,
    HEAVY_TAILS,
    LONG_CAP,
    SESSIONS,
    SHARED_MACHINE,
    SLOT_SECONDS,
    by_pair,
    first,
    log_evidence,
    running_evidence,
    spread,
    unchanged,
)
from simulated_pairs import make_block

from pytest_dlperf.duel.confirmation import blocks_of_a_pair
from pytest_dlperf.duel.sequential_test import FEWEST_BLOCKS, Bounds, sequential_test_for
from pytest_dlperf.judge.error_rates import ErrorRates
from pytest_dlperf.judge.losses import LossLimits
from pytest_dlperf.metrics import METRICS
from pytest_dlperf.statistics.e_process import EProcess, interval
from pytest_dlperf.statistics.pair_effects import (
    LOOKS,
    excludes,
    second_opinion,
)
from pytest_dlperf.statistics.tail_test import Exceedances

if TYPE_CHECKING:
    from pytest_dlperf.statistics.estimate import Decision

pytestmark = pytest.mark.simulation

RATES = ErrorRates(1)


def decided(d: np.ndarray, alpha: float = ALPHA) -> tuple[np.ndarray, np.ndarray]:
    """FAIL, PASS or "", as a test with `detect` 5 % decides, and after how many blocks.

    What is decided needs no further blocks, so these are looked at in ever fewer sessions.
    """
    cap = d.shape[1]
    fail, passed = np.full((2, len(d)), cap)
    for until in sorted({min(cap, 50), min(cap, 120), cap}):
        left = np.flatnonzero(np.minimum(fail, passed) == cap)
        seen = d[left, :until]
        for reached, e, rate in ((fail, seen, alpha), (passed, FIVE - seen, BETA)):
            block = first(running_evidence(e) >= math.log(1 / rate))
            reached[left] = np.where(block < until, block, cap)
    ends = np.minimum(fail, passed)
    decision = np.where(fail == ends, "FAIL", "PASS")
    return np.where(ends == cap, "", decision), np.minimum(ends + 1, cap)


def failed(d: np.ndarray, alpha: float = ALPHA) -> np.ndarray:
    """Which sessions are a FAIL."""
    found: np.ndarray = decided(d, alpha)[0] == "FAIL"
    return found


@dataclass(frozen=True, slots=True)
class Stages:
    """What came of many sessions of two stages, as shares of them.

    Attributes:
        alarmed: the first stage alone would FAIL them.
        asked: fresh pairs were asked.
        failed: FAIL in the end.
        passed: PASS in the end.
        fresh: how many pairs were asked where some were, on average.
    """

    alarmed: float
    asked: float
    failed: float
    passed: float
    fresh: float


@functools.cache
def in_two_stages(launch: float, loss: float, pairs: int, sessions: int = SESSIONS) -> Stages:
    """Sessions with blocks of 6 % noise, whose pairs of processes differ by `launch`.

    As the scheduler measures them: blocks go round the pairs until a test is decided and each pair
    has as many as `blocks_of_a_pair` wants; fresh pairs have as many each.
    """
    noise = replace(HEAVY_TAILS, launch=launch / math.sqrt(2))
    enough = blocks_of_a_pair(HEAVY_TAILS.white)
    d = loss + unchanged(noise, 5, sessions, pairs, LONG_CAP)
    fresh = by_pair(loss + unchanged(noise, 6, sessions, LOOKS[-1], LOOKS[-1] * enough), LOOKS[-1])
    seen, needed = Counter[str](), 0
    for row, (first_decision, ends) in enumerate(zip(*decided(d, RATES.screen), strict=True)):
        effects, errors = by_pair(d[row, : max(ends, pairs * enough)], pairs)
        settled = first_decision == "PASS" and excludes(effects, FIVE, BETA, spread(errors))
        decision: str | None = first_decision
        if first_decision and not settled:
            decision, count = asked_again(fresh[0][row], fresh[1][row], effects)
            seen["asked"] += 1
            needed += count
        seen["alarmed"] += first_decision == "FAIL"
        seen[str(decision)] += 1
    shares = (seen[key] / sessions for key in ("alarmed", "asked", "FAIL", "PASS"))
    return Stages(*shares, needed / max(1, seen["asked"]))


def asked_again(
    fresh: np.ndarray, errors: np.ndarray, known: np.ndarray
) -> tuple[Decision | None, int]:
    """The decision of fresh pairs, at each look until there is one, and how many it took."""
    for count in LOOKS:
        decision = second_opinion(
            fresh[:count],
            known,
            allowed=0.0,
            line=FIVE,
            alpha=RATES.confirm,
            beta=BETA,
            spread=spread(errors[:count]),
        )
        if decision:
            return decision, count
    return None, LOOKS[-1]


@pytest.mark.parametrize("theta0", [0.0, 0.03, -0.2])
def test_many_sessions_at_once_are_each_by_itself(theta0: float) -> None:
    """The e-process of this file is that of `EProcess`, to rounding; zeros and ties as well."""
    d = np.random.default_rng(0).standard_t(2, (30, 50))
    d[0], d[1], d[2] = 0.0, theta0, np.round(d[2])

    together = running_evidence(d, theta0)

    for row, running in zip(d, together, strict=True):
        assert log_evidence(row, theta0) == pytest.approx(running, abs=1e-11)


def test_decisions_at_once_are_those_of_a_trial() -> None:
    """FAIL, PASS or neither, as a test decides 60 sessions, some at a loss, some with none.

    The effects of their pairs, and the errors of these, are the test's too.
    """
    loss = np.repeat([0.0, 0.025, FIVE], 20)[:, np.newaxis]
    d = loss + unchanged(SHARED_MACHINE, 8, 60, cap=14)
    bounds = Bounds(LossLimits(0.0, FIVE), ALPHA, BETA)
    tests = [sequential_test_for(METRICS["throughput"], bounds) for _ in d]
    for test, row in zip(tests, d, strict=True):
        for number, ratio in enumerate(row.tolist()):
            test.add(make_block(ratio, number % 3))

    decisions = [test.decision or "" for test in tests]
    assert decisions == decided(d)[0].tolist()
    assert set(decisions) == {"FAIL", "PASS", ""}
    for test, row in zip(tests, d, strict=True):
        effects, errors = by_pair(row, 3)
        assert test.effects() == pytest.approx(effects)
        assert test.errors() == pytest.approx(errors)


@pytest.mark.parametrize("shape", SHAPES)
def test_unchanged_code_rarely_fails(shape: str) -> None:
    """In 2,000 sessions that only look for a FAIL, after each of 60 blocks: 1 % or fewer.

    Give or take what chance does to a rate of exactly 1 % once in 10,000 times.
    """
    peaks = running_evidence(unchanged(SHAPES[shape], 1)).max(axis=1)

    alarms = int((peaks >= math.log(1 / ALPHA)).sum())
    assert alarms <= stats.binom.ppf(0.9999, SESSIONS, ALPHA)


def test_without_the_coin_it_would_fail() -> None:
    """Always ABBA, and something that comes back every four slots: most phases look like a loss."""
    random = np.random.default_rng(1)
    slots = SHAPES["period 4"].sample(random, SESSIONS, 4 * CAP, SLOT_SECONDS)
    always = np.ones((SESSIONS, CAP), np.bool_)

    assert failed(blocks(slots, always)).sum() > 10 * stats.binom.ppf(0.9999, SESSIONS, ALPHA)


def test_looking_at_a_plain_test_after_each_block_would_fail() -> None:
    """A t-test at 1 % that stops when significant: more than 3 % of unchanged code fails."""
    d = unchanged(SHAPES["white"], 1)
    n = np.arange(FEWEST_BLOCKS, CAP + 1)
    mean = np.cumsum(d, axis=1)[:, n - 1] / n
    variance = (np.cumsum(d**2, axis=1)[:, n - 1] - n * mean**2) / (n - 1)
    significant = mean / np.sqrt(variance / n) > stats.t.ppf(1 - ALPHA, n - 1)

    assert significant.any(axis=1).mean() > 0.03


@pytest.mark.parametrize("shape", SHAPES)
def test_the_interval_hardly_ever_leaves_the_truth_out(shape: str) -> None:
    """A loss of 5 % is outside of the 95 % interval at any of 60 looks in 5 % of sessions."""
    d = FIVE + unchanged(SHAPES[shape], 2)
    wrong = np.maximum(running_evidence(d, FIVE), running_evidence(-d, -FIVE)) >= math.log(2 / 0.05)

    assert wrong.any(axis=1).sum() <= stats.binom.ppf(0.9999, SESSIONS, 0.05)


def test_the_interval_is_what_was_counted_there() -> None:
    """An interval leaves the truth out in just the sessions whose evidence refutes it."""
    d = unchanged(SHAPES["bursts"], 3, 200, cap=20) * np.array([1.0] * 10 + [0.2] * 10)
    wrong = np.maximum(running_evidence(d), running_evidence(-d))[:, -1] >= math.log(2 / 0.3)

    found = [interval(row, 0.7) for row in d]
    assert [not one.low < 0 < one.high for one in found] == wrong.tolist()
    assert 5 < wrong.sum() < 100


@pytest.mark.parametrize("shape", [*SHAPES, "all at once"])
def test_a_loss_of_detect_is_found(shape: str) -> None:
    """5 % slower: a FAIL within 60 blocks in 95 % of sessions, though a PASS would end them."""
    noise = SHAPES.get(shape, SHARED_MACHINE)

    assert failed(FIVE + unchanged(noise, 4, 1000)).mean() >= 0.95


def test_the_game_is_fair() -> None:
    """Over all signs that ten blocks can have, the mean capital is 1: before, now, and later."""
    sizes = np.array([0.3, 0.01, 2.0, 0.5, 0.5, 0.0001, 7.0, 0.02, 0.4, 0.3])
    capital = np.zeros(len(sizes))
    for signs in itertools.product((-1.0, 1.0), repeat=len(sizes)):
        evidence = EProcess(0.0)
        for block, ratio in enumerate((sizes * signs).tolist()):
            evidence.add(ratio)
            capital[block] += math.exp(evidence.log_e)

    assert capital / 2 ** len(sizes) == pytest.approx(1.0, abs=1e-9)


def test_capital_of_the_fair_game_ever_reaches_a_level_as_rarely_as_promised() -> None:
    """Over all signs that ten blocks can have, counted: 1 / alpha in alpha of them at most."""
    signs = np.array(list(itertools.product((-1.0, 1.0), repeat=10)))
    peaks = running_evidence(signs * np.linspace(0.1, 1.0, 10)).max(axis=1)

    for alpha in (0.5, 0.2, 0.1, 0.05, 0.01):
        assert (peaks >= math.log(1 / alpha)).mean() <= alpha


@pytest.mark.parametrize(("launch", "most"), [(0.014, 0.005), (0.02, 0.01), (0.028, 0.02)])
def test_fresh_pairs_keep_launches_from_failing(launch: float, most: float) -> None:
    """Unchanged code whose pairs differ by 2 %: 1 % of sessions FAIL or fewer; by 2.8 %, 2 %.

    The first stage alone FAILs at least four times the share that is allowed.
    """
    seen = in_two_stages(launch, 0.0, 2)

    assert seen.failed <= most
    assert seen.alarmed >= 4 * most


@pytest.mark.parametrize(("launch", "least"), [(0.014, 0.97), (0.02, 0.94), (0.028, 0.87)])
def test_a_loss_is_found_whatever_launches_do(launch: float, least: float) -> None:
    """5 % slower, with two first pairs that differ by 2 %: FAIL in the end, in 94 %."""
    seen = in_two_stages(launch, FIVE, 2)

    assert seen.failed >= least
    assert seen.passed <= 1 - least


def test_one_pair_would_fail_alone() -> None:
    """Without fresh pairs, what two processes differ by is taken for a loss, even at 1 %."""
    noise = replace(SHARED_MACHINE, launch=0.02 / math.sqrt(2))

    assert failed(unchanged(noise, 5)).mean() > 0.05


def test_what_launches_may_hide_is_asked_again() -> None:
    """A PASS of the first stage alone would miss more losses of 5 % than both stages may."""
    seen = in_two_stages(0.02, FIVE, 2)

    assert 1 - seen.alarmed > BETA >= seen.passed


def test_more_first_pairs_need_fewer_fresh_ones() -> None:
    """Pairs that differ by 2 %, with one, two and three first ones, unchanged and 5 % slower.

    Unchanged code: fewer alarms, fewer sessions that ask, no more that FAIL in the end, 1.5 % at
    the most. A loss is nearly always asked about; so it is found alike, in 94 %.
    """
    unchanged_code = [in_two_stages(0.02, 0.0, pairs) for pairs in (1, 2, 3)]
    slower = [in_two_stages(0.02, FIVE, pairs) for pairs in (1, 2, 3)]

    for fewer, more in itertools.pairwise(unchanged_code):
        assert fewer.alarmed > more.alarmed
        assert fewer.asked > 1.5 * more.asked
        assert fewer.failed >= more.failed
    assert unchanged_code[0].failed <= 0.015
    assert min(seen.asked for seen in slower) > 0.95
    assert min(seen.failed for seen in slower) > 0.94
    assert all(LOOKS[0] <= seen.fresh < LOOKS[1] for seen in (*unchanged_code, *slower))


@pytest.mark.parametrize("loss", [0.0, math.log(1.1)])
def test_a_tail_at_its_limit_rarely_fails(loss: float) -> None:
    """p95 with just the loss that is allowed, while the machine drifts: 1 % of 200 or fewer.

    Give or take what chance does to a rate of exactly 1 % once in 10,000 times.
    """
    random = np.random.default_rng(10)
    sessions, cap, requests = 200, 40, 100
    slots = SHARED_MACHINE.sample(random, sessions, 2 * cap, 2 * SLOT_SECONDS)
    cost = np.exp(slots.reshape(sessions, cap, 2))
    coin = random.random((sessions, cap)) < 0.5
    cost[coin] = cost[coin][:, ::-1]
    alarms = 0
    for session in cost.tolist():
        exceedances = Exceedances(95, loss)
        for base, candidate in session:
            drawn = np.exp(0.3 * random.standard_normal((2, requests)))
            exceedances.add(0.01 * base * drawn[0], 0.01 * math.exp(loss) * candidate * drawn[1])
        alarms += exceedances.peak >= math.log(1 / ALPHA)

    assert alarms <= stats.binom.ppf(0.9999, sessions, ALPHA)
