"""Thousands of simulated duels at once."""

from __future__ import annotations

import math

import numpy as np
from noise_models import Noise, blocks

from pytest_dlperf.duel.sequential_test import FEWEST_BLOCKS
from pytest_dlperf.metrics import METRICS
from pytest_dlperf.statistics.e_process import EProcess
from pytest_dlperf.statistics.pair_effects import Spread, spread_of

SESSIONS = 2000
CAP = 60
LONG_CAP = 400
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


HEAVY_TAILS = Noise(white=0.06, tail=3.0)
"""Of short slots: blocks differ by 6 %, and now and then by far more."""


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


def by_pair(d: np.ndarray, pairs: int) -> tuple[np.ndarray, np.ndarray]:
    """The effect of each pair and its standard error, from blocks that take turns.

    Shape `(..., pairs)` each, for blocks of shape `(..., blocks)`.
    """
    of_pairs = [d[..., pair::pairs] for pair in range(pairs)]
    effects = np.stack([np.median(ratios, axis=-1) for ratios in of_pairs], axis=-1)
    sizes = [
        np.median(np.abs(ratios - effects[..., pair, np.newaxis]), axis=-1)
        for pair, ratios in enumerate(of_pairs)
    ]
    lengths = np.array([ratios.shape[-1] for ratios in of_pairs])
    errors = math.sqrt(math.pi / 2) * 1.4826 * np.stack(sizes, axis=-1) / np.sqrt(lengths)
    return effects, errors


def spread(errors: np.ndarray) -> Spread:
    """Between pairs, for throughput."""
    return spread_of(METRICS["throughput"], errors)


def log_evidence(d: np.ndarray, theta0: float) -> np.ndarray:
    """The log capital of one session's `EProcess` against `theta0`, after each block."""
    evidence = EProcess(theta0)
    running = np.empty(len(d))
    for block, ratio in enumerate(d.tolist()):
        evidence.add(ratio)
        running[block] = evidence.log_e
    return running
