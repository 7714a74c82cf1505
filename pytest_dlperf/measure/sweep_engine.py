"""Sweep: one target, prepared once, under more and more clients."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_dlperf.load.diagnosis import diagnose
from pytest_dlperf.load.scenarios import ClosedLoop
from pytest_dlperf.load.summary import summarise_load
from pytest_dlperf.measure.measure import quiet_gc
from pytest_dlperf.measure.pool import Pool
from pytest_dlperf.measure.prepared import Bench, set_up
from pytest_dlperf.measure.sweep import Point, Sweep, point

if TYPE_CHECKING:
    from pytest_dlperf.config.plan import Plan
    from pytest_dlperf.data.dataset import Data
    from pytest_dlperf.measure.prepared import Rig


def measure_sweep(  # noqa: PLR0913 - what, with what, how, and for whom
    target: object, data: Data, plan: Plan, bench: Bench, *, clients: tuple[int, ...], test: str
) -> Sweep:
    """Put a target under closed loops of so many clients, one after the other.

    It is compiled, asked alone and warmed up once, with the most clients; each load lasts as
    long as the plan says.

    Args:
        target: what is asked.
        data: rows and labels.
        plan: serving and duration; its scenario is not used.
        bench: what comes from outside.
        clients: at least one number, rising.
        test: pytest's node id.

    Raises:
        UsageError: if the target cannot be measured.
        TargetError: if the target's first call fails, or a call does not return.
        DataError: if the labels do not fit the answers.
    """
    rig = set_up(target, data, replace(plan, scenario=ClosedLoop(clients[-1])), bench)
    pool = Pool(rig)
    seconds = plan.load_seconds

    def load(count: int) -> tuple[Point, str]:
        run = pool.run(_under(rig, count), seconds)
        found = summarise_load(run.tally, latencies=True)
        diagnosis = f"with {count} clients: {diagnose(run.tally, run.busy_cores)}"
        batch = run.tally.answered / run.tally.calls
        return point(count, found.metrics, batch), diagnosis

    with contextlib.closing(rig), quiet_gc():
        unsteady = rig.warm_up()
        points, diagnoses = zip(*map(load, clients), strict=True)
    scenario = f"sweep(clients={', '.join(map(str, clients))})"
    whole = pool.measurement(test, "", scenario, rig.plan.serving_text)
    notes = (*filter(None, [unsteady]), *whole.notes)
    return Sweep(points, replace(whole, notes=notes, diagnosis=diagnoses[-1]))


def _under(rig: Rig, clients: int) -> Rig:
    """The target under so many clients; real ones are replicas, and no more of them than that."""
    plan = replace(rig.plan, scenario=ClosedLoop(clients))
    replicas = rig.prepared.replicas[: plan.lanes]
    return replace(rig, plan=plan, prepared=replace(rig.prepared, replicas=replicas))
