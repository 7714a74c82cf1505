"""SLO attainment: the share of requests that were answered in time, where requests queue."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_dlperf.statistics.blocks import MIN_BLOCKS
from pytest_dlperf.statistics.proportions import wilson

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_dlperf.statistics.estimate import Estimate


_NS: Final = 1e-9
_MOST_ALIKE: Final = 0.9  # a larger autocorrelation cannot be estimated from so few blocks


@dataclass(frozen=True, slots=True, eq=False)
class Attainment:
    """Counts of requests in consecutive blocks of one or more runs, each of shape `(blocks,)`.

    Attributes:
        total: requests that became due.
        within: those that were answered well and in time.
        early: those that were answered well within half the way from the median to the limit.
    """

    total: NDArray[np.float64]
    within: NDArray[np.float64]
    early: NDArray[np.float64]

    def joined(self, later: Attainment) -> Attainment:
        """The blocks of both."""
        return Attainment(
            np.concatenate([self.total, later.total]),
            np.concatenate([self.within, later.within]),
            np.concatenate([self.early, later.early]),
        )

    @property
    def requests(self) -> int:
        """All requests that became due."""
        return int(self.total.sum())

    @property
    def effective(self) -> float:
        """The effective sample size: independent requests with the same variance of the share.

        Neighbours in a queue are late together, so n requests are worth n / D, D being the
        design effect (Kish 1965): the variance of the share between blocks, over that of n
        independent requests; at least 1. Blocks that are shorter than the queue's memory are
        correlated, and hide variance; the residuals' correlation r at lag 1 corrects for it as in
        a first-order autoregression, by (1 + r) / (1 - r). Misses are rare, and without any their
        clusters do not show. So those that were not early are counted in the same way, and the
        larger effect is used: how long a queue stays above a level hardly depends on the level,
        and near the limit it is above a lower one more often.
        """
        effects = (_design_effect(self.total, hits) for hits in (self.within, self.early))
        return float(self.total.sum()) / max(1.0, *effects)

    def share(self, confidence: float) -> Estimate | None:
        """The share within the limit, with Wilson's interval on the effective requests.

        These are corrected for having estimated the variance from k blocks, by the squared ratio of
        the normal to Student's quantile (Korn and Graubard 1998). None if the blocks are too few to
        estimate the correlation of requests.
        """
        from scipy.special import stdtrit

        blocks = len(self.total)
        if blocks < MIN_BLOCKS:
            return None
        tail = (1 + confidence) / 2
        normal, student = NormalDist().inv_cdf(tail), float(stdtrit(blocks - 1, tail))
        requests = self.effective * (normal / student) ** 2
        share = float(self.within.sum() / self.total.sum())
        return wilson(share * requests, requests, confidence)


def _design_effect(total: NDArray[np.float64], hits: NDArray[np.float64]) -> float:
    """Variance of the hits between blocks, relative to that of independent requests."""
    share = float(hits.sum() / total.sum())
    independent = share * (1 - share) * float(total.sum())
    rest = hits - share * total
    squares = float(rest @ rest)
    if not independent or not squares:
        return 1.0
    alike = min(max(0.0, float(rest[1:] @ rest[:-1]) / squares), _MOST_ALIKE)
    blocks = len(total)
    return blocks / (blocks - 1) * squares / independent * (1 + alike) / (1 - alike)
