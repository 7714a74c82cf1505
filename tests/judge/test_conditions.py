"""When a machine's conditions keep speeds from being judged, and what is allowed for."""

from __future__ import annotations

import pytest
from builders import make_accepted, make_measurement, pace

from pytest_dlperf.config.options import Options
from pytest_dlperf.config.plan import Plan, plan
from pytest_dlperf.judge.conditions import (
    MachineConditions,
    conditions_of,
    needs_yardstick,
    scaled_metrics,
)
from pytest_dlperf.load.scenarios import Scenario, Server
from pytest_dlperf.metrics import TRAIN_METRICS
from pytest_dlperf.results.usage import Consumption


def _plan(*budgets: str, scenario: Scenario | None = None) -> Plan:
    return plan([Options(budgets=budgets, scenario=scenario)])


def _conditions(
    yardstick: float | None, then: float | None = 1e-6, **usage: float
) -> MachineConditions:
    used = Consumption(0.001, 1.0, 1, 1, *map(usage.get, ("others", "stolen", "lost")))
    return conditions_of(
        _plan(),
        make_measurement(usage=used),
        make_accepted(yardstick=then),
        pace(yardstick),
        alpha=0.01,
        beta=0.05,
    )


@pytest.mark.parametrize(
    ("yardstick", "alike", "noted"),
    [
        (0.79e-6, False, False),
        (0.81e-6, True, True),
        (1.01e-6, True, False),
        (1.24e-6, True, True),
        (1.26e-6, False, False),
    ],
)
def test_the_yardstick(yardstick: float, *, alike: bool, noted: bool) -> None:
    """A machine up to a quarter slower is allowed for, with a note; beyond it nothing is judged."""
    conditions = _conditions(yardstick)

    assert (not conditions.speed_changed, bool(conditions.note)) == (alike, noted)
    named = f"{yardstick * 1e6:.2f} times as long" in conditions.speed_changed + conditions.note
    assert named is (noted or not alike)


@pytest.mark.parametrize(("now", "then"), [(None, 1e-6), (9e-6, None), (None, None)])
def test_without_a_yardstick(now: float | None, then: float | None) -> None:
    """Without a measurement on both sides there is no change of speed."""
    conditions = _conditions(now, then)

    assert (conditions.speed_changed, conditions.note) == ("", "")


def test_the_yardstick_of_all_sessions() -> None:
    """It is held against their geometric mean."""
    first = make_accepted(yardstick=1e-6)
    accepted = make_accepted(yardstick=4e-6, earlier=first.sessions)
    measurement = make_measurement()

    for yardstick, alike in ((2e-6, True), (1e-6, False), (4e-6, False)):
        conditions = conditions_of(
            _plan(), measurement, accepted, pace(yardstick), alpha=0.01, beta=0.05
        )
        assert (not conditions.speed_changed) is alike


def test_a_noisy_machine() -> None:
    """The share that other processes and the host took is named if it was too much."""
    assert _conditions(None, others=0.1, stolen=0.01).noisy == ""
    assert "other processes took 30%" in _conditions(None, others=0.3).noisy
    assert "its host took 6%" in _conditions(None, stolen=0.06).noisy
    assert "others had 12%" in _conditions(None, lost=0.12).noisy
    assert conditions_of(_plan(), make_measurement(), None, None, alpha=0.01, beta=0.05).noisy == ""


def test_what_the_machine_scales() -> None:
    """Speeds, but neither sizes nor answers, nor the rate of an open loop."""
    closed, opened = scaled_metrics(_plan()), scaled_metrics(_plan(scenario=Server(100.0)))

    assert {"throughput", "p50", "p99", "mean", "max_rate", "goodput"} <= closed
    assert not closed & {"errors", "accuracy", "loss", "peak_memory", "compile_time"}
    assert not closed & TRAIN_METRICS
    assert closed - opened == {"throughput", "goodput"}


@pytest.mark.parametrize(
    ("budgets", "needed"),
    [
        (["throughput >= baseline"], True),
        (["p99 <= 20ms", "p99 <= 2 * baseline"], True),
        (["throughput >= 100/s"], False),
        (["accuracy >= baseline", "peak_memory <= baseline"], False),
        (["train.time_to_accuracy(95%) <= baseline"], True),
        (["train.time <= 30s", "train.peak_memory <= baseline"], False),
        ([], False),
    ],
)
def test_needs_yardstick(budgets: list[str], *, needed: bool) -> None:
    """Relative budgets on speed, of a load or a training, and no others."""
    assert needs_yardstick(_plan(*budgets)) is needed
