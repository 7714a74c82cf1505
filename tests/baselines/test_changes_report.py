"""Changes as lines: old, new, and by how much."""

from __future__ import annotations

import dataclasses

from builders import ENVIRONMENT, estimate, make_accepted

from pytest_dlperf.baselines.diff import change_lines
from pytest_dlperf.statistics.estimate import counted


def test_lines() -> None:
    """Each metric is a line, in the order of the table: what it was, what it is, the change."""
    old = make_accepted(
        {
            "throughput": estimate(144_170.0),
            "p50": estimate(0.001),
            "p99": estimate(0.010),
            "errors": counted(0.0),
            "accuracy": estimate(0.9722),
            "loss": counted(0.0),
            "compile_time": estimate(1.0),
        }
    )
    new = make_accepted(
        {
            "throughput": estimate(161_000.0),
            "p50": estimate(0.00102),
            "errors": counted(0.0),
            "accuracy": estimate(0.961),
            "loss": counted(0.25),
            "compile_time": estimate(1.0),
            "peak_memory": estimate(2.0**30),
        }
    )

    assert change_lines(old, new, {"p50"}) == [
        "throughput 144,170/s -> 161,000/s (+11.7 %)",
        "p50 1 ms -> 1.02 ms (+2.0 %)",
        "p99 10 ms -> not measured",
        "accuracy 97.22 % -> 96.10 % (-1.1 pt)",
        "loss 0 -> 0.25",
        "peak_memory not measured -> 1 GiB",
    ]


def test_conditions_and_software() -> None:
    """What it was measured with is told where it differs, what blocks a comparison first."""
    old = make_accepted(slo=0.02)
    new = make_accepted(
        scenario="Offline()",
        serving="Serving(replicas=2)",
        environment=dataclasses.replace(ENVIRONMENT, tensorflow="2.19.0", precision="f16"),
    )

    assert change_lines(old, new, ()) == [
        "scenario ClosedLoop(clients=64) -> Offline()",
        "serving Serving() -> Serving(replicas=2)",
        "slo 20 ms -> none",
        "precision f32 -> f16",
        "tensorflow 2.18.0 -> 2.19.0",
    ]


def test_nothing_differs() -> None:
    """What is the same has no lines, unless it was asked for."""
    same = make_accepted()

    assert change_lines(same, same, ()) == []
    assert change_lines(same, same, {"throughput"}) == ["throughput 1,000/s -> 1,000/s (+0.0 %)"]
