"""Measurement: metrics by name."""

from __future__ import annotations

import pytest
from builders import estimate, make_measurement, make_rows


def test_metrics_by_name() -> None:
    """`m["p99"]` is the estimate, `m.p99` its value."""
    measurement = make_measurement({"p99": estimate(0.02, 0.1), "p99.9": estimate(0.03)})
    assert measurement["p99"] == estimate(0.02, 0.1)
    assert measurement.p99 == 0.02
    assert measurement["p99.9"].value == 0.03


@pytest.mark.parametrize(
    ("metric", "reason"),
    [
        ("p99", "600 requests, p99 needs 662"),
        ("accuracy", "not measured here"),
        ("p98", "there is no such metric"),
    ],
)
def test_metric_that_is_not_there(metric: str, reason: str) -> None:
    """A missing metric raises an error with the reason, by key and by attribute."""
    measurement = make_measurement(
        {"p50": estimate(0.01)}, refused={"p99": "600 requests, p99 needs 662"}
    )
    with pytest.raises(KeyError, match=f"{metric}: {reason}; measured: p50"):
        measurement[metric]
    with pytest.raises(AttributeError, match=reason):
        getattr(measurement, metric)
    assert not hasattr(measurement, metric)


def test_title() -> None:
    """The title is the node id, with the measurement's name if it has one."""
    assert make_measurement(test="t.py::a").title == "t.py::a"
    assert make_measurement(test="t.py::a", name="big").title == "t.py::a [big]"


def test_what_was_measured_is_in_it() -> None:
    """By its name; what was refused, and what is no metric, is not."""
    measurement = make_measurement({"p99": estimate(0.02)}, refused={"p95": "too few requests"})

    assert "p99" in measurement
    assert "p95" not in measurement
    assert "speed" not in measurement
    assert 3 not in measurement


def test_the_text_of_a_measurement() -> None:
    """One line of figures, as an assertion that fails shows it; no evidence of its rows."""
    measurement = make_measurement(
        {"throughput": estimate(1500.0), "accuracy": estimate(0.98)},
        test="t.py::a",
        rows=make_rows([1] * 10_000),
    )

    assert repr(measurement) == "<Measurement t.py::a: throughput 1,500/s, accuracy 98.00 %>"
