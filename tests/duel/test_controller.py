"""Which workers are started, and how the tests of a session share one error rate."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from fakes import FakeClock, FakeProgress

from pytest_dlperf.duel.controller import DuelController
from pytest_dlperf.duel.evidence_cache import NoPairEffects
from pytest_dlperf.duel.run_one_test import DuelServices
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
class FakeWorker:
    """A worker that has collected some tests."""

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
class FakeWorkspace:
    """Starts fake workers, and remembers them."""

    tests: list[Mapping[str, Any]]
    base_is_empty: bool = False
    workers: list[FakeWorker] = field(default_factory=list)

    def start(self, role: str, on_message: object, only: str | None) -> FakeWorker:
        """A worker that has collected the tests."""
        del on_message, only
        self.workers.append(FakeWorker(role, self.tests))
        return self.workers[-1]


def started(*tests: Mapping[str, Any]) -> tuple[DuelController, FakeWorkspace]:
    """A controller of these tests, all workers started."""
    workspace = FakeWorkspace(
        [{**test, "test": f"test_{number}"} for number, test in enumerate(tests)]
    )
    services = DuelServices(
        ref="HEAD~1",
        revision=Revision("0123abc", "", "2026-11-24"),
        clock=FakeClock(),
        progress=FakeProgress(),
        new_rng=lambda: np.random.default_rng(0),
        cache=NoPairEffects(),
    )
    controller = DuelController(
        workspace,  # type: ignore[arg-type]  # as much of one as is needed
        services,
        pairs=None,
        on_message=lambda _: None,
    )
    controller.start()
    return controller, workspace


def test_ordinary_tests_take_nothing_of_the_error_rate() -> None:
    """A hundred tests that measure nothing leave the one that does all of it."""
    alone, _ = started(ASKED)
    among_many, _ = started(*[ORDINARY] * 100, ASKED)

    assert alone.rates == among_many.rates == ErrorRates(1)


def test_each_budget_has_its_share() -> None:
    """One for each relative budget, and three for a test that has none and is judged by three."""
    controller, _ = started(ASKED, UNASKED, ORDINARY)

    assert controller.rates == ErrorRates(4)


def test_workers_are_started_in_pairs() -> None:
    """As many pairs as a loss of 5 % needs; where nothing measures, the base ends at once."""
    measured, workspace = started(ASKED)
    plain, lonely = started(ORDINARY)

    assert measured.pair_count == 2
    assert sorted(worker.role for worker in workspace.workers) == ["base"] * 2 + ["candidate"] * 2
    assert [worker.killed for worker in lonely.workers if worker.role == "base"] == [True]
    plain.close()
    assert all(worker.killed for worker in lonely.workers)
