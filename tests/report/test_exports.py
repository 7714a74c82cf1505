"""What other people's tools are told."""

from __future__ import annotations

import json
import math
from statistics import mean

import pytest
from builders import counted, estimate, make_judgement, make_measurement, make_record
from hypothesis import given
from hypothesis import strategies as st

from pytest_dlperf.report.exports import (
    BenchmarkEntry,
    BenchmarkMetadata,
    benchmark_entries,
    own_name,
    properties,
    seconds_an_item,
    telling_metrics,
)
from pytest_dlperf.results.series import Series
from pytest_dlperf.results.verdict import Verdict

SPEEDS = {
    "throughput": estimate(1000.0, 0.1),
    "p99": estimate(0.02, 0.1),
    "errors": counted(0.0),
    "accuracy": estimate(0.97),
}


def make_series(*rates: float) -> Series:
    """A series of points of 0.1 s."""
    nothing = (None,) * len(rates)
    starts = tuple(round(0.1 * place, 1) for place in range(len(rates)))
    return Series(starts, rates, nothing, nothing, nothing)


def test_seconds_an_item_of_even_stretches() -> None:
    """Stretches at 500 and 1,500 a second are three to one, and their mean is 1 ms at 1,000."""
    found = make_measurement(SPEEDS, series=make_series(500.0, 1500.0), seconds=0.2)

    assert seconds_an_item(found) == pytest.approx((0.0015, 0.0005))


def test_a_stretch_without_an_answer_is_time_that_the_next_one_took() -> None:
    """100 items in 0.2 s, then 100 in 0.1 s: twice as long; an idle end belongs to nobody."""
    series = make_series(0.0, 1000.0, 1000.0, 0.0)
    found = make_measurement(SPEEDS, series=series, seconds=0.4)

    first, second = seconds_an_item(found)
    assert first == pytest.approx(2 * second)


@given(st.lists(st.floats(0, 1e6), max_size=50), st.floats(1e-3, 1e7), st.floats(0.05, 100))
def test_the_rate_of_the_figures_is_the_throughput(
    rates: list[float], throughput: float, seconds: float
) -> None:
    """However a load went, one over the mean is the throughput, and all figures are plain."""
    found = make_measurement(
        {"throughput": estimate(throughput)}, series=make_series(*rates), seconds=seconds
    )

    figures = seconds_an_item(found)

    assert 1 / mean(figures) == pytest.approx(throughput)
    assert all(type(one) is float and 0 < one < math.inf for one in figures)


def test_a_search_has_one_figure() -> None:
    """A search for the highest rate ran at many rates, so its stretches are not shown."""
    found = make_measurement(
        {"max_rate": estimate(400.0, 0.1)}, series=make_series(100.0, 200.0), seconds=0.2
    )

    assert seconds_an_item(found) == (0.0025,)


@pytest.mark.parametrize("metrics", [{"throughput": counted(0.0)}, {"accuracy": counted(0.5)}])
def test_no_rate_no_figure(metrics: dict[str, object]) -> None:
    """What answered nothing, or has no rate, has no seconds an item."""
    assert seconds_an_item(make_measurement(metrics)) == ()  # type: ignore[arg-type]


def test_entry() -> None:
    """The node id is the full name, and what has no place of its own is in extra_info."""
    record = make_record(
        make_judgement(Verdict.FAIL, budget="p99 <= 1ms", metric="p99"),
        measurement=make_measurement(SPEEDS, test="tests/test_a.py::TestX::test_it[a::b]"),
    )
    facts = BenchmarkMetadata("slow", "a::b", {"x": "a::b"}, {"mine": 1})

    (entry,) = benchmark_entries([record], facts)

    assert entry.fullname == "tests/test_a.py::TestX::test_it[a::b]"
    assert entry.name == "test_it[a::b]"
    assert (entry.group, entry.param, entry.params) == ("slow", "a::b", {"x": "a::b"})
    assert entry.seconds == (0.001,)
    assert entry.extra_info["mine"] == 1
    told = entry.extra_info["dlperf"]
    assert isinstance(told, dict)
    assert told["schema"] == 1
    assert told["scenario"] == "ClosedLoop(clients=64)"
    assert told["metrics"]["p99"] == {
        "value": 0.02,
        "low": 0.018,
        "high": 0.022,
        "unit": "s",
        "better": "lower",
    }
    assert told["verdict"] == "FAIL"
    assert told["budgets"] == [{"budget": "p99 <= 1ms", "verdict": "FAIL"}]
    json.dumps(told, allow_nan=False)


def test_names_tell_entries_apart() -> None:
    """A measurement's name is added; where the node id is taken, so is the plugin's own."""
    records = [
        make_record(measurement=make_measurement(SPEEDS, test="a.py::test_it", name=name))
        for name in ("", "warm")
    ]

    plain = [entry.fullname for entry in benchmark_entries(records, BenchmarkMetadata())]
    beside = [
        entry.fullname for entry in benchmark_entries(records, BenchmarkMetadata(benchmarked=True))
    ]

    assert plain == ["a.py::test_it", "a.py::test_it::warm"]
    assert beside == ["a.py::test_it::dlperf", "a.py::test_it::warm"]


QUICK = make_record(measurement=make_measurement(SPEEDS), quick=True)
LATE = make_record(measurement=make_measurement(SPEEDS, invalid="the generator was late"))


@pytest.mark.parametrize("record", [QUICK, LATE])
def test_what_says_nothing_of_speed_is_not_told_as_one(record: object) -> None:
    """A smoke run and a failed measuring tell of answers and errors, and are no entry."""
    assert list(benchmark_entries([record], BenchmarkMetadata())) == []  # type: ignore[list-item]
    assert set(telling_metrics(record)) == {"errors", "accuracy"}  # type: ignore[arg-type]


def test_properties() -> None:
    """Each metric by name, in base units, and the verdict; with the measurement's name if any."""
    records = [
        make_record(make_judgement(), measurement=make_measurement(SPEEDS, name=name))
        for name in ("", "warm\x00")
    ]

    found = dict(properties(records))

    assert found["dlperf.throughput"] == 1000.0
    assert found["dlperf.p99"] == 0.02
    assert found["dlperf.verdict"] == "PASS"
    assert found["dlperf.warm#x00.accuracy"] == 0.97
    assert len(found) == 10


def test_facts_travel() -> None:
    """Facts and entries are what they were after JSON."""
    facts = BenchmarkMetadata("g", "p", {"x": 1}, {"y": [2]}, True, "fail", "pass")  # noqa: FBT003 - a field
    entry = BenchmarkEntry("n", "f", None, None, None, [1.0], {}, 7)

    assert BenchmarkMetadata.from_json(json.loads(json.dumps(facts.to_json()))) == facts
    assert BenchmarkEntry.from_json(json.loads(json.dumps(entry.to_json()))) == entry


def test_own_name() -> None:
    """Only what stands before the parameters is split."""
    assert own_name("a/b.py::TestX::test_it[c::d]") == "test_it[c::d]"
    assert own_name("a/b.py::test_it") == "test_it"
