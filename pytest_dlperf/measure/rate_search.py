"""Search for the highest rate that holds a latency limit, with proof on both sides.

Assumes that a limit which fails at one rate fails at every higher rate.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from pytest_dlperf.statistics.blocks import MIN_BLOCKS
from pytest_dlperf.statistics.estimate import Estimate
from pytest_dlperf.statistics.slo_attainment import Attainment
from pytest_dlperf.units import format_quantity

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_dlperf.load.totals import LoadTotals


WIDTH: Final = 0.05
"""The search has converged when the failed rate is at most this share above the held one."""

LONGEST: Final = 4
"""The most windows of one probe."""

FASTEST: Final = 1e9
"""Upper bound of all rates, requests a second."""

_ERROR: Final = 0.025
"""Probability of a wrong outcome of a probe. The result has two bounds, each of which may be wrong,
so its confidence is 95 %; for simulated queues more than 99 % of results were right."""

_CONFIDENCE: Final = 1 - 2 * _ERROR / LONGEST
"""Confidence of one look: a probe is evaluated after each of its windows (Bonferroni)."""


class ProbeOutcome(enum.StrEnum):
    """Whether the limit holds at the rate of a probe."""

    HELD = "held"
    FAILED = "failed"
    OPEN = "undecided"


class Window(Protocol):
    """Puts the target under load for one window of a probe."""

    def __call__(self, rate: float, number: int) -> Attainment:
        """Requests of the window within the limit, at a mean of `rate` arrivals a second.

        Each window of a probe, numbered from 0, draws other arrivals.
        """
        ...


@dataclass(frozen=True, slots=True)
class SearchSettings:
    """Range and length of a search.

    `share` of the requests must be within the limit; rates begin with `start`, between `slowest`
    and `fastest`; all probes together take at most `windows`.
    """

    share: float
    start: float
    slowest: float
    fastest: float
    windows: int

    def __post_init__(self) -> None:
        if not 0 < self.share < 1 or self.windows < 1:
            raise ValueError(f"nothing can be found out on these settings: {self}")
        if not 0 < self.slowest <= self.start <= self.fastest:
            raise ValueError(f"the first rate is not between the slowest and the fastest: {self}")


@dataclass(frozen=True, slots=True)
class Probe:
    """A rate that was tried, and the number of windows that it took."""

    rate: float
    outcome: ProbeOutcome
    windows: int


@dataclass(frozen=True, slots=True)
class RateInterval:
    """Result of a search: at least one probe, in the order of the search, and why it ended."""

    probes: tuple[Probe, ...]
    reason: str

    @property
    def held(self) -> float | None:
        """The highest rate that held; None if none did."""
        return max(_rates(self.probes, ProbeOutcome.HELD), default=None)

    @property
    def failed(self) -> float | None:
        """The lowest rate that failed; None if none did."""
        return min(_rates(self.probes, ProbeOutcome.FAILED), default=None)

    @property
    def estimate(self) -> Estimate | None:
        """The highest rate that held, with the lowest that failed as its upper bound.

        Where none held the value is 0, and where none failed the bound is `FASTEST`; without either
        there is no estimate.
        """
        if self.held is None and self.failed is None:
            return None
        held = self.held or 0.0
        return Estimate(held, held, self.failed or FASTEST)

    def __str__(self) -> str:
        held = _rate(self.held) if self.held else "no rate"
        failed = _rate(self.failed) if self.failed else "none"
        count = len(self.probes)
        tried = f"{count} rate{'' if count == 1 else 's'} tried"
        return f"{held} held, {failed} failed, {tried}: {self.reason}"


def slowest_rate(share: float, seconds: float) -> float:
    """The lowest rate at which a probe without a miss is decided.

    The lower bound of Wilson's interval at a share of 1 is `n / (n + z^2)`; and a probe needs
    enough requests for its blocks.
    """
    z = NormalDist().inv_cdf((1 + _CONFIDENCE) / 2)
    requests = max(z * z * share / (1 - share), LONGEST * MIN_BLOCKS)
    return requests / (LONGEST * seconds)


def search(window: Window, settings: SearchSettings) -> RateInterval:
    """Find the highest rate that holds the limit.

    Doubles or halves the rate until one has held and one has failed, then bisects. A probe lasts
    until the confidence interval of its share of requests within the limit excludes the required
    share, at most four windows. An undecided probe moves no bound: the search goes on at both
    sides of it.
    """
    probes: list[Probe] = []
    while True:
        left = settings.windows - sum(probe.windows for probe in probes)
        step = _next_rate(probes, settings) if probes else settings.start
        if isinstance(step, str):
            return RateInterval(tuple(probes), step)
        if not left:
            return RateInterval(tuple(probes), f"stopped after {settings.windows} windows")
        probes.append(_probe(window, step, settings.share, min(left, LONGEST)))


def within_limit(totals: LoadTotals) -> Attainment:
    """Good requests of an open loop within its `slo`, by block; the run has at least one call.

    Unfinished requests miss the limit in the last block. Rejected ones, whose times are not known,
    miss it in proportion to the queueing time of each block. The first block is left out, as the
    queue starts empty.
    """
    slo_ns = (totals.slo or 0.0) * 1e9
    blocks = totals.blocks
    total = blocks.requests.astype(np.float64)
    waited = blocks.queue_ns.astype(np.float64)
    where = waited if waited.any() else total
    unanswered = totals.rejected * where / where.sum()
    unanswered[-1] += totals.unfinished
    half_way = (totals.latencies.median_ns + slo_ns) / 2
    return Attainment(
        total=(total + unanswered)[1:],
        within=blocks.within.astype(np.float64)[1:],
        early=totals.latencies.within(half_way, len(blocks)).astype(np.float64)[1:],
    )


def _probe(window: Window, rate: float, share: float, most: int) -> Probe:
    attainment = window(rate, 0)
    for windows in range(1, most + 1):
        if windows > 1:
            attainment = attainment.joined(window(rate, windows - 1))
        estimate = attainment.share(_CONFIDENCE)
        if estimate is not None and estimate.low >= share:
            return Probe(rate, ProbeOutcome.HELD, windows)
        if estimate is not None and estimate.high < share:
            return Probe(rate, ProbeOutcome.FAILED, windows)
    return Probe(rate, ProbeOutcome.OPEN, most)


def _next_rate(probes: list[Probe], settings: SearchSettings) -> float | str:
    """The next rate to try, or the reason why the search ends."""
    lowest = min(probes, key=lambda probe: probe.rate)
    highest = max(probes, key=lambda probe: probe.rate)
    held = max(_rates(probes, ProbeOutcome.HELD), default=None)
    failed = min(_rates(probes, ProbeOutcome.FAILED), default=None)
    if held is None:
        if lowest.rate > settings.slowest:
            return max(lowest.rate / 2, settings.slowest)
        verb = "fails even" if lowest.outcome is ProbeOutcome.FAILED else "undecided"
        few = "a lower rate brings too few requests, lengthen duration="
        return f"{verb} at {_rate(lowest.rate)}; {few}"
    if failed is None:
        if highest.rate < settings.fastest:
            return min(2 * highest.rate, settings.fastest)
        limitless = highest.outcome is ProbeOutcome.HELD
        return f"{'no limit found up to' if limitless else 'undecided at'} {_rate(highest.rate)}"
    return _bisect(held, failed, _rates(probes, ProbeOutcome.OPEN))


def _bisect(held: float, failed: float, undecided: list[float]) -> float | str:
    between = [rate for rate in undecided if held < rate < failed]
    gaps = [(held, min(between, default=failed)), (max(between, default=held), failed)]
    low, high = max(gaps, key=lambda gap: gap[1] / gap[0])
    if high <= (1 + WIDTH) * low:
        if not between:
            return "converged"
        first, last = _rate(min(between)), _rate(max(between))
        return f"undecided {f'at {first}' if first == last else f'between {first} and {last}'}"
    # The geometric mean, since `WIDTH` is a ratio.
    return math.sqrt(low * high)


def _rates(probes: Iterable[Probe], outcome: ProbeOutcome) -> list[float]:
    return [probe.rate for probe in probes if probe.outcome is outcome]


def _rate(rate: float) -> str:
    return format_quantity(rate, "1/s")
