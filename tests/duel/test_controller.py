"""Which workers are started, and how the tests of a session share one error rate."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from fakes import FakeClock, FakeProgress

from pytest_dlperf.duel.controller import DuelController
from pytest_dlperf.duel.evidence_cache import PairEffectCache
from pytest_dlperf.duel.run_one_test import DuelServices
from pytest_dlperf.duel.worker_process import WorkerLost
from pytest_dlperf.judge.error_rates import ErrorRates
from pytest_dlperf.results.baseline_session import Revision

if TYPE_CHECKING:
    from collections.abc import Mapping

PLAIN = {"measures": False, "budgets": [], "detect": []}
WITHOUT_BUDGET = {"measures": True, "budgets": [], "detect": []}
MEASURED = {
    "measures": True,
    "budgets": [["throughput >= baseline", "throughput", 0.05]],
    "detect": [],
}


@dataclass(eq=False)
class FakeWorker:
    """A worker that has collected some tests, or is lost while it collects."""

    role: str
    tests: list[Mapping[str, Any]] | None
    interrupted: bool = False
    killed: bool = False

    def collected(self) -> Mapping[str, Any]:
        """What it was made with."""
        if self.tests is None:
            raise WorkerLost("the candidate side was killed by SIGKILL", "")
        return {"tests": self.tests, "failed": False}

    def interrupt(self) -> None:
        """Begin to end."""
        self.interrupted = True

    def kill(self) -> None:
        """Be gone, after a time to tear down what there is."""
        self.killed = self.interrupted


@dataclass
class FakeWorkspace:
    """Starts fake workers, and remembers them."""

    tests: list[Mapping[str, Any]] | None
    base_is_empty: bool = False
    broken: str = ""
    unmeasurable: str = ""
    workers: list[FakeWorker] = field(default_factory=list)

    def start(self, role: str, on_message: object, only: str | None, *, lead: bool) -> FakeWorker:
        """A worker that has collected the tests."""
        del on_message, only, lead
        if role == self.broken:
            raise OSError("no more processes")
        self.workers.append(FakeWorker(role, self.tests))
        return self.workers[-1]


def controller_of(workspace: FakeWorkspace, budgets: int = 0) -> DuelController:
    """A controller that has started nothing yet."""
    services = DuelServices(
        ref="HEAD~1",
        revision=Revision("0123abc", "", "2026-11-24"),
        clock=FakeClock(),
        progress=FakeProgress(),
        new_rng=lambda: np.random.default_rng(0),
        processors=frozenset(),
        cache=PairEffectCache(None),
    )
    return DuelController(
        workspace,  # type: ignore[arg-type]  # as much of one as is needed
        services,
        lambda _: None,
        budgets,
    )


def started(*tests: Mapping[str, Any]) -> tuple[DuelController, FakeWorkspace]:
    """A controller of these tests, all workers started."""
    workspace = FakeWorkspace(
        [{**test, "test": f"test_{number}"} for number, test in enumerate(tests)]
    )
    controller = controller_of(workspace)
    controller.start()
    return controller, workspace


def test_ordinary_tests_take_nothing_of_the_error_rate() -> None:
    """A hundred tests that measure nothing leave the one that does all of it."""
    alone, _ = started(MEASURED)
    among_many, _ = started(*[PLAIN] * 100, MEASURED)

    assert alone.rates == among_many.rates == ErrorRates(1)


def test_each_budget_has_its_share() -> None:
    """One for each relative budget, and three for a test that has none and is judged by three."""
    controller, _ = started(MEASURED, WITHOUT_BUDGET, PLAIN)

    assert controller.rates == ErrorRates(4)


@pytest.mark.parametrize(("budgets", "shared"), [(20, 20), (0, 1), (1, 1)])
def test_an_escalation_shares_the_rates_of_its_run(budgets: int, shared: int) -> None:
    """A duel over one test of many is not another chance of 1 % for each of them."""
    controller = controller_of(FakeWorkspace([{**MEASURED, "test": "test_it"}]), budgets)
    controller.start()

    assert controller.rates == ErrorRates(shared)


def test_one_pair_runs_the_tests() -> None:
    """Where nothing measures, the base is told to end at once."""
    measured, workspace = started(MEASURED)
    plain, lonely = started(PLAIN)

    assert (measured.measures, plain.measures) == (True, False)
    assert sorted(worker.role for worker in workspace.workers) == ["base", "candidate"]
    assert [worker.role for worker in lonely.workers if worker.interrupted] == ["base"]
    plain.close()
    assert all(worker.killed for worker in lonely.workers)


def test_workers_that_are_lost_while_they_collect_again_are_killed() -> None:
    """After a loss all are started anew; if that fails too, none of them is left running."""
    controller, workspace = started(MEASURED)
    controller.close()
    workspace.tests = None

    with pytest.raises(WorkerLost):
        controller.run("test_0")

    assert len(workspace.workers) == 4
    assert all(worker.killed for worker in workspace.workers)


@pytest.mark.parametrize("role", ["base", "candidate"])
def test_a_side_that_does_not_start_leaves_no_other(
    role: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The side that was started first is killed when the other cannot be."""
    monkeypatch.setattr("random.shuffle", lambda roles: roles.sort(key=lambda each: each == role))
    workspace = FakeWorkspace([{**MEASURED, "test": "test_0"}], broken=role)
    controller = controller_of(workspace)

    with pytest.raises(OSError, match="no more processes"):
        controller.start()
    controller.close()

    assert [worker.killed for worker in workspace.workers] == [True]
