"""A session's tests share one error rate, and the ordinary ones have no part in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from fakes import FakeClock, FakeProgress

from pytest_dlperf.duel.controller import DuelController
from pytest_dlperf.duel.evidence_cache import NoPairEffects
from pytest_dlperf.judge.error_rates import ErrorRates
from pytest_dlperf.results.baseline import Revision

if TYPE_CHECKING:
    from collections.abc import Mapping

ORDINARY = {"measures": False, "budgets": [], "detect": []}
UNASKED = {"measures": True, "budgets": [], "detect": []}
ASKED = {
    "measures": True,
    "budgets": [["throughput >= baseline", "throughput", 0.05]],
    "detect": [],
}


@dataclass
class FakeSide:
    """A side that has collected some tests."""

    role: str
    tests: list[Mapping[str, Any]]
    killed: bool = False

    def collected(self) -> Mapping[str, Any]:
        """What it was made with."""
        return {"tests": self.tests, "failed": False}

    def kill(self) -> None:
        """Be gone."""
        self.killed = True


@dataclass
class FakeGround:
    """Where sides are made of nothing."""

    tests: list[Mapping[str, Any]]
    base_is_empty: bool = False
    sides: list[FakeSide] = field(default_factory=list)

    @property
    def launcher(self) -> SimpleNamespace:
        """Starts them."""
        return SimpleNamespace(start=self._start)

    def _start(self, role: str, heard: object, only: str | None) -> FakeSide:
        del heard, only
        self.sides.append(FakeSide(role, self.tests))
        return self.sides[-1]


def gathered(*tests: Mapping[str, Any]) -> tuple[DuelController, FakeGround]:
    """A tournament over these tests, all sides started."""
    named = [{**test, "test": f"test_{number}"} for number, test in enumerate(tests)]
    ground = FakeGround(named)
    tournament = DuelController(
        ground,  # type: ignore[arg-type]  # as much of one as is needed
        ref="HEAD~1",
        revision=Revision("0123abc", "", "2026-11-24"),
        pairs=None,
        heard=lambda _: None,
        clock=FakeClock(),
        progress=FakeProgress(),
        coins=lambda: np.random.default_rng(0),
        earlier=NoPairEffects(),
    )
    tournament.gather()
    return tournament, ground


def test_ordinary_tests_take_nothing_of_the_error_rate() -> None:
    """A hundred tests that measure nothing leave the one that does all of it."""
    alone, _ = gathered(ASKED)
    among_many, _ = gathered(*[ORDINARY] * 100, ASKED)

    assert alone.rates == among_many.rates == ErrorRates(1)


def test_each_budget_has_its_part() -> None:
    """One for each relative budget, and three for a test that has none and is judged by three."""
    tournament, _ = gathered(ASKED, UNASKED, ORDINARY)

    assert tournament.rates == ErrorRates(4)


def test_sides_are_started_in_pairs() -> None:
    """As many pairs as a loss of 5 % needs; where nothing measures, the base ends at once."""
    measured, ground = gathered(ASKED)
    plain, lonely = gathered(ORDINARY)

    assert measured.pairs == 2
    assert sorted(side.role for side in ground.sides) == ["base"] * 2 + ["candidate"] * 2
    assert [side.killed for side in lonely.sides if side.role == "base"] == [True]
    plain.close()
    assert all(side.killed for side in lonely.sides)
