"""The proof: what the duel promises, kept against noise that a real machine could have.

Thousands of sessions at once, so the e-process is written here a second time, over sessions.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from pytest_dlperf.core.metrics import METRICS
from pytest_dlperf.core.slots import Block, Slot
from pytest_dlperf.core.statistics.evidence import Evidence, interval, log_evidence
from pytest_dlperf.core.statistics.exceedances import Exceedances
from pytest_dlperf.core.statistics.launches import confirms
from pytest_dlperf.core.statistics.noise import SHAPES, Noise, blocks
from pytest_dlperf.core.trial import FEWEST_BLOCKS, Bounds, trial_for

SESSIONS = 2000
CAP = 60
SLOT_SECONDS = 0.5
FIVE = math.log(1.05)
ALPHA, BETA = 0.01, 0.05

SHARED_MACHINE = Noise(
    white=0.02,
    tail=5.0,
    drift=0.04,
    drift_seconds=20.0,
    bursts=0.025,
    burst_size=(0.1, 0.6),
    burst_seconds=1.5,
)
"""All at once: blocks of 2 s differ by a robust standard deviation of about 2 %."""


def running_evidence(d: np.ndarray, theta0: float = 0.0) -> np.ndarray:
    """`log_evidence` of many sessions, shape `(sessions, blocks)`."""
    stakes = np.geomspace(0.08, 4.0, 16)
    e = d - theta0
    size = np.abs(e)
    capital = np.full((len(e), 16), -math.log(16))
    running = np.empty(e.shape)
    for block in range(e.shape[1]):
        scale = 1.4826 * np.median(size[:, : block + 1], axis=1)
        psi = np.clip(e[:, block] / np.maximum(scale, 1e-9), -2.5, 2.5)
        bets = stakes * psi[:, np.newaxis]
        capital += bets - np.logaddexp(bets, -bets) + math.log(2)
        running[:, block] = np.logaddexp.reduce(capital, axis=1)
    return running


def unchanged(
    noise: Noise, seed: int, sessions: int = SESSIONS, pairs: int = 1, cap: int = CAP
) -> np.ndarray:
    """Blocks of unchanged code, spread over pairs in turn."""
    random = np.random.default_rng(seed)
    slots = noise.sample(random, sessions, 4 * cap, SLOT_SECONDS)
    d = blocks(slots, random.random((sessions, cap)) < 0.5)
    effects = noise.pairs(random, sessions, pairs)
    return d + effects[:, np.arange(cap) % pairs]


def first(reached: np.ndarray) -> np.ndarray:
    """The first block at which something was reached and might be said; the cap if never."""
    reached = np.logical_or.accumulate(reached, axis=1)
    reached[:, : FEWEST_BLOCKS - 1] = False
    return np.where(reached[:, -1], reached.argmax(axis=1), reached.shape[1])


def failed(d: np.ndarray, alpha: float = ALPHA) -> np.ndarray:
    """Which sessions are a FAIL, as a trial with `detect` 5 % decides."""
    fail = first(running_evidence(d) >= math.log(1 / alpha))
    passed = first(running_evidence(FIVE - d) >= math.log(1 / BETA))
    found: np.ndarray = (fail <= passed) & (fail < d.shape[1])
    return found


def confirmed(noise: Noise, loss: float, seed: int, sessions: int = SESSIONS) -> np.ndarray:
    """Which sessions four fresh pairs of eight blocks each confirm."""
    d = loss + unchanged(noise, seed, sessions, pairs=4, cap=32)
    effects = np.median(d.reshape(sessions, 8, 4), axis=1)
    error = effects.std(axis=1, ddof=1) / 2
    found: np.ndarray = effects.mean(axis=1) - stats.t.ppf(0.95, 3) * error > 0
    return found


@pytest.mark.parametrize("theta0", [0.0, 0.03, -0.2])
def test_many_sessions_at_once_are_each_by_itself(theta0: float) -> None:
    """The e-process of this file is that of `Evidence`, to rounding; zeros and ties as well."""
    d = np.random.default_rng(0).standard_t(2, (30, 50))
    d[0], d[1], d[2] = 0.0, theta0, np.round(d[2])

    together = running_evidence(d, theta0)

    for row, running in zip(d, together, strict=True):
        assert log_evidence(row, theta0) == pytest.approx(running, abs=1e-11)


def test_decisions_at_once_are_those_of_a_trial() -> None:
    """FAIL, PASS or neither, as a trial decides 60 sessions, some at a loss, some with none."""
    loss = np.repeat([0.0, 0.025, FIVE], 20)[:, np.newaxis]
    d = loss + unchanged(SHARED_MACHINE, 8, 60, cap=14)
    trials = [trial_for(METRICS["throughput"], Bounds(0.0, FIVE, ALPHA, BETA)) for _ in d]
    for trial, row in zip(trials, d, strict=True):
        for ratio in row.tolist():
            base, candidate = (Slot(1, 1, 0, cost, np.empty(0)) for cost in (1, math.exp(ratio)))
            trial.add(Block(base, candidate, 0, 2.0))

    decided = [trial.decision for trial in trials]
    assert [decision == "FAIL" for decision in decided] == failed(d).tolist()
    assert set(decided) == {"FAIL", "PASS", None}


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
        evidence = Evidence(0.0)
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


@pytest.mark.parametrize("pairs", [1, 2, 3])
def test_fresh_pairs_keep_launches_from_failing(pairs: int) -> None:
    """Unchanged code whose pairs differ by 2 %: a screen at 5 % and fresh pairs, 1.5 % at most."""
    noise = replace(SHARED_MACHINE, launch=0.02 / math.sqrt(2))
    alarms = failed(unchanged(noise, 5, pairs=pairs), 0.05)

    assert (alarms & confirmed(noise, 0.0, 6)).mean() <= 0.015


def test_one_pair_would_fail_alone() -> None:
    """Without fresh pairs, what two processes differ by is taken for a loss, even at 1 %."""
    noise = replace(SHARED_MACHINE, launch=0.02 / math.sqrt(2))

    assert failed(unchanged(noise, 5)).mean() > 0.05


def test_more_pairs_in_the_screen_see_more_and_cry_less() -> None:
    """Processes that differ by 1 %: with one, two and three pairs, alarms and misses both fall.

    Of 4,000 sessions: a loss of 5 % is found and confirmed in 90 % with one pair, in 94 % with
    two, in 96 % with three; unchanged code is failed in 1 % at most.
    """
    noise = replace(SHARED_MACHINE, launch=0.01)
    alarms, wrong, found = [], [], []
    for pairs in (1, 2, 3):
        screened = failed(unchanged(noise, 5, 4000, pairs), 0.05)
        alarms.append(screened.mean())
        wrong.append((screened & confirmed(noise, 0.0, 6, 4000)).mean())
        screened = failed(FIVE + unchanged(noise, 7, 4000, pairs), 0.05)
        found.append((screened & confirmed(noise, FIVE, 8, 4000)).mean())

    assert alarms == sorted(alarms, reverse=True)
    assert max(wrong) <= 0.01
    assert all(share > least for share, least in zip(found, (0.9, 0.94, 0.96), strict=True))


def test_confirming_at_once_is_confirming() -> None:
    """The t-test over many sessions of this file is `confirms`."""
    noise = replace(SHARED_MACHINE, launch=0.01)
    d = 0.02 + unchanged(noise, 9, 50, pairs=4, cap=32)
    one_by_one = [
        confirms(np.array([np.median(row[pair::4]) for pair in range(4)]), 0.0, 0.05) for row in d
    ]

    assert one_by_one == confirmed(noise, 0.02, 9, 50).tolist()
    assert 0 < sum(one_by_one) < 50


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
