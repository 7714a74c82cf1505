"""How often duels err, simulated with processes that differ as those of real machines do.

With a prior of 1 % between pairs, or half of each look's quantile, the first two tests fail.
"""

from __future__ import annotations

import numpy as np
import pytest
from noise_models import SHAPES, blocks
from simulated_duels import FIVE, PRIOR, PROCESSES, RATE, decisions, most_often, pairs_of

from pytest_dlperf.duel.pair_effect import without_waiting
from pytest_dlperf.judge.error_rates import ErrorRates
from pytest_dlperf.metrics import METRICS
from pytest_dlperf.statistics.estimate import hodges_lehmann
from pytest_dlperf.statistics.pair_effects import (
    PairBounds,
    Spread,
    look_at,
    next_look,
    spread_of,
)

pytestmark = pytest.mark.simulation

SESSIONS = 20_000
SPREADS = (0.01, 0.014, 0.02, 0.025)
"""Standard deviations of one process; a pair's is 1.4 times as large."""


def count(decided: np.ndarray, decision: str) -> int:
    """How many duels were decided so."""
    return int((decided == decision).sum())


def middles(ratios: np.ndarray) -> np.ndarray:
    """The middle of each session's blocks."""
    return np.array([hodges_lehmann(session) for session in ratios])


def test_many_duels_at_once_are_each_by_itself() -> None:
    """The decision and its number of pairs are those of `look_at`, look by look."""
    random = np.random.default_rng(11)
    effects = np.vstack([pairs_of(random, 60, 0.02, loss) for loss in (0.0, 0.025, 0.05)])
    bounds = PairBounds(0.0, FIVE, RATE, RATE)
    decided, taken = decisions(effects)

    for session, pairs in enumerate(effects):
        look = 0
        seen = None
        while seen is None and look < len(pairs):
            look = next_look(look)
            seen = look_at(pairs[:look], bounds, Spread()).decision
        assert (seen or "", look) == (decided[session], taken[session])


@pytest.mark.parametrize("shape", PROCESSES)
@pytest.mark.parametrize("sd", SPREADS)
def test_unchanged_code_rarely_fails(shape: str, sd: float) -> None:
    """At most in one of a hundred duels, and it passes in nearly all others."""
    random = np.random.default_rng(1)
    decided, _ = decisions(pairs_of(random, SESSIONS, sd, shape=shape))

    assert count(decided, "FAIL") <= most_often(RATE, SESSIONS)
    assert count(decided, "PASS") > 0.985 * SESSIONS


@pytest.mark.parametrize("shape", PROCESSES)
@pytest.mark.parametrize("sd", SPREADS)
def test_a_loss_rarely_passes(shape: str, sd: float) -> None:
    """The loss that must be found: it passes as rarely as unchanged code fails."""
    random = np.random.default_rng(2)
    decided, _ = decisions(pairs_of(random, SESSIONS, sd, FIVE, shape))

    assert count(decided, "PASS") <= most_often(RATE, SESSIONS)
    assert count(decided, "FAIL") > 0.985 * SESSIONS


@pytest.mark.parametrize("budgets", [3, 8, 40])
def test_budgets_share_the_rate_of_a_fail(budgets: int) -> None:
    """All of a run together fail in one of a hundred; a loss in one of them is found as before."""
    random = np.random.default_rng(3)
    rates = ErrorRates(budgets)
    each = {"alpha": rates.stored, "beta": rates.missed}
    runs = SESSIONS // budgets
    unchanged, _ = decisions(pairs_of(random, runs * budgets, 0.025), **each)
    lost, _ = decisions(pairs_of(random, SESSIONS, 0.02, FIVE), **each)

    failed = (unchanged.reshape(runs, budgets) == "FAIL").any(axis=1)
    assert failed.sum() <= most_often(RATE, runs)
    assert count(lost, "PASS") <= most_often(RATE, SESSIONS)
    assert count(lost, "FAIL") > 0.97 * SESSIONS


@pytest.mark.parametrize(("sd", "pairs"), [(0.01, 5), (0.014, 6), (0.02, 7)])
def test_few_pairs_are_enough(sd: float, pairs: int) -> None:
    """On average, for unchanged code as for a loss."""
    random = np.random.default_rng(4)
    for loss in (0.0, FIVE):
        _, taken = decisions(pairs_of(random, SESSIONS, sd, loss))
        assert taken.mean() < pairs
        assert np.median(taken) <= pairs


def test_a_huge_loss_takes_three_pairs() -> None:
    """Of 12 times the cost, or of half of it."""
    random = np.random.default_rng(5)
    for loss in (np.log(1.5), np.log(12)):
        decided, taken = decisions(pairs_of(random, 1000, 0.02, loss))
        assert count(decided, "FAIL") == 1000
        assert np.quantile(taken, 0.99) <= 3


