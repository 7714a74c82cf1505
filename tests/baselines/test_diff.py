"""Changes: what differs between what was accepted and what is."""

from __future__ import annotations

import dataclasses
import math

import pytest
from builders import ENVIRONMENT, estimate, make_accepted
from hypothesis import given
from hypothesis import strategies as st

from pytest_dlperf.baselines.diff import MetricDiff, change_lines, changes_between
from pytest_dlperf.metrics import METRICS
from pytest_dlperf.statistics.estimate import counted


@pytest.mark.parametrize(
    ("metric", "old", "new", "relative", "visible"),
    [
        ("throughput", 100.0, 105.1, 0.051, True),
        ("throughput", 100.0, 104.9, 0.049, False),
        ("throughput", 100.0, 95.0, -0.05, True),
        ("throughput", 100.0, 95.3, -0.047, False),
        ("p99", 0.010, 0.012, 0.2, False),
        ("p99", 0.010, 0.013, 0.3, True),
        ("accuracy", 0.97, 0.955, -0.015, True),
        ("accuracy", 0.97, 0.965, -0.005, False),
        ("loss", 0.0, 0.1, None, True),
        ("loss", 0.0, 0.0, None, False),
        ("p50", None, 0.1, None, True),
        ("p50", 0.1, None, None, True),
        ("throughput", 100.0, 0.0, -1.0, True),
    ],
)
def test_visible(
    metric: str, old: float | None, new: float | None, relative: float | None, *, visible: bool
) -> None:
    """What a relative budget must find is visible, and so are metrics that come or go."""
    change = MetricDiff(metric, old, new)

    assert change.relative == (None if relative is None else pytest.approx(relative))
    assert change.visible is visible


_METRICS = st.dictionaries(
    st.sampled_from(list(METRICS)), st.floats(1e-9, 1e9).map(estimate), min_size=1
)


@given(_METRICS, _METRICS, st.sets(st.sampled_from(list(METRICS))))
def test_nothing_is_left_out(
    old: dict[str, object], new: dict[str, object], shown: set[str]
) -> None:
    """Visible changes and the requested metrics that exist are listed; nothing else."""
    listed = {c.metric for c in changes_between(make_accepted(old), make_accepted(new), shown)}  # type: ignore[arg-type]

    assert (old.keys() ^ new.keys()) | (shown & new.keys()) <= listed
    assert listed <= old.keys() | new.keys()


@given(_METRICS, st.sets(st.sampled_from(list(METRICS))))
def test_unchanged_metrics_are_listed_on_request(same: dict[str, object], shown: set[str]) -> None:
    """An unchanged metric is listed only on request."""
    accepted = make_accepted(same)  # type: ignore[arg-type]

    listed = {change.metric for change in changes_between(accepted, accepted, shown)}

    assert listed == shown & same.keys()


def test_the_sessions_count_together() -> None:
    """The old value is the mean of the sessions; of a share it is the newest session's."""
    sessions = [
        make_accepted({"throughput": estimate(value), "accuracy": estimate(share)})
        for value, share in ((100.0, 0.5), (400.0, 0.9))
    ]
    old = make_accepted(sessions[1].metrics, earlier=sessions[0].sessions)
    new = make_accepted({"throughput": estimate(100.0), "accuracy": estimate(0.8)})

    olds = {change.metric: change.old for change in changes_between(old, new, ())}

    assert olds["throughput"] == pytest.approx(math.sqrt(100.0 * 400.0))
    assert olds["accuracy"] == 0.9


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
    """Conditions and software are listed where they differ, blocking fields first."""
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
    """Equal entries have no lines, except those requested."""
    same = make_accepted()

    assert change_lines(same, same, ()) == []
    assert change_lines(same, same, {"throughput"}) == ["throughput 1,000/s -> 1,000/s (+0.0 %)"]
