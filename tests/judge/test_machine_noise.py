"""Which sessions of which metrics show the noise of which test."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from builders import estimate

from pytest_dlperf.judge.machine_noise import MachineNoise, PastMeasurement, PastSession
from pytest_dlperf.metrics import METRICS
from pytest_dlperf.statistics.pace import Pace
from pytest_dlperf.statistics.session_noise import SessionNoise

if TYPE_CHECKING:
    from collections.abc import Iterable

LOAD = "ClosedLoop(clients=64)"
THROUGHPUT, P99, TIME = (METRICS[name] for name in ("throughput", "p99", "train.time"))


def past(
    test: str,
    spread: float,
    days: Iterable[int] = range(30),
    *,
    machine: float = 0.0,
    metric: str = "throughput",
) -> PastMeasurement:
    """Sessions of a metric whose machine, and so the yardstick, varies as well."""
    random = np.random.default_rng(sum(map(ord, test)))
    sessions = []
    for day in days:
        pace = math.exp(random.normal(0, machine))
        value = 1000 / pace * math.exp(random.normal(0, spread))
        metrics = {metric: estimate(value, 0.001)}
        yardstick = Pace(1e-6 * pace, 1e-4 * pace)
        sessions.append(PastSession(f"{day:03}", metrics, yardstick))
    return PastMeasurement(test, "", LOAD, tuple(sessions))


def of(noise: MachineNoise, test: str = "new", known: Iterable[int] = ()) -> SessionNoise:
    """What throughput of a test differs by, the yardstick allowed for."""
    days = {f"{day:03}" for day in known}
    return noise.of(THROUGHPUT, test, "", scaled=True, known=days)


def test_nothing_known() -> None:
    """The metric's prior."""
    assert of(MachineNoise()) == SessionNoise(math.log1p(0.05))


def test_a_new_test_learns_from_the_others() -> None:
    """Twelve tests at 2 %: so has a test that was never measured, as is certain."""
    noise = MachineNoise(tuple(past(f"t{n}", 0.02) for n in range(12)))
    new = of(noise)
    assert new.spread == pytest.approx(0.02, rel=0.2)
    assert new.freedom > 7
    assert noise.of(THROUGHPUT, "t3", "", scaled=True, known=()).freedom > new.freedom


def test_only_metrics_of_a_kind_are_pooled() -> None:
    """Neither tails nor times of training say what throughput differs by."""
    noise = MachineNoise((past("a", 0.02, metric="p99"), past("b", 0.02, metric="train.time")))
    assert of(noise) == SessionNoise(math.log1p(0.05))
    assert noise.of(P99, "new", "", scaled=True, known=()).days == 30
    assert noise.of(TIME, "new", "", scaled=True, known=()).days == 30


def test_the_yardstick_is_taken_off_where_it_is_allowed_for() -> None:
    """Three quarters of what the machine and its yardstick share are no noise."""
    noise = MachineNoise(tuple(past(f"t{n}", 0.01, machine=0.1) for n in range(12)))
    assert of(noise).spread < 0.04
    plain = noise.of(THROUGHPUT, "new", "", scaled=False, known=())
    assert plain.spread > 0.07


def test_days_of_the_baseline_are_counted_once() -> None:
    """They are compared by themselves; other days of the test count here."""
    noise = MachineNoise((past("own", 0.02),))
    assert of(noise, "own").freedom > of(noise, "own", range(15)).freedom > 4
    assert of(noise, "own", range(30)) == SessionNoise(math.log1p(0.05))


def test_an_accepted_change_is_no_noise() -> None:
    """A level ends where the baseline was replaced, or the conditions became others."""
    sessions = tuple(
        PastSession(f"{day}", {"throughput": estimate(value, 0.001)}, starts=day == 3)
        for day, value in enumerate((1000, 1001, 1002, 500, 501, 502))
    )
    noise = MachineNoise((PastMeasurement("own", "", LOAD, sessions),))
    assert noise.of(THROUGHPUT, "own", "", scaled=True, known=()).spread < 0.05


def test_the_last_session_of_another_day() -> None:
    """After the baseline's last day and before today, under the same conditions."""
    noise = MachineNoise((past("own", 0.02, range(5)),))
    found = noise.last("own", "", LOAD, ("001", "004"))
    assert found is not None
    assert found.day == "003"
    assert noise.last("own", "", LOAD, ("003", "004")) is None
    assert noise.last("own", "", "Offline()", ("001", "004")) is None
