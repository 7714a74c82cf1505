"""Pairing: what was lost of a share on the very rows that two measurements answered.

Where every row is right or wrong, as with accuracy and with hits, the rows that one side alone has
right are counted. Scores in between are compared by Student's t for pairs.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, Literal, Protocol

import numpy as np

from pytest_dlperf.results.row_evidence import are_bits
from pytest_dlperf.results.rows import loss_of_pairs
from pytest_dlperf.statistics.prediction import Prediction
from pytest_dlperf.statistics.proportions import accuracy_decision, paired_seeds

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_dlperf.metrics import Metric
    from pytest_dlperf.results.row_evidence import RowScores
    from pytest_dlperf.results.rows import Rows
    from pytest_dlperf.statistics.estimate import Estimate


FEWEST_SEEDS: Final = 3
"""Trainings from fewer seeds do not tell whether accuracy was lost."""


class Answered(Protocol):
    """What has answered rows: a measurement, or what is stored of one."""

    @property
    def rows(self) -> Rows | None:
        """The evidence for accuracy."""

    @property
    def scores(self) -> RowScores | None:
        """The evidence for users' metrics."""

    @property
    def seeds(self) -> tuple[float, ...]:
        """The accuracy from each seed, of trainings from several."""


def lost_rows(metric: Metric, found: Answered, base: Answered) -> tuple[int, int, int] | None:
    """Rows that were lost, rows that were won, and rows that both answered, at least one.

    Args:
        metric: a share.
        found: what is judged.
        base: what it is held against.

    Returns:
        None where rows are not right or wrong, or not the same.
    """
    if metric.name == "accuracy":
        if found.rows is None or base.rows is None or not found.rows.pairable(base.rows):
            return None
        pairs = found.rows.pairs(base.rows)
        return pairs if pairs[-1] else None
    both = _scores(metric, found, base)
    if both is None or not are_bits(np.concatenate(both)):
        return None
    lost, won = (int((a > b).sum()) for a, b in ((both[1], both[0]), both))
    return (lost, won, len(both[0])) if metric.better == "higher" else (won, lost, len(both[0]))


def lost_scores(metric: Metric, found: Answered, base: Answered) -> Prediction | None:
    """The mean loss of scores on the same rows, with Student's t for pairs (Student 1908).

    With `d` the n losses of rows, `mean(d)` and its standard error `sd(d) / sqrt(n)`, n - 1 degrees
    of freedom. Where no score differs, nothing was lost on these rows, and there is no error.

    Args:
        metric: a user's share.
        found: what is judged.
        base: what it is held against.

    Returns:
        None where the rows are not the same, or one alone differs: its noise is not known.
    """
    both = _scores(metric, found, base)
    if both is None:
        return None
    losses = both[1] - both[0] if metric.better == "higher" else both[0] - both[1]
    rows = len(losses)
    if not losses.any():
        return Prediction(0.0, 0.0, max(1, rows - 1))
    if rows == 1:
        return None
    error = float(np.std(losses, ddof=1)) / math.sqrt(rows)
    return Prediction(float(losses.mean()), error, rows - 1)


def lost_on_rows(metric: Metric, found: Answered, base: Answered) -> Estimate | None:
    """What was lost of a share on the rows that both answered, with its 95 % interval.

    None if there are no such rows.
    """
    pairs = lost_rows(metric, found, base)
    if pairs is not None:
        return loss_of_pairs(*pairs)
    paired = lost_scores(metric, found, base)
    return paired.estimate() if paired is not None else None


def lost_share(metric: Metric, found: Answered, base: Answered) -> Estimate | None:
    """What was lost of a share, row by row or seed by seed, with its 95 % interval.

    None if neither the rows nor the seeds are the same.
    """
    on_rows = lost_on_rows(metric, found, base)
    if on_rows is not None:
        return on_rows
    if metric.name == "accuracy" and len(found.seeds) == len(base.seeds) >= FEWEST_SEEDS:
        return paired_seeds(np.array(base.seeds), np.array(found.seeds)).loss
    return None


def share_decision(  # noqa: PLR0913 - two sides, and two lines with an error each
    metric: Metric,
    found: Answered,
    base: Answered,
    *,
    allowed: float,
    line: float,
    alpha: float,
    beta: float,
) -> Literal["FAIL", "PASS"] | None:
    """What the rows that both answered prove of a budget on a share.

    Args:
        metric: a share.
        found: what is judged.
        base: what it is held against.
        allowed: the share that may be lost; below 0 where a gain is demanded.
        line: the loss that has to be excluded for a PASS, at least `allowed`.
        alpha: how often a loss of `allowed` may FAIL, below a half.
        beta: how often a loss of `line` may PASS, below a half.

    Returns:
        None where neither is proven, or the rows are not the same.
    """
    pairs = lost_rows(metric, found, base)
    if pairs is not None:
        return accuracy_decision(*pairs, allowed=allowed, line=line, alpha=alpha, beta=beta)
    paired = lost_scores(metric, found, base)
    if paired is None:
        return None
    if paired.low(alpha) > allowed:
        return "FAIL"
    return "PASS" if paired.high(beta) < line else None


def same_rows(metric: Metric, found: Answered, base: Answered) -> bool:
    """Whether a metric of answers, no share, is the mean over the same rows on both sides."""
    if metric.by_user:
        return _scores(metric, found, base) is not None
    rows, before = found.rows, base.rows
    return metric.name == "loss" and bool(rows and before and rows.pairable(before))


def _scores(
    metric: Metric, found: Answered, base: Answered
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    if not metric.by_user or found.scores is None or base.scores is None:
        return None
    return found.scores.pairs(base.scores, metric.name)
