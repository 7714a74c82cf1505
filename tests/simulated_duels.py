"""Thousands of simulated duels at once, by the effects of their pairs."""

from __future__ import annotations

import math
from types import MappingProxyType

import numpy as np
from scipy import stats
from scipy.special import stdtrit

from pytest_dlperf.statistics.pair_effects import LOOKS, Spread, share_of_look

FIVE = math.log(1.05)
RATE = 0.01
PRIOR = Spread()


def _bimodal(random: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    return (random.random(shape) < 0.2) / 0.4


def _rare(random: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    return (random.random(shape) < 0.05) / math.sqrt(0.05 * 0.95)


PROCESSES = MappingProxyType[str, "Callable[[np.random.Generator, tuple[int, int]], np.ndarray]"](
    {
        "normal": lambda random, shape: random.standard_normal(shape),
        "one in five slower": _bimodal,
        "exponential": lambda random, shape: random.exponential(1.0, shape),
        "t3": lambda random, shape: random.standard_t(3, shape) / math.sqrt(3),
        "one in twenty much slower": _rare,
    }
)
"""What a process keeps for its life, with a standard deviation of 1."""


def most_often(rate: float, sessions: int) -> int:
    """A count that one in a thousand simulations of this rate exceeds."""
    return int(stats.binom.isf(0.001, sessions, rate))


def pairs_of(  # noqa: PLR0913, PLR0917 - how many, and what they differ by
    random: np.random.Generator,
    sessions: int,
    sd: float,
    loss: float = 0.0,
    shape: str = "normal",
    pairs: int = LOOKS[-1],
) -> np.ndarray:
    """Log ratios of pairs whose processes differ by `sd` each, shape `(sessions, pairs)`."""
    process = PROCESSES[shape]
    base, candidate = (process(random, (sessions, pairs)) for _ in range(2))
    return loss + sd * (candidate - base)


def decisions(  # noqa: PLR0913 - pairs, two lines with a rate each, and what is known of the spread
    effects: np.ndarray,
    *,
    allowed: float = 0.0,
    line: float = FIVE,
    alpha: float = RATE,
    beta: float = RATE,
    spread: Spread = PRIOR,
) -> tuple[np.ndarray, np.ndarray]:
    """FAIL, PASS or "" of each duel, and the pairs that it took: `look_at`, written once more.

    `effects` has shape `(sessions, pairs)`.
    """
    sessions, most = effects.shape
    decided = np.full(sessions, "", "<U4")
    taken = np.full(sessions, most)
    for look in (look for look in LOOKS if look <= most):
        seen = effects[:, :look]
        freedom = spread.freedom + look - 1
        squares = seen.var(axis=1) * look + spread.freedom * spread.noise**2
        error = np.sqrt(squares / freedom / look)
        share = share_of_look(look)
        fail = seen.mean(axis=1) - stdtrit(freedom, 1 - alpha * share) * error > allowed
        passes = seen.mean(axis=1) + stdtrit(freedom, 1 - beta * share) * error < line
        undecided = decided == ""
        decided[undecided & fail] = "FAIL"
        decided[undecided & ~fail & passes] = "PASS"
        taken[undecided & (fail | passes)] = look
    return decided, taken