@pytest.mark.parametrize(
    ("name", "sd", "rate"),
    [
        ("p95", 0.04, 0.01),
        ("p95", 0.06, 0.01),
        ("p95", 0.10, 0.01),
        ("p95", 0.15, 0.025),
        ("p99", 0.10, 0.01),
        ("p99", 0.15, 0.01),
        ("p99", 0.25, 0.01),
    ],
)
def test_tails_in_a_queue(name: str, sd: float, rate: float) -> None:
    """Pairs that differ by as much as `detect`: more are needed, as few decide wrongly.

    Where they differ by more than twice the prior, it takes their own history to keep the rate.
    """
    random = np.random.default_rng(6)
    metric = METRICS[name]
    line = float(np.log1p(metric.detect))
    spread = spread_of(metric)
    process = sd / np.sqrt(2)
    unchanged, _ = decisions(pairs_of(random, SESSIONS, process), line=line, spread=spread)
    lost, _ = decisions(pairs_of(random, SESSIONS, process, line), line=line, spread=spread)

    assert count(unchanged, "FAIL") <= most_often(rate, SESSIONS)
    assert count(lost, "PASS") <= most_often(rate, SESSIONS)


@pytest.mark.parametrize("sd", [0.01, 0.02, 0.025])
def test_what_is_learnt_from_duels_that_ended_early(sd: float) -> None:
    """Duels that looked quiet end early, and still the spread learnt from twenty of them holds."""
    random = np.random.default_rng(7)
    failed = 0
    for _ in range(1000):
        earlier = pairs_of(random, 20, sd)
        _, taken = decisions(earlier)
        groups = [effects[:pairs] for effects, pairs in zip(earlier, taken, strict=True)]
        decided, _ = decisions(pairs_of(random, 10, sd), spread=PRIOR.learnt_from(groups))
        failed += count(decided, "FAIL")

    assert failed <= most_often(RATE, 10_000)


@pytest.mark.parametrize("sd", [0.02, 0.025])
def test_repeating_a_run_is_no_further_chance(sd: float) -> None:
    """Ten runs that continue from each other's pairs fail in no more than one of a hundred."""
    random = np.random.default_rng(8)
    bounds = PairBounds(0.0, FIVE, RATE, RATE)
    failed = 0
    for effects in pairs_of(random, 1500, sd, pairs=150):
        used = 0
        for _ in range(10):
            seen, first = None, used
            while seen is None and used < min(first + 20, 130):
                used = next_look(used)
                seen = look_at(effects[:used], bounds, Spread()).decision
            if seen == "FAIL":
                failed += 1
                break

    assert failed <= most_often(RATE, 1500)


def test_estimates_of_a_loss() -> None:
    """What is printed of a duel that is decided is on average within half a point of the truth."""
    random = np.random.default_rng(9)
    for loss in (0.0, FIVE):
        effects = pairs_of(random, SESSIONS, 0.014, loss)
        _, taken = decisions(effects)
        means = [pairs[:n].mean() for pairs, n in zip(effects, taken, strict=True)]
        assert np.mean(means) == pytest.approx(loss, abs=0.005)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_coin_takes_drift_away(shape: str) -> None:
    """Twenty blocks of a pair on a machine that wanders: their middle has no side."""
    random = np.random.default_rng(10)
    noise = SHAPES[shape].sample(random, 2000, 80, 0.005)
    coin = random.random((2000, 20)) < 0.5
    effects = middles(blocks(noise, coin))

    assert abs(effects.mean()) < 4 * effects.std() / np.sqrt(len(effects))


def test_without_the_coin_it_would_not() -> None:
    """What comes back every fourth slot makes one side dearer in all blocks."""
    random = np.random.default_rng(10)
    noise = SHAPES["period 4"].sample(random, 2000, 80, 0.005)
    fair, fixed = random.random((2000, 20)) < 0.5, np.ones((2000, 20), np.bool_)
    sizes = [abs(middles(blocks(noise, coin))).mean() for coin in (fixed, fair)]

    assert sizes[0] > 2 * sizes[1]


def test_waiting_for_a_processor_is_taken_away() -> None:
    """Others that take a processor now and then: a fourth of the variance is left, and no bias."""
    random = np.random.default_rng(12)
    waited = random.exponential(0.05, (400, 20)) * (random.random((400, 20)) < 0.5)
    waited *= random.choice([-1.0, 1.0], waited.shape)
    ratios = 0.03 + random.normal(0.0, 0.01, waited.shape) + 1.2 * waited
    pairs = zip(ratios, waited, strict=True)
    without = np.array([np.mean(without_waiting([d], [x])[0]) for d, x in pairs])

    assert without.var() < ratios.mean(axis=1).var() / 4
    assert without.mean() == pytest.approx(0.03, abs=0.002)


def test_waiting_that_is_the_code_s_own_counts() -> None:
    """A candidate that always waits longer, by threads of its own, keeps its loss."""
    random = np.random.default_rng(13)
    waited = [0.04 + random.normal(0.0, 0.03, 20) for _ in range(6)]
    ratios = [x + random.normal(0.0, 0.005, 20) for x in waited]

    kept = without_waiting(ratios, waited)

    assert np.mean(kept) == pytest.approx(np.mean(ratios))
