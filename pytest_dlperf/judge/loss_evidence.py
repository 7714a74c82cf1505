"""What is known of a loss, and what it proves of a budget."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from pytest_dlperf.results.row_evidence import loss_of_pairs
from pytest_dlperf.statistics.estimate import Estimate, counted
from pytest_dlperf.statistics.prediction import Prediction
from pytest_dlperf.statistics.proportions import (
    accuracy_decision,
    excluded_loss,
    mcnemar,
    proven_loss,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_dlperf.judge.losses import LossLimits
    from pytest_dlperf.statistics.estimate import Decision
    from pytest_dlperf.statistics.session_noise import SessionNoise


class LossEvidence(Protocol):
    """What is known of a loss."""

    @property
    def loss(self) -> Estimate:
        """The loss with its 95 % interval."""
        ...

    @property
    def errs(self) -> bool:
        """Whether its decision can be wrong by chance, so that it uses up error rate."""
        ...

    @property
    def differs(self) -> bool:
        """Whether the two sides differ at all."""
        ...

    def decision(self, limits: LossLimits, alpha: float, beta: float) -> Decision | None:
        """What is proven of a budget; None if neither FAIL nor PASS is.

        `alpha` is how often a loss of `limits.allowed` may FAIL, `beta` how often one of
        `limits.line` may PASS; both are below a half.
        """
        ...

    def improved(self, alpha: float) -> bool:
        """Whether a gain is proven."""
        ...

    def proven(self, alpha: float) -> float:
        """The largest loss that is proven: any smaller one that is allowed FAILs."""
        ...

    def excluded(self, beta: float) -> float:
        """The smallest loss that is excluded: any larger line passes."""
        ...

    def visible(self, alpha: float) -> float | None:
        """By how much a loss must exceed the allowed one to FAIL; None if that is not known."""
        ...


def decided_interval(evidence: LossEvidence, alpha: float, beta: float) -> Estimate:
    """The loss, with the ends that decide.

    `low` is the largest loss that is proven at `alpha`: beyond the allowed loss, where that is a
    FAIL. `high` is the smallest that is excluded at `beta`: within the line of a PASS. Where a loss
    is not known to have noise, an end is the loss itself.
    """
    loss, low, high = evidence.loss, evidence.proven(alpha), evidence.excluded(beta)
    return Estimate(
        loss.value,
        min(loss.value, low) if math.isfinite(low) else loss.low,
        max(loss.value, high) if math.isfinite(high) else loss.high,
    )


@dataclass(frozen=True, slots=True)
class MeasuredLoss:
    """A loss that was measured with an error, as a t-distribution."""

    measured: Prediction
    errs: bool = True

    @property
    def loss(self) -> Estimate:
        """The loss with its 95 % interval."""
        return self.measured.estimate()

    @property
    def differs(self) -> bool:
        """Whether there is a loss, a gain, or noise."""
        return bool(self.measured.loss or self.measured.spread)

    def decision(self, limits: LossLimits, alpha: float, beta: float) -> Decision | None:
        """By the one-sided ends of the interval at either rate."""
        if self.measured.low(alpha) > limits.allowed:
            return "FAIL"
        return "PASS" if self.measured.high(beta) < limits.line else None

    def improved(self, alpha: float) -> bool:
        """Whether the upper end is below 0."""
        return self.measured.high(alpha) < 0

    def proven(self, alpha: float) -> float:
        """The lower end."""
        return self.measured.low(alpha)

    def excluded(self, beta: float) -> float:
        """The upper end."""
        return self.measured.high(beta)

    def visible(self, alpha: float) -> float:
        """The distance from the loss to the lower end."""
        return self.measured.loss - self.measured.low(alpha)


SUSPECT: Final = 0.25
"""Of sessions on unchanged code, the share that may be suspected of a loss, and looked at again."""


def excursions_of_mean(
    excursions: Iterable[tuple[float, float]], days: int
) -> tuple[tuple[float, float], ...]:
    """What the mean of some days is off by, where one of them is off."""
    return tuple((size / days, min(1.0, share * days)) for size, share in excursions)


@dataclass(frozen=True, slots=True)
class SessionLoss:
    """The loss of a speed since stored sessions.

    Single sessions are off by more than the noise between sessions explains: beside a neighbour,
    for example. A FAIL takes that into account: with a share `p` of sessions that are off by `size`
    or more, a loss is proven at `alpha` if its lower end at `alpha` exceeds the allowed loss, and
    that at `alpha / p` exceeds it by `size`.

    Attributes:
        measured: the loss, with the noise between sessions.
        excursions: sizes, each with its share of sessions; see `excursions_of_mean`.
    """

    measured: Prediction
    excursions: tuple[tuple[float, float], ...] = ()
    errs: bool = True

    @property
    def loss(self) -> Estimate:
        """The loss with its 95 % interval."""
        return self.measured.estimate()

    def decision(self, limits: LossLimits, alpha: float, beta: float) -> Decision | None:
        """By the one-sided ends, the lower one less what single sessions are off by."""
        if self.proven(alpha) > limits.allowed:
            return "FAIL"
        return "PASS" if self.excluded(beta) < limits.line else None

    def suspected(self, limits: LossLimits) -> bool:
        """Whether it is worth another look: more was lost than `limits.line`, and not by chance."""
        return self.measured.loss > limits.line and self.measured.low(SUSPECT) > limits.allowed

    @property
    def differs(self) -> bool:
        """Always: sessions do."""
        return True

    def proven(self, alpha: float) -> float:
        """The lower end, less what single sessions are off by."""
        ends = [self.measured.low(alpha)]
        ends += [
            self.measured.low(alpha / share) - size
            for size, share in self.excursions
            if share > alpha
        ]
        return min(ends)

    def excluded(self, beta: float) -> float:
        """The upper end."""
        return self.measured.high(beta)

    def improved(self, alpha: float) -> bool:
        """Whether the upper end is below 0."""
        return self.measured.high(alpha) < 0

    def visible(self, alpha: float) -> float:
        """The distance from the loss to the lower end."""
        return self.measured.loss - self.proven(alpha)


def provable_losses(noise: SessionNoise, days: int, alpha: float) -> tuple[float, float]:
    """The losses from which a session is suspected and proves one by itself, as log ratios.

    Args:
        noise: between sessions.
        days: of the baseline, which differ by that noise.
        alpha: the rate of a FAIL.
    """
    spread = noise.spread * math.sqrt(1 + 1 / days)
    loss = SessionLoss(Prediction(0.0, spread, noise.freedom + days - 1), noise.excursions)
    return loss.measured.loss - loss.measured.low(SUSPECT), loss.visible(alpha)


@dataclass(frozen=True, slots=True)
class AgreedLoss:
    """A loss that several kinds of evidence are about: proven is what each of them proves.

    Attributes:
        parts: at least one; the first one's loss is shown.
    """

    parts: tuple[LossEvidence, ...]
    errs: bool = True

    @property
    def loss(self) -> Estimate:
        """The first part's loss, with an interval that holds those of all parts."""
        losses = [part.loss for part in self.parts]
        low, high = min(loss.low for loss in losses), max(loss.high for loss in losses)
        return Estimate(losses[0].value, low, high)

    @property
    def differs(self) -> bool:
        """Whether any part says so."""
        return any(part.differs for part in self.parts)

    def decision(self, limits: LossLimits, alpha: float, beta: float) -> Decision | None:
        """The decision of all parts; None where they differ."""
        first, *others = (part.decision(limits, alpha, beta) for part in self.parts)
        return first if all(other == first for other in others) else None

    def improved(self, alpha: float) -> bool:
        """Whether each part proves a gain."""
        return all(part.improved(alpha) for part in self.parts)

    def proven(self, alpha: float) -> float:
        """The loss that each part proves."""
        return min(part.proven(alpha) for part in self.parts)

    def excluded(self, beta: float) -> float:
        """The loss that each part excludes."""
        return max(part.excluded(beta) for part in self.parts)

    def visible(self, alpha: float) -> float | None:
        """The distance from the shown loss to what the last part to do so proves."""
        shown = self.parts[0].loss.value
        distances = [part.visible(alpha) for part in self.parts]
        return max(
            (
                distance + shown - part.loss.value
                for part, distance in zip(self.parts, distances, strict=True)
                if distance is not None
            ),
            default=None,
        )


