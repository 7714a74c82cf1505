"""Noise: models of what a machine does to the cost of a request, to try the judge against."""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SIDES: Final = 2
_SLOTS: Final = 4  # of a block


@dataclass(frozen=True, slots=True)
class Noise:
    """What unchanged code costs from slot to slot, as a logarithm; without values, always 0.

    Attributes:
        white: standard deviation from slot to slot, independent.
        tail: degrees of freedom of Student's t that the white noise has, more than 2; normal
            if None.
        drift: standard deviation of a wandering about the mean (Ornstein and Uhlenbeck 1930).
        drift_seconds: after which the wandering is like itself by 1 / e.
        bursts: of other work, a second, at random.
        burst_size: by how much a burst makes a request dearer, as a ratio, least and most.
        burst_seconds: mean duration of a burst, exponential.
        walk: standard deviation of a random walk after one second.
        ramp: a steady rise, a second.
        period: slots after which an interference comes back; none if 0.
        amplitude: of the interference, a cosine whose phase a session draws.
        launch: standard deviation of what one process costs for all its life.
    """

    white: float = 0.0
    tail: float | None = None
    drift: float = 0.0
    drift_seconds: float = 1.0
    bursts: float = 0.0
    burst_size: tuple[float, float] = (0.0, 0.0)
    burst_seconds: float = 1.0
    walk: float = 0.0
    ramp: float = 0.0
    period: int = 0
    amplitude: float = 0.0
    launch: float = 0.0

    def sample(
        self, generator: np.random.Generator, sessions: int, slots: int, slot_seconds: float
    ) -> NDArray[np.float64]:
        """The log cost of each slot, shape `(sessions, slots)`; launches are not in it.

        Args:
            generator: of all that is random.
            sessions: how many, independent of each other.
            slots: of each session, one after the other.
            slot_seconds: of each slot.
        """
        shape = (sessions, slots)
        seconds = slot_seconds * np.arange(slots)
        if self.tail is None:
            cost = self.white * generator.standard_normal(shape)
        else:
            unit = math.sqrt((self.tail - 2) / self.tail)
            cost = self.white * unit * generator.standard_t(self.tail, shape)
        cost += self.ramp * seconds
        if self.walk:
            steps = generator.standard_normal(shape)
            cost += self.walk * math.sqrt(slot_seconds) * np.cumsum(steps, axis=1)
        if self.period:
            phase = generator.integers(self.period, size=(sessions, 1))
            turns = (np.arange(slots) + phase) / self.period
            cost += self.amplitude * np.cos(2 * math.pi * turns)
        if self.drift:
            cost += self._wandering(generator, shape, slot_seconds)
        if self.bursts:
            cost += self._bursts(generator, shape, slot_seconds)
        return cost

    def _wandering(
        self, generator: np.random.Generator, shape: tuple[int, int], slot_seconds: float
    ) -> NDArray[np.float64]:
        kept = math.exp(-slot_seconds / self.drift_seconds)
        fresh = math.sqrt(1 - kept * kept)
        wandering = self.drift * generator.standard_normal(shape)
        for slot in range(1, shape[1]):
            wandering[:, slot] = kept * wandering[:, slot - 1] + fresh * wandering[:, slot]
        return wandering

    def _bursts(
        self, generator: np.random.Generator, shape: tuple[int, int], slot_seconds: float
    ) -> NDArray[np.float64]:
        begins = generator.random(shape) < -math.expm1(-self.bursts * slot_seconds)
        sizes = np.log1p(generator.uniform(*self.burst_size, shape))
        slots = np.ceil(generator.exponential(self.burst_seconds / slot_seconds, shape))
        cost = np.zeros(shape)
        left, size = np.zeros(shape[0]), np.zeros(shape[0])
        for slot in range(shape[1]):
            begun = begins[:, slot]
            left = np.where(begun, slots[:, slot], left - 1)
            size = np.where(begun, sizes[:, slot], size)
            cost[:, slot] = np.where(left > 0, size, 0.0)
        return cost

    def pairs(
        self, generator: np.random.Generator, sessions: int, pairs: int
    ) -> NDArray[np.float64]:
        """The log ratio of each pair of processes of unchanged code, shape `(sessions, pairs)`."""
        spread = self.launch * math.sqrt(_SIDES)
        return spread * generator.standard_normal((sessions, pairs))


SHAPES: Final = MappingProxyType(
    {
        "white": Noise(white=0.02),
        "drift over 2 s": Noise(white=0.01, drift=0.04, drift_seconds=2.0),
        "drift over 20 s": Noise(white=0.01, drift=0.04, drift_seconds=20.0),
        "drift over 200 s": Noise(white=0.01, drift=0.04, drift_seconds=200.0),
        "bursts": Noise(white=0.02, bursts=0.05, burst_size=(0.1, 0.6), burst_seconds=1.5),
        "heavy tails": Noise(white=0.02, tail=3.0),
        "random walk": Noise(white=0.01, walk=0.02),
        "ramp": Noise(white=0.01, ramp=0.005),
        "period 2": Noise(white=0.01, period=2, amplitude=0.05),
        "period 4": Noise(white=0.01, period=4, amplitude=0.05),
    }
)
"""Kinds of noise, each of a size that a shared machine has with slots of half a second."""


def blocks(noise: NDArray[np.float64], coin: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The log ratios of the blocks that unchanged code gives, shape `(sessions, blocks)`.

    A side's cost in a block is that of its two slots joined: twice the time of one slot, over
    the requests of both, `2 / (exp(-first) + exp(-second))`.

    Args:
        noise: the log cost of each slot, shape `(sessions, 4 blocks)`.
        coin: whether the order of a block was ABBA, A being the base; else BAAB. Shape
            `(sessions, blocks)`.
    """
    of_block = np.exp(-noise).reshape(len(noise), -1, _SLOTS)
    outer = of_block[..., 0] + of_block[..., 3]
    inner = of_block[..., 1] + of_block[..., 2]
    ratio: NDArray[np.float64] = np.log(outer / inner)
    return np.where(coin, ratio, -ratio)
