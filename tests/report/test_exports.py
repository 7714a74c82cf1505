"""Measurements for pytest-benchmark and JUnit."""

from __future__ import annotations

import json
import math
from statistics import mean
from typing import TYPE_CHECKING

import pytest
from builders import counted, estimate, make_judgement, make_measurement, make_record
from hypothesis import given
from hypothesis import strategies as st

from pytest_dlperf.report.exports import (
    BenchmarkEntry,
    BenchmarkMetadata,
    benchmark_entries,
    properties,
    seconds_per_item,
    valid_metrics,
)
from pytest_dlperf.results.codec import fields_from_json, fields_to_json
from pytest_dlperf.results.series import Series
from pytest_dlperf.results.verdict import Verdict

if TYPE_CHECKING:
    from pytest_dlperf.results.record import Record
    from pytest_dlperf.statistics.estimate import Estimate

SPEEDS = {
    "throughput": estimate(1000.0, 0.1),
    "p99": estimate(0.02, 0.1),
    "errors": counted(0.0),
    "accuracy": estimate(0.97),
}


def make_series(*rates: float) -> Series:
    """A series of points of 0.1 s."""
    nothing = (None,) * len(rates)
    starts = tuple(round(0.1 * index, 1) for index in range(len(rates)))
    return Series(starts, rates, nothing, nothing, nothing)


def test_seconds_per_item() -> None:
    """Intervals at 500/s and 1,500/s are three to one, and their mean is 1 ms at 1,000/s."""
    measurement = make_measurement(SPEEDS, series=make_series(500.0, 1500.0), seconds=0.2)

    assert seconds_per_item(measurement) == pytest.approx((0.0015, 0.0005))


def test_an_interval_without_answers_is_joined_to_the_next() -> None:
    """100 items in 0.2 s, then 100 in 0.1 s: twice as long; an idle end does not count."""
    series = make_series(0.0, 1000.0, 1000.0, 0.0)
    measurement = make_measurement(SPEEDS, series=series, seconds=0.4)

    first, second = seconds_per_item(measurement)
    assert first == pytest.approx(2 * second)


@given(st.lists(st.floats(0, 1e6), max_size=50), st.floats(1e-3, 1e7), st.floats(0.05, 100))
def test_the_mean_of_the_intervals_is_the_throughput(
    rates: list[float], throughput: float, seconds: float
) -> None:
    """One over the mean is the throughput for any load, and all values are positive floats."""
    measurement = make_measurement(
        {"throughput": estimate(throughput)}, series=make_series(*rates), seconds=seconds
    )

    values = seconds_per_item(measurement)

    assert 1 / mean(values) == pytest.approx(throughput)
    assert all(type(value) is float and 0 < value < math.inf for value in values)


def test_a_search_has_one_value() -> None:
    """A search for the highest rate ran at many rates, so its intervals are not shown."""
    measurement = make_measurement(
        {"max_rate": estimate(400.0, 0.1)}, series=make_series(100.0, 200.0), seconds=0.2
    )

    assert seconds_per_item(measurement) == (0.0025,)


@pytest.mark.parametrize("metrics", [{"throughput": counted(0.0)}, {"accuracy": counted(0.5)}])
def test_no_seconds_per_item(metrics: dict[str, Estimate]) -> None:
    """Without answers or without a rate there are none."""
    assert seconds_per_item(make_measurement(metrics)) == ()


def test_entry() -> None:
    """The node id is the full name, and all without a field of its own is in extra_info."""
    record = make_record(
        make_judgement(Verdict.FAIL, budget="p99 <= 1ms", metric="p99"),
        measurement=make_measurement(SPEEDS, test="tests/test_a.py::TestX::test_it[a::b]"),
    )
    metadata = BenchmarkMetadata("slow", "a::b", {"x": "a::b"}, {"mine": 1})

    (entry,) = benchmark_entries([record], metadata)

    assert entry.fullname == "tests/test_a.py::TestX::test_it[a::b]"
    assert entry.name == "test_it[a::b]"
    assert (entry.group, entry.param, entry.params) == ("slow", "a::b", {"x": "a::b"})
    assert entry.seconds == (0.001,)
    assert entry.extra_info["mine"] == 1
    extra = entry.extra_info["dlperf"]
    assert isinstance(extra, dict)
    assert extra["schema"] == 1
    assert extra["scenario"] == "ClosedLoop(clients=64)"
    assert extra["metrics"]["p99"] == {
        "value": 0.02,
        "low": 0.018,
        "high": 0.022,
        "unit": "s",
        "better": "lower",
    }
    assert extra["verdict"] == "FAIL"
    assert extra["budgets"] == [{"budget": "p99 <= 1ms", "verdict": "FAIL"}]
    json.dumps(extra, allow_nan=False)


def test_names_of_entries_are_unique() -> None:
    """A measurement's name is added; the plugin's own if the node id is taken."""
    records = [
        make_record(measurement=make_measurement(SPEEDS, test="a.py::test_it", name=name))
        for name in ("", "warm")
    ]

    plain = [entry.fullname for entry in benchmark_entries(records, BenchmarkMetadata())]
    benchmarked = [
        entry.fullname for entry in benchmark_entries(records, BenchmarkMetadata(benchmarked=True))
    ]

    assert plain == ["a.py::test_it", "a.py::test_it::warm"]
    assert benchmarked == ["a.py::test_it::dlperf", "a.py::test_it::warm"]


QUICK = make_record(measurement=make_measurement(SPEEDS), quick=True)
LATE = make_record(measurement=make_measurement(SPEEDS, invalid="the generator was late"))


@pytest.mark.parametrize("record", [QUICK, LATE])
def test_measurements_without_valid_speeds(record: Record) -> None:
    """Smoke runs and INVALID measurements have answers and errors only, and no entry."""
    assert list(benchmark_entries([record], BenchmarkMetadata())) == []
    assert set(valid_metrics(record)) == {"errors", "accuracy"}


def test_properties() -> None:
    """Each metric by name, in base units, and the verdict; with the measurement's name if any."""
    records = [
        make_record(make_judgement(), measurement=make_measurement(SPEEDS, name=name))
        for name in ("", "warm\x00")
    ]

    values = dict(properties(records))

    assert values["dlperf.throughput"] == 1000.0
    assert values["dlperf.p99"] == 0.02
    assert values["dlperf.verdict"] == "PASS"
    assert values["dlperf.warm#x00.accuracy"] == 0.97
    assert len(values) == 10


def test_json_round_trip() -> None:
    """Metadata and entries go through JSON between processes."""
    metadata = BenchmarkMetadata("g", "p", {"x": 1}, {"y": [2]}, True, "fail", "pass")  # noqa: FBT003 - a field
    entry = BenchmarkEntry("n", "f", None, None, None, (1.0,), {}, 7)

    for value in (metadata, entry):
        read = json.loads(json.dumps(fields_to_json(value)))
        assert fields_from_json(type(value), read) == value
