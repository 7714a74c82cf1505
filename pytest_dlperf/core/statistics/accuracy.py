"""Shares of right answers: one model on some rows, and two models on the same rows."""

from __future__ import annotations

from statistics import NormalDist
from typing import Final

from pytest_dlperf.core.statistics.estimate import CONFIDENCE, Estimate


def _quantile(confidence: float) -> float:
    return NormalDist().inv_cdf((1 + confidence) / 2)


_Z: Final = _quantile(CONFIDENCE)


def wilson(right: float, rows: float, confidence: float = CONFIDENCE) -> Estimate:
    """The share of right answers with Wilson's score interval (Wilson 1927).

    Args:
        right: rows answered rightly; a row that is right only sometimes counts in part.
        rows: distinct rows that were answered, more than none; dependent ones count in part.
        confidence: of the two-sided interval.
    """
    share = right / rows
    z = _quantile(confidence)
    z2 = z * z
    middle = (share + z2 / (2 * rows)) / (1 + z2 / rows)
    reach = z / (1 + z2 / rows) * (share * (1 - share) / rows + z2 / (4 * rows * rows)) ** 0.5
    return Estimate(
        share, max(0.0, min(share, middle - reach)), min(1.0, max(share, middle + reach))
    )


def paired_loss(only_base: float, only_candidate: float, rows: int) -> Estimate:
    """What the candidate lost in accuracy on the same rows, with Bonett and Price's interval.

    The interval is the adjusted Wald one for paired proportions (Bonett and Price 2012): with
    `p1 = (b + 1) / (n + 2)` and `p2 = (c + 1) / (n + 2)`,
    `(p1 - p2) +- z sqrt((p1 + p2 - (p1 - p2)^2) / (n + 2))`.

    Args:
        only_base: rows that the base alone answers rightly (b).
        only_candidate: rows that the candidate alone answers rightly (c).
        rows: rows that both answered, at least one.
    """
    first, second = (only_base + 1) / (rows + 2), (only_candidate + 1) / (rows + 2)
    middle = first - second
    reach = _Z * ((first + second - middle * middle) / (rows + 2)) ** 0.5
    value = (only_base - only_candidate) / rows
    return Estimate(value, min(value, middle - reach), max(value, middle + reach))