@dataclass(frozen=True, slots=True)
class PairedLoss:
    """Right answers to the same rows: by the base alone, by the candidate alone, and all rows."""

    only_base: int
    only_candidate: int
    rows: int
    errs: bool = True

    @property
    def loss(self) -> Estimate:
        """The share of rows that was lost, with its 95 % interval."""
        return loss_of_pairs(self.only_base, self.only_candidate, self.rows)

    @property
    def differs(self) -> bool:
        """Whether any row is right on one side only."""
        return bool(self.only_base or self.only_candidate)

    def decision(self, limits: LossLimits, alpha: float, beta: float) -> Decision | None:
        """By exact tests; see `accuracy_decision`."""
        return accuracy_decision(
            *(self.only_base, self.only_candidate, self.rows),
            allowed=limits.allowed,
            line=limits.line,
            alpha=alpha,
            beta=beta,
        )

    def improved(self, alpha: float) -> bool:
        """Whether McNemar's test proves a gain."""
        return mcnemar(self.only_candidate, self.only_base) < alpha

    def proven(self, alpha: float) -> float:
        """By the tests of the decision; see `proven_loss`."""
        return proven_loss(self.only_base, self.only_candidate, self.rows, alpha)

    def excluded(self, beta: float) -> float:
        """By the tests of the decision; see `excluded_loss`."""
        return excluded_loss(self.only_base, self.only_candidate, self.rows, beta)

    def visible(self, alpha: float) -> float | None:
        """Not known: it depends on which rows would be lost."""
        del alpha
        return None


