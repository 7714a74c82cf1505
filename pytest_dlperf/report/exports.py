"""Measurements as plain values for other tools: pytest-benchmark and JUnit."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from pytest_dlperf.metrics import metric_named
from pytest_dlperf.results.codec import metrics_to_json, rounded

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pytest_dlperf.results.measurement import Measurement
    from pytest_dlperf.results.record import Record
    from pytest_dlperf.results.series import Series
    from pytest_dlperf.results.verdict import Leniency
    from pytest_dlperf.statistics.estimate import Estimate

SCHEMA: Final = 1
"""Version of `extra_info["dlperf"]`."""

_HALF_AN_ITEM: Final = 0.5  # rates are rounded, so that one answer may seem to be less


@dataclass(frozen=True, slots=True)
class BenchmarkMetadata:
    """What only the process that runs a test knows about it.

    Attributes:
        group: of the test in pytest-benchmark's tables; None if in none.
        param: id of its parameters; None if it has none.
        params: its parameters by name, as plain values; None if it has none.
        extra_info: what the test itself gave pytest-benchmark, as plain values.
        benchmarked: whether the test used the fixture `benchmark` too, so that its node id is
            taken in pytest-benchmark's session.
        missing: what a relative budget without a baseline does to the test.
        inconclusive: what a budget that noise leaves open does to the test.
        base_broken: what a base that could not be measured does to the test.
    """

    group: str | None = None
    param: str | None = None
    params: Mapping[str, object] | None = None
    extra_info: Mapping[str, object] = field(default_factory=dict)
    benchmarked: bool = False
    missing: Leniency = "pass"
    inconclusive: Leniency = "warn"
    base_broken: Leniency = "fail"


@dataclass(frozen=True, slots=True)
class BenchmarkEntry:
    """An entry of pytest-benchmark's session, by whichever plugin.

    Attributes:
        name: of the test.
        fullname: node id of the test; by it, runs are compared.
        group: as in `BenchmarkMetadata`, as are `param` and `params`.
        param: id of the parameters.
        params: parameters by name.
        seconds: time per item in each interval of the load.
        extra_info: all else, as plain values.
        iterations: number of calls that each of `seconds` is the mean of.
    """

    name: str
    fullname: str
    group: str | None
    param: str | None
    params: Mapping[str, object] | None
    seconds: Sequence[float]
    extra_info: Mapping[str, object]
    iterations: int = 1


def benchmark_entries(
    records: Iterable[Record], metadata: BenchmarkMetadata
) -> Iterator[BenchmarkEntry]:
    """The measurements of one test as entries of pytest-benchmark's session.

    A measurement without a valid speed is left out: one without answers, a smoke run, or an
    INVALID one.
    """
    for record in records:
        measurement = record.measurement
        seconds = seconds_per_item(measurement) if _has_valid_speeds(record) else ()
        if not seconds:
            continue
        name = measurement.name or ("dlperf" if metadata.benchmarked else "")
        suffix = f"::{name}" if name else ""
        yield BenchmarkEntry(
            name=f"{own_name(measurement.test)}{suffix}",
            fullname=f"{measurement.test}{suffix}",
            group=metadata.group,
            param=metadata.param,
            params=metadata.params,
            seconds=seconds,
            extra_info={**metadata.extra_info, "dlperf": extra_info(record)},
        )


def extra_info(record: Record) -> dict[str, object]:
    """What pytest-benchmark's entry has no field for, as plain values."""
    measurement = record.measurement
    return {
        "schema": SCHEMA,
        "name": measurement.name,
        "scenario": measurement.scenario,
        "serving": measurement.serving,
        "slo": measurement.slo,
        "requests": measurement.requests,
        "metrics": metrics_to_json(measurement.metrics),
        "verdict": record.verdict.value,
        "budgets": [
            {"budget": judgement.budget, "verdict": judgement.verdict.value}
            for judgement in record.judgements
        ],
    }


def seconds_per_item(measurement: Measurement) -> tuple[float, ...]:
    """Seconds per item in each interval of the load; empty if there is no rate.

    They are scaled so that their mean is one over the throughput: an unweighted mean of intervals
    would give slow ones too much weight. An interval without an answer is joined to the next one.
    A search for the highest rate has one value.
    """
    rate = measurement.metrics.get("throughput", measurement.metrics.get("max_rate"))
    if rate is None or not rate.value > 0:
        return ()
    mean = 1 / rate.value
    if "throughput" not in measurement.metrics:
        return (mean,)
    intervals = list(_seconds_by_interval(measurement.series, measurement.seconds))
    if not intervals:
        return (mean,)
    scale = mean / (math.fsum(intervals) / len(intervals))
    return tuple(scale * seconds for seconds in intervals)


def _seconds_by_interval(series: Series, seconds: float) -> Iterator[float]:
    waited = 0.0
    ends = (*series.seconds, seconds)[1:]
    for start, end, rate in zip(series.seconds, ends, series.rate, strict=True):
        length = max(0.0, end - start)
        waited += length
        items = rate * length
        if items > _HALF_AN_ITEM:
            yield waited / items
            waited = 0.0


def valid_metrics(record: Record) -> Mapping[str, Estimate]:
    """The metrics without the speeds of a smoke run or of an INVALID measurement."""
    metrics = record.measurement.metrics
    if _has_valid_speeds(record):
        return metrics
    return {
        name: metrics[name] for name in metrics if name == "errors" or metric_named(name).of_answers
    }


def _has_valid_speeds(record: Record) -> bool:
    return not (record.quick or record.measurement.invalid)


def properties(records: Iterable[Record]) -> list[tuple[str, object]]:
    """Each metric and verdict as a property of the test, as in JUnit's XML.

    Their names are `dlperf.METRIC`, or `dlperf.NAME.METRIC` for a measurement with a name.
    """
    pairs: list[tuple[str, object]] = []
    for record in records:
        name = _printable(record.measurement.name)
        prefix = f"dlperf.{name}." if name else "dlperf."
        metrics = valid_metrics(record)
        pairs += [(f"{prefix}{metric}", rounded(metrics[metric].value)) for metric in metrics]
        pairs.append((f"{prefix}verdict", record.verdict.value))
    return pairs


def own_name(test: str) -> str:
    """The test's own name, without its file and class."""
    name, bracket, parameters = test.partition("[")
    return name.rsplit("::", 1)[-1] + bracket + parameters


def _printable(text: str) -> str:
    """Text without characters that XML cannot hold; pytest escapes them the same way."""
    return "".join(letter if letter.isprintable() else f"#x{ord(letter):02X}" for letter in text)
