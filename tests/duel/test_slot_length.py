"""The length of a slot."""

from __future__ import annotations

from types import MappingProxyType

import pytest
from builders import make_measurement

from pytest_dlperf.config.options import Options
from pytest_dlperf.config.plan import plan
from pytest_dlperf.duel.slot_length import slot_seconds
from pytest_dlperf.load.scenarios import ClosedLoop, Server
from pytest_dlperf.load.serving import Serving


@pytest.mark.parametrize(
    ("utilisation", "calls", "seconds"),
    [
        ((0.8,), 1000, 8 * 0.8 * 5 / 1000),  # 4 ms a call: eight of them
        ((0.8, 0.8), 1000, 8 * 1.6 * 5 / 1000 / 2),  # two replicas share the calls
        ((0.9,), 100_000, 0.005),  # 45 us a call: 5 ms
        ((1.0,), 20, 60 / 4 / 3 / 10),  # 0.25 s a call: three blocks of ten pairs fit into 60 s
        ((1.0,), 2, 2.5),  # 2.5 s a call: one call
        ((1.0,), 1, 5.0),  # 5 s a call: 5 s at the most
    ],
)
def test_slots(utilisation: tuple[float, ...], calls: int, seconds: float) -> None:
    """From 5 ms to 5 s."""
    opening = make_measurement(
        utilisation=utilisation,
        batch_sizes=MappingProxyType({64: calls - 1, 1: 1}),
        seconds=5.0,
    )
    serving = Serving(replicas=len(utilisation))

    closed = plan([Options(scenario=ClosedLoop(64), serving=serving)])

    assert slot_seconds(closed, opening) == pytest.approx(seconds)


@pytest.mark.parametrize(("rate", "seconds"), [(100.0, 0.4), (10_000.0, 0.05), (1.0, 5.0)])
def test_a_slot_of_an_open_loop_is_forty_arrivals(rate: float, seconds: float) -> None:
    """From 50 ms to 5 s, by what came and not by how long calls take."""
    opening = make_measurement(requests=int(rate * 5), seconds=5.0, utilisation=(0.1,))

    assert slot_seconds(plan([Options(scenario=Server(rate))]), opening) == pytest.approx(seconds)