@dataclass(frozen=True, slots=True)
class CountedLoss:
    """A loss of counted shares whose noise is unknown: a FAIL only if it exceeds `least`.

    The budget's limits do not count: without a loss it is a PASS, in between nothing is proven.
    """

    change: float
    least: float
    errs: bool = False

    @property
    def loss(self) -> Estimate:
        """The change, without an interval."""
        return counted(self.change)

    @property
    def differs(self) -> bool:
        """Whether there is a change."""
        return bool(self.change)

    def decision(self, limits: LossLimits, alpha: float, beta: float) -> Decision | None:
        """FAIL beyond the least change that counts, PASS without a loss."""
        del limits, alpha, beta
        if self.change > self.least:
            return "FAIL"
        return "PASS" if self.change <= 0 else None

    def improved(self, alpha: float) -> bool:
        """Whether there is a gain that counts."""
        del alpha
        return self.change < -self.least

    def proven(self, alpha: float) -> float:
        """The change, if it counts."""
        del alpha
        return self.change if self.change > self.least else -math.inf

    def excluded(self, beta: float) -> float:
        """The least change that counts, without a loss."""
        del beta
        return self.least if self.change <= 0 else math.inf

    def visible(self, alpha: float) -> float | None:
        """The least change that counts."""
        del alpha
        return self.least


def equality(
    evidence: LossEvidence, loss: float, detect: float, alpha: float, beta: float
) -> Decision | None:
    """What is proven of a loss that is to be `loss`, not more and not less.

    FAIL where it is another one, at half of `alpha` a side; PASS where it is within `detect` of it,
    at `beta` a side.
    """
    half = alpha / 2
    if evidence.proven(half) > loss or evidence.excluded(half) < loss:
        return "FAIL"
    near = evidence.proven(beta) > loss - detect and evidence.excluded(beta) < loss + detect
    return "PASS" if near else None
