"""Calibration: how large a plant has to be, and how large it really came out."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy import stats

from live import lines
from live.variants import Plant

if TYPE_CHECKING:
    from collections.abc import Mapping

    from live.variants import Repository

_IN_TURN: Final = Path(__file__).with_name("in_turn.py")
_TIMEOUT_S: Final = 300
_ROUNDS: Final = 4
_NEAR: Final = 0.1, 0.005  # of what is wanted, but no less than can be told apart
_NARROW: Final = 0.2, 0.01  # half of the interval, in the same way
_MOST: Final = 2
_LEAST: Final = 1e-4
_FIRST: Final = {"width": 3300.0, "calls": 1.3, "preprocessing": 12_500.0}
"""What each knob is turned up for a loss of one, about."""


@dataclass(frozen=True, slots=True)
class Truth:
    """A variant, and what it costs.

    Attributes:
        commit: of the variant.
        knob: how far it was turned.
        loss: how much more time a request takes: a ratio minus one, or a share of one.
        low: end of the 95 % interval.
        high: the other end.
    """

    commit: str
    knob: float
    loss: float
    low: float
    high: float


class Calibration:
    """Plants of wanted sizes; what was found is kept in a file.

    Args:
        repository: where variants are made.
        folder: of the benchmark's files.
        environment: of the processes that measure.
        launches: pairs of processes for each measurement; more on a machine that is busy.
        seconds: that each of them measures.
    """

    def __init__(
        self,
        repository: Repository,
        folder: Path,
        environment: Mapping[str, str],
        *,
        launches: int,
        seconds: float,
    ) -> None:
        self._repository = repository
        self._folder = folder
        self._environment = dict(environment)
        self._launches = launches
        self._seconds = seconds
        self._kept = folder / "calibration.jsonl"
        self.truths = truths(self._kept)

    def same(self, name: str) -> Truth:
        """A change that is none."""
        if name not in self.truths:
            self._keep(name, Truth(self._repository.same(), 0.0, 0.0, 0.0, 0.0))
        return self.truths[name]

    def planted(self, plant: Plant) -> Truth:
        """A variant that loses about what the plant says."""
        if str(plant) not in self.truths:
            search = self._less_right if plant.kind == "accuracy" else self._searched
            self._keep(str(plant), search(plant))
        return self.truths[str(plant)]

    def _keep(self, name: str, truth: Truth) -> None:
        self.truths[name] = truth
        fields = {slot: getattr(truth, slot) for slot in Truth.__slots__}
        lines.append(self._kept, {"variant": name, **fields})

    def _searched(self, plant: Plant) -> Truth:
        """Turn the knob in proportion to what it brought, until it is near enough."""
        wanted = plant.percent / 100
        known = self.truths.get(str(Plant(plant.kind, 5)))
        start = 512.0 if plant.kind == "width" else 0.0
        each = (known.knob - start) / known.loss if known else _FIRST[plant.kind]
        tried: list[Truth] = []
        for _ in range(_ROUNDS):
            knob = start + each * wanted
            knob = round(knob, 4) if plant.kind == "calls" else round(knob)
            found = self._measured(plant, knob)
            print(
                f"  {plant}: {knob:g} costs {found.loss:.2%} ({found.low:.2%}, {found.high:.2%})",
                flush=True,
            )
            tried.append(found)
            if abs(found.loss - wanted) <= max(_NEAR[0] * wanted, _NEAR[1]):
                break
            # One that came out wild is no guide.
            each *= min(2.0, max(0.5, wanted / max(found.loss, _LEAST)))
        return min(tried, key=lambda one: abs(one.loss - wanted))

    def _less_right(self, plant: Plant) -> Truth:
        """Noise on the weights that costs as many points as the plant says; known exactly."""
        self._repository.show(self._repository.base)
        sys.path.insert(0, str(self._repository.tree))
        import classifier  # type: ignore[import-not-found]  # of the project

        sys.path.pop(0)
        images, digits = classifier.held_out()

        def right(noise: float) -> float:
            weights = classifier.weights(noise, plant.number)
            return float(np.mean(classifier.scores(images, weights).argmax(1) == digits))

        noises = np.arange(1, 200) / 1000
        losses = right(0.0) - np.array([right(noise) for noise in noises.tolist()])
        nearest = int(np.abs(losses - plant.percent / 100).argmin())
        noise, loss = float(noises[nearest]), float(losses[nearest])
        commit = self._repository.planted("accuracy", noise, plant.number)
        return Truth(commit, noise, loss, loss, loss)

    def _measured(self, plant: Plant, knob: float) -> Truth:
        commit = self._repository.planted(plant.kind, knob)
        base, candidate = self._folder / "calibrating-1", self._folder / "calibrating-2"
        self._repository.copy(self._repository.base, base)
        self._repository.copy(commit, candidate)
        narrow = max(_NARROW[0] * plant.percent / 100, _NARROW[1])
        medians: list[float] = []
        half = math.inf
        while len(medians) < self._launches or (
            half > narrow and len(medians) < _MOST * self._launches
        ):
            turned = len(medians) % 2 == 1
            first, second = (candidate, base) if turned else (base, candidate)
            median = self._one_pair(first, second, len(medians))
            medians.append(-median if turned else median)
            if len(medians) > 1:
                half = float(stats.t.ppf(0.975, len(medians) - 1) * stats.sem(medians))
        middle = float(np.mean(medians))
        low, value, high = np.expm1([middle - half, middle, middle + half]).tolist()
        return Truth(commit, knob, value, low, high)

    def _one_pair(self, first: Path, second: Path, seed: int) -> float:
        """Median log ratio of the blocks of one pair of processes, second over first."""
        command = [sys.executable, str(_IN_TURN), str(first), str(second)]
        command += [str(self._seconds), str(seed)]
        done = subprocess.run(  # noqa: S603 - our own script
            command,
            env=self._environment,
            check=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            timeout=_TIMEOUT_S,
            start_new_session=True,
        )
        return float(np.median(json.loads(done.stdout.splitlines()[-1])))


def truths(kept: Path) -> dict[str, Truth]:
    """What earlier runs found, by the variant's name."""
    return {
        one["variant"]: Truth(**{slot: one[slot] for slot in Truth.__slots__})
        for one in lines.read(kept)
    }
