"""Dependence: how much more the sum of a run varies because neighbouring requests are alike."""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_dlperf.statistics.estimate import CONFIDENCE, NORMAL_REACH

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TAIL: Final = (1 - CONFIDENCE) / 2
_FREQUENCIES: Final = 64  # of the spectrum; what is faster counts as white noise
_MEMORIES: Final = np.geomspace(0.01, 1.0, 7)  # correlation times, in lengths of the run
_STRENGTHS: Final = np.geomspace(0.5, 30_000, 9)  # of what is remembered, over the white noise
_HEAVIEST: Final = 24  # models that are kept of each row: the others weigh nothing
_HALVINGS: Final = 24
_FEWEST_PARTS: Final = 3
_SKEWNESS: Final = 2.0
_CLUSTERED: Final = 2.0


def reach(residuals: NDArray[np.float64], white: float) -> NDArray[np.float64]:
    """Half the width of the 95 % interval of the sum of each row, shape `(rows,)`.

    The spectrum of a row near frequency 0 says how its sum would vary between runs (Heidelberger
    and Welch 1981). A run whose memory is not much shorter than itself does not show it, so it
    is not read off but averaged over models: white noise, and white noise with an autoregression
    (Ornstein and Uhlenbeck 1930) of any correlation time up to the length of the run and of any
    strength. Each has the weight of its likelihood for the lowest frequencies (Whittle 1953); the
    scale is integrated out, so that the sum has a mixture of Student's distributions.

    Args:
        residuals: consecutive parts of the run, each row with the sum 0, shape `(rows, parts)`; at
            least 3 parts.
        white: prior probability that parts are independent.
    """
    from scipy.fft import dct
    from scipy.special import stdtr

    parts = residuals.shape[1]
    count = min(_FREQUENCIES, parts - 1)
    power = dct(residuals, type=2, norm="ortho", axis=1)[:, 1 : count + 1] ** 2 * parts
    inverse, log_spectra, at_zero = _models(count)
    squares = np.maximum(power @ inverse.T, np.finfo(float).tiny)
    prior = np.full(len(at_zero), (1 - white) / (len(at_zero) - 1))
    prior[0] = white
    log_weights = np.log(prior) - log_spectra / 2 - count / 2 * np.log(squares)
    weights = np.exp(log_weights - log_weights.max(axis=1, keepdims=True))
    scales = np.sqrt(squares / count * at_zero)
    heaviest = np.argsort(-weights, axis=1)[:, :_HEAVIEST]
    weights = np.take_along_axis(weights, heaviest, axis=1)
    weights /= weights.sum(axis=1, keepdims=True)
    scales = np.take_along_axis(scales, heaviest, axis=1)
    middle = 0.5 * np.log((weights * scales**2).sum(axis=1))
    low, high = middle - 2, middle + 4
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        beyond = (weights * stdtr(count, -np.exp(middle)[:, np.newaxis] / scales)).sum(axis=1)
        low = np.where(beyond > _TAIL, middle, low)
        high = np.where(beyond > _TAIL, high, middle)
    half: NDArray[np.float64] = np.exp(high)
    return half


def design_effects(
    total: NDArray[np.float64], hits: NDArray[np.float64], white: float
) -> NDArray[np.float64]:
    """How many dependent requests tell as much of a share as one independent one; at least 1.

    The squared ratio of `reach` to the reach of as many independent requests (Kish 1965); so it
    also pays for not knowing the variance. Of fewer than 3 parts nothing is known.

    Args:
        total: requests in consecutive parts of the run, shape `(parts,)`.
        hits: those that count, for several shares, shape `(shares, parts)`.
        white: as in `reach`.
    """
    requests = total.sum()
    if len(total) < _FEWEST_PARTS:
        return np.full(len(hits), requests)
    share = hits.sum(axis=1) / requests
    residuals = hits - share[:, np.newaxis] * total
    variance = requests * share * (1 - share)
    effects = np.ones(len(hits))
    varied = (variance > 0) & residuals.any(axis=1)
    if varied.any():
        ratio = reach(residuals[varied], white) / NORMAL_REACH
        effects[varied] = np.maximum(1.0, ratio**2 / variance[varied])
    return effects


def moved_on(effect: float, effective: float) -> float:
    """Factor by which an upper bound is farther away because clusters of late requests are skewed.

    As in Johnson's t (1978), by the skewness over the root of the effective number. A design effect
    up to 2 may be chance, and moves nothing.
    """
    return 1 + _SKEWNESS * max(0.0, 1 - _CLUSTERED / effect) / math.sqrt(effective)


@cache
def _models(
    count: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Inverse spectra, sums of their logarithms, and variances of the sum; white noise has 1."""
    memory, strength = (each.ravel() for each in np.meshgrid(_MEMORIES, _STRENGTHS))
    turns = np.pi * np.arange(1, count + 1) * memory[:, np.newaxis]
    spectra = np.vstack([np.ones(count), 1 + strength[:, np.newaxis] / (1 + turns**2)])
    remembered = 1 - memory * (1 - np.exp(-1 / memory))
    return 1 / spectra, np.log(spectra).sum(axis=1), np.append(1.0, 1 + strength * remembered)
