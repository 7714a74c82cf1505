"""Rate search: the highest rate that holds a limit, as an interval that is proven on both sides.

It takes for granted that a higher rate is harder to hold.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from pytest_dlperf.statistics.block_bootstrap import MIN_BLOCKS
from pytest_dlperf.statistics.estimate import Estimate
from pytest_dlperf.statistics.slo_attainment import Attainment
from pytest_dlperf.units import format_quantity

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_dlperf.load.totals import LoadTotals


WIDTH: Final = 0.05
"""The search has converged when the rate that failed is at most so much above the one that held."""

LONGEST: Final = 4
"""Windows that one probe may last for."""

FASTEST: Final = 1e9
"""No scenario has a higher rate, requests a second."""

_ERROR: Final = 0.025
"""Of calling a rate held that fails, or failed that holds. An answer has two bounds, each of which
may be wrong, and so 95 % confidence; of those for simulated queues more than 99 % were right."""

_CONFIDENCE: Final = 1 - 2 * _ERROR / LONGEST
"""Of one look: a probe is looked at after each of its windows (Bonferroni)."""


class ProbeOutcome(enum.StrEnum):
    """What a probe says about its rate."""

    HELD = "held"
    FAILED = "failed"
    OPEN = "undecided"


class Window(Protocol):
    """Puts the target under load for one window of a probe."""

    def __call__(self, rate: float, number: int) -> Attainment:
        """How the requests of this window fared against the limit.

        Args:
            rate: mean arrivals a second.
            number: of the window in its probe, from 0; each has arrivals of its own.
        """
        ...


@dataclass(frozen=True, slots=True)
class SearchSettings:
    """What a search may do.

    Attributes:
        share: of the requests that must be within the limit.
        start: the first rate.
        slowest: no lower rate is tried.
        fastest: no higher rate is tried.
        windows: how many windows it may take in all.
    """

    share: float
    start: float
    slowest: float
    fastest: float
    windows: int

    def __post_init__(self) -> None:
        if not 0 < self.share < 1 or self.windows < 1:
            raise ValueError(f"nothing can be found out on these terms: {self}")
        if not 0 < self.slowest <= self.start <= self.fastest:
            raise ValueError(f"the first rate is not between the slowest and the fastest: {self}")


@dataclass(frozen=True, slots=True)
class Probe:
    """One rate that was tried, and for how many windows."""

    rate: float
    outcome: ProbeOutcome
    windows: int


@dataclass(frozen=True, slots=True)
class RateInterval:
    """What a search ended with.

    Attributes:
        probes: in the order of the search, at least one.
        reason: why it ended.
    """

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
        """The highest rate that held, up to the lowest that failed.

        Where none held it is 0, and where none failed it reaches up to the highest rate there is.

        Returns:
            None if nothing is proven.
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
    """The rate below which not even a probe without a miss would come to a verdict.

    Wilson's interval at a share of 1 begins at `n / (n + z^2)`; and there must be blocks enough.

    Args:
        share: of the requests that must be within the limit.
        seconds: of one window.
    """
    z = NormalDist().inv_cdf((1 + _CONFIDENCE) / 2)
    requests = max(z * z * share / (1 - share), LONGEST * MIN_BLOCKS)
    return requests / (LONGEST * seconds)


def search(window: Window, terms: SearchSettings) -> RateInterval:
    """Find the highest rate that holds.

    Doubles and halves until one rate has held and one has failed, then bisects. A probe lasts
    until the interval of its share of requests within the limit clears the line, four windows at
    the most. One that stays open moves no bound: what lies on both sides of it is searched on.

    Args:
        window: puts the target under load.
        terms: where to search.
    """
    probes: list[Probe] = []
    while True:
        left = terms.windows - sum(probe.windows for probe in probes)
        step = _next_rate(probes, terms) if probes else terms.start
        if isinstance(step, str):
            return RateInterval(tuple(probes), step)
        if not left:
            return RateInterval(tuple(probes), f"stopped after {terms.windows} windows")
        probes.append(_probe(window, step, terms.share, min(left, LONGEST)))


def _probe(window: Window, rate: float, share: float, most: int) -> Probe:
    seen = window(rate, 0)
    for windows in range(1, most + 1):
        if windows > 1:
            seen = seen.joined(window(rate, windows - 1))
        found = seen.share(_CONFIDENCE)
        if found is not None and found.low >= share:
            return Probe(rate, ProbeOutcome.HELD, windows)
        if found is not None and found.high < share:
            return Probe(rate, ProbeOutcome.FAILED, windows)
    return Probe(rate, ProbeOutcome.OPEN, most)


def _next_rate(probes: list[Probe], terms: SearchSettings) -> float | str:
    """The next rate to try, or why there is none."""
    lowest = min(probes, key=lambda probe: probe.rate)
    highest = max(probes, key=lambda probe: probe.rate)
    held = max(_rates(probes, ProbeOutcome.HELD), default=None)
    failed = min(_rates(probes, ProbeOutcome.FAILED), default=None)
    if held is None:
        if lowest.rate > terms.slowest:
            return max(lowest.rate / 2, terms.slowest)
        verb = "fails even" if lowest.outcome is ProbeOutcome.FAILED else "undecided"
        few = "a lower rate brings too few requests, lengthen duration="
        return f"{verb} at {_rate(lowest.rate)}; {few}"
    if failed is None:
        if highest.rate < terms.fastest:
            return min(2 * highest.rate, terms.fastest)
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
    return math.sqrt(low * high)


def _rates(probes: Iterable[Probe], outcome: ProbeOutcome) -> list[float]:
    return [probe.rate for probe in probes if probe.outcome is outcome]


def _rate(rate: float) -> str:
    return format_quantity(rate, "1/s")


def within_limit(totals: LoadTotals) -> Attainment:
    """How many requests of a run were answered well and within the `slo` that it was told.

    Rejected and unfinished requests are not. The unfinished ones belong to the last block; the
    rejected ones, whose times are not known, to where the others waited. The first block is left
    out: there the queue, which begins empty, fills.

    Args:
        totals: of an open loop, with at least one call.
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
